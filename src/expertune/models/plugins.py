"""The contract of plug-ins: inherit `Expert`, `EmbeddingExpert`, `IndexingExpert`, `Generator` or `StreamingGenerator`.

A plug-in is made as `Class(model: ModelSource | None, **options)` and registered as an entry point of the group
`expertune.experts` or `expertune.generators`. It sets `name` and `fingerprint` and overrides what is abstract; all
else has a default.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from expertune.errors import ConfigError
from expertune.models.cache import ItemCache
from expertune.models.embed import CHUNK, cosine
from expertune.records import FloatArray

if TYPE_CHECKING:
    from expertune.models import ModelSource


class Plugin(ABC):
    """What experts and generators share. `fingerprint` changes whenever results could."""

    name: str
    fingerprint: str
    served: bool = False  # a server does the work: more processes here would gain nothing

    def release(self) -> None:
        """Let go of what was loaded: all that cached properties hold; a later call loads it again."""
        for kind in type(self).__mro__:
            for name, value in vars(kind).items():
                if isinstance(value, cached_property):
                    vars(self).pop(name, None)

    @property
    def used(self) -> str:
        """One line for the log that says what it has used up, such as tokens; "" for nothing."""
        return ""

    def each(self, method: str, items: Iterable[Any], *rest: Any, **named: Any) -> Iterator[Any]:
        """Yield what a method returns for every item, in order; `rest` and `named` are the same for every call."""
        call = getattr(self, method)
        for item in items:
            yield call(item, *rest, **named)


class Expert(Plugin):
    """Judge pairs of question and document."""

    chunk: int = 0  # questions scored at once, rows kept part by part; 0: all at once, as a score depends on all

    @abstractmethod
    def score(self, questions: Sequence[str], documents: Sequence[str]) -> FloatArray:
        """Return float32 `[len(questions), len(documents)]`; higher is better; NaN where not scored."""


class EmbeddingExpert(Expert):
    """Score by the cosine, or by the dot product, of two vectors. Each distinct text is embedded once and kept.

    Without a `fingerprint` nothing is kept.
    """

    chunk: int = CHUNK  # texts embedded at once
    symmetric: bool = False  # True: a text has one vector, as a question and as a document

    similarity: str = "cosine"  # or "dot": vectors keep their length, which counts

    @abstractmethod
    def embed(self, texts: Sequence[str], *, is_query: bool) -> FloatArray:
        """Return float32 `[len(texts), dimension]`, rows of unit length unless the similarity is the dot product."""

    def score(self, questions: Sequence[str], documents: Sequence[str]) -> FloatArray:
        """Return the similarities, float32 `[len(questions), len(documents)]`; cosines lie in [-1, 1]."""
        left, right = self.embed(questions, is_query=True), self.embed(documents, is_query=False)
        return left @ right.T if self.similarity == "dot" else cosine(left, right)

    def decide(self, questions: Sequence[str], documents: Sequence[str], cache: ItemCache) -> str:  # noqa: ARG002
        """Decide by the texts how to compute, for `decided`; "" where there is nothing to decide."""
        return ""

    def decided(self, decision: str) -> EmbeddingExpert:  # noqa: ARG002
        """Return the expert that computes so, here or in another process; its fingerprint names its vectors."""
        return self


class IndexingExpert(Expert):
    """Look at the documents once, then score any questions; a question's scores depend on no other question."""

    @abstractmethod
    def index(self, documents: Sequence[str]) -> Callable[[Sequence[str]], FloatArray]:
        """Return what scores questions against these documents, as `score` does."""

    def score(self, questions: Sequence[str], documents: Sequence[str]) -> FloatArray:
        """Return float32 `[len(questions), len(documents)]`; higher is better."""
        return self.index(documents)(questions)


@dataclass(frozen=True, slots=True)
class Request:
    """One question to write: for which answer, of which kind, and the labelled question where there is one.

    `attempt` numbers repeated requests of one kind for one answer, so that each is a different item.
    """

    document: str
    question: str
    kind: str
    attempt: int = 0


class Generator(Plugin):
    """Write questions that answers answer."""

    batch_size: int = 64  # requests of one call

    @abstractmethod
    def generate(self, requests: Sequence[Request], *, seed: int) -> list[str]:
        """Return one raw text per request, in order; "" where nothing came. Same requests and seed: same texts."""


class StreamingGenerator(Generator):
    """A generator whose texts are finished one by one and dear (paid for, or slow): each is kept at once."""

    @abstractmethod
    def stream(self, requests: Sequence[Request], *, seed: int) -> Iterator[tuple[int, str]]:
        """Yield (position in `requests`, raw text) once for every request, in any order."""

    def generate(self, requests: Sequence[Request], *, seed: int) -> list[str]:
        """Return one raw text per request, in order; "" where nothing came."""
        texts = dict(self.stream(requests, seed=seed))
        return [texts[position] for position in range(len(requests))]


class Options(BaseModel):
    """A plug-in's options; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


OptionsType = TypeVar("OptionsType", bound=Options)


def read_options(kind: type[OptionsType], given: Mapping[str, Any], *, plug_in: str) -> OptionsType:
    """Check the options a config gives to a plug-in.

    Raises:
        ConfigError: every unknown option and wrong value.
    """
    try:
        return kind.model_validate(dict(given))
    except ValidationError as error:
        problems = []
        for item in error.errors():
            path = ".".join(str(part) for part in item["loc"])
            match item["type"]:
                case "extra_forbidden":
                    problems.append(f"unknown option '{path}'")
                case "missing":
                    problems.append(f"the option '{path}' is missing")
                case _:
                    problems.append(f"{path}: {item['msg']}, got {item['input']!r}")
        known = ", ".join(kind.model_fields) or "none"
        raise ConfigError(problems, place=f"plug-in {plug_in}", hint=f"Its options: {known}.") from None


def require_extra(extra: str, *modules: str, plug_in: str) -> None:
    """Make sure that the libraries of an optional extra are installed.

    Raises:
        ConfigError: one is not; the hint is the command that installs them.
    """
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        raise ConfigError(
            [f"the plug-in '{plug_in}' needs the library {', '.join(missing)}"],
            hint=f"pip install 'expertune[{extra}]'",
        )


def fingerprint(plug_in: str, version: int, model: ModelSource | None, options: Mapping[str, Any]) -> str:
    """Return the SHA-256 (hex) of what decides the results: plug-in, its version, model bytes, options."""
    parts = [plug_in, version, model.fingerprint if model is not None else "", dict(options)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode("utf-8")).hexdigest()
