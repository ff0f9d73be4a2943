"""Write docs/config.md from the config's fields: `python docs/_config.py`. A test keeps the page and the fields alike.

Effects are read from the committed results of `bench/ablations.py`, or name the page that has the figures.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from expertune.config import Config, PluginSpec, Section
from expertune.models import registry
from expertune.models.plugins import Options

PAGE = Path(__file__).with_name("config.md")
ABLATIONS = Path(__file__).parents[1] / "bench" / "results" / "ablations-sofmattress_faq.json"

MEASURED = {
    "label.strategy": ("labels",),
    "label.hard_weight": ("hard weight",),
    "label.calibration": ("calibration",),
    "train.loss": ("loss",),
    "train.mode": ("mode", "tied", "full"),
    "train.lora_rank": ("mode", "LoRA, rank 16"),
    "train.frozen_layers": ("share of the layers held",),
    "train.learning_rate": ("peak rate",),
    "train.steps": ("steps",),
    "train.reference_weight": ("reference weight",),
}
"""The rows of the ablations that turn a key: what they call it, and which value where not every one is shown."""

NOTED = {
    "data.expand": "alone: seen +7.1 to +19.1 on four sets, -5.2 on a fifth: [table](findings/index-layouts.md)",
    "augment.per_answer": "no gain shown: [written questions](findings/written-questions.md)",
    "augment.spans": "what they add: [what the gain is made of](findings/what-the-gain-is-made-of.md)",
    "score.experts": "one good one is nearly enough: [experts](findings/experts.md)",
}
"""Effects that stand on another page, with where."""

HEAD = """\
# Config

Every key that a config may hold, generated from the fields by `python docs/_config.py`. A key is set in the config
file (`[train]`, then `steps = 50`) or on the command line (`--set train.steps=50`). Where an effect was measured by
changing this key alone, it is the difference to the default in points of nDCG@10 x 100, domain / general (SOFMattress,
one seed, three quarters of the way). The intervals stand in the [ablations](ablations.md); most of them hold zero.
"""


def page() -> str:
    """Return the whole page."""
    parts = [HEAD]
    for name, field in Config.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, Section):
            head = ("key", "values", "default", "what it does", "measured effect")
            rows = [
                (f"`{name}.{key}`", _values(info), _default(info), info.description or "", _effect(f"{name}.{key}"))
                for key, info in section.model_fields.items()
            ]
            parts += [f"## {name}\n", f"{(section.__doc__ or '').strip()}\n", _table(head, rows)]
    parts += [
        "## Plug-ins\n",
        'An expert or a generator is written as a name (`"bm25"`, `"all-minilm-l6-v2"`), as `"plug-in:model"`, or\n'
        'as a table `{ use = "bm25", options = { language = "none" } }`. These are the options of each plug-in.\n',
        _table(("plug-in", "option", "values", "default", "what it does"), list(_plugin_options())),
    ]
    return "\n".join(parts)


def _plugin_options() -> Iterator[tuple[str, ...]]:
    for group in ("experts", "generators"):
        for name in registry.names(group):
            module = import_module(registry.factory(group, name).__module__)
            if not module.__name__.startswith("expertune."):
                continue  # a third party's
            kinds = [kind for kind in vars(module).values() if isinstance(kind, type) and issubclass(kind, Options)]
            fields = {key: info for kind in kinds for key, info in kind.model_fields.items()}
            for key, info in fields.items():
                described = (_values(info), _default(info), info.description or "")
                yield (f"{group.removesuffix('s')} `{name}`", f"`{key}`", *described)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def _values(info: FieldInfo) -> str:
    """Say in words what a field takes: its choices, or its kind and range."""
    said = _kind(info.annotation)
    signs = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    limits = [
        f"{word} {getattr(limit, name):,g}"
        for limit in info.metadata
        for name, word in signs.items()
        if getattr(limit, name, None) is not None and getattr(limit, name) < 1e9  # beyond, it only guards
    ]
    return ", ".join((said, *limits))


def _kind(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(str(choice) for choice in arguments)
    if origin is tuple:
        return f"list of {_kind(arguments[0])}"
    if origin is dict or annotation is dict:
        return "table"
    if NoneType in arguments:
        return " or ".join(_kind(kind) for kind in arguments if kind is not NoneType)
    if hasattr(annotation, "__metadata__"):
        return _kind(annotation.__origin__)
    if isinstance(annotation, type) and issubclass(annotation, PluginSpec):
        return "plug-ins"
    names = {int: "whole number", float: "number", str: "text", bool: "true or false", Path: "path"}
    return names.get(annotation, str(annotation))


def _default(info: FieldInfo) -> str:
    value = info.get_default(call_default_factory=True)
    if info.is_required():
        return "must be set"
    if value is None or value in ("", (), {}):
        return "–"
    if isinstance(value, tuple):
        return ", ".join(item.label if isinstance(item, PluginSpec) else f"{item}" for item in value)
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:,g}" if isinstance(value, float) else " ".join(f"{value}".split())


def _effect(key: str) -> str:
    if key in NOTED:
        return NOTED[key]
    what, *values = MEASURED.get(key, ("",))
    rows = json.loads(ABLATIONS.read_text(encoding="utf-8"))["rows"]
    shown = [row for row in rows if row["what"] == what and row["value"] in (values or [row["value"]])]
    return "; ".join(f"{row['value']}: {_change(row['weights']['0.75'])}" for row in shown)


def _change(roles: Mapping[str, Any]) -> str:
    return " / ".join(f"{100 * roles[role]['more']['mean']:+z.1f}" for role in ("domain", "general"))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
