"""The speed bench without its seconds: turns, ratios, counted operations, tables, and what a change did."""

from __future__ import annotations

import importlib
import json
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture(scope="module", autouse=True)
def bench() -> Any:
    sys.path.insert(0, str(BENCH))
    yield
    sys.path.remove(str(BENCH))


def module(name: str) -> Any:
    return importlib.import_module(name)


def test_contenders_run_in_turn_and_the_first_round_does_not_count() -> None:
    called: list[str] = []
    seconds = module("speed_parts.measuring").in_turn(
        {"a": lambda: called.append("a"), "b": lambda: called.append("b")}, 2
    )
    assert "".join(called) == "ababab"
    assert [len(values) for values in seconds.values()] == [2, 2]


def test_ratios_are_taken_turn_by_turn() -> None:
    measuring = module("speed_parts.measuring")
    made = measuring.ratio("x", [2.0, 9.0, 4.0], [1.0, 3.0, 4.0], goal=2.0)
    assert (made.value, made.low, made.high, made.met) == (2.0, 1.0, 3.0, True)
    assert not measuring.ratio("x", [1.2], [1.0], goal=1.1, bound="most").met
    assert measuring.ratio("x", [9.0], [1.0]).met


def test_operations_are_those_that_torch_counts(tiny_model: Path) -> None:
    import torch
    from sentence_transformers import SentenceTransformer
    from torch.utils.flop_counter import FlopCounterMode

    model = SentenceTransformer(str(tiny_model), local_files_only=True, device="cpu")[0].auto_model
    model.set_attn_implementation("eager")
    counter = FlopCounterMode(display=False)
    with torch.inference_mode(), counter:
        model(input_ids=torch.ones(3, 20, dtype=torch.long), attention_mask=torch.ones(3, 20, dtype=torch.long))
    pooler = 3 * 2 * 32 * 32
    assert module("speed_parts.operations").encoding(model.config, [20] * 3) == counter.get_total_flops() - pooler


def test_operations_of_a_language_model_are_those_that_torch_counts() -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=50, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2,
    )  # fmt: skip
    counter = FlopCounterMode(display=False)
    model = LlamaForCausalLM(config).eval()
    model.set_attn_implementation("eager")
    with torch.inference_mode(), counter:
        model(input_ids=torch.ones(1, 10, dtype=torch.long))
    attention = 2 * 4 * 32 * 10 * 10
    rotation = counter.get_total_flops() - attention - module("speed_parts.operations").decoding(config, 10)
    # The angles of the positions: a handful.
    assert 0 <= rotation < 0.01 * counter.get_total_flops()


def record(value: float, low: float, high: float, what: str = "a / b", bound: str = "least") -> dict[str, Any]:
    ratio = {"what": what, "value": value, "low": low, "high": high, "goal": 2.0, "bound": bound, "met": value >= 2}
    row = {"what": "a", "unit": "s", "median": 1.5, "low": 1.0, "high": 2000.0, "turns": 3}
    machine = {
        "processor": "P", "flags": ["amx_bf16"], "cores": 2, "threads": {"torch": 2}, "libraries": {"torch": "2"},
        "cores_busy_with_others": 0.5,
    }  # fmt: skip
    section = {"machine": machine, "setting": {}, "rows": [row], "ratios": [ratio], "notes": ["Why."]}
    return {"sections": {"embedding": section}}


@pytest.mark.parametrize(
    ("after", "bound", "reading"),
    [
        ((1.0, 0.9, 1.1), "least", "worse"),
        ((1.0, 0.9, 1.1), "most", "better"),
        ((4.0, 3.9, 4.1), "least", "better"),
        ((1.9, 1.8, 2.0), "least", "same"),  # its turns overlap
        ((1.85, 1.84, 1.86), "least", "same"),  # within the tolerance
    ],
)
def test_a_change_is_read_from_the_ratios(after: tuple[float, float, float], bound: str, reading: str) -> None:
    compare = module("compare")
    (change,) = compare.changes(record(2.0, 1.95, 2.1, bound=bound), record(*after, bound=bound))
    assert change.reading(0.15) == reading


