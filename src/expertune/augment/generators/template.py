"""Vary the labelled question, or the answer's first sentence, by rule. Knows no model and downloads nothing."""

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
_FIRST_SENTENCE = re.compile(r"[.!?](?:\s|$)")
_POLITE = ("Could you tell me: {}", "I would like to know: {}", "Please help: {}", "Quick question: {}", "Hi, {}")
_ASKING = ("What about {}?", "Tell me about {}", "Do you have information on {}?", "Question about {}")
_NEEDING = ("I need help with {}.", "I don't understand {}.", "I am looking for {}.", "My question is about {}.")


class TemplateGenerator(Generator):
    """Write variations by rule: keywords, polite wrappings, other word orders."""

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
    "indirect": lambda _, words, draw: _fill(_NEEDING, draw, _some(words, 3, draw)),
    "vocabulary": lambda _, words, draw: _shuffled(words, draw),
}
