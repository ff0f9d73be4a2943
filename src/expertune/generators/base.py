"""What the built-in generators share: options and fingerprints. Knows no model format and no prompt."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from expertune.augment import Request
from expertune.errors import ConfigError
from expertune.models import ModelSource


class Options(BaseModel):
    """A plug-in's options; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


OptionsType = TypeVar("OptionsType", bound=Options)


def read_options(kind: type[OptionsType], given: Mapping[str, Any], *, plug_in: str) -> OptionsType:
    """Check the options a config gives to a generator.

    Raises:
        ConfigError: every unknown option and wrong value.
    """
    try:
        return kind.model_validate(dict(given))
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        known = ", ".join(kind.model_fields) or "none"
        raise ConfigError(problems, place=f"plug-in {plug_in}", hint=f"Its options: {known}.") from None


def fingerprint(plug_in: str, version: int, model: ModelSource | None, decisive: Mapping[str, Any]) -> str:
    """Return the SHA-256 (hex) of what decides the texts: plug-in, its version, model bytes, options, prompts."""
    parts = [plug_in, version, model.fingerprint if model is not None else "", dict(decisive)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode("utf-8")).hexdigest()


def number(*parts: object) -> int:
    """Return a seed in [0, 2**32) made of anything that has a `repr`."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode("utf-8", "surrogatepass")).digest()[:4], "big")


def request_seed(request: Request, seed: int) -> int:
    """Return a request's own seed, so that its text does not depend on what else is asked for."""
    return number(seed, request.document, request.question, request.kind, request.attempt)
