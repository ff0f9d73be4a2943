"""Make one piece: a contender tuned on one set with one seed, measured on every held-out question. Knows no table."""

from __future__ import annotations

import resource
import tempfile
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import sets
from contenders import CONTENDERS
from contenders.task import Limit, Task
from expertune import data, models
from expertune.config import Config, PluginSpec, assignment, from_mapping, overlaid
from expertune.evaluate.alternatives import measure_way
from expertune.evaluate.stage import measure
from expertune.models.encoder import CachedEncoder, sentence_encoder
from expertune.pipeline.alternatives import Model, Panel
from expertune.pipeline.run import Run, RunResult, Stage
from expertune.pipeline.store import Store, fingerprint
from expertune.pipeline.ways import every_way
from expertune.records import METRIC, JudgedSet, Measurement, Role
from expertune.train import tuning
from expertune.train.trainer import use_bfloat16
from quality_parts.table import BASE, OURS, WITH_LOG

Line = dict[str, Any]

ALTERNATIVES = "alternatives"
PEER_VERSION = 1
"""Raise when a peer is given or does something else, so that its older pieces leave the table."""


@dataclass(frozen=True)
class Options:
    """What all pieces of one call share; `points` is how many points of its grid a peer looks at, 0: all."""

    data_root: Path
    work: Path
    store: Path
    threads: int
    general: tuple[str, ...]
    vary: tuple[str, ...]
    points: int


@dataclass(frozen=True)
class Piece:
    """What is to be made. `limit` says when a training of a peer ends; `chosen` is what an earlier seed settled."""

    contender: str
    on: str
    seed: int
    limit: Limit = "steps"
    budget: float = 0.0
    chosen: Mapping[str, Any] | None = None

    @property
    def is_peer(self) -> bool:
        """Whether somebody else's method is tuned."""
        return self.contender not in (BASE, ALTERNATIVES, OURS, WITH_LOG)


def configured(options: Options, name: str, seed: int, *, log: bool) -> Config:
    """Return the package's defaults for a set, with what is varied and, where there is one, the log."""
    folder = sets.folder(name, options.data_root)
    logged = sets.log(folder, options.work) if log else None
    values = {
        "run": {
            "out": str(options.work / folder.name),
            "store": str(options.store),
            "threads": options.threads,
            "seed": seed,
        },
        "data": {
            "path": str(folder),
            "log": [str(logged)] if logged else [],
            "general": [str(sets.folder(other, options.data_root)) for other in options.general],
        },
    }
    return from_mapping(overlaid(values, [assignment(change) for change in options.vary]))


def described(options: Options, name: str) -> dict[str, Any]:
    """Return what all pieces of a set share: the kind of each split, counts, and keys of what contenders are made of.

    A piece whose key is another one was made of other data, questions or defaults: it leaves the table.
    """
    config = configured(options, name, 0, log=True)
    result = Run(config).execute(until=Stage.LABEL)
    assert result.questions is not None
    labelled = result.dataset.labelled_ids
    files = data.Files(config.data)
    asked = (files.fingerprint, config.model_dump(mode="json", include={"augment", "score"}))
    logs = [Path(path).read_text(encoding="utf-8") for path in config.data.log]
    sections = config.model_dump(mode="json", include={"label", "train"})
    return {
        "kinds": {_name(judged): kind(judged, labelled) for judged in result.judged},
        "counts": {
            "answers": len(result.dataset.documents),
            "labelled": len(result.dataset.questions),
            "log": int(result.questions.logged.sum()),
            "questions": len(result.questions.items),
        },
        "keys": {
            BASE: fingerprint(files.judged_fingerprint, config.train.base),
            ALTERNATIVES: fingerprint(asked, config.train.base),
            OURS: fingerprint(asked, sections, tuning.VERSION),
            WITH_LOG: fingerprint(asked, sections, tuning.VERSION, logs),
            "peers": fingerprint(asked, config.train.base, logs, PEER_VERSION),
        },
    }


