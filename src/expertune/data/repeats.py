"""Take the labelled questions that an answer repeats out of its text: in a title, in its first words or further on.

Many FAQ exports have the question as the title of its answer. Judged against such a text a question finds itself, and
an expert that does nothing but compare words looks like the best one there is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from expertune.data.expansion import Expansion
from expertune.data.wording import likeness, script_of, trigrams
from expertune.records import Dataset, Document, Question

NEARLY = 0.7
"""Cosine of character trigrams from which a passage is the question again: "How can I" is "How do I" again.

It must end with a question mark or, at the very start, begin with the question's first word, as a title without a mark
does. An answer that says "You can return it" is none: any other passage must be the question word for word (`EXACTLY`).
"""

EXACTLY = 1.0 - 1e-6
"""The same cosine of a passage with the question's own words."""

SHARED_WORDS = 0.5
"""Share of a question's words that a passage must have to be compared at all: what keeps long answers quick."""

_QUESTION_MARKS = ("?", "？", "؟")

_BLANKLESS = ("JAPANESE", "CJK", "THAI", "LAO", "KHMER", "MYANMAR")

_ENDS = (*_QUESTION_MARKS, ".", "!", "…", ":", "。", "！", "：")
"""What ends a sentence or a heading."""

SHORT_WORDS = 4
"""Questions of fewer words, such as "opening hours", also stand within sentences: they are cut only where they stand
alone."""

_SHORT_CHARACTERS = 8
"""The same in scripts without blanks, where a word has about two characters."""

_SLACK = 2
"""Words that a repeated question may have more or less than the question."""


@dataclass(frozen=True, slots=True)
class Repeats:
    """The labelled questions that stand in the text of their own answer, by document id, and the text without them."""

    questions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    stripped: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, dataset: Dataset) -> Repeats:
        """Look for every labelled question in the answers it leads to; an answer that is nothing else stays whole."""
        questions: dict[str, tuple[str, ...]] = {}
        stripped: dict[str, str] = {}
        texts = {document.id: document.text for document in dataset.documents}
        for document_id, labelled in dataset.labelled_questions().items():
            text = texts[document_id]
            for question in labelled:
                left = without(text, question.text)
                if left and left != text:
                    text = left
                    questions[document_id] = (*questions.get(document_id, ()), question.text)
            if document_id in questions:
                stripped[document_id] = text
        return cls(questions, stripped)

    def documents(self, plain: Sequence[Document], known: Iterable[Question] = ()) -> tuple[Document, ...]:
        """Return the documents without what they repeat; where all of it is `known`, a document stays as it is."""
        texts = {question.text for question in known if question.labelled}
        return tuple(
            replace(document, text=self.stripped[document.id])
            if not texts.issuperset(self.questions.get(document.id, ()))
            else document
            for document in plain
        )

    def beside(self, read: Expansion) -> Expansion:
        """Return what the panel reads with what the answers themselves repeat: all that may give a question away."""
        ids = dict.fromkeys((*read.questions, *self.questions))
        return Expansion({key: (*read.questions.get(key, ()), *self.questions.get(key, ())) for key in ids})


def without(text: str, question: str) -> str:
    """Return a text without each passage that (nearly) repeats the question; exactly in scripts without blanks."""
    if script_of([question]) in _BLANKLESS:
        return _exactly_without(text, question)
    words, lines = text.split(), [number for number, line in enumerate(text.splitlines()) for _ in line.split()]
    length = len(question.split())
    while passage := _repeating(words, lines, question, length):
        del words[passage.start : passage.stop], lines[passage.start : passage.stop]
    return " ".join(words) if len(words) < len(text.split()) else text


def _exactly_without(text: str, question: str) -> str:
    if question not in text:
        return text
    if len(question) >= _SHORT_CHARACTERS:
        return text.replace(question, " ").strip()
    marks = re.escape("".join(_ENDS))
    end = "" if question.endswith(_ENDS) else rf"(?=[{marks}\s]|$)"
    return re.sub(rf"(?<![^{marks}\s]){re.escape(question)}{end}", " ", text).strip()


def _repeating(words: Sequence[str], lines: Sequence[int], question: str, length: int) -> range | None:
    """Return the passage that is most surely the question; None where none is."""
    passages = [
        passage
        for passage in _passages(words, question, length)
        if length >= SHORT_WORDS or _stands_alone(words, lines, passage)
    ]
    if not passages:
        return None
    looks = [likeness(" ".join(words[passage.start : passage.stop])) for passage in passages]
    similarities = (trigrams(looks) @ trigrams([likeness(question)]).T).toarray().ravel()
    margins = similarities - [_least(words, question, passage) for passage in passages]
    best = int(margins.argmax())
    return passages[best] if margins[best] >= 0 else None


def _stands_alone(words: Sequence[str], lines: Sequence[int], passage: range) -> bool:
    """Tell whether a passage is a line or a sentence, or a heading at the start: the text goes on with a capital."""
    start, stop = passage.start, passage.stop
    begins = not start or lines[start] != lines[start - 1] or _ends_sentence(words[start - 1])
    ends = stop == len(words) or lines[stop] != lines[stop - 1] or _ends_sentence(words[stop - 1])
    return begins and (ends or (not start and not words[stop][:1].islower()))


def _ends_sentence(word: str) -> bool:
    return word.rstrip("\"'”’»)*_").endswith(_ENDS)


def _least(words: Sequence[str], question: str, passage: range) -> float:
    """Return how like the question a passage must be to be the question."""
    asks = words[passage.stop - 1].endswith(_QUESTION_MARKS)
    title = not passage.start and likeness(words[0]) == likeness(question.split()[0])
    return NEARLY if asks or title else EXACTLY


def _passages(words: Sequence[str], question: str, length: int) -> Iterator[range]:
    """Yield the passages of about the question's length that share enough words with it."""
    asked = set(likeness(question).split())
    shared = [bool(asked.intersection(likeness(word).split())) for word in words]
    for size in range(max(1, length - _SLACK), length + _SLACK + 1):
        for start in range(len(words) - size + 1):
            if sum(shared[start : start + size]) >= SHARED_WORDS * length:
                yield range(start, start + size)
