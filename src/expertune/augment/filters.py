"""Decide which texts may be trained on, and count by rule what goes. Knows no generator and no prompt.

Rules that look at words are written for English and lenient elsewhere: in another language they let texts pass.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from expertune.augment.phrases import (
    ANNOUNCED,
    BRACKETED_LABEL,
    FOREIGN_LABEL,
    FOREIGN_PREAMBLE,
    LISTED,
    OPEN_PREAMBLE,
    REFERENCE,
    WRAPPED,
)
from expertune.data.leakage import HeldOut
from expertune.data.wording import normalise, trigrams, visible
from expertune.records import Provenance, Question

_PREAMBLE = re.compile(
    r"^\s*(?:(?:sure|certainly|of course|okay|ok|absolutely|great|natürlich|gerne|klar|bien sûr|claro|por supuesto"
    r"|certo|certamente|zeker|oczywiście)\b[^:\n?]{0,80}?[:!]\s*"
    r"|(?:sure|certainly|of course|absolutely)\b,?[^:\n?.]{0,80}\.\s+(?=.*\?)"
    r"|here(?:'s| is| are)\b[^:\n?]{0,80}:\s*)",
    re.IGNORECASE,
)
_LABEL = re.compile(
    r"^\s*(?:\*\*)?(?:(?:user |customer |rephrased |rewritten |possible |search |short )?"
    r"(?:question|query|rephras(?:ed|ing)|paraphrased?|keywords?|title|claim|output|response|q))"
    r"[\"']?\s*\d*\s*[:.)=-]\s*(?:\*\*)?\s*",
    re.IGNORECASE,
)
_OPENINGS = (_PREAMBLE, FOREIGN_PREAMBLE, ANNOUNCED)
_NUMBERING = re.compile(r"^\s*(?:[-*•]+|#+|\(?\d{1,2}[.)]|[a-d]\))\s+")
_QUOTES = "\"'“”„«»`*_ \t"
_REFUSAL = re.compile(
    r"\bas an? (?:ai|artificial|language model|assistant)\b|\b(?:ai|large|small) language model\b"
    r"|^(?:i'm|i’m|i am|we are) (?:very )?sorry\b|^sorry\b"
    r"|\bi (?:can(?:no|')t|cannot|am unable to|am not able to) (?:assist|fulfil|comply|provide|generate|answer)",
    re.IGNORECASE,
)
_ECHO = re.compile(
    r"\bthe (?:question|answer)(?: to this (?:answer|question))? (?:is|was):?\s*$"
    r"|\b(?:text|answer|question|document|passage|user|assistant)\s*:\s|<\|?\w+\|?>|\{(?:text|question)\}"
    r"|\b(?:write|generate) (?:a|one|the) (?:short )?(?:question|query)\b",
    re.IGNORECASE,
)
# How an answer speaks, not how somebody asks.
_ANSWERING = re.compile(
    r"^(?:yes|no|we|our|you can|you will|you may|you should|you must|your|thank you|thanks|please note|note|let me know"
    r"|feel free|if you)\b",
    re.IGNORECASE,
)
# Scripts without spaces: each character counts as a word.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_]+(?:['’][^\W_]+)*")
_ASKING_KINDS = frozenset({"question", "rephrase", "short", "vocabulary", "indirect"})
_ONE_WORD_KINDS = frozenset({"keyword", "short"})
_MOST_WORDS = 60
# Characters a word: a text of few but endless words is too long as well.
_LONGEST_MEAN_WORD = 30
# Words in a row that a question and its answer may share.
_COPIED_RUN = 8
_COPIED_SHARE = 0.7
# Search words may stand in the answer, and a span (which has no kind) is cut out of it.
_COPYING_KINDS = frozenset({"keyword", ""})
_GENERIC = 3
NEAR_DUPLICATE = 0.95
"""Cosine of character trigrams, in [0, 1], above which two questions for one answer are one."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A text before cleaning, and the answer it was written for or cut out of; a span has no generator and no kind."""

    text: str
    document_id: str
    answer: str
    generator: str = ""
    kind: str = ""


def tidy(text: str) -> str:
    """Strip what surrounds a question: preambles, labels, numbering, quotes, white space.

    Of JSON the question inside counts; else only the first line that is left.
    """
    wrapped = WRAPPED.match(text)
    for line in (wrapped[2] if wrapped else text).splitlines():
        line = LISTED.sub("", line).lstrip("\"' ")
        for pattern in (*_OPENINGS, _NUMBERING, BRACKETED_LABEL, _LABEL, FOREIGN_LABEL, _NUMBERING):
            line = pattern.sub("", line)
        line = " ".join(line.strip(_QUOTES).split())
        if visible(line):
            return line
    return ""


