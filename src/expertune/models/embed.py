"""Embed texts: each distinct text once, remembered between calls; refuse what is no vector. Knows no stage."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from expertune.errors import PluginError
from expertune.models.cache import ItemCache, MemoryCache
from expertune.records import FloatArray, Progress, Report, ignore_progress

if TYPE_CHECKING:
    from expertune.models.plugins import EmbeddingExpert, Expert

REPAIR = "Repair the plug-in, or remove it from score.experts."
_EXCERPT = 60

CHUNK = 256
"""Texts embedded between two writes to the cache, unless the expert says otherwise: what a killed run loses at most."""


class Encoder(Protocol):
    """Turn texts into vectors whose dot product is the similarity. Caching is the encoder's own business."""

    name: str

    def encode_queries(self, texts: Sequence[str]) -> FloatArray:
        """Return float32 `[len(texts), dimension]`; rows of unit length (zero: nothing known)."""
        ...

    def encode_documents(self, texts: Sequence[str]) -> FloatArray:
        """Return float32 `[len(texts), dimension]`; rows of unit length (zero: nothing known)."""
        ...


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
        cache: Where vectors are kept, unless the expert has no fingerprint; written chunk by chunk.
        report: Told after every chunk; counts distinct texts.
        stage: The name under which progress is told.

    Raises:
        PluginError: a wrong shape or type, or a vector that is not finite.
    """
    cache = cache if cache is not None and expert.fingerprint else MemoryCache()
    space = vector_space(expert, is_query=is_query)
    keys = [text_key(text) for text in texts]
    distinct = dict(zip(keys, texts, strict=True))
    row = {key: index for index, key in enumerate(distinct)}
    vectors = np.zeros((0, 0), dtype=np.float32)
    missing: list[str] = []
    for some in chunks(list(distinct), CHUNK):
        known = cache.read(space, some)
        vectors = _put(expert, vectors, {row[key]: np.frombuffer(known[key], np.float32) for key in known}, len(row))
        missing.extend(key for key in some if key not in known)
    done = len(row) - len(missing)
    report(Progress(stage, done, len(row), expert.name))
    # Longest first: padding is smallest, and memory that does not suffice shows at once.
    missing.sort(key=lambda key: len(distinct[key]), reverse=True)
    parts = list(chunks(missing, expert.chunk))
    asked = ([distinct[key] for key in some] for some in parts)
    for some, returned in zip(parts, expert.each("embed", asked, is_query=is_query), strict=True):
        made = checked_vectors(expert, [distinct[key] for key in some], returned)
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


def vector_space(expert: EmbeddingExpert, *, is_query: bool) -> str:
    """Return the cache's name for an expert's vectors: a text's two roles share them only where the expert says so."""
    return f"{expert.fingerprint}|{'both' if expert.symmetric else 'query' if is_query else 'document'}"


def chunks(keys: list[str], size: int) -> Iterator[list[str]]:
    """Yield the keys, `size` at a time."""
    for start in range(0, len(keys), size):
        yield keys[start : start + size]


def text_key(text: str) -> str:
    """Return the SHA-256 (hex) under which a text is remembered."""
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


def checked_vectors(expert: EmbeddingExpert, texts: Sequence[str], returned: Any) -> FloatArray:
    """Return what an expert's `embed` returned for texts, float32 `[len(texts), dimension]`, as one block of memory.

    Raises:
        PluginError: a wrong shape or type, or a vector that is not finite.
    """
    vectors = as_float32(expert, returned)
    if vectors.ndim != 2 or vectors.shape[0] != len(texts) or vectors.shape[1] == 0:
        raise PluginError(
            f"embed returned an array of shape {vectors.shape} for {len(texts)} texts",
            place=f"expert {expert.name}",
            hint="Expected [number of texts, dimension].",
        )
    wrong = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if wrong.size:
        raise PluginError(
            f"the vector of {quoted(texts[wrong[0]])} is not finite ({wrong.size} of {len(texts)} texts)",
            place=f"expert {expert.name}",
            hint="Remove this expert from score.experts, or repair its model.",
        )
    return np.ascontiguousarray(vectors)


def as_float32(expert: Expert, returned: Any) -> FloatArray:
    """Return an array of any float type as float32.

    Raises:
        PluginError: it is no array, or not of floats.
    """
    if not isinstance(returned, np.ndarray) or not np.issubdtype(returned.dtype, np.floating):
        what = f"an array of {returned.dtype}" if isinstance(returned, np.ndarray) else type(returned).__name__
        message = f"returned {what}, expected an array of float32"
        raise PluginError(message, place=f"expert {expert.name}", hint=REPAIR)
    # A value too large for float32 becomes infinite here and is refused by the checks that follow.
    with np.errstate(over="ignore"):
        return returned.astype(np.float32, copy=False)


def quoted(text: str) -> str:
    """Return the beginning of a text in quotes, for messages."""
    return repr(text if len(text) <= _EXCERPT else f"{text[:_EXCERPT]}...")
