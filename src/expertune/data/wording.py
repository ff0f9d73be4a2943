"""Say when two texts count as the same. Knows no files, no models and no judgements."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Any


class _Cleaning(dict[int, str | None]):
    """What becomes of each character, looked up once per character and remembered for `str.translate`."""

    def __missing__(self, code: int) -> str | None:
        character = chr(code)
        category = unicodedata.category(character)
        kept: str | None = character
        if category == "Cf":
            kept = None  # zero-width characters, soft hyphens, byte order marks
        elif category.startswith("P"):
            kept = " "
        self[code] = kept
        return kept


_CLEANING = _Cleaning()


def visible(text: str) -> bool:
    """Tell whether anything would be seen: white space and zero-width characters alone are nothing."""
    return any(not character.isspace() and unicodedata.category(character) != "Cf" for character in text)


def normalise(text: str) -> str:
    """Reduce a text to what counts when two texts are called the same.

    Letter case, Unicode presentation forms, zero-width characters, punctuation and the amount of white space
    do not count; symbols such as "+" and "€" do. A text of punctuation alone keeps it, so that "?" and "!"
    stay different. Idempotent.
    """
    previous = None
    # One pass can uncover work for the next: where a character goes, its neighbours may compose.
    while text != previous:
        previous = text
        folded = unicodedata.normalize("NFKC", text.casefold())
        words = folded.translate(_CLEANING).split()
        text = " ".join(words or (part for part in folded.split() if visible(part)))
    return text


_TYPOGRAPHY = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u00b4`", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb", '"'),
    }
)


_FRAME = re.compile(r"^(?:[*•·]|-(?=\s+\w*[^\W\d])|#{1,6})\s+")
"""What may begin a line of Markdown; a dash before a number is a minus."""


def same_answer(text: str) -> str:
    """Reduce an answer to what counts when two answers are called the same; loading and labels both ask here.

    Letter case, Unicode presentation forms, invisible characters, the amount of white space, the shape of quotes and
    dashes, a full stop or exclamation mark at the end, and what frames a whole text (quotes, a bullet, Markdown's marks
    of a heading or of bold) do not count. All else does, as "-5 %", "5 %" and "5" are three answers.
    """
    seen = "".join(
        "-" if category == "Pd" else character
        for character in text.translate(_TYPOGRAPHY)
        if (category := unicodedata.category(character)) != "Cf"
    )
    words = " ".join(unicodedata.normalize("NFKC", seen).casefold().split())
    plain = _FRAME.sub("", words.replace("**", ""))
    if plain[:1] == plain[-1:] == '"' and '"' not in plain[1:-1]:
        plain = plain[1:-1]
    return plain.strip().rstrip(".! ") or words


# Letters that look like Latin ones, after case folding: a capital's look counts too (Cyrillic В is в by then).
_LOOK_ALIKES = str.maketrans("авекмнорстухһіјѕԁӏԛԝαβεηικμνορτυχ", "abekmhopctyxhijsdlqwabehikmvoptux")
_ACCENTS = range(0x0300, 0x0370)


def likeness(text: str) -> str:
    """Reduce a text to how its words look: normalised, without accents, look-alike letters as Latin ones.

    For finding copies that hide. It can make different words of one language equal, so it never merges questions.
    """
    latin = normalise(text).translate(_LOOK_ALIKES)
    plain = (character for character in unicodedata.normalize("NFD", latin) if ord(character) not in _ACCENTS)
    return unicodedata.normalize("NFC", "".join(plain))


def script_of(texts: Sequence[str]) -> str:
    """Return the script of most letters as Unicode names it ("LATIN", "CJK", "ARABIC"); "" without letters.

    Chinese characters beside Japanese or Korean ones count as these.
    """
    counts: Counter[str] = Counter()
    for character, count in Counter("".join(texts)).items():
        if character.isalpha():
            counts[unicodedata.name(character, "").partition(" ")[0]] += count
    for kana in ("HIRAGANA", "KATAKANA"):
        counts["JAPANESE"] += counts.pop(kana, 0)
    for name in ("JAPANESE", "HANGUL"):
        if counts[name] > counts["CJK"] / 10:
            counts[name] += counts.pop("CJK", 0)
    name, most = max(counts.items(), key=lambda item: item[1], default=("", 0))
    return name if most else ""


_HASHES = 2**18


def trigrams(texts: Sequence[str]) -> Any:
    """Return sparse unit rows `[len(texts), hashes]` of character trigram counts; a product of two is a cosine."""
    from sklearn.feature_extraction.text import HashingVectorizer

    return HashingVectorizer(
        analyzer="char_wb", ngram_range=(3, 3), n_features=_HASHES, alternate_sign=False, norm="l2"
    ).transform(texts)
