"""What experts and generators share: being made from a config, options, fingerprints. Knows no concrete plug-in."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from expertune import models
from expertune.config import PluginSpec
from expertune.errors import ConfigError, ModelUnavailableError
from expertune.models import ModelSource, registry

logger = logging.getLogger(__name__)

PickPlugin = Callable[[PluginSpec, ModelSource | None], str]


def make_all(
    group: str, specs: Sequence[PluginSpec], *, place: str, pick: PickPlugin, offline: bool
) -> list[tuple[str, Any]]:
    """Return (plug-in name, object) for every spec; objects carry the spec's label as `name`, repeated ones numbered.

    Args:
        group: "experts" or "generators".
        specs: What the config names.
        place: The config key, for errors.
        pick: Chooses the plug-in where a spec names none.
        offline: Whether hub ids are out of reach.

    Raises:
        ModelUnavailableError: one error for all models that cannot be found.
        UntrustedModelError: a model's files are refused.
        ConfigError: an unknown plug-in, or options it does not take.
    """
    sources: list[ModelSource | None] = []
    missing: list[ModelUnavailableError] = []
    for spec in specs:
        try:
            sources.append(models.resolve(spec.model, offline=offline) if spec.model else None)
        except ModelUnavailableError as error:
            missing.append(error)
    if missing:
        raise _all_missing(missing, len(specs), group, place)
    made = []
    names = _unique([spec.label for spec in specs])
    for spec, source, name in zip(specs, sources, names, strict=True):
        plug_in = spec.use or pick(spec, source)
        built = _build(registry.factory(group, plug_in), spec, source, kind=group.removesuffix("s"))
        built.name = name
        made.append((plug_in, built))
    return made


def _build(factory: Callable[..., Any], spec: PluginSpec, source: ModelSource | None, *, kind: str) -> Any:
    try:
        inspect.signature(factory).bind(source, **spec.options)
    except TypeError as error:
        raise ConfigError([f"{error}"], place=f"{kind} {spec.label}", hint="See its options.") from None
    return factory(source, **spec.options)


def _unique(labels: list[str]) -> list[str]:
    """Number the second and later use of a label."""
    names: list[str] = []
    for label in labels:
        count = 1
        while (name := label if count == 1 else f"{label}-{count}") in names:
            count += 1
        names.append(name)
    return names


def _all_missing(missing: list[ModelUnavailableError], total: int, group: str, place: str) -> ModelUnavailableError:
    if len(missing) == 1:
        return missing[0]
    lines = "".join(f"\n- {error.message}\n  {error.hint}" for error in missing)
    return ModelUnavailableError(f"{len(missing)} of {total} {group} have no model:{lines}", place=place)


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


def each(plug_in: Any, method: str, items: Iterable[Any], *rest: Any, **named: Any) -> Iterator[Any]:
    """Yield what a method of a plug-in returns for every item, in the order of the items.

    A plug-in that works on several items at a time has an `each` of its own, which takes them a few ahead.

    Args:
        plug_in: Expert or generator.
        method: Its name.
        items: The first argument of each call.
        rest: Further arguments, the same for every call.
        named: As `rest`, by keyword.
    """
    own = getattr(plug_in, "each", None)
    if own is not None:
        yield from own(method, items, *rest, **named)
        return
    call = getattr(plug_in, method)
    for item in items:
        yield call(item, *rest, **named)


def log_used(plug_in: Any) -> None:
    """Log what a plug-in with the attribute `used` says it has used up: calls, tokens, money."""
    for line in all_used([plug_in]):
        logger.info("%s", line)


def all_used(plug_ins: Iterable[Any]) -> tuple[str, ...]:
    """Return "NAME: what it has used up" for every plug-in that has an attribute `used` with something to say."""
    return tuple(f"{plug_in.name}: {plug_in.used}" for plug_in in plug_ins if getattr(plug_in, "used", ""))


def fingerprint(plug_in: str, version: int, model: ModelSource | None, options: Mapping[str, Any]) -> str:
    """Return the SHA-256 (hex) of what decides the results: plug-in, its version, model bytes, options."""
    parts = [plug_in, version, model.fingerprint if model is not None else "", dict(options)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode("utf-8")).hexdigest()
