"""Write docs/reference.md from the docstrings of the public names: `python docs/_reference.py`. A test compares them.

The page is plain Markdown, so that it reads the same on a code host, in an editor and on the site.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Any

import expertune
from expertune import errors, records
from expertune.config import PluginSpec

PAGE = Path(__file__).with_name("reference.md")

HEAD = """\
# Reference

The Python interface, generated from the docstrings by `python docs/_reference.py`. Names come from `expertune` itself,
unless an import line says otherwise. The keys of a config have [a page of their own](config.md).
"""

PARTS: dict[str, tuple[Any, ...]] = {
    "Calls": (expertune.tune, expertune.compare, expertune.load_frame),
    "A run": (expertune.Run, expertune.RunResult, expertune.Stage, expertune.Config, PluginSpec),
    "Records": (
        *(records.Dataset, records.Document, records.Question, records.JudgedSet, records.Query, records.TunedModel),
        *(records.Evaluation, records.Comparison, records.Verdict, records.Outcome, records.Alternatives),
        *(records.Alternative, records.Progress),
    ),
    "Errors": (errors.ExpertuneError,),
}
INHERITED = {member for base in (object, Enum, str, Exception) for member in dir(base)}
"""What every class of these kinds has, and nobody looks up here."""


def page() -> str:
    """Return the whole page."""
    parts = [HEAD]
    for title, members in PARTS.items():
        parts.append(f"## {title}\n")
        if title == "Errors":
            parts.append(f"{inspect.cleandoc(errors.__doc__ or '')}\n")
        for member in members:
            parts += _class(member) if isinstance(member, type) else _function(member, member.__name__, "###")
    return "\n".join(parts)


def _class(kind: type) -> Iterator[str]:
    yield f"### `{kind.__name__}`\n"
    if kind.__name__ not in expertune.__all__:
        yield f"`from {kind.__module__} import {kind.__name__}`\n"
    yield _prose(kind)
    fields = dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ()
    if issubclass(kind, Enum):
        yield _code(f'{member.name} = "{member.value}"' for member in kind)
    elif fields:
        yield _code(_typed(field.name, field.type, field.default) for field in fields)
    skipped = INHERITED | {field.name for field in fields}
    for name, member in vars(kind).items():
        if name.startswith("_") or name in skipped:
            continue
        if isinstance(member, property | cached_property):
            read = member.fget if isinstance(member, property) else member.func
            yield f"**`{kind.__name__}.{name}`**: {_prose(read)}"
        elif callable(member) or isinstance(member, classmethod):
            yield from _function(getattr(kind, name), f"{kind.__name__}.{name}", "####")


def _function(function: Callable[..., Any], name: str, mark: str) -> Iterator[str]:
    signature = inspect.signature(function)
    arguments = [value for value in signature.parameters.values() if value.name != "self"]
    lines = [f"    {_typed(value.name, value.annotation, value.default)}," for value in arguments]
    keyword = [number for number, value in enumerate(arguments) if value.kind is value.KEYWORD_ONLY]
    if keyword:
        lines.insert(keyword[0], "    *,")
    yield f"{mark} `{name}`\n"
    opening = [f"{name}(", *lines, ")"] if lines else [f"{name}()"]
    yield _code((*opening[:-1], f"{opening[-1]} -> {signature.return_annotation}"))
    yield _prose(function)


def _code(lines: Iterable[str]) -> str:
    return "\n".join(("```text", *lines, "```\n"))


def _typed(name: str, annotation: Any, default: Any) -> str:
    """Say name, kind and default of an argument or a field, as the source has them."""
    if default in (inspect.Parameter.empty, dataclasses.MISSING):
        return f"{name}: {annotation}"
    if inspect.isfunction(default):
        shown = default.__name__
    elif isinstance(default, Enum):
        shown = f"{type(default).__name__}.{default.name}"
    else:
        shown = repr(default)
    return f"{name}: {annotation} = {shown}"


def _prose(subject: Any) -> str:
    """Return a docstring as Markdown: its sections become lists."""
    out: list[str] = []
    inside = False
    for line in inspect.cleandoc(subject.__doc__ or "").splitlines():
        section = re.fullmatch(r"(Args|Returns|Yields|Raises):", line)
        entry = re.fullmatch(r"    (\w+): (.*)", line)
        if section:
            inside = True
            out += [f"*{section[1]}*", ""]
        elif inside and entry:
            out.append(f"- `{entry[1]}`: {entry[2]}")
        elif inside and line:
            out.append(f"  {line.strip()}" if out[-1] else line.strip())
        else:
            inside = inside and not line
            out.append(line)
    return "\n".join(out) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