def kind(judged: JudgedSet, labelled: Set[str]) -> str:
    """Call a domain split seen or unseen: by its name, else by whether half of its answers have a training question.

    A split that the set calls seen may have lost half of its training questions, because they repeat held-out ones.
    """
    if judged.role is not Role.DOMAIN:
        return "general"
    for name in ("unseen", "seen"):
        if judged.split.endswith(name):
            return name
    relevant = [document for grades in judged.qrels.values() for document in grades]
    return "seen" if np.mean([document in labelled for document in relevant]) >= 0.5 else "unseen"


def made(options: Options, piece: Piece) -> list[Line]:
    """Make one piece; every alternative has a line of its own."""
    config = configured(options, piece.on, piece.seed, log=piece.is_peer or piece.contender == WITH_LOG)
    result = Run(config).execute(until=Stage.LABEL)
    encoder = CachedEncoder("base", sentence_encoder(config.train.base), cache=Store(options.store).items)
    if piece.contender == ALTERNATIVES:
        return list(_alternatives(config, result, encoder))
    if piece.contender == BASE:
        measured = [measure(encoder, judged, BASE) for judged in result.judged]
        return [{"name": BASE, "measured": dict(map(_values, measured)), "clusters": dict(map(_clusters, measured))}]
    return [_tuned(config, result, encoder, options, piece)]


def _tuned(config: Config, result: RunResult, encoder: CachedEncoder, options: Options, piece: Piece) -> Line:
    assert result.questions is not None
    assert result.scores is not None
    if piece.is_peer and result.scores.columns is not None:
        raise NotImplementedError("above 10,000 answers the panel scores candidates alone, and peers want all pairs")
    with tempfile.TemporaryDirectory() as scratch:
        task = Task(
            config=config,
            dataset=result.dataset,
            questions=result.questions,
            scores=result.scores,
            base=models.resolve(config.train.base, offline=True),
            base_encoder=encoder,
            seed=piece.seed,
            scratch=Path(scratch),
            limit=piece.limit,
            budget=piece.budget,
            points=options.points,
            chosen=piece.chosen,
        )
        outcome = CONTENDERS[piece.contender.split(",")[0]](task)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        measured = [measure(outcome.encoder, judged, piece.contender) for judged in result.judged]
    return {
        "bf16": use_bfloat16("auto"),
        "chosen": dict(outcome.chosen),
        "tried": [dict(point) for point in outcome.tried],
        "seconds": None if np.isnan(outcome.seconds) else round(outcome.seconds, 1),
        "choosing_seconds": round(outcome.choosing_seconds, 1),
        "peak_megabytes": round(peak),
        "measured": dict(map(_values, measured)),
    }


def _alternatives(config: Config, result: RunResult, encoder: CachedEncoder) -> Iterator[Line]:
    """Yield a line for every way to search without tuning that a run's report has, but the base on plain answers."""
    base = Model(PluginSpec(model=config.train.base).label, encoder, float("nan"), kept=True)
    assert result.questions is not None
    asked, answers = [item.text for item in result.questions.items], [item.text for item in result.dataset.documents]
    panel = Panel.of(config, asked, answers, cache=Store(config.run.store or "").items)
    domain = [judged for judged in result.judged if judged.role is Role.DOMAIN]
    for way in every_way(base, None, panel, result.dataset)[1:]:
        name = way.model if way.holds == "answers" else f"{way.model}, {way.holds}"
        measured = [measure_way(way, judged) for judged in domain]
        yield {"name": name, "index": way.work.value, "measured": dict(map(_values, measured))}


def _values(measurement: Measurement) -> tuple[str, list[float]]:
    return _name(measurement), [round(float(value), 5) for value in measurement.values[METRIC]]


def _clusters(measurement: Measurement) -> tuple[str, list[int]]:
    """Return numbers for the answers' ids: nothing of the data goes into the results."""
    return _name(measurement), np.unique(measurement.clusters, return_inverse=True)[1].tolist()


def _name(of: JudgedSet | Measurement) -> str:
    return str(of.split if of.role is Role.DOMAIN else of.dataset)
