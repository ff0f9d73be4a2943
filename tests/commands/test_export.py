"""Exports of a tuned model: each form is read by the real library it is for, and judged by its rankings."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from typer.testing import CliRunner

from conftest import WORDS
from expertune.commands import cli
from expertune.commands.export import forms, graphs
from expertune.commands.export.agreement import agreement
from expertune.commands.export.forms import Form
from expertune.errors import ConfigError, DataError, ExportError
from expertune.models.encoder import sentence_encoder
from expertune.records import Document, JudgedSet, Query, Role
from expertune.train.trainer import assemble
from moved_model import moved

WORD = WORDS.split()
TEXTS = [" ".join(WORD[start : start + 7]) for start in range(0, 56, 4)]
ASKED = [
    "how do i return it",
    "ship the order",
    "refund",
    "what size to take",
    "password reset now",
    "free shipping days",
]


def write_data(folder: Path) -> Path:
    folder.mkdir()
    rows = [{"id": str(i), "question": f"{text}?", "answer": text, "split": "train"} for i, text in enumerate(TEXTS)]
    rows += [{"id": str(i), "question": text, "answer": TEXTS[i], "split": "heldout"} for i, text in enumerate(ASKED)]
    (folder / "qa.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def folders(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return published runs: "query" (two encoders), "lora" (the same, low-rank) and "full" (one encoder)."""
    root = tmp_path_factory.mktemp("runs")
    data = write_data(root / "faq")
    runs = {}
    for name, how, mode in (
        ("query", "everything", "query"),
        ("lora", "linear", "query"),
        ("full", "everything", "full"),
    ):
        runs[name] = root / name
        runs[name].mkdir()
        documents = SentenceTransformer(str(tiny_model), device="cpu") if mode == "query" else None
        assemble(moved(tiny_model, how), documents, runs[name] / "model")
        config = {"data": {"path": str(data)}, "train": {"base": str(tiny_model), "mode": mode}}
        lines = [
            f"[{section}]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in keys.items())
            for section, keys in config.items()
        ]
        (runs[name] / "config.toml").write_text("\n".join(lines), encoding="utf-8")
    return runs


def use(folder: Path, base: Path | None = None) -> np.ndarray:
    """Run the lines of code that stand beside an export and return the vectors they make."""
    text = (folder / "README.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", text, re.S)[1].replace("this-folder", str(folder))
    names: dict[str, object] = {}
    exec(code.replace("'the base model'", repr(str(base))), names)
    return np.asarray(names["vectors"])


def original(folder: Path) -> np.ndarray:
    model = SentenceTransformer(str(folder / "model"), device="cpu")
    return model.encode_query(["until when can I return it"], normalize_embeddings=True)


# --- the plain query encoder ---------------------------------------------------------------------------------------


def test_the_query_encoder_is_a_plain_model_that_ranks_the_same(folders, tmp_path):
    made = forms.export(folders["query"], Form.QUERY_ENCODER, tmp_path / "out")
    (found,) = made.agreements
    assert (found.name, found.questions, found.top1, found.top10, found.tau) == ("faq/heldout", len(ASKED), 1, 1, 1)
    assert found.before == found.after
    modules = json.loads((made.folder / "modules.json").read_text())
    assert not [module for module in modules if "Router" in module["type"]]
    np.testing.assert_allclose(use(made.folder), original(folders["query"]), atol=1e-6)
    whole = sum(file.stat().st_size for file in folders["query"].rglob("*.safetensors")) / 1e6
    assert made.megabytes < 0.75 * whole


def test_a_query_encoder_has_the_names_that_servers_look_for(folders, tmp_path):
    # What text-embeddings-inference 1.9 parses, and the converters of llama.cpp and Ollama read.
    made = forms.export(folders["query"], Form.QUERY_ENCODER, tmp_path / "out").folder
    types = {module["type"]: module["path"] for module in json.loads((made / "modules.json").read_text())}
    assert types["sentence_transformers.models.Transformer"] == ""
    assert types["sentence_transformers.models.Normalize"] == "2_Normalize"
    pooling = json.loads((made / types["sentence_transformers.models.Pooling"] / "config.json").read_text())
    assert [key for key, value in pooling.items() if key.startswith("pooling_mode") and value] == [
        "pooling_mode_mean_tokens"
    ]
    longest = SentenceTransformer(str(folders["query"] / "model"), device="cpu").max_seq_length
    classic = json.loads((made / "sentence_bert_config.json").read_text())
    assert classic == {"max_seq_length": longest, "do_lower_case": False}
    assert SentenceTransformer(str(made), device="cpu").max_seq_length == longest
    assert {"config.json", "tokenizer.json"} <= {path.name for path in made.iterdir()}


