"""Find a plug-in by its short name through entry points. Knows no concrete plug-in."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

from expertune.errors import ConfigError

GROUPS = ("experts", "generators")


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