def fault(draft: Draft) -> str:
    """Return the name of the first rule that a tidied draft breaks, or "" if it may stay."""
    text, kind = draft.text, draft.kind
    words = _words(text)
    rules: tuple[tuple[str, Callable[[], bool]], ...] = (
        ("empty", lambda: not visible(text) or not words),
        ("refusal", lambda: bool(_REFUSAL.search(text))),
        ("prompt echo", lambda: bool(_ECHO.search(text))),
        ("preamble", lambda: bool(kind) and bool(OPEN_PREAMBLE.match(text))),
        ("names its text", lambda: bool(kind) and bool(REFERENCE.search(text))),
        ("too short", lambda: len(words) < 2 and kind not in _ONE_WORD_KINDS),
        ("too long", lambda: len(words) > _MOST_WORDS or len(text) > _MOST_WORDS * _LONGEST_MEAN_WORD),
        ("repetition", lambda: len(words) >= 6 and len(set(words)) <= 0.5 * len(words)),
        ("not a question", lambda: kind in _ASKING_KINDS and not text.endswith("?") and bool(_ANSWERING.match(text))),
        ("copied answer", lambda: kind not in _COPYING_KINDS and _copied(words, _words(draft.answer))),
    )
    return next((name for name, breaks in rules if breaks()), "")


def clean(
    drafts: Iterable[Draft],
    labelled: Sequence[Question],
    *,
    held_out: HeldOut,
) -> tuple[tuple[Question, ...], dict[str, int]]:
    """Return the questions that may be trained on, in order of the drafts, and how many each rule removed.

    Args:
        drafts: Raw texts.
        labelled: The labelled questions; a draft that only repeats one is removed.
        held_out: Nothing that nearly repeats one of these is kept.
    """
    removed: Counter[str] = Counter()
    kept: list[Draft] = []
    for draft in drafts:
        draft = replace(draft, text=tidy(draft.text))
        rule = fault(draft)
        if rule:
            removed[rule] += 1
        else:
            kept.append(draft)
    apart, removed["held-out"] = held_out.drop(kept)
    questions = _merge(apart, {normalise(question.text) for question in labelled}, removed)
    return _without_near_duplicates(questions, labelled, removed), dict(removed)


def usable(draft: Draft) -> bool:
    """Whether a raw draft breaks no rule by itself, whatever else there is."""
    return not fault(replace(draft, text=tidy(draft.text)))


# --- rules for one text -----------------------------------------------------------------------------------------------


def _words(text: str) -> list[str]:
    return [match.group().lower() for match in _WORD.finditer(text)]


def _copied(words: Sequence[str], answer: Sequence[str]) -> bool:
    """Whether a text mostly repeats the answer: a long run of its words, or most of its runs of four words."""
    if not words:
        return False
    if len(words) >= _COPIED_RUN and _runs(words, _COPIED_RUN) & _runs(answer, _COPIED_RUN):
        return True
    runs = _runs(words, 4)
    return len(words) >= 6 and len(runs & _runs(answer, 4)) >= _COPIED_SHARE * len(runs)


def _runs(words: Sequence[str], length: int) -> set[tuple[str, ...]]:
    return {tuple(words[start : start + length]) for start in range(len(words) - length + 1)}


# --- rules that compare texts -----------------------------------------------------------------------------------------


def _merge(drafts: Sequence[Draft], labelled: Collection[str], removed: Counter[str]) -> list[Question]:
    """Return one question per distinct wording, leading to one answer or two.

    A wording that was written for three answers or more says nothing of any of them.
    """
    groups: dict[str, list[Draft]] = defaultdict(list)
    for draft in drafts:
        groups[normalise(draft.text)].append(draft)
    questions = []
    for text, group in groups.items():
        answers = tuple(dict.fromkeys(draft.document_id for draft in group))
        if text in labelled:
            removed["duplicate"] += len(group)
        elif len(answers) >= _GENERIC:
            removed["generic"] += len(group)
        else:
            first = group[0]
            provenance = Provenance.SYNTHETIC if first.generator else Provenance.SPAN
            questions.append(Question(first.text, answers, provenance, first.generator, first.kind))
            removed["duplicate"] += len(group) - 1
    return questions


def _without_near_duplicates(
    questions: Sequence[Question], labelled: Sequence[Question], removed: Counter[str]
) -> tuple[Question, ...]:
    """Keep the first of any questions for one answer that are nearly the same; labelled ones come first."""
    by_answer: dict[str, list[int]] = defaultdict(list)
    everything = [*labelled, *questions]
    for index, question in enumerate(everything):
        for document_id in question.document_ids:
            by_answer[document_id].append(index)
    dropped: set[int] = set()
    for indices in by_answer.values():
        if indices[-1] < len(labelled):
            continue
        vectors = trigrams([normalise(everything[index].text) for index in indices])
        similar = (vectors @ vectors.T).toarray() > NEAR_DUPLICATE
        for row, index in enumerate(indices):
            earlier = (column for column in range(row) if indices[column] not in dropped)
            if index >= len(labelled) and any(similar[row, column] for column in earlier):
                dropped.add(index)
    removed["near duplicate"] += len(dropped)
    return tuple(question for index, question in enumerate(questions, len(labelled)) if index not in dropped)


def tally(*counts: Mapping[str, int]) -> dict[str, int]:
    """Add up how many each rule removed; rules that removed nothing are left out."""
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return {rule: number for rule, number in total.items() if number}
