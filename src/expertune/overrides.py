"""Lay options of one run over the values of a config file. Knows no key and validates nothing; that is config.py."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

from expertune.errors import ConfigError


def assignment(text: str) -> tuple[str, Any]:
    """Split "section.key=value" into the dotted path and the value, read as TOML or else taken as text.

    Raises:
        ConfigError: there is no "=", or no section.
    """
    path, equals, written = text.partition("=")
    path = path.strip()
    if not equals or not all(path.split(".")) or "." not in path:
        raise ConfigError(
            [f"'{text}' is not of the form section.key=value"],
            place="--set",
            hint='For example: --set train.steps=50 --set \'score.experts=["bm25", "ngrams"]\'',
        )
    return path, _value(written)


def _value(written: str) -> Any:
    try:
        table = tomllib.loads(f"value = {written}")
    except tomllib.TOMLDecodeError:
        return written.strip()
    # A text with line breaks could bring further keys along; then it is a text.
    return table["value"] if len(table) == 1 else written


def overlaid(values: Mapping[str, Any], changes: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return nested `values` with each dotted path set; later changes win, everything else stays."""
    result = dict(values)
    for path, value in changes:
        head, _, rest = path.partition(".")
        inner = result.get(head, {})
        if not rest:
            result[head] = value
        elif isinstance(inner, Mapping):
            result[head] = overlaid(inner, [(rest, value)])
        # What should be a table and is not stays as it is: validation then names it.
    return result