def test_a_run_that_indexed_questions_is_ranked_on_what_it_indexed(folders, tmp_path):
    run, data = tmp_path / "run", folders["full"].parent / "faq"
    shutil.copytree(folders["full"], run)
    text = (run / "config.toml").read_text(encoding="utf-8")
    (run / "config.toml").write_text(text.replace("[data]\n", "[data]\nexpand = 1\n"), encoding="utf-8")
    # Texts that no run would index, as they are the held-out questions: only they make every first answer right.
    texts = [*ASKED, *TEXTS[len(ASKED) :]]
    lines = "".join(json.dumps({"_id": str(row), "text": text}) + "\n" for row, text in enumerate(texts))
    (run / "expanded.jsonl").write_text(lines, encoding="utf-8")
    (found,) = forms.export(run, Form.QUERY_ENCODER, tmp_path / "out").agreements
    assert found.before == pytest.approx(1.0)
    (plain,) = forms.export(run, Form.QUERY_ENCODER, tmp_path / "other", held_out=str(data)).agreements
    assert plain.before < 1.0


def test_a_query_prompt_goes_into_plain_encode(folders, tmp_path):
    model = SentenceTransformer(str(folders["query"] / "model"), device="cpu")
    model.prompts = {"query": "question ", "document": ""}
    run = tmp_path / "run"
    model.save_pretrained(str(run / "model"), create_model_card=False)
    made = forms.export(run, Form.QUERY_ENCODER, tmp_path / "out", held_out=str(folders["query"].parent / "faq"))
    assert made.agreements[0].tau == 1
    np.testing.assert_allclose(use(made.folder), original(run), atol=1e-6)


def test_without_a_run_beside_it_the_built_in_general_set_is_ranked(folders, tmp_path):
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "model").symlink_to(folders["full"] / "model")
    copied = tmp_path / "copied"
    SentenceTransformer(str(folders["full"] / "model"), device="cpu").save_pretrained(
        str(copied), create_model_card=False
    )
    (found,) = forms.export(copied, Form.QUERY_ENCODER, tmp_path / "out").agreements
    assert found.name.startswith("general-dev/")


# --- adapter -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["query", "full"])
def test_an_adapter_of_full_rank_gives_the_model_back(folders, tiny_model, tmp_path, name):
    made = forms.export(folders[name], Form.ADAPTER, tmp_path / "out", rank=64)
    assert made.agreements[0].tau == pytest.approx(1)
    np.testing.assert_allclose(use_adapter(made.folder, tiny_model), original(folders[name]), atol=1e-4)


def use_adapter(folder: Path, base: Path) -> np.ndarray:
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert repr(str(base)) in text
    return use(folder)


def test_low_rank_differences_survive_a_low_rank(folders, tmp_path):
    made = forms.export(folders["lora"], Form.ADAPTER, tmp_path / "out", rank=2)
    assert made.agreements[0].tau == pytest.approx(1)
    assert not list(made.folder.glob("*.bin"))
    crude = forms.export(folders["lora"], Form.ADAPTER, tmp_path / "crude", rank=1)
    assert crude.agreements[0].tau < made.agreements[0].tau
    assert crude.megabytes < made.megabytes


