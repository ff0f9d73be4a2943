"""Texts a second: ours in both precisions against plain `SentenceTransformer.encode` and the peak of `torch.mm`."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch

from expertune.models.hardware import computes_bfloat16
from speed_parts import operations, texts
from speed_parts.measuring import Ratio, Row, Section, in_turn, peak, rates, ratio

MODELS = {"all-minilm-l6-v2": (160, 48), "all-mpnet-base-v2": (24, 8)}
"""Texts of each kind and folder, and texts of full length: as many as some seconds allow."""


def run(given: Namespace) -> Section:
    """Measure every model on texts of mixed lengths and of full length."""
    rows: list[Row] = []
    ratios: list[Ratio] = []
    setting: dict[str, Any] = {}
    # Emulated, as it is where the processor has no bfloat16, one product of the peak takes twenty seconds.
    types = {"fp32": torch.float32, **({"bf16": torch.bfloat16} if computes_bfloat16() else {})}
    peaks = {precision: [peak(dtype)] for precision, dtype in types.items()}
    for model in given.models or MODELS:
        few, long = MODELS.get(model, (24, 8))
        for corpus, asked, documents in (
            ("mixed lengths", *texts.mixed(given.data, given.texts or few)),
            ("full length", [], texts.long(given.data, long, 400)),
        ):
            kept = _measure(given, model, corpus, asked, documents, peaks, rows, ratios)
            setting[f"{model}, {corpus}"] = kept
    for precision, values in peaks.items():
        values.append(peak(types[precision]))
        rows.append(Row(f"torch.mm {precision}", "GFLOP/s", max(values) / 1e9, min(values) / 1e9, max(values) / 1e9, 2))
    return Section(
        setting,
        rows,
        ratios,
        [
            "Operations are those of the matrix products without padding; the peak is the best torch.mm of 2048 rows.",
            "Quality: mean rank correlation and equal first answers of the mixed questions over the mixed documents.",
        ],
    )


def _measure(
    given: Namespace,
    model: str,
    corpus: str,
    asked: list[str],
    documents: list[str],
    peaks: dict[str, list[float]],
    rows: list[Row],
    ratios: list[Ratio],
) -> dict[str, Any]:
    plain, ours = encoders(model, peaks)
    everything = [*asked, *documents]
    config = plain[0].auto_model.config
    ids = plain.tokenizer(everything, truncation=True, max_length=plain.max_seq_length)["input_ids"]
    lengths = [len(row) for row in ids]
    needed = operations.encoding(config, lengths)
    runs: dict[str, Callable[[], Any]] = {
        "plain": lambda: plain.encode(everything, normalize_embeddings=True, show_progress_bar=False)
    }
    for precision, expert in ours.items():
        runs[f"ours {precision}"] = lambda expert=expert: expert.embed(everything, is_query=False)
    seconds = in_turn(runs, given.turns)
    for name, values in seconds.items():
        rows.append(rates(f"{model}, {corpus}, {name}", "texts/s", len(everything), values))
    full = corpus == "full length"
    for precision in ours:
        key = f"ours {precision}"
        # bfloat16 is how the goal is met where the processor has it; in float32 the peak itself is in the way.
        goal = 2.0 if precision == "bf16" and not full else 0.0
        ratios.append(ratio(f"{model}, {corpus}, {key} / plain", seconds["plain"], seconds[key], goal=goal))
        shares = [needed / value / max(peaks[precision]) for value in seconds[key]]
        ratios.append(ratio(f"{model}, {corpus}, {key} / peak", shares, [1.0] * len(shares), goal=0.5 if full else 0.0))
    shares = [needed / value / max(peaks["fp32"]) for value in seconds["plain"]]
    ratios.append(ratio(f"{model}, {corpus}, plain / peak", shares, [1.0] * len(shares)))
    kept: dict[str, Any] = {"texts": len(everything), "tokens": sum(lengths), "longest": max(lengths)}
    if asked:
        kept["quality"] = _quality(runs, len(asked))
    return kept


def _quality(runs: dict[str, Callable[[], Any]], asked: int) -> dict[str, dict[str, float]]:
    """Return how like each of ours ranks to plain encode."""
    from expertune.score.experts.precision import rank_correlation

    exact = runs["plain"]()
    kept = {}
    for name, encode in runs.items():
        vectors = encode()
        left, right = exact[:asked] @ exact[asked:].T, vectors[:asked] @ vectors[asked:].T
        kept[name] = {
            "rank_correlation": round(rank_correlation(left, right), 5),
            "same_first": round(float(np.mean(left.argmax(axis=1) == right.argmax(axis=1))), 4),
            "least_cosine": round(float((exact * vectors).sum(axis=1).min()), 6),
        }
    return kept


def encoders(model: str, precisions: Iterable[str] = ("fp32", "bf16")) -> tuple[Any, dict[str, Any]]:
    """Return the library's model, and our expert in some precisions."""
    from sentence_transformers import SentenceTransformer

    from expertune.models import resolve
    from expertune.score.experts.sentence_transformer import SentenceTransformerExpert

    source = resolve(model)
    plain = SentenceTransformer(source.location, local_files_only=True, device="cpu")
    named = {"fp32": "float32", "bf16": "bfloat16"}
    return plain, {choice: SentenceTransformerExpert(source, precision=named[choice]) for choice in precisions}
