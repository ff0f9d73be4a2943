"""Score every question against every document with every expert. Does not merge experts.

Vectors, and the rows of experts that say so, are kept one by one in the item cache, so a killed run goes on where it
was and a panel with one more expert embeds for that expert only.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from expertune import models
from expertune.candidates import pick
from expertune.config import PluginSpec, ScoreSection
from expertune.errors import ConfigError, PluginError
from expertune.plugins import all_used, log_used, make_all
from expertune.records import (
    Dataset,
    FloatArray,
    ItemCache,
    MemoryCache,
    Progress,
    Questions,
    Report,
    Scores,
    ignore_progress,
)

# Texts embedded between two writes to the cache, unless the expert says otherwise: what a killed run loses at most.
_CHUNK = 256
# Rows of a cosine block: bounds the temporary arrays on large corpora.
_ROWS = 1024
# Scores of all experts held at a time while candidates are picked.
_BLOCK_BYTES = 64 << 20
_EXCERPT = 60
_REPAIR = "Repair the plug-in, or remove it from score.experts."


@runtime_checkable
class Expert(Protocol):
    """Judge pairs of question and document.

    An expert is made by its class's constructor as `Class(model: ModelSource | None, **options)`.

    It may also have an attribute `used`, one line that says what it has used up, such as tokens, for the log; and
    `chunk`, a number of questions: they are then scored in parts of that size, and the rows of each part are kept. For
    that, the scores of a question must not depend on the other questions.
    """

    name: str
    fingerprint: str

    def score(self, questions: Sequence[str], documents: Sequence[str]) -> FloatArray:
        """Return float32 `[len(questions), len(documents)]`; higher is better; NaN where not scored."""
        ...


@runtime_checkable
class EmbeddingExpert(Expert, Protocol):
    """An expert that scores by the cosine of vectors; the stage embeds each distinct text once and keeps it.

    It may also have an attribute `symmetric`: True if a text has one vector, whichever role it plays. The
    stage then embeds a text that is both question and document once. Its `chunk` is a number of texts to embed at once.
    """

    def embed(self, texts: Sequence[str], *, is_query: bool) -> FloatArray:
        """Return float32 `[len(texts), dimension]`, rows of unit length."""
        ...


def load_experts(specs: Sequence[PluginSpec], *, offline: bool) -> tuple[Expert, ...]:
    """Make the panel: find each expert's model and plug-in. Labels that occur twice are numbered.

    Raises:
        ModelUnavailableError: one error for all models of the panel that cannot be found.
        UntrustedModelError: a model's files are refused.
        ConfigError: an unknown plug-in, or options it does not take.
    """
    made = make_all("experts", specs, place="score.experts", pick=_plug_in, offline=offline)
    for plug_in, expert in made:
        if not isinstance(expert, Expert):
            raise PluginError("it has no name, fingerprint and score", place=f"plug-in {plug_in}")
    return tuple(expert for _, expert in made)


def score(
    dataset: Dataset,
    questions: Questions,
    experts: Sequence[Expert],
    *,
    section: ScoreSection | None = None,
    cache: ItemCache | None = None,
    report: Report = ignore_progress,
) -> Scores:
    """Return what each expert thinks of each pair of question and document.

    Above `section.full_matrix` documents, the whole matrix lies in a temporary file and only candidates are returned.

    Args:
        dataset: Its documents are the columns.
        questions: They are the rows.
        experts: The panel; names must differ.
        section: What counts as a large corpus, and how many candidates a question has there; None: the defaults.
        cache: Where vectors of embedding experts are kept.
        report: Told about every few hundred texts.

    Raises:
        PluginError: an expert returned a wrong shape or type, infinities, or nothing but NaN.
    """
    section = section or ScoreSection()
    if of_candidates(dataset, section) and questions.items:
        with tempfile.TemporaryFile() as file:
            shape = (len(experts), len(questions.items), len(dataset.documents))
            stored: FloatArray = np.memmap(file, dtype=np.float32, mode="w+", shape=shape)
            whole = _score_all(dataset, questions, experts, stored.transpose(1, 2, 0), cache, report)
            return _candidates(whole, dataset, questions, section)
    values = np.zeros((len(questions.items), len(dataset.documents), len(experts)), dtype=np.float32)
    return _score_all(dataset, questions, experts, values, cache, report)


def of_candidates(dataset: Dataset, section: ScoreSection) -> bool:
    """Whether the corpus is so large that questions are judged against candidates only."""
    return len(dataset.documents) > section.full_matrix


def _candidates(whole: Scores, dataset: Dataset, questions: Questions, section: ScoreSection) -> Scores:
    """Keep the candidates of every question."""
    column = {document.id: index for index, document in enumerate(dataset.documents)}
    positives = [[column[document_id] for document_id in question.document_ids] for question in questions.items]
    most = max(len(own) for own in positives)
    count = min(max(section.candidates, 2 * most, 2 * len(whole.experts)), len(dataset.documents))
    generator = np.random.default_rng(0)
    columns = np.zeros((len(positives), count), dtype=np.int64)
    values = np.zeros((len(positives), count, len(whole.experts)), dtype=np.float32)
    step = max(1, _BLOCK_BYTES // (4 * len(dataset.documents) * len(whole.experts)))
    for start in range(0, len(positives), step):
        some = slice(start, start + step)
        block = np.array(whole.values[some])
        columns[some] = pick(block, positives[some], count, generator)
        values[some] = np.take_along_axis(block, columns[some][:, :, None], axis=1)
    return Scores(whole.experts, values, whole.seconds, columns, whole.used)


def _score_all(
    dataset: Dataset,
    questions: Questions,
    experts: Sequence[Expert],
    values: FloatArray,
    cache: ItemCache | None,
    report: Report,
) -> Scores:
    """Fill `values` `[Q, D, K]`."""
    cache = cache if cache is not None else MemoryCache()
    asked = [question.text for question in questions.items]
    answers = [document.text for document in dataset.documents]
    seconds = []
    for index, expert in enumerate(experts):
        start = time.perf_counter()
        report(Progress("score", index, len(experts), expert.name))
        if asked and answers:
            try:
                _score_one(expert, asked, answers, values[:, :, index], cache, report)
            finally:
                log_used(expert)
            _check_scores(expert, values[:, :, index], asked, dataset)
        seconds.append(time.perf_counter() - start)
    report(Progress("score", len(experts), len(experts)))
    return Scores(tuple(expert.name for expert in experts), values, tuple(seconds), used=all_used(experts))


def embed_texts(
    expert: EmbeddingExpert,
    texts: Sequence[str],
    *,
    is_query: bool,
    cache: ItemCache | None = None,
    report: Report = ignore_progress,
    stage: str = "embed",
) -> FloatArray:
    """Return float32 `[len(texts), dimension]`, embedding each distinct text that the cache lacks once.

    Besides the result, memory holds one chunk of texts' vectors at a time.

    Args:
        expert: Who embeds.
        texts: In any order; repeats are embedded once.
        is_query: The role, which picks the expert's prompt or encoder.
        cache: Where vectors are kept; written chunk by chunk.
        report: Told after every chunk; counts distinct texts.
        stage: The name under which progress is told.

    Raises:
        PluginError: a wrong shape or type, or a vector that is not finite.
    """
    cache = cache if cache is not None else MemoryCache()
    space = _space(expert, is_query=is_query)
    keys = [_key(text) for text in texts]
    distinct = dict(zip(keys, texts, strict=True))
    row = {key: index for index, key in enumerate(distinct)}
    vectors = np.zeros((0, 0), dtype=np.float32)
    missing: list[str] = []
    for some in _chunks(list(distinct), _CHUNK):
        known = cache.read(space, some)
        vectors = _put(expert, vectors, {row[key]: np.frombuffer(known[key], np.float32) for key in known}, len(row))
        missing.extend(key for key in some if key not in known)
    done = len(row) - len(missing)
    report(Progress(stage, done, len(row), expert.name))
    # Longest first: padding is smallest, and memory that does not suffice shows at once.
    missing.sort(key=lambda key: len(distinct[key]), reverse=True)
    for some in _chunks(missing, getattr(expert, "chunk", _CHUNK)):
        made = _embed_checked(expert, [distinct[key] for key in some], is_query=is_query)
        cache.write(space, {key: vector.tobytes() for key, vector in zip(some, made, strict=True)})
        vectors = _put(expert, vectors, {row[key]: vector for key, vector in zip(some, made, strict=True)}, len(row))
        done += len(some)
        report(Progress(stage, done, len(row), expert.name))
    return vectors if len(row) == len(keys) else vectors[[row[key] for key in keys]]


def unit_rows(vectors: FloatArray) -> FloatArray:
    """Return `[n, dimension]` with rows scaled to unit length; a zero row stays zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: FloatArray = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    return scaled


