"""Draw a matplotlib figure as an SVG that can stand inside a page. Knows nothing of what is drawn.

A page holds several charts, follows the reader's light or dark theme and forbids inline styles. So every
style attribute becomes presentation attributes, every colour a class that the page's style sheet fills, and
every id gets the chart's name in front.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from xml.etree import ElementTree

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from expertune.report.formats import cut

NAMES = (
    "ink", "muted", "faint", "line", "surface",
    "base", "tuned", "better", "worse", "relevant", "irrelevant", "heat",
)  # fmt: skip
COLOUR = {name: f"#{index + 1:02x}fe{index + 1:02x}" for index, name in enumerate(NAMES)}
"""Placeholder colours to draw with; `to_svg` turns each into classes `f-NAME` (fill) and `s-NAME` (stroke)."""

_CLASS = {value: name for name, value in COLOUR.items()}
_KEPT = re.compile(
    r"opacity|text-anchor|(fill|stroke)(-opacity)?|stroke-(width|dasharray|dashoffset|linecap|linejoin)|"
    r"font-(size|weight|style)"
)
_DROPPED = frozenset({"metadata", "style", "title"})
SETTINGS = {
    "svg.fonttype": "none",
    "svg.hashsalt": "expertune",
    "text.parse_math": False,
    "axes.unicode_minus": True,
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": COLOUR["ink"],
    "axes.edgecolor": COLOUR["line"],
    "axes.labelcolor": COLOUR["muted"],
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
    "grid.color": COLOUR["faint"],
    "grid.linewidth": 0.8,
    "xtick.color": COLOUR["line"],
    "ytick.color": COLOUR["line"],
    "xtick.labelcolor": COLOUR["muted"],
    "ytick.labelcolor": COLOUR["muted"],
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.labelcolor": COLOUR["ink"],
}


@contextmanager
def drawing() -> Iterator[None]:
    """Set matplotlib up for page charts while figures are made and rendered, then undo it."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(SETTINGS)
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the browser has its own fonts
        yield


def to_svg(figure: Figure, *, name: str, label: str) -> str:
    """Render a figure as an inline `<svg>` without styles, foreign ids or fixed colours.

    Args:
        figure: Drawn with the colours of `COLOUR` inside `drawing()`.
        name: Unique on the page, `[a-z0-9-]+`; stands before every id.
        label: What the chart shows, in words, for readers who do not see it.
    """
    FigureCanvasSVG(figure)
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    root = ElementTree.fromstring(buffer.getvalue())
    _clean(root, name)
    box = root.get("viewBox", "0 0 360 200")
    _, _, width, height = box.split()
    root.attrib = {
        "class": "chart",
        "viewBox": box,
        "width": width,
        "height": height,
        "role": "img",
        "aria-label": cut(label, 4000),
    }
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=True)


def _clean(element: ElementTree.Element, name: str) -> None:
    element.tag = element.tag.rpartition("}")[2]
    attributes: dict[str, str] = {}
    classes: list[str] = []
    for qualified, value in element.attrib.items():
        key = qualified.rpartition("}")[2]
        if key == "style":
            _style(value, attributes, classes)
        elif key == "href":
            attributes["href"] = f"#{name}-{value.removeprefix('#')}"
        elif key == "id":
            # Only shapes that are used again need their id; the rest are matplotlib's own bookkeeping.
            if re.fullmatch(r"[a-z][0-9a-f]{10}", value):
                attributes["id"] = f"{name}-{value}"
        elif key == "d":
            attributes["d"] = re.sub(r"(\.\d{2})\d+", r"\1", " ".join(value.split()))
        elif not (key == "transform" and value.startswith("rotate(-0 ")):
            attributes[key] = value.replace("url(#", f"url(#{name}-")
    if classes:
        attributes["class"] = " ".join(classes)
    element.attrib = attributes
    for text in ("text", "tail"):
        if not (getattr(element, text) or "").strip():
            setattr(element, text, None)
    for child in list(element):
        if child.tag.rpartition("}")[2] in _DROPPED:
            element.remove(child)
        else:
            _clean(child, name)


def _style(style: str, attributes: dict[str, str], classes: list[str]) -> None:
    """Turn style declarations into presentation attributes, and placeholder colours into classes."""
    for declaration in style.split(";"):
        key, _, value = (part.strip() for part in declaration.partition(":"))
        if key in ("fill", "stroke") and value in _CLASS:
            classes.append(f"{key[0]}-{_CLASS[value]}")
        elif key == "font":  # the short form of older matplotlib: "bold 10px 'DejaVu Sans'"
            before, size, _ = re.split(r"([\d.]+px)", value, maxsplit=1)
            attributes["font-size"] = size
            if "bold" in before or "700" in before:
                attributes["font-weight"] = "bold"
        elif _KEPT.fullmatch(key):
            attributes[key] = value
