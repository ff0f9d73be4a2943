"""What an expert is, and what is refused of what it returns. Loads no expert and calls none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from expertune.errors import PluginError
from expertune.records import FloatArray

REPAIR = "Repair the plug-in, or remove it from score.experts."
_EXCERPT = 60


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

    An expert that decides by the texts how to compute has `settle(questions, documents, cache)`, called before its
    vectors are asked for, `settled`, which its copies in other processes are given, and `vector_fingerprint`, under
    which its vectors are then kept.
    """

    def embed(self, texts: Sequence[str], *, is_query: bool) -> FloatArray:
        """Return float32 `[len(texts), dimension]`, rows of unit length."""
        ...


@runtime_checkable
class IndexingExpert(Expert, Protocol):
    """An expert that looks at the documents once and then scores questions, however many at a time.

    The scores of a question must not depend on the other questions.
    """

    def index(self, documents: Sequence[str]) -> Callable[[Sequence[str]], FloatArray]:
        """Return what scores questions against these documents, as `score` does."""
        ...


def checked_vectors(expert: EmbeddingExpert, texts: Sequence[str], returned: Any) -> FloatArray:
    """Return what an expert's `embed` returned for texts, float32 `[len(texts), dimension]`, as one block of memory.

    Raises:
        PluginError: a wrong shape or type, or a vector that is not finite.
    """
    made = _as_float(expert, returned)
    if made.ndim != 2 or made.shape[0] != len(texts) or made.shape[1] == 0:
        raise PluginError(
            f"embed returned an array of shape {made.shape} for {len(texts)} texts",
            place=f"expert {expert.name}",
            hint="Expected [number of texts, dimension].",
        )
    wrong = np.flatnonzero(~np.isfinite(made).all(axis=1))
    if wrong.size:
        raise PluginError(
            f"the vector of {excerpt(texts[wrong[0]])} is not finite ({wrong.size} of {len(texts)} texts)",
            place=f"expert {expert.name}",
            hint="Remove this expert from score.experts, or repair its model.",
        )
    return np.ascontiguousarray(made)


def checked_scores(expert: Expert, returned: Any, questions: int, documents: int) -> FloatArray:
    """Return what an expert's own `score` returned, float32 `[questions, documents]`.

    Raises:
        PluginError: a wrong shape or type.
    """
    values = _as_float(expert, returned)
    if values.shape != (questions, documents):
        raise PluginError(
            f"score returned an array of shape {values.shape}, expected {(questions, documents)}",
            place=f"expert {expert.name}",
            hint=REPAIR,
        )
    return values


def _as_float(expert: Expert, returned: Any) -> FloatArray:
    if not isinstance(returned, np.ndarray) or not np.issubdtype(returned.dtype, np.floating):
        what = f"an array of {returned.dtype}" if isinstance(returned, np.ndarray) else type(returned).__name__
        message = f"returned {what}, expected an array of float32"
        raise PluginError(message, place=f"expert {expert.name}", hint=REPAIR)
    # A value too large for float32 becomes infinite here and is refused by the checks that follow.
    with np.errstate(over="ignore"):
        return returned.astype(np.float32, copy=False)


def excerpt(text: str) -> str:
    """Return the beginning of a text in quotes, for messages."""
    return repr(text if len(text) <= _EXCERPT else f"{text[:_EXCERPT]}...")