def cosine(questions: FloatArray, documents: FloatArray) -> FloatArray:
    """Return the cosines `[Q, D]` in [-1, 1] of two sets of vectors; 0 where either is a zero vector."""
    values: FloatArray = np.clip(unit_rows(questions) @ unit_rows(documents).T, -1.0, 1.0)
    return values


def _space(expert: EmbeddingExpert, *, is_query: bool) -> str:
    """Name whose vectors these are: a text's two roles share them only where the expert says so."""
    if getattr(expert, "symmetric", False):
        return f"{expert.fingerprint}|both"
    return f"{expert.fingerprint}|{'query' if is_query else 'document'}"


def _chunks(keys: list[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(keys), size):
        yield keys[start : start + size]


def _key(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _put(expert: Expert, vectors: FloatArray, rows: dict[int, FloatArray], count: int) -> FloatArray:
    """Write rows into the result, which is made when the first vector shows the dimension."""
    for index, vector in rows.items():
        if not vectors.size:
            vectors = np.zeros((count, vector.shape[0]), dtype=np.float32)
        if vector.shape[0] != vectors.shape[1]:
            raise PluginError(
                f"vectors of {vectors.shape[1]} and of {vector.shape[0]} dimensions came for one model",
                place=f"expert {expert.name}",
                hint="A plug-in that changes must change its fingerprint.",
            )
        vectors[index] = vector
    return vectors


def _embed_checked(expert: EmbeddingExpert, texts: list[str], *, is_query: bool) -> FloatArray:
    made = _as_float(expert, expert.embed(texts, is_query=is_query))
    if made.ndim != 2 or made.shape[0] != len(texts) or made.shape[1] == 0:
        raise PluginError(
            f"embed returned an array of shape {made.shape} for {len(texts)} texts",
            place=f"expert {expert.name}",
            hint="Expected [number of texts, dimension].",
        )
    wrong = np.flatnonzero(~np.isfinite(made).all(axis=1))
    if wrong.size:
        raise PluginError(
            f"the vector of {_excerpt(texts[wrong[0]])} is not finite ({wrong.size} of {len(texts)} texts)",
            place=f"expert {expert.name}",
            hint="Remove this expert from score.experts, or repair its model.",
        )
    return np.ascontiguousarray(made)


def _as_float(expert: Expert, returned: Any) -> FloatArray:
    if not isinstance(returned, np.ndarray) or not np.issubdtype(returned.dtype, np.floating):
        what = f"an array of {returned.dtype}" if isinstance(returned, np.ndarray) else type(returned).__name__
        message = f"returned {what}, expected an array of float32"
        raise PluginError(message, place=f"expert {expert.name}", hint=_REPAIR)
    # A value too large for float32 becomes infinite here and is refused by the checks that follow.
    with np.errstate(over="ignore"):
        return returned.astype(np.float32, copy=False)


def _score_one(
    expert: Expert,
    questions: list[str],
    documents: list[str],
    target: FloatArray,
    cache: ItemCache,
    report: Report,
) -> None:
    """Fill `target` `[Q, D]` with one expert's scores."""
    if not isinstance(expert, EmbeddingExpert):
        if hasattr(expert, "chunk"):
            _score_in_parts(expert, questions, documents, target, cache, report)
        else:
            target[:] = _scored(expert, questions, documents)
        return
    left = embed_texts(expert, questions, is_query=True, cache=cache, report=report)
    right = embed_texts(expert, documents, is_query=False, cache=cache, report=report)
    if left.shape[1] != right.shape[1]:
        raise PluginError(
            f"question vectors have {left.shape[1]} dimensions, document vectors {right.shape[1]}",
            place=f"expert {expert.name}",
            hint=_REPAIR,
        )
    for start in range(0, len(left), _ROWS):
        target[start : start + _ROWS] = cosine(left[start : start + _ROWS], right)


def _score_in_parts(
    expert: Any, questions: list[str], documents: list[str], target: FloatArray, cache: ItemCache, report: Report
) -> None:
    """Fill `target` part by part; the row of a question is kept under its text, for these documents in this order."""
    corpus = hashlib.sha256("".join(map(_key, documents)).encode("ascii")).hexdigest()
    space = f"{expert.fingerprint}|{corpus}"
    distinct = {_key(question): question for question in questions}
    rows = {key: np.frombuffer(row, np.float32) for key, row in cache.read(space, list(distinct)).items()}
    report(Progress("score pairs", len(rows), len(distinct), expert.name))
    for some in _chunks([key for key in distinct if key not in rows], expert.chunk):
        made = np.ascontiguousarray(_scored(expert, [distinct[key] for key in some], documents))
        # An infinite row is refused later; kept, it would be refused even from a repaired expert.
        kept = {key: row.tobytes() for key, row in zip(some, made, strict=True) if not np.isinf(row).any()}
        cache.write(space, kept)
        rows.update(zip(some, made, strict=True))
        report(Progress("score pairs", len(rows), len(distinct), expert.name))
    for index, question in enumerate(questions):
        target[index] = rows[_key(question)]


def _scored(expert: Expert, questions: list[str], documents: list[str]) -> FloatArray:
    """Return what the expert's own `score` returns, once its shape and type are checked."""
    returned = _as_float(expert, expert.score(questions, documents))
    if returned.shape != (len(questions), len(documents)):
        raise PluginError(
            f"score returned an array of shape {returned.shape}, expected {(len(questions), len(documents))}",
            place=f"expert {expert.name}",
            hint=_REPAIR,
        )
    return returned


def _check_scores(expert: Expert, values: FloatArray, questions: list[str], dataset: Dataset) -> None:
    if np.isnan(values).all():
        row, column, what = 0, 0, "NaN, and so is every other one"
    else:
        infinite = np.argwhere(np.isinf(values))
        if not infinite.size:
            return
        row, column = (int(part) for part in infinite[0])
        what = "infinite"
    document = dataset.documents[column].id
    raise PluginError(
        f"the score of question {_excerpt(questions[row])} and document '{document}' is {what}",
        place=f"expert {expert.name}",
        hint="Remove this expert from score.experts, or repair its model.",
    )


def _excerpt(text: str) -> str:
    return repr(text if len(text) <= _EXCERPT else f"{text[:_EXCERPT]}...")


def _plug_in(spec: PluginSpec, source: models.ModelSource | None) -> str:
    """Pick the plug-in where a spec names none; folders and hubs hold models for sentence-transformers."""
    entry = source.entry if source is not None else None
    writes = source is not None and source.location.endswith(".gguf")
    if writes or (entry is not None and not entry.expert):
        raise ConfigError(
            [f"the model '{spec.model}' writes questions, it cannot score them"],
            place="score.experts",
            hint="Name it under augment.generators.",
        )
    return entry.expert if source is not None and source.packaged and entry is not None else "sentence_transformer"
