"""Write the vectors that a run's model searches, ids and how to load them; and say what they find."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from expertune import config, data
from expertune.commands.export.index_notes import write_notes
from expertune.data import leakage
from expertune.data.expansion import Expansion
from expertune.errors import ConfigError, DataError
from expertune.evaluate.ranking import Encoder, judged_queries, rank_scores
from expertune.evaluate.stage import measurement
from expertune.index import Index, Layout, Mixing, Vectors, build, choose, files
from expertune.index.files import WITH, WITHOUT
from expertune.models import trust
from expertune.models.cache import MemoryCache
from expertune.models.encoder import CachedEncoder, SentenceEncoder, keeps_vectors, sentence_encoder
from expertune.models.folders import RUN_CONFIG, config_beside, model_folder, new_folder
from expertune.records import METRIC, Dataset, JudgedSet, Report, Role, ignore_progress


@dataclass(frozen=True)
class TunedRun:
    """A finished run: its config, its model, and encoders of that and of its base."""

    folder: Path
    config: config.Config
    model: SentenceEncoder
    tuned: CachedEncoder
    base: CachedEncoder

    @classmethod
    def of(cls, subject: Path, report: Report = ignore_progress) -> TunedRun:
        """Find a run by its folder or its model's.

        Raises:
            DataError: there is no model, or nothing beside it says which data it was tuned on.
            ModelUnavailableError: its base cannot be found.
            UntrustedModelError: the model's files are refused.
        """
        folder = model_folder(subject)
        made_by = config_beside(folder)
        if made_by is None:
            message = f"there is no {RUN_CONFIG} beside the model, which would name the answers"
            raise DataError(message, place=str(folder), hint="Name the folder that expertune run wrote.")
        trust.check(folder)
        section = config.read(made_by)
        model, cache = sentence_encoder(str(folder)), MemoryCache()
        untouched = sentence_encoder(section.train.base, offline=section.run.offline)
        documents = untouched if keeps_vectors(model, untouched, offline=section.run.offline) else model
        tuned = CachedEncoder("tuned", model, documents, cache=cache, report=report)
        return cls(folder.parent, section, model, tuned, CachedEncoder("base", untouched, cache=cache, report=report))

    def training_set(self, loaded: data.Loaded) -> Dataset:
        """Return answers and labelled questions, without those that repeat a held-out one, as the run had them."""
        dataset, held_out = loaded.held_out.apart(loaded.train), loaded.held_out
        asked = [question.text for question in dataset.questions]
        copies = held_out.meant_by(asked, self.base.encode_queries, reference=data.reference_sentences())
        return leakage.without(dataset, copies) if any(copies) else dataset

    def index(self, dataset: Dataset, layout: Layout, mixing: Mixing) -> Index:
        """Return the index of a data set's answers that the tuned model searches."""
        # What the run itself indexed is its index of answers.
        expand = self.config.data.expand if layout is Layout.ANSWERS else 0
        documents = Expansion.of(dataset.questions, expand).documents(dataset.documents)
        return build(Vectors.of(self.tuned, dataset, documents), layout, mixing)


def named(option: str) -> Layout:
    """Return the layout that is written so on the command line.

    Raises:
        ConfigError: there is none.
    """
    layouts = {layout.option: layout for layout in Layout}
    if option not in layouts:
        raise ConfigError([f"there is no layout '{option}'"], place="--layout", hint=f"Layouts: {', '.join(layouts)}.")
    return layouts[option]


def write_index(subject: Path, out: Path, layout: Layout, report: Report = ignore_progress) -> files.About:
    """Write the index of a run's answers into a new folder; see `files` for what lies there.

    Raises:
        ConfigError: `out` exists.
        ExpertuneError: as `TunedRun.of` does, or the run's data cannot be read.
    """
    if out.exists():
        raise ConfigError(["there is something at that path already"], place=str(out), hint="Name a new folder.")
    run = TunedRun.of(subject, report)
    loaded = data.load(run.config.data, offline=run.config.run.offline)
    dataset = run.training_set(loaded)
    mixing = _chosen(run, dataset) if layout is Layout.MIXED else Mixing()
    index = run.index(dataset, layout, mixing)
    judged = [item for item in loaded.judged if item.role is Role.DOMAIN]
    with new_folder(out) as folder:
        about = files.write(folder, index, dataset.documents, run.model.fingerprint, run.config.data.expand)
        about = replace(about, expected=_expected(run, dataset, index, judged))
        files.say(folder, about)
        write_notes(folder, about, run.folder / "model", out)
    return about


def _chosen(run: TunedRun, dataset: Dataset) -> Mixing:
    vectors = Vectors.of(run.tuned, dataset)
    return choose(vectors, run.tuned.encode_queries(vectors.texts), run.base.encode_queries(vectors.texts))


def _expected(run: TunedRun, dataset: Dataset, index: Index, judged: Sequence[JudgedSet]) -> dict[str, files.Expected]:
    """Measure what held-out questions find, apart for answers with and without labelled questions."""
    plain = run.index(dataset, Layout.ANSWERS, Mixing())
    untouched = build(Vectors.of(run.base, dataset), Layout.ANSWERS)
    ways = ((run.base, untouched), (run.tuned, plain), (run.tuned, index))
    values: dict[str, list[NDArray[np.float64]]] = {}
    for item in judged:
        measured = np.array([_found(encoder, made, item) for encoder, made in ways])
        has = np.array([bool(dataset.labelled_ids & set(ids)) for ids in judged_queries(item)[1].values()])
        values.setdefault(WITH, []).append(measured[:, has])
        values.setdefault(WITHOUT, []).append(measured[:, ~has])
    whole = {kind: np.concatenate(parts, axis=1) for kind, parts in values.items()}
    return {
        kind: files.Expected(all_.shape[1], *(round(float(mean), 4) for mean in all_.mean(axis=1)))
        for kind, all_ in whole.items()
        if all_.shape[1]
    }


def _found(encoder: Encoder, index: Index, judged: JudgedSet) -> NDArray[np.float64]:
    """Return nDCG@10 of each held-out question in an index of the same documents."""
    asked = list(judged_queries(judged)[0].values())
    scores = index.scores(encoder.encode_queries(asked))
    column = {identity: number for number, identity in enumerate(index.documents)}
    ordered = scores[:, [column[document.id] for document in judged.documents]]
    return measurement(rank_scores(np.round(ordered, 6), judged), judged, encoder.name).values[METRIC]
