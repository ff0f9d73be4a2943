"""Find plug-ins by name through entry points and make them from a config. Knows no concrete plug-in."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import entry_points
from typing import Any

from expertune import models
from expertune.config import PluginSpec
from expertune.errors import ConfigError, ModelUnavailableError, PluginError
from expertune.models import ModelSource
from expertune.models.plugins import Expert, Generator, Plugin

logger = logging.getLogger(__name__)

GROUPS: dict[str, Any] = {"experts": Expert, "generators": Generator}
"""Groups of entry points, and what their plug-ins inherit."""

PickPlugin = Callable[[PluginSpec, ModelSource | None], str]


def names(group: str) -> tuple[str, ...]:
    """Return the registered names of a group ("experts" or "generators"), sorted."""
    return tuple(sorted(entry_points(group=f"expertune.{group}").names))


def factory(group: str, name: str) -> Callable[..., Any]:
    """Return the class registered under `name`, imported only now.

    Raises:
        ConfigError: nobody registered that name; the known ones are listed.
    """
    found = entry_points(group=f"expertune.{group}", name=name)
    if not found:
        known = ", ".join(names(group))
        raise ConfigError(
            [f"no {group[:-1]} plug-in is called '{name}'"],
            hint=f"Known {group}: {known}. A package adds one with the entry point group 'expertune.{group}'.",
        )
    loaded: Callable[..., Any] = next(iter(found)).load()
    return loaded


def make_all(
    group: str, specs: Sequence[PluginSpec], *, place: str, pick: PickPlugin, offline: bool
) -> tuple[Any, ...]:
    """Return a plug-in for every spec; each carries the spec's label as `name`, repeated ones numbered.

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
        PluginError: a plug-in does not inherit what its group must.
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
    plug_ins = []
    labels = _unique([spec.label for spec in specs])
    for spec, source, label in zip(specs, sources, labels, strict=True):
        plug_in = _build(group, spec.use or pick(spec, source), spec, source)
        plug_in.name = label
        plug_ins.append(plug_in)
    return tuple(plug_ins)


def _build(group: str, name: str, spec: PluginSpec, source: ModelSource | None) -> Any:
    make = factory(group, name)
    try:
        inspect.signature(make).bind(source, **spec.options)
    except TypeError as error:
        raise ConfigError([f"{error}"], place=f"{group[:-1]} {spec.label}", hint="See its options.") from None
    _check(make, GROUPS[group], name)
    return make(source, **spec.options)


def _check(plug_in: Any, kind: type, name: str) -> None:
    inherits = inspect.isclass(plug_in) and issubclass(plug_in, kind)
    if not inherits or inspect.isabstract(plug_in):
        lacking = ", ".join(sorted(plug_in.__abstractmethods__)) if inherits else ""
        raise PluginError(
            f"it lacks {lacking}" if inherits else f"it does not inherit {kind.__module__}.{kind.__name__}",
            place=f"plug-in {name}",
            hint="CONTRIBUTING.md shows what an expert and a generator need.",
        )


def _unique(labels: list[str]) -> list[str]:
    """Number the second and later use of a label."""
    unique: list[str] = []
    for label in labels:
        count = 1
        while (name := label if count == 1 else f"{label}-{count}") in unique:
            count += 1
        unique.append(name)
    return unique


def _all_missing(missing: list[ModelUnavailableError], total: int, group: str, place: str) -> ModelUnavailableError:
    if len(missing) == 1:
        return missing[0]
    lines = "".join(f"\n- {error.message}\n  {error.hint}" for error in missing)
    return ModelUnavailableError(f"{len(missing)} of {total} {group} have no model:{lines}", place=place)


def log_used(plug_in: Plugin) -> None:
    """Log what a plug-in has used up: calls, tokens, money."""
    for line in all_used([plug_in]):
        logger.info("%s", line)


def all_used(plug_ins: Iterable[Plugin]) -> tuple[str, ...]:
    """Return "NAME: what it has used up" for every plug-in that has something to say."""
    return tuple(f"{plug_in.name}: {plug_in.used}" for plug_in in plug_ins if plug_in.used)


def refuse_role(group: str, spec: PluginSpec, *, able: bool) -> None:
    """Refuse a model that is not able to do what its group does.

    Raises:
        ConfigError: it writes questions and is named among the experts, or the other way round.
    """
    if able:
        return
    can, cannot = "scores questions", "write them"
    place, other = "augment.generators", "score.experts"
    if group == "experts":
        can, cannot, place, other = "writes questions", "score them", other, place
    raise ConfigError(
        [f"the model '{spec.model}' {can}, it cannot {cannot}"], place=place, hint=f"Name it under {other}."
    )