def test_compare_says_so_with_its_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    compare = module("compare")
    for name, value in (("before", 2.0), ("after", 1.0)):
        (tmp_path / f"{name}.json").write_text(json.dumps(record(value, value, value)))
    monkeypatch.setattr(sys, "argv", ["compare.py", str(tmp_path / "after.json"), str(tmp_path / "before.json")])
    with pytest.raises(SystemExit) as stopped:
        compare.main()
    assert stopped.value.code == 1
    assert "worse   embedding: a / b" in capsys.readouterr().out


def test_tables_stand_between_the_marks(tmp_path: Path) -> None:
    tables = module("speed_parts.tables")
    page = tmp_path / "page.md"
    page.write_text(f"before\n{tables.BEGIN}\nold\n{tables.END}\nafter\n")
    for _ in range(2):
        tables.write(page, record(2.0, 1.9, 2.1))
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "| a | 1.5 | 1 | 2,000 | s |" in text
    assert "| a / b | 2 | 1.9 | 2.1 | &ge; 2 | yes |" in text


# Every section on tiny models: that it runs and what it reports, not how fast.


@pytest.fixture
def given(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Namespace:
    """A small set of texts, a tiny encoder and a tiny language model in place of the packaged ones."""
    from expertune import models
    from expertune.models import ModelSource
    from expertune.score import stage
    from expertune.score.experts.bm25 import Bm25Expert
    from expertune.score.experts.sentence_transformer import SentenceTransformerExpert

    folder = tmp_path / "stackfaq"
    folder.mkdir()
    for name, ending in (("queries", "?"), ("corpus", ". We ship your order in days, free of cost.")):
        rows = [{"_id": str(number), "text": f"how to return item {number}{ending}"} for number in range(20)]
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    encoder = ModelSource("tiny", str(tiny_model), "bytes", None)
    writer = ModelSource("writer", str(write_causal(tmp_path / "writer")), "bytes", None)
    monkeypatch.setattr(models, "resolve", lambda name, **_: writer if "smollm" in name else encoder)
    panel = [SentenceTransformerExpert(encoder), Bm25Expert()]
    monkeypatch.setattr(stage, "load_experts", lambda *_, **__: panel)
    monkeypatch.setattr(module("speed_parts.embedding"), "peak", lambda *_: 1e9)
    return Namespace(
        data=[folder], shop=folder, turns=1, threads=1, models=["tiny"], texts=4, pairs=2, answers=2, alone=2, run=None
    )


def write_causal(folder: Path) -> Path:
    from tokenizers import Tokenizer, pre_tokenizers
    from tokenizers.models import WordLevel
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = ["<pad>", "<end>", '"', "?", "<unk>", "how", "to", "return", "item", "order", "days", "free", "we"]
    made = Tokenizer(WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", eos_token="<end>", unk_token="<unk>"
    ).save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(words), hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, pad_token_id=0, bos_token_id=None, eos_token_id=1,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("name", "rows", "ratios"),
    [
        ("embedding", {"tiny, mixed lengths, plain", "torch.mm fp32"}, {"tiny, mixed lengths, ours fp32 / plain"}),
        ("scoring", {"stage, all pairs", "bare embedding, each text once"}, {"stage / bare embedding"}),
        (
            "training",
            {"query-side, a step"},
            {"CosineSimilarityLoss / query-side", "documents in the step / query-side"},
        ),
        ("generation", {"ours, batched", "generate, one by one"}, {"ours, batched / generate"}),
    ],
)
def test_a_section_runs_and_can_be_printed(name: str, rows: set[str], ratios: set[str], given: Namespace) -> None:
    made = module(f"speed_parts.{name}").run(given).as_json()
    assert rows <= {row["what"] for row in made["rows"]}
    assert ratios <= {ratio["what"] for ratio in made["ratios"]}
    assert all(row["low"] <= row["median"] <= row["high"] for row in made["rows"])
    machine = module("speed_parts.measuring").machine(1) | {"cores_busy_with_others": 0.0}
    text = module("speed_parts.tables").section(name, json.loads(json.dumps({"machine": machine, **made})))
    assert all(f"| {what} |" in text for what in rows | ratios)
