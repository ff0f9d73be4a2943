"""The paper's setting as a config: without a hub each missing model is named; its code path runs on a small XLM-R."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from expertune import models
from expertune.commands import cli
from expertune.config import read

PAPER = Path(__file__).parents[1] / "examples" / "paper.toml"
SHOP = PAPER.parent / "shop"
VALUES = tomllib.loads(PAPER.read_text(encoding="utf-8"))


def write_xlm_roberta(folder: Path) -> Path:
    """Write a SentenceTransformer folder like the paper's base, tiny and with random weights.

    XLM-R, a Unigram tokenizer trained on the shop's texts, the first token's vector, unit length.
    """
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaModel

    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    texts = (json.loads(line)["text"] for line in (SHOP / "corpus.jsonl").read_text(encoding="utf-8").splitlines())
    trainer = trainers.UnigramTrainer(vocab_size=400, special_tokens=special, unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        cls_token="<s>",
        pad_token="<pad>",
        eos_token="</s>",
        sep_token="</s>",
        unk_token="<unk>",
        mask_token="<mask>",
        model_max_length=128,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = XLMRobertaModel(
            XLMRobertaConfig(
                vocab_size=len(fast),
                hidden_size=32,
                num_hidden_layers=2,
                num_attention_heads=2,
                intermediate_size=64,
                max_position_embeddings=130,
                initializer_range=0.2,
            )
        )
    raw = folder / "xlm-roberta"
    fast.save_pretrained(str(raw))
    encoder.save_pretrained(str(raw), safe_serialization=True)
    modules = [Transformer(str(raw), max_seq_length=128), Pooling(32, pooling_mode="cls"), Normalize()]
    made = SentenceTransformer(modules=modules, device="cpu")
    made.save_pretrained(str(folder / "model"), create_model_card=False)
    return folder / "model"


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "present", lambda layout: False)
    monkeypatch.setattr(models, "_downloaded", lambda hub: None)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def test_the_setting_is_that_of_the_paper_and_says_what_is_ours():
    config = read(PAPER)
    assert config.train.base == "maidalun1020/bce-embedding-base_v1"
    assert len({spec.model for spec in config.score.experts}) == 8
    assert config.label.strategy == "soft-1"
    assert config.evaluate.mteb
    text = PAPER.read_text(encoding="utf-8")
    assert text.count("Our choice") == 2
    assert "never absolute averages" in text


def test_every_model_of_it_is_in_the_catalogue_with_licence_and_size():
    for name in (VALUES["train"]["base"], *VALUES["score"]["experts"]):
        entry = models.find(name)
        assert entry is not None, name
        assert entry.hub == name
        assert entry.licence
        assert entry.megabytes


@pytest.mark.usefixtures("nothing_installed")
def test_without_a_hub_check_names_every_model_and_what_would_supply_it():
    pytest.importorskip("mteb", reason="the extra mteb is not installed")
    result = CliRunner().invoke(cli.app, ["check", str(PAPER)], terminal_width=200)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    assert "shop: 45 answers" in result.stdout
    for name in (VALUES["train"]["base"], *VALUES["score"]["experts"]):
        entry = models.find(name)
        assert f"the model '{name}' is neither a folder nor a downloaded model" in result.stderr
        assert f"run.offline = false  (fetches {name} from the Hugging Face hub, {entry.megabytes} MB)" in result.stderr
    for task in VALUES["evaluate"]["mteb"]:
        assert f"evaluate.mteb: {task}: no such folder" in result.stderr


@pytest.mark.usefixtures("nothing_installed")
def test_where_a_hub_may_be_reached_nothing_of_it_is_missing():
    pytest.importorskip("mteb", reason="the extra mteb is not installed")
    options = [
        "--set",
        "run.offline=false",
        "--set",
        'augment.generators=["template"]',
    ]
    result = CliRunner().invoke(cli.app, ["check", str(PAPER), *options], terminal_width=200)
    assert result.exit_code == 0, result.output
    assert "hub, fetched on first use (1112 MB)" in result.stdout


def test_its_code_path_runs_on_a_small_xlm_roberta(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    base = write_xlm_roberta(tmp_path)
    changes = {
        "train.base": json.dumps(str(base)),
        "score.experts": json.dumps([str(base), "bm25", "ngrams"]),
        "augment.generators": '["template"]',
        "augment.per_answer": "1",
        "train.steps": "2",
        "train.batch_size": "8",
        "evaluate.mteb": "[]",
    }
    options = [part for key, value in changes.items() for part in ("--set", f"{key}={value}")]
    result = CliRunner().invoke(cli.app, ["run", str(PAPER), "--out", str(tmp_path / "out"), *options])
    assert result.exit_code == 0, result.output
    results = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert results["training"]["strategy"] == "soft-1"
    assert results["training"]["mode"] == "full"
    config = json.loads(next((tmp_path / "out" / "model").rglob("config.json")).read_text(encoding="utf-8"))
    assert config["model_type"] == "xlm-roberta"
    assert (tmp_path / "out" / "model" / "README.md").read_text(encoding="utf-8").startswith("---\n")
