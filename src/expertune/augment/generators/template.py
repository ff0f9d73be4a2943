"""Vary the user's own question, or the answer's first sentence, by rule. Knows no model and downloads nothing."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from expertune.augment.generators import base
from expertune.augment.spans import content_words
from expertune.errors import ConfigError
from expertune.models import ModelSource, plugins
from expertune.models.plugins import Generator, Request

_PLUG_IN = "template"
_VERSION = 1
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_FIRST_SENTENCE = re.compile(r"[.!?](?:\s|$)")
_POLITE = ("Could you tell me: {}", "I would like to know: {}", "Please help: {}", "Quick question: {}", "Hi, {}")
_ASKING = ("What about {}?", "Tell me about {}", "Do you have information on {}?", "Question about {}")
_NEEDING = ("I need help with {}.", "I don't understand {}.", "I am looking for {}.", "My question is about {}.")
_STORIES = (
    "Hello, I have been looking for an answer for a while. It is about {}. {}",
    "Hi there, I am writing to you because of {}. {} Thank you!",
)
_VOWELS = frozenset("aeiou")


class TemplateGenerator(Generator):
    """Write variations by rule: slips of the finger, keywords, polite wrappings, other word orders."""

    def __init__(self, model: ModelSource | None = None, **options: Any) -> None:
        if model is not None:
            raise ConfigError([f"the plug-in '{_PLUG_IN}' takes no model, got '{model.name}'"], hint="Remove `model`.")
        plugins.read_options(plugins.Options, options, plug_in=_PLUG_IN)
        self.name = _PLUG_IN
        self.batch_size = 256
        self.fingerprint = plugins.fingerprint(_PLUG_IN, _VERSION, None, {})

    def generate(self, requests: Sequence[Request], *, seed: int) -> list[str]:
        """Return one text per request, in order; "" where the request has no words to vary."""
        return [_vary(request, base.request_seed(request, seed)) for request in requests]


def slips(text: str, seed: int) -> str:
    """Return the text with one slip of the finger, two in a long text; words of up to three letters are spared.

    A slip swaps two neighbouring letters, drops one, doubles one, or leaves out a vowel.
    """
    draw = random.Random(seed)
    words = [match for match in _WORD.finditer(text) if len(match.group()) > 3 and match.group().isalpha()]
    if not words:
        return text
    for match in sorted(draw.sample(words, min(len(words), 1 + len(words) // 8)), key=lambda match: -match.start()):
        text = text[: match.start()] + _slip(match.group(), draw) + text[match.end() :]
    return text


def _slip(word: str, draw: random.Random) -> str:
    # The first letter is seldom wrong, and a word is still read by it.
    at = draw.randrange(1, len(word) - 1)
    vowels = [index for index in range(1, len(word)) if word[index].lower() in _VOWELS]
    made = [
        word[:at] + word[at + 1] + word[at] + word[at + 2 :],
        word[:at] + word[at + 1 :],
        word[:at] + word[at] + word[at:],
    ]
    if vowels:
        vowel = draw.choice(vowels)
        made.append(word[:vowel] + word[vowel + 1 :])
    # Swapping two equal letters changes nothing.
    return draw.choice([candidate for candidate in made if candidate != word])


def _vary(request: Request, seed: int) -> str:
    sentence = request.question.strip() or _FIRST_SENTENCE.split(request.document.strip(), maxsplit=1)[0]
    words = content_words(sentence) or content_words(request.document)
    if not words:
        return ""
    draw = random.Random(seed)
    return _RULES[request.kind](sentence, words, draw)


def _some(words: Sequence[str], most: int, draw: random.Random) -> str:
    """Return up to `most` of the words, in their order."""
    chosen = sorted(draw.sample(range(len(words)), min(most, len(words))))
    return " ".join(words[index] for index in chosen)


def _shuffled(words: Sequence[str], draw: random.Random) -> str:
    return " ".join(draw.sample(list(words[:6]), len(words[:6])))


def _fill(templates: Sequence[str], draw: random.Random, *parts: str) -> str:
    return draw.choice(templates).format(*parts)


_RULES: Mapping[str, Callable[[str, Sequence[str], random.Random], str]] = {
    "question": lambda _, words, draw: _fill(_ASKING, draw, _some(words, 5, draw)),
    "rephrase": lambda sentence, _, draw: _fill(_POLITE, draw, sentence),
    "keyword": lambda _, words, draw: _some(words, draw.randint(2, 4), draw),
    "short": lambda _, words, draw: f"{_some(words, 2, draw)}?",
    "story": lambda sentence, words, draw: _fill(_STORIES, draw, _some(words, 3, draw), sentence),
    "indirect": lambda _, words, draw: _fill(_NEEDING, draw, _some(words, 3, draw)),
    "typo": lambda sentence, _, draw: slips(sentence, draw.getrandbits(32)),
    "vocabulary": lambda _, words, draw: _shuffled(words, draw),
    "claim": lambda sentence, _, __: sentence,
    "title": lambda _, words, draw: _some(words, 5, draw).capitalize(),
}