def test_an_adapter_needs_to_know_its_base(folders, tmp_path):
    copied = tmp_path / "copied"
    SentenceTransformer(str(folders["full"] / "model"), device="cpu").save_pretrained(
        str(copied), create_model_card=False
    )
    with pytest.raises(ExportError, match="what it was tuned from"):
        forms.export(copied, Form.ADAPTER, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# --- graphs --------------------------------------------------------------------------------------------------------


@pytest.fixture
def converters() -> None:
    pytest.importorskip("onnx", reason="the extra export is not installed")
    pytest.importorskip("onnxscript", reason="the extra export is not installed")


@pytest.mark.usefixtures("converters")
@pytest.mark.parametrize("name", ["query", "full"])
def test_onnx_ranks_the_same_and_its_notes_run(folders, tmp_path, name):
    made = forms.export(folders[name], Form.ONNX, tmp_path / "out")
    (found,) = made.agreements
    assert (found.top1, found.top10) == (1, 1)
    assert found.tau > 0.999
    np.testing.assert_allclose(use(made.folder), original(folders[name]), atol=1e-5)
    assert sorted(file.name for file in made.folder.iterdir()) == ["README.md", "model.onnx", "tokenizer.json"]
    # The same folder is an expert: its own pooling of the token vectors gives the same.
    (expert,) = _experts(f"onnx:{made.folder}")
    np.testing.assert_allclose(expert.embed(["until when can I return it"], is_query=True), use(made.folder), atol=1e-5)


def _experts(spec: str) -> tuple:
    from expertune.config import ScoreSection
    from expertune.score.stage import load_experts

    return load_experts(ScoreSection(experts=(spec,)).experts, offline=True)


@pytest.mark.usefixtures("converters")
def test_int8_is_smaller_and_says_what_it_costs(folders, tmp_path):
    full = forms.export(folders["query"], Form.ONNX, tmp_path / "full")
    made = forms.export(folders["query"], Form.INT8, tmp_path / "out")
    assert made.megabytes < full.megabytes
    assert not list(made.folder.glob("full.onnx*"))
    assert 0.5 < made.agreements[0].tau < 1
    assert use(made.folder).shape == original(folders["query"]).shape


@pytest.mark.usefixtures("converters")
def test_openvino_ranks_the_same_and_its_notes_run(folders, tmp_path):
    pytest.importorskip("openvino", reason="the extra openvino is not installed")
    made = forms.export(folders["query"], Form.OPENVINO, tmp_path / "out")
    assert made.agreements[0].top10 == 1
    np.testing.assert_allclose(use(made.folder), original(folders["query"]), atol=1e-3)


@pytest.mark.parametrize(("form", "extra"), [(Form.ONNX, "export"), (Form.INT8, "export"), (Form.OPENVINO, "openvino")])
def test_a_missing_library_is_named_with_its_extra(folders, tmp_path, monkeypatch, form, extra):
    monkeypatch.setattr(graphs.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=rf"(?s)is not installed.*expertune\[{extra}\]"):
        forms.export(folders["query"], form, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


# --- what is refused ---------------------------------------------------------------------------------------------


def test_an_exact_form_that_ranks_otherwise_is_refused_and_leaves_nothing(folders, tiny_model, tmp_path, monkeypatch):
    monkeypatch.setattr(forms, "_write_query_encoder", lambda sides, folder: sentence_encoder(str(tiny_model)))
    with pytest.raises(ExportError, match="ranks otherwise"):
        forms.export(folders["query"], Form.QUERY_ENCODER, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_model_or_would_be_overwritten_is_refused(folders, tmp_path):
    with pytest.raises(DataError, match="no sentence-transformers model"):
        forms.export(tmp_path, Form.ONNX, tmp_path / "out")
    (tmp_path / "out").mkdir()
    with pytest.raises(ConfigError, match="already"):
        forms.export(folders["query"], Form.QUERY_ENCODER, tmp_path / "out")


# --- the measure ---------------------------------------------------------------------------------------------------


class Turned:
    """Encode the n-th text as a unit vector at n steps of an angle; questions may be turned away."""

    def __init__(self, turn: float) -> None:
        self.name = "turned"
        self._turn = turn

    def encode_queries(self, texts):
        return self._at(np.array([self._turn] * len(texts)))

    def encode_documents(self, texts):
        return self._at(np.array([float(text) for text in texts]))

    def _at(self, angles):
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def test_agreement_by_hand():
    documents = tuple(Document(f"d{number}", str(number / 10)) for number in range(12))
    judged = JudgedSet("set", "test", Role.DOMAIN, documents, (Query("q", "any"),), {"q": {"d0": 1}})
    # From 0 the documents stand in order 0, 1 ... 11; from 1.1 in the opposite one.
    found = agreement(Turned(0.0), Turned(1.1), judged)
    assert (found.top1, found.tau) == (0, pytest.approx(-1))
    assert found.top10 == pytest.approx(8 / 10)
    assert (found.before, found.after) == (1, 0)
    same = agreement(Turned(0.0), Turned(-0.2), judged)
    assert (same.top1, same.top10, same.tau) == (1, 1, pytest.approx(1))


# --- command -------------------------------------------------------------------------------------------------------


def test_the_command_prints_how_far_the_rankings_agree(folders, tmp_path):
    arguments = ["export", str(folders["query"]), "--to", "query-encoder", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(cli.app, arguments)
    assert result.exit_code == 0, result.output
    assert re.search(r"faq/heldout +6 +100\.0 +100\.0 +1\.00", result.stdout), result.stdout
    assert str(tmp_path / "out") in result.stdout
    again = CliRunner().invoke(cli.app, arguments)
    assert again.exit_code == 2
    assert "already" in again.stderr
