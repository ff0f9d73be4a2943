"""Prompt texts for each kind of question. Knows no model: only what a small base model continues well.

Every frame ends in an opening quote, which a model that follows no instructions closes again. A frame comes with
beginnings, so that several questions for one answer differ without any chance being involved. `{text}` stands for
the answer, `{question}` for the labelled question. Worded for answers in any domain.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from expertune.augment.generators.base import number
from expertune.data.wording import normalise
from expertune.models.plugins import Request

# What the plain prompt holds in place of the answer: says as little as a text can.
PLACEHOLDER = "Here you will find more information about this topic."
_PLACEHOLDER_QUESTION = "Do you have more information about this topic?"
_MOST_WORDS = 120
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[\"'(]?[A-Z0-9])")


@dataclass(frozen=True, slots=True)
class Frame:
    """A prompt that ends in an opening quote, and how what follows may begin."""

    text: str
    starts: tuple[str, ...] = ("",)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one kind of question is written.

    Args:
        frames: Its frames, which take turns.
        longest: Most tokens to write.
        ends: Signs that end it, besides quotes and line breaks; they are kept.
        sentences: Most of them.
    """

    frames: tuple[Frame, ...]
    longest: int = 28
    ends: str = "?"
    sentences: int = 1


@dataclass(frozen=True, slots=True)
class Filled:
    """A frame with its beginning, to be continued.

    Args:
        text: With the answer in it.
        plain: With a placeholder in its place.
        start: What both end in: how the question begins.
        longest: Most tokens to write.
        sampled: Whether to sample, because all other ways to ask are used up.
    """

    text: str
    plain: str
    start: str
    longest: int
    sampled: bool


_FAQ = 'Frequently asked questions\n\nAnswer: {text}\n\nThe question to this answer is: "'
_HELP = (
    "Here is a help text of a web site:\n{text}\n\n"
    'A user asked a question and got this text as the answer. The question was: "'
)
_CHAT = 'The agent answered: {text}\n\nBefore that, the customer had asked: "'
_CASE = 'The agent answered: {text}\n\nBefore that, the customer had explained the problem: "'
_REPHRASED = 'Question: "{question}"\nAnswer: {text}\n\nAnother user asked the same question in other words: "'
_ALSO = 'Frequently asked questions\n\nAnswer: {text}\n\nUsers ask "{question}" or, which means the same, "'

_TEXTS = (
    "Open the settings page, choose Security and press Reset. We send you a link that is valid for an hour.",
    "The museum is open from 10 to 18 on weekdays and until 20 on Saturdays. On Mondays it stays closed.",
    "Wash the jacket at 30 degrees with a liquid detergent and let it dry in the air. Never use a tumble dryer.",
)
# What is shown for each of the texts, under the label that stands before it.
_EXAMPLES: Mapping[str, tuple[str, str, str]] = {
    "Search words": ("reset password link", "museum opening hours", "wash jacket detergent"),
    "Search": ("forgot password", "museum closed monday", "jacket washing temperature"),
    "Keywords": ("password reset", "museum visit saturday", "jacket care"),
}
# A model that has nothing to say repeats an example, or words of the frame.
FRAME_WORDS = ("the agent", "help text", "help desk", "web site", "search words")
EXAMPLES = frozenset(normalise(example) for examples in _EXAMPLES.values() for example in examples)


def _shown(label: str) -> Frame:
    """Return a frame that shows by example what is wanted."""
    pairs = zip(_TEXTS, _EXAMPLES[label], strict=True)
    shown = "".join(f'Text: {text}\n{label}: "{example}"\n\n' for text, example in pairs)
    return Frame(f'{shown}Text: {{text}}\n{label}: "')


_QUESTION = Recipe(
    (
        Frame(_FAQ, ("How do I", "Can I", "What", "Do you", "Is", "Where", "When", "How", "Which", "Why")),
        Frame(_HELP, ("How", "Is there", "What is", "Can", "Where can I", "I want to", "Are", "What if")),
        Frame(_CHAT, ("What", "How can I", "Could you", "I would like to", "Do I", "Can you")),
    )
)

