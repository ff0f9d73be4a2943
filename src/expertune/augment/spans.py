"""Cut spans out of answers that serve as search words. Knows no model, no question and no label.

A span is a run of neighbouring words, or some content words of one sentence in their order: what people type who know
a few words of the answer. The panel judges spans like any other question, so a span need not be a good one; what they
give is that the whole corpus is asked about, evenly, at no cost.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Sequence
from functools import cache

_SENTENCE_END = re.compile(r"(?<=[.!?;:。！？])\s*(?=\S)")
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_EDGES = " .,;:!?\"'()[]"
_FULL_EDGES = "。、，！？：；「」（）"
# Scripts that put no blanks between words: Thai, Lao, Burmese, Khmer, Japanese, Chinese.
_BLANKLESS = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]")
# Characters in a run of such a script.
_CHARACTERS = (4, 12)
# Words in a run, and words picked out of a sentence.
_RUN = (3, 8)
_PICKED = (2, 4)
# People seldom use the shift key when they search.
_LOWERED = 0.6
# Draws for each span: a short answer runs out of different ones.
_PATIENCE = 3


def spans(text: str, count: int, *, seed: int) -> tuple[str, ...]:
    """Return up to `count` different spans of a text, in the order they were drawn; fewer where it is short.

    The same text, count and seed give the same spans, and a smaller count the beginning of a larger one.
    """
    if 2 * len(_BLANKLESS.findall(text)) > len(text):
        return _character_spans(text, count, random.Random(_number(seed, text)))
    sentences = [words for words in map(str.split, _SENTENCE_END.split(text)) if len(words) >= _RUN[0]]
    sentences = sentences or [text.split()]
    parts = [(words, [word.strip(_EDGES) for word in words if content_words(word)]) for words in sentences]
    lengths = [len(words) for words in sentences]
    draw = random.Random(_number(seed, text))
    cut: dict[str, None] = {}
    for _ in range(_PATIENCE * count if any(lengths) else 0):
        ((words, meaning),) = draw.choices(parts, lengths)
        span = (_run(words, draw) if draw.random() < 0.5 else _picked(meaning, draw)).strip(_EDGES)
        span = span.lower() if draw.random() < _LOWERED else span
        if span:
            cut.setdefault(span)
        if len(cut) == count:
            break
    return tuple(cut)


def _character_spans(text: str, count: int, draw: random.Random) -> tuple[str, ...]:
    sentences = [sentence for sentence in _SENTENCE_END.split(text) if sentence.strip(_EDGES + _FULL_EDGES)]
    cut: dict[str, None] = {}
    for _ in range(_PATIENCE * count):
        (sentence,) = draw.choices(sentences, list(map(len, sentences)))
        length = draw.randint(*_CHARACTERS)
        start = draw.randrange(max(1, len(sentence) - length + 1))
        span = sentence[start : start + length].strip(_EDGES + _FULL_EDGES)
        if len(span) > 1:
            cut.setdefault(span)
        if len(cut) == count:
            break
    return tuple(cut)


def content_words(text: str) -> list[str]:
    """Return the distinct words that carry the meaning, in order and in lower case; stop words are English ones."""
    words = dict.fromkeys(match.group().lower() for match in _WORD.finditer(text))
    return [word for word in words if word not in _stop_words() and (len(word) > 1 or not word.isascii())]


def _run(words: Sequence[str], draw: random.Random) -> str:
    length = draw.randint(*_RUN)
    start = draw.randrange(max(1, len(words) - length + 1))
    return " ".join(words[start : start + length])


def _picked(meaning: Sequence[str], draw: random.Random) -> str:
    if len(meaning) < _PICKED[0]:
        return ""
    chosen = sorted(draw.sample(range(len(meaning)), min(draw.randint(*_PICKED), len(meaning))))
    return " ".join(meaning[index] for index in chosen)


def _number(*parts: object) -> int:
    return int.from_bytes(hashlib.sha256(repr(parts).encode("utf-8", "surrogatepass")).digest()[:8], "big")


@cache
def _stop_words() -> frozenset[str]:
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    stop_words: frozenset[str] = ENGLISH_STOP_WORDS
    return stop_words | {"don't", "doesn't", "i'm", "it's", "can't", "you're", "please"}
