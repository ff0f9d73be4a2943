"""An encoder that looks at first letters only, and a corpus with a hostile answer, for the page of `expertune try`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from expertune.records import Document

HOSTILE = "<script>alert(1)</script> & \"quotes\" 'too'"
DOCUMENTS = tuple(
    Document(f"d{number}", text)
    for number, text in enumerate(["you can return it", HOSTILE, "we ship today", *(f"filler {n}" for n in range(20))])
)


class ByLetter:
    """Put a text where its first letter points to; the tuned one turns every question around."""

    def __init__(self, name: str, *, turn: float = 1.0) -> None:
        self.name = name
        self._turn = turn

    def _vectors(self, texts: Sequence[str], turn: float) -> np.ndarray:
        angles = np.array([turn * ord(text[0]) / 128 for text in texts])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        return self._vectors(texts, self._turn)

    def encode_documents(self, texts: Sequence[str]) -> np.ndarray:
        return self._vectors(texts, 1.0)
