"""Take HTML tags and entities off texts that were exported as markup. Texts that are about tags keep them."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from html.entities import html5

MARKUP_SHARE = 0.1
"""Above this share of texts with tags a column holds markup. Below it, only texts that begin with a tag do."""

_VOID_NAMES = "area base br col embed hr img input link meta source track wbr"
_BLOCK_NAMES = """address article aside blockquote br caption dd details dialog div dl dt fieldset figcaption figure
footer form h1 h2 h3 h4 h5 h6 header hr li main nav ol p pre section summary table tbody td tfoot th thead tr ul"""
_UNSEEN_NAMES = "head noscript object script style svg template title"
_INLINE_NAMES = """html body a abbr b bdi bdo big button center cite code del dfn em font i iframe ins kbd label mark
meter option picture q s samp select small span strike strong sub sup textarea time tt u var video audio"""
_VOID, _BLOCKS, _UNSEEN = _VOID_NAMES.split(), _BLOCK_NAMES.split(), _UNSEEN_NAMES.split()
_ELEMENTS = frozenset([*_VOID, *_BLOCKS, *_UNSEEN, *_INLINE_NAMES.split()])
_ATTRIBUTE = r"""\s+[\w:@.-]+\s*=\s*(?:"[^"]*"|'[^']*'|[^\s"'<>]+)"""
_TAG = re.compile(rf"<(/?)([a-zA-Z][\w:-]*)((?:{_ATTRIBUTE})*)(?:\s+[a-z]+)?\s*(/?)>")
_ANY_TAG = re.compile(r"<(?=/?([a-zA-Z][\w:-]*))")
_DECLARATION = re.compile(r"<!--.*?-->|<!doctype\b[^>]*>|<\?xml\b[^>]*>|<!\[CDATA\[", re.IGNORECASE | re.DOTALL)
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});")
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
_BREAK = "\x1e"


def stripped(texts: Sequence[str]) -> list[str]:
    """Return the texts of one column without tags and entities, where these are markup and not what a text is about."""
    plain = [text if "<" in text else _unescaped(text) for text in texts]
    tagged = [_has_markup(text) for text in plain]
    column = sum(tagged) > MARKUP_SHARE * len(texts)
    return [
        _visible_text(text) if tags and (column or _begins_with_markup(text)) else text
        for text, tags in zip(plain, tagged, strict=True)
    ]


def _unescaped(text: str) -> str:
    """Return the text with characters for entities, also for those that were escaped twice; code stays."""
    if "&" not in text or _CODE.search(text):
        return text
    for _ in range(2):
        known = (match for match in _ENTITY.finditer(text) if match[0][1] == "#" or match[0][1:] in html5)
        spelled = {match[0] for match in known}
        if not spelled:
            break
        for entity in spelled:
            text = text.replace(entity, html.unescape(entity))
    return " ".join(text.replace("\xa0", " ").split(" "))


def _has_markup(text: str) -> bool:
    """Tell whether a text holds a pair of tags, a void tag, a tag with attributes or a declaration, outside of code."""
    if "<" not in text:
        return False
    text = _CODE.sub("", text)
    if _DECLARATION.search(text):
        return True
    opened: set[str] = set()
    for closing, name, attributes, _ in _TAG.findall(text):
        name = name.casefold()
        if (closing and name in opened) or (name in _ELEMENTS and (attributes or name in _VOID)):
            return True
        if not closing:
            opened.add(name)
    return False


def _begins_with_markup(text: str) -> bool:
    begin = _TAG.match(text.lstrip()) or _DECLARATION.match(text.lstrip())
    return begin is not None


def _visible_text(markup: str) -> str:
    """Return what a browser would show: a line for each block, no scripts and styles, an image's words."""
    from bs4 import BeautifulSoup

    paired = {name.casefold() for closing, name, *_ in _TAG.findall(markup) if closing}
    known = _ELEMENTS | paired
    # What no browser knows, such as <your name>, was never a tag.
    guarded = _ANY_TAG.sub(lambda match: "<" if match[1].casefold() in known else "&lt;", markup)
    soup = BeautifulSoup(guarded, "html.parser")
    for element in soup(_UNSEEN):
        element.decompose()
    for image in soup("img"):
        image.replace_with(f" {image.get('alt') or ''} ")
    for element in soup(_BLOCKS):
        element.insert_before(_BREAK)
        element.insert_after(_BREAK)
    text = soup.get_text()
    lines = (" ".join(line.split()) for line in text.split(_BREAK))
    return "\n".join(line for line in map(_unescaped, lines) if line.strip())
