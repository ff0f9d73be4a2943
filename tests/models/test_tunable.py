"""What can be tuned, said from JSON files alone."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from base_variants import SETTINGS, TUNABLE, edit
from expertune import models
from expertune.errors import ConfigError
from expertune.models import tunable


def _modules(folder: Path, change: Callable[[list[dict[str, str]]], list[dict[str, str]]]) -> None:
    modules = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps(change(modules)))


REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "dot product": (
        lambda folder: (_modules(folder, lambda found: found[:2]), edit(folder, SETTINGS, similarity_fn_name="dot")),
        "ranks by 'dot'",
    ),
    "dot product of cut vectors": (
        lambda folder: edit(folder, SETTINGS, similarity_fn_name="dot", truncate_dim=8),
        "ranks by 'dot'",
    ),
    "manhattan": (lambda folder: edit(folder, SETTINGS, similarity_fn_name="manhattan"), "ranks by 'manhattan'"),
    "sparse": (lambda folder: edit(folder, SETTINGS, model_type="SparseEncoder"), "is a SparseEncoder"),
    "reranker": (
        lambda folder: (
            (folder / "modules.json").unlink(),
            edit(folder, "config.json", architectures=["BertForSequenceClassification"]),
        ),
        "cross-encoder",
    ),
    "quantised": (lambda folder: edit(folder, "config.json", quantization_config={"bits": 4}), "quantised"),
    "graph alone": (lambda folder: (folder / "model.safetensors").rename(folder / "model.onnx"), "no weights"),
    "no pooling named": (lambda folder: _modules(folder, lambda found: found[:1]), "names no pooling"),
    "words": (
        lambda folder: _modules(
            folder, lambda found: [{**found[0], "type": "sentence_transformers.models.BoW"}, *found[1:]]
        ),
        "begins with a BoW",
    ),
    "router at the end": (
        lambda folder: _modules(folder, lambda found: [*found, {"path": "", "type": "sentence_transformers.Router"}]),
        "parts questions from documents only after",
    ),
    "dimension of no size": (lambda folder: edit(folder, SETTINGS, truncate_dim=0), "truncate_dim = 0"),
    "default prompt of no name": (lambda folder: edit(folder, SETTINGS, default_prompt_name="x"), "default prompt 'x'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_tuned_is_refused_with_a_way_out(tiny_model: Path, tmp_path: Path, name: str) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "base"))
    change, message = REFUSED[name]
    change(folder)
    with pytest.raises(ConfigError, match=message) as caught:
        tunable.check(folder, mode="query", lora=False)
    assert caught.value.place == "train.base"
    assert caught.value.hint


NOTES = {
    "plain": "",
    "prompts": "query prompt 'question '; document prompt 'answer to '",
    "a passage prompt": "query prompt 'question '; the prompt 'passage' is not used for documents",
    "truncated": "vectors cut to 8 dimensions",
    "bare": "no pooling in its folder: the mean of the tokens is taken",
    "router": "an encoder each",
    "adapter alone": "adapter, merged into model",
}


@pytest.mark.parametrize("name", TUNABLE)
def test_what_can_be_tuned_is_described(tiny_model: Path, tmp_path: Path, name: str) -> None:
    TUNABLE[name](tiny_model, tmp_path / "base")
    notes = "; ".join(tunable.check(tmp_path / "base", mode="query", lora=False))
    assert NOTES.get(name, "") in notes
    assert name != "plain" or not notes


@pytest.mark.parametrize(
    ("prompts", "note"),
    [
        ({"search_query": "q: ", "search_document": "d: "}, "the prompts search_document, search_query are not used"),
        ({"query": "q: ", "s2s": "s: "}, ""),
        ({"retrieval.passage": ""}, ""),
    ],
)
def test_prompts_that_no_side_uses_are_told(tiny_model: Path, tmp_path: Path, prompts: dict[str, str], note: str):
    folder = Path(shutil.copytree(tiny_model, tmp_path / "base"))
    edit(folder, SETTINGS, prompts=prompts)
    notes = "; ".join(tunable.check(folder, mode="query", lora=False))
    assert note in notes
    assert bool(note) == ("not used" in notes)


@pytest.mark.parametrize(
    ("name", "mode", "lora", "message"),
    [
        ("router", "full", False, "encoder for each side"),
        ("router", "tied", False, "encoder for each side"),
        ("static", "query", True, "no adapters"),
    ],
)
def test_a_mode_that_does_not_suit_the_base_is_refused(
    tiny_model: Path, tmp_path: Path, name: str, mode: str, lora: bool, message: str
) -> None:
    TUNABLE[name](tiny_model, tmp_path / "base")
    with pytest.raises(ConfigError, match=message):
        tunable.check(tmp_path / "base", mode=mode, lora=lora)


def test_an_adapter_without_its_model_says_what_is_missing(tiny_model: Path, tmp_path: Path) -> None:
    TUNABLE["adapter"](tiny_model, tmp_path / "base")
    edit(tmp_path / "base", "adapter_config.json", base_model_name_or_path="nobody/knows-it")
    with pytest.raises(models.ModelUnavailableError, match="nobody/knows-it"):
        models.resolve(str(tmp_path / "base"))


@pytest.mark.parametrize("name", ["multi-qa-mpnet-base-dot-v1", "wordllama-256", "gemma-3-270m"])
def test_the_catalogue_alone_tells_what_cannot_be_tuned(name: str) -> None:
    entry = models.find(name)
    assert entry is not None
    with pytest.raises(ConfigError):
        tunable.check_entry(entry)


def test_looking_loads_no_torch() -> None:
    code = "import sys; import expertune.pipeline.preflight; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
