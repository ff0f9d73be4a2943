"""Where the seconds of a finished run went, and what its matrix products alone would take on this machine."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from main_job import FIRST
from speed_parts import generation, operations
from speed_parts.measuring import Row, Section, peak

TOKENS_READ = 2
"""Readings of a written token: with the text, and with a placeholder in its place."""

TOKENS_WRITTEN = 12
"""Of a question, about."""


def run(given: Namespace) -> Section:
    """Read `results.json` and the config of a run, count operations stage by stage, and divide by the measured peak.

    Each stage is divided by the peak of the precision it computes in: bfloat16 where the hardware has it, but for
    evaluation, which stays in float32.
    """
    from expertune.models.hardware import computes_bfloat16

    if given.run is None:
        raise SystemExit("profile: name the folder of a finished run with --run, for example runs/bench-shop")
    first = given.run / FIRST
    file = first if first.exists() else given.run / "results.json"
    results = json.loads(file.read_text(encoding="utf-8"))
    low = torch.bfloat16 if computes_bfloat16() else torch.float32
    peaks = {"fp32": peak(torch.float32), "low": peak(low)}
    wanted = {"augment": "low", "score": "low", "train": "low", "evaluate": "fp32"}
    needed = _needed(given, results)
    rows = []
    for timing in results["timings"]:
        stage, seconds = timing["stage"], timing["seconds"]
        rows.append(Row(f"{stage}, measured", "s", seconds, seconds, seconds, 1))
        if stage in needed:
            floor = needed[stage] / peaks[wanted[stage]]
            rows.append(Row(f"{stage}, operations", "TFLOP", *[needed[stage] / 1e12] * 3, 1))
            rows.append(Row(f"{stage}, floor", "s", floor, floor, floor, 1))
    reused = [timing["stage"] for timing in results["timings"] if timing.get("reused")]
    notes = [
        "Floor: operations of the matrix products over the peak of torch.mm in the precision of the stage. It leaves "
        "out attention in generation, norms, softmax, activations, tokenisation, loading of libraries and models; "
        "questions are counted as if the small packaged model had written all of them."
    ]
    if reused:
        notes.append(f"These stages were found in the store, not computed: {', '.join(reused)}.")
    setting = {
        "run": given.run.name,
        "peak_gflops": {"fp32": round(peaks["fp32"] / 1e9), str(low): round(peaks["low"] / 1e9)},
    }
    return Section(setting, rows, [], notes)


def _needed(given: Namespace, results: dict[str, Any]) -> dict[str, float]:
    """Return the operations of the stages that are made of matrix products."""
    from expertune import config as configs
    from expertune import data, models
    from expertune.train.losses import REFERENCE_STRIDE

    config = configs.read(given.run / "config.toml")
    files = data.Files(config.data)
    dataset, judged = files.train, files.judged
    documents = [document.text for document in dataset.documents]
    asked_in_all = results["questions"]["total"]
    # Pieces of answers are cut, not written.
    written = sum(
        count for source, count in results["questions"]["by_source"].items() if source not in ("pair", "judged", "span")
    )
    base = _Encoder(models.resolve(config.train.base).location)
    asked = [query.text for item in judged for query in item.queries]
    # Questions that were written are not kept in the results: they are as long as the user's own.
    own = base.lengths([question.text for question in dataset.questions]) or [12]
    mean = sum(own) / len(own)
    scoring = 0.0
    for spec in config.score.experts:
        folder = _folder(spec.model)
        if folder:
            encoder = _Encoder(folder)
            scoring += encoder.operations(encoder.lengths(documents)) + encoder.operations([round(mean)] * asked_in_all)
    seen = config.train.steps * min(config.train.batch_size, asked_in_all) * 2
    reference = base.lengths(list(data.reference_sentences()))
    step = [round(mean)] * seen + [round(sum(reference) / len(reference))] * (seen // REFERENCE_STRIDE)
    corpus = [document.text for item in judged for document in item.documents]
    evaluating = base.operations(base.lengths(corpus)) + 2 * base.operations(base.lengths(asked))
    return {
        "augment": _writing(given, written),
        "score": scoring,
        "train": operations.training(base.config, step, frozen=config.train.frozen_layers),
        "evaluate": evaluating,
    }


def _writing(given: Namespace, written: int) -> float:
    """Return the operations of reading prompts and writing questions, as if the small packaged model did all."""
    from transformers import AutoConfig, AutoTokenizer

    from expertune import models
    from expertune.models import language_models

    source = models.resolve(generation.MODEL)
    folder = language_models.unpacked(Path(source.location), source.fingerprint, place="bench")
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    read = tokenizer([prompt.text + prompt.start for prompt in generation.prompts(given)])["input_ids"]
    each = sum(map(len, read)) / len(read)
    return operations.decoding(config, written * (each + TOKENS_READ * TOKENS_WRITTEN))


def _folder(model: str | None) -> str:
    """Return the folder of a transformer encoder in PyTorch; "" for everything else."""
    from expertune import models

    location = Path(models.resolve(model).location) if model else None
    return str(location) if location is not None and (location / "modules.json").is_file() else ""


class _Encoder:
    """A model's configuration and tokenizer, without its weights."""

    def __init__(self, folder: str) -> None:
        from transformers import AutoConfig, AutoTokenizer

        self.config = AutoConfig.from_pretrained(folder, local_files_only=True)
        self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        limits = Path(folder) / "sentence_bert_config.json"
        self._most = json.loads(limits.read_text(encoding="utf-8"))["max_seq_length"] if limits.is_file() else 512

    def lengths(self, texts: Iterable[str]) -> list[int]:
        """Return how many tokens the model reads of each text."""
        given = list(texts)
        if not given:
            return []
        return [len(ids) for ids in self._tokenizer(given, truncation=True, max_length=self._most)["input_ids"]]

    def operations(self, lengths: Iterable[int]) -> float:
        """Return the operations of encoding texts of these lengths."""
        return operations.encoding(self.config, lengths)
