"""Score every question against every document with every expert. Does not merge experts.

Vectors, and the rows of experts that say so, are kept one by one in the item cache, so a killed run goes on where it
was and a panel with one more expert embeds for that expert only.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from expertune import models
from expertune.config import PluginSpec
from expertune.errors import PluginError
from expertune.models.cache import ItemCache, MemoryCache
from expertune.models.embed import CHUNK, REPAIR, as_float32, chunks, embed_texts, quoted, text_key, unit_rows
from expertune.models.hardware import trim_memory
from expertune.models.plugins import EmbeddingExpert, Expert, IndexingExpert
from expertune.models.registry import all_used, log_used, make_all, refuse_role
from expertune.records import Dataset, FloatArray, Progress, Questions, Report, Scores, ignore_progress
from expertune.score.candidates import pick

FULL_MATRIX = 10_000
"""On corpora with more documents, a question is judged against candidates only: the whole matrix fills the memory."""

CANDIDATES = 512
"""Candidates of a question there: the experts' best and a sample, as many as labels were measured to need."""

# Rows of a cosine block: bounds the temporary arrays on large corpora.
_ROWS = 1024
# Scores of all experts held at a time while candidates are picked on a large corpus.
_BLOCK_BYTES = 256 << 20


def load_experts(specs: Sequence[PluginSpec], *, offline: bool) -> tuple[Expert, ...]:
    """Make the panel: find each expert's model and plug-in. Labels that occur twice are numbered.

    Raises:
        ModelUnavailableError: one error for all models of the panel that cannot be found.
        UntrustedModelError: a model's files are refused.
        ConfigError: an unknown plug-in, or options it does not take.
    """
    return make_all("experts", specs, place="score.experts", pick=_plug_in, offline=offline)


def score(
    dataset: Dataset,
    questions: Questions,
    experts: Sequence[Expert],
    *,
    cache: ItemCache | None = None,
    report: Report = ignore_progress,
) -> Scores:
    """Return what each expert thinks of each pair of question and document.

    Above `FULL_MATRIX` documents, only candidates are returned, and the whole matrix never exists: questions
    are scored some at a time. Experts that neither embed, nor index, nor score in parts return theirs at once, which
    then lies in a temporary file.

    Args:
        dataset: Its documents are the columns.
        questions: They are the rows.
        experts: The panel; names must differ.
        cache: Where vectors of embedding experts are kept.
        report: Told about every few hundred texts.

    Raises:
        PluginError: an expert returned a wrong shape or type, infinities, or nothing but NaN.
    """
    job = _Job(dataset, questions, cache if cache is not None else MemoryCache(), report)
    if len(dataset.documents) > FULL_MATRIX and questions.items:
        return _candidates(job, experts)
    values = np.zeros((len(job.asked), len(job.answers), len(experts)), dtype=np.float32)
    seconds = []
    for index, expert in enumerate(experts):
        report(Progress("score", index, len(experts), expert.name))
        judge = _Judge(expert, job)
        for start in range(0, len(job.asked), _ROWS):
            values[start : start + _ROWS, :, index] = judge(slice(start, start + _ROWS))
        judge.finish()
        seconds.append(judge.seconds)
    report(Progress("score", len(experts), len(experts)))
    return Scores(tuple(expert.name for expert in experts), values, tuple(seconds), used=all_used(experts))


@dataclass(frozen=True)
class _Job:
    """What every expert is asked."""

    dataset: Dataset
    questions: Questions
    cache: ItemCache
    report: Report

    @cached_property
    def asked(self) -> list[str]:
        return [question.text for question in self.questions.items]

    @cached_property
    def answers(self) -> list[str]:
        return [document.text for document in self.dataset.documents]