RECIPES: Mapping[str, Recipe] = {
    "question": _QUESTION,
    "rephrase": Recipe(
        (
            Frame(_REPHRASED, ("How", "Can", "Is", "I", "What", "Do")),
            Frame(_ALSO, ("Can I", "How do I", "Is there", "I want", "Where", "Does")),
        ),
    ),
    "keyword": Recipe(
        (
            _shown("Search words"),
            _shown("Search"),
            _shown("Keywords"),
        ),
        longest=10,
        ends="?.,;:",
    ),
    "short": Recipe(
        (
            Frame("The agent answered: {text}\n\nThe subject of the customer's e-mail was: \""),
            Frame(_CHAT, ("Need", "Any", "Is", "Can", "Want", "How", "What")),
        ),
        longest=14,
        ends="?.",
    ),
    "indirect": Recipe(
        (
            Frame(_CASE, ("I", "My", "I have", "I want", "I am", "I tried to")),
            Frame(_CHAT, ("I", "My", "I need", "I am not sure how", "I can't", "I would like")),
        ),
        sentences=2,
        longest=36,
    ),
    "vocabulary": Recipe(
        (
            Frame(_FAQ, ("Can I", "How", "Do you", "What", "Is", "Where")),
            Frame(_CHAT, ("Is there", "How", "I", "Can", "What", "My")),
        ),
    ),
}


_KIND_ORDER = tuple(RECIPES)
FINGERPRINT = number(RECIPES, PLACEHOLDER, FRAME_WORDS)
"""Changes whenever what a model reads does."""


def echoes(text: str, request: Request) -> bool:
    """Whether a text repeats an example, or words of a frame that neither answer nor question has."""
    lowered, known = text.lower(), f"{request.document} {request.question}".lower()
    return normalise(text) in EXAMPLES or any(words in lowered and words not in known for words in FRAME_WORDS)


def finished(text: str, request: Request, *, ended: bool) -> str:
    """Return what may stay of a continuation: whole sentences, as many as the kind has; "" if it only echoes.

    Args:
        text: The continuation with its start.
        request: What it was written for.
        ended: Whether it came to an end by itself; else only what stands before its last sentence is whole.
    """
    recipe = recipe_for(request)
    end = min((text.find(sign) for sign in recipe.ends if sign in text), default=-1)
    if end >= 0:
        text, ended = text[: end + 1], True
    sentences = _SENTENCE_END.split(text)
    if not ended:
        sentences = sentences[:-1]
    whole = " ".join(sentences[: recipe.sentences]).rstrip(" ,;:")
    return "" if echoes(whole, request) else whole


def choices(recipe: Recipe) -> tuple[tuple[Frame, str], ...]:
    """Return every frame with every beginning, the frames taking turns."""
    most = max(len(frame.starts) for frame in recipe.frames)
    return tuple(
        (frame, frame.starts[turn]) for turn in range(most) for frame in recipe.frames if turn < len(frame.starts)
    )


def fill(request: Request) -> Filled:
    """Return what to continue for a request.

    Attempts go through the frames and their beginnings first, always with the best token; only what is asked
    beyond that is sampled.
    """
    recipe = recipe_for(request)
    ways = choices(recipe)
    # Answers begin at different places, so that not every answer of a small plan is asked for with "How do I"; kinds
    # that share frames begin apart.
    first = number(request.document) + _KIND_ORDER.index(request.kind) * len(ways) // len(_KIND_ORDER)
    frame, start = ways[(first + request.attempt) % len(ways)]
    text = " ".join(request.document.split()[:_MOST_WORDS])
    return Filled(
        text=frame.text.format(text=text, question=request.question) + start,
        plain=frame.text.format(text=PLACEHOLDER, question=_PLACEHOLDER_QUESTION) + start,
        start=start,
        longest=recipe.longest,
        sampled=request.attempt >= len(ways),
    )


def recipe_for(request: Request) -> Recipe:
    """Return the recipe of the request's kind; without a question of the user there is nothing to rephrase."""
    kind = "question" if request.kind == "rephrase" and not request.question else request.kind
    return RECIPES[kind]
