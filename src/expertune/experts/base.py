"""What the built-in experts share: options, fingerprints, and scoring by cosine. Knows no model format."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from expertune.errors import ConfigError
from expertune.models import ModelSource
from expertune.records import FloatArray
from expertune.score import cosine


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
            unknown = item["type"] == "extra_forbidden"
            problems.append(f"unknown option '{path}'" if unknown else f"{path}: {item['msg']}, got {item['input']!r}")
        known = ", ".join(kind.model_fields) or "none"
        raise ConfigError(problems, place=f"plug-in {plug_in}", hint=f"Its options: {known}.") from None


def fingerprint(plug_in: str, version: int, model: ModelSource | None, options: Mapping[str, Any]) -> str:
    """Return the SHA-256 (hex) of what decides scores: plug-in, its version, model bytes, options."""
    parts = [plug_in, version, model.fingerprint if model is not None else "", dict(options)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode("utf-8")).hexdigest()


def require_model(model: ModelSource | None, *, plug_in: str) -> ModelSource:
    """Return the model.

    Raises:
        ConfigError: there is none.
    """
    if model is None:
        raise ConfigError(
            [f"the plug-in '{plug_in}' needs a model"],
            hint=f'Name one: "{plug_in}:FOLDER" or {{use, model}}.',
        )
    return model


def refuse_model(model: ModelSource | None, *, plug_in: str) -> None:
    """Make sure that no model was given.

    Raises:
        ConfigError: one was given, and it would have been ignored.
    """
    if model is not None:
        raise ConfigError([f"the plug-in '{plug_in}' takes no model, got '{model.name}'"], hint="Remove `model`.")


class CosineExpert:
    """An expert whose score is the cosine of two vectors; subclasses embed."""

    name: str
    fingerprint: str
    symmetric: bool = True

    def embed(self, texts: Sequence[str], *, is_query: bool) -> FloatArray:
        """Return float32 `[len(texts), dimension]`, rows of unit length."""
        raise NotImplementedError

    def score(self, questions: Sequence[str], documents: Sequence[str]) -> FloatArray:
        """Return the cosines, float32 `[len(questions), len(documents)]` in [-1, 1]."""
        return cosine(self.embed(questions, is_query=True), self.embed(documents, is_query=False))