def _candidates(job: _Job, experts: Sequence[Expert]) -> Scores:
    """Let every expert get ready, then score some questions at a time and keep the candidates of each."""
    column = {document.id: index for index, document in enumerate(job.dataset.documents)}
    positives = [
        [column[name] for name in (*question.document_ids, *(opened for opened, _ in question.clicks))]
        for question in job.questions.items
    ]
    most = max(len(own) for own in positives)
    count = min(max(CANDIDATES, 2 * most, 2 * len(experts)), len(column))
    judges = []
    for index, expert in enumerate(experts):
        job.report(Progress("score", index, len(experts), expert.name))
        judges.append(_Judge(expert, job))
    generator = np.random.default_rng(0)
    columns = np.zeros((len(positives), count), dtype=np.int64)
    values = np.zeros((len(positives), count, len(experts)), dtype=np.float32)
    step = max(1, _BLOCK_BYTES // (4 * len(column) * len(experts)))
    for start in range(0, len(positives), step):
        some = slice(start, start + step)
        block = np.stack([judge(some) for judge in judges]).transpose(1, 2, 0)
        columns[some] = pick(block, positives[some], count, generator)
        values[some] = np.take_along_axis(block, columns[some][:, :, None], axis=1)
        job.report(Progress("pick candidates", min(start + step, len(positives)), len(positives)))
    for judge in judges:
        judge.finish()
    job.report(Progress("score", len(experts), len(experts)))
    seconds = tuple(judge.seconds for judge in judges)
    return Scores(tuple(expert.name for expert in experts), values, seconds, columns, all_used(experts))


Rows = Callable[[slice], FloatArray]
"""Scores `[n, D]` of some of the questions by one expert."""


class _Judge:
    """One expert, ready to score any of the questions; checks what it returns and counts its time."""

    def __init__(self, expert: Expert, job: _Job) -> None:
        self._expert = expert
        self._job = job
        self._scored = not (job.asked and job.answers)
        start = time.perf_counter()
        try:
            self._rows = _rows(expert, job)
        finally:
            log_used(expert)
        if not expert.served:
            # Its vectors are there; the next expert brings weights of its own.
            expert.release()
            trim_memory()
        self.seconds = time.perf_counter() - start

    def __call__(self, some: slice) -> FloatArray:
        """Return float32 `[n, D]`."""
        start = time.perf_counter()
        values = self._rows(some)
        infinite = np.argwhere(np.isinf(values))
        if infinite.size:
            row, column = (int(part) for part in infinite[0])
            raise self._refusal(some.start + row, column, "infinite")
        self._scored = self._scored or not np.isnan(values).all()
        self.seconds += time.perf_counter() - start
        return values

    def finish(self) -> None:
        """Refuse an expert that scored nothing at all."""
        if not self._scored:
            raise self._refusal(0, 0, "NaN, and so is every other one")

    def _refusal(self, row: int, column: int, what: str) -> PluginError:
        question, document = self._job.asked[row], self._job.dataset.documents[column].id
        return PluginError(
            f"the score of question {quoted(question)} and document '{document}' is {what}",
            place=f"expert {self._expert.name}",
            hint="Remove this expert from score.experts, or repair its model.",
        )


def _rows(expert: Expert, job: _Job) -> Rows:
    """Do what an expert does once for all questions, and return what gives the scores of some."""
    asked, answers = job.asked, job.answers
    if not asked or not answers:
        return lambda some: np.zeros((len(asked[some]), len(answers)), dtype=np.float32)
    if isinstance(expert, EmbeddingExpert):
        return _rows_of_vectors(expert, job)
    if isinstance(expert, IndexingExpert):
        ready = expert.index(answers)
        return lambda some: _checked_scores(expert, ready(asked[some]), len(asked[some]), len(answers))
    if expert.chunk:
        return _rows_in_parts(expert, job)
    whole = _checked_scores(expert, expert.score(asked, answers), len(asked), len(answers))
    if whole.nbytes <= _BLOCK_BYTES:
        return lambda some: whole[some]
    with tempfile.TemporaryFile() as file:
        whole.tofile(file)
        # The mapping keeps the file, which has no name any more.
        stored: FloatArray = np.memmap(file, dtype=np.float32, mode="r", shape=whole.shape)
    return lambda some: np.array(stored[some])


def _rows_of_vectors(expert: EmbeddingExpert, job: _Job) -> Rows:
    expert = expert.decided(expert.decide(job.asked, job.answers, job.cache))
    left = embed_texts(expert, job.asked, is_query=True, cache=job.cache, report=job.report)
    right = embed_texts(expert, job.answers, is_query=False, cache=job.cache, report=job.report)
    if left.shape[1] != right.shape[1]:
        raise PluginError(
            f"question vectors have {left.shape[1]} dimensions, document vectors {right.shape[1]}",
            place=f"expert {expert.name}",
            hint=REPAIR,
        )
    if expert.similarity == "dot":
        return lambda some: left[some] @ right.T
    scaled = unit_rows(right).T
    return lambda some: np.clip(unit_rows(left[some]) @ scaled, -1.0, 1.0)


def _rows_in_parts(expert: Expert, job: _Job) -> Rows:
    """Score part by part; the row of a question is kept under its text, for these documents in this order."""
    corpus = hashlib.sha256("".join(map(text_key, job.answers)).encode("ascii")).hexdigest()
    space = f"{expert.fingerprint}|{corpus}"
    keys = [text_key(question) for question in job.asked]
    distinct = dict(zip(keys, job.asked, strict=True))
    missing = [key for some in chunks(list(distinct), CHUNK) for key in _unknown(job.cache, space, some)]
    done = len(distinct) - len(missing)
    job.report(Progress("score pairs", done, len(distinct), expert.name))
    parts = list(chunks(missing, expert.chunk))
    refused: dict[str, FloatArray] = {}
    asked = ([distinct[key] for key in some] for some in parts)
    for some, returned in zip(parts, expert.each("score", asked, job.answers), strict=True):
        made = np.ascontiguousarray(_checked_scores(expert, returned, len(some), len(job.answers)))
        # An infinite row is refused later; kept, it would be refused even from a repaired expert.
        wrong = {some[row] for row in np.flatnonzero(np.isinf(made).any(axis=1))}
        rows_made = dict(zip(some, made, strict=True))
        refused.update({key: row for key, row in rows_made.items() if key in wrong})
        job.cache.write(space, {key: row.tobytes() for key, row in rows_made.items() if key not in wrong})
        done += len(some)
        job.report(Progress("score pairs", done, len(distinct), expert.name))

    def rows(some: slice) -> FloatArray:
        kept = job.cache.read(space, list(dict.fromkeys(keys[some])))
        return np.stack(
            [refused[key] if key in refused else np.frombuffer(kept[key], np.float32) for key in keys[some]]
        )

    return rows


def _checked_scores(expert: Expert, returned: Any, questions: int, documents: int) -> FloatArray:
    """Return what an expert's own `score` returned, float32 `[questions, documents]`.

    Raises:
        PluginError: a wrong shape or type.
    """
    values = as_float32(expert, returned)
    if values.shape != (questions, documents):
        raise PluginError(
            f"score returned an array of shape {values.shape}, expected {(questions, documents)}",
            place=f"expert {expert.name}",
            hint=REPAIR,
        )
    return values


def _unknown(cache: ItemCache, space: str, keys: list[str]) -> list[str]:
    known = cache.read(space, keys)
    return [key for key in keys if key not in known]


def _plug_in(spec: PluginSpec, source: models.ModelSource | None) -> str:
    """Pick the plug-in where a spec names none; folders and hubs hold models for sentence-transformers."""
    entry = source.entry if source is not None else None
    writes = source is not None and source.location.endswith(".gguf")
    refuse_role("experts", spec, able=not writes and (entry is None or bool(entry.expert)))
    return entry.expert if source is not None and source.packaged and entry is not None else "sentence_transformer"
