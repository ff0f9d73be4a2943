"""What every page of ours is put together with: templates that escape, one style, policies by hash. Knows no record."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined

from expertune.report import formats

FILTERS = (
    formats.points,
    formats.percent,
    formats.signed,
    formats.interval,
    formats.around,
    formats.plain,
    formats.significant,
    formats.decimals,
    formats.p_value,
    formats.duration,
    formats.remark,
    formats.md,
    formats.long,
    formats.cut,
)


@cache
def environment(package: str) -> Environment:
    """Return the templates of a package; a name that is not there is an error.

    HTML escapes by itself; in Markdown each text from outside goes through the filter `md` or `long`.
    """
    templates = Environment(
        loader=PackageLoader(package, "templates"),
        autoescape=lambda name: not (name or "").endswith(".md.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters |= {write.__name__: write for write in FILTERS}
    return templates


def asset(package: str, name: str) -> str:
    """Return the text of a package's style sheet or script, which is to stand inside a page."""
    return files(package).joinpath("templates", name).read_text(encoding="utf-8")


def policy_hash(text: str) -> str:
    """Return the source expression that lets exactly this inline text through a Content-Security-Policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
