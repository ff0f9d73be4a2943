"""Decide which lines of a search log are questions that somebody asked. Knows no files, no answers' ids and no models.

    rule               | what goes
    -------------------|-----------------------------------------------------------------------------------------
    empty              | nothing but white space, symbols or emoji
    pasted text        | more than 60 words or 600 characters
    numbers only       | no letter at all, or one code of at least five digits, such as an order number
    file name          | the whole line is a path or a name such as photo.jpg
    contact or link    | mostly e-mail addresses, long numbers or web addresses
    other script       | mostly letters of a script that the answers do not use (language within a script: not judged)
    greeting           | only words such as "hello", "thanks" or "good morning"
    one-word noise     | one word that asks nothing, such as "test" or "ok", or a single letter
    keyboard noise     | only runs of neighbouring keys, one letter again and again, or long words without a vowel

Short keyword queries ("refund", "opening hours") stay: users type them. A word that the answers use is never noise.

Inside a line that stays, e-mail addresses, web addresses and long numbers become `[email]`, `[link]` and `[number]`.
The question is worth keeping, what stands behind it is nobody's business; names and postal addresses are not found.
Lines are data: nothing here runs, formats or renders them, and control characters go before a rule looks.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache

from expertune.data.wording import normalise

_MOST_WORDS = 60
# Characters, for a text of few but endless words.
_LONGEST = 600
# Scripts with less than this share of the answers' letters are stray symbols.
_LEAST_SCRIPT_SHARE = 0.01
_CODE_DIGITS = 5
_NUMBER_DIGITS = 7

_TERMINAL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
# Bidirectional controls can show a line as what it is not; joiners stay, as some scripts spell with them.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_UNSEEN = re.compile("[\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]+")

_EMAIL = re.compile(r"[\w.+%-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+")
_LINK = re.compile(r"(?:https?://|www\.)\S+", re.IGNORECASE)
_SITE = re.compile(r"[\w-]+(?:\.[\w-]+)*\.(?:com|org|info|eu|de|fr|co\.uk)(?:/\S*)?", re.IGNORECASE)
# Groups of two digits and more, so that versions (10.0.19041) and decimals are none.
_NUMBER = re.compile(r"(?<![\w.,£$€])(?:\+\d{1,3}[ .-]?)?(?:\(0\) ?)?\(?\d{2,}\)?(?:[ .-]{1,3}\(?\d{2,}\)?)*(?![\w%])")
_DATE_OR_YEARS = re.compile(r"(?:19|20)\d\d(?:[ .-]+(?:\d\d[ .-]\d\d|(?:19|20)\d\d))+|\d\d[ .-]\d\d[ .-](?:19|20)\d\d")
_CODE_INSIDE = re.compile(r"(?<![\w.])[A-Za-z]{1,4}-?\d{5,}(?![\w.])")
_CODE = re.compile(r"[\w#/.-]+")
_PLACEHOLDER = re.compile(r"\[(?:email|link|number)\]")
_FILE_ENDS = "pdf docx? xlsx? pptx? csv txt jpe?g png gif heic webp mp[34] mov zip rar exe dmg apk html? php log bak"
_FILE = re.compile(
    rf"\S+\.(?:{'|'.join(_FILE_ENDS.split())})|[a-z]:\\\S.*|(?:~|\.\.?)?/\w[\w.-]*(?:/\S*)+", re.IGNORECASE
)


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_GREETING = _set("""
    hi hello hey hiya heya helo hallo hola bonjour ciao servus moin greetings morning afternoon evening thanks thank thx
    ty cheers please pls bye goodbye danke merci gracias""")
_BESIDE_GREETING = _GREETING | _set("""
    good day night there all everyone team folks guys sir madam you u so very much a lot many again for your the help ok
    okay great how are is anyone anybody somebody""")
_REPLY = _set("""
    a ok okay yes yep yeah no nope help question questions search null nan none undefined lol haha hmm what why how who
    when where which and the is""")
_TRIAL = _set("asd qwe foo bar foobar blah lorem abc xyz xxx test tests testing tester test123 demo sample")
_UPPER_ROWS = ("qwertyuiop", "qwertzuiop", "azertyuiop")
_LOWER_ROWS = ("asdfghjkl", "zxcvbnm", "qsdfghjklm", "yxcvbnm")
# Shorter runs of the upper row are words: wert, poi, tre.
_LEAST_UPPER_RUN = 5
_LEAST_RUN = 4
_LEAST_WITHOUT_VOWEL = 5


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What the answers are written in: words that are no noise, and scripts; nothing known: no script is foreign."""

    words: frozenset[str] = frozenset()
    scripts: frozenset[str] = frozenset()


def vocabulary(answers: Iterable[str]) -> Vocabulary:
    """Collect the normalised words and the scripts of the answers."""
    words: set[str] = set()
    scripts: Counter[str] = Counter()
    for answer in answers:
        words.update(normalise(answer).split())
        scripts.update(_script(character) for character in answer if character.isalpha())
    least = _LEAST_SCRIPT_SHARE * scripts.total()
    return Vocabulary(frozenset(words), frozenset(name for name, letters in scripts.items() if letters >= least))


def tidy(line: str) -> str:
    """Strip terminal codes, control and invisible characters, and white space that is too much."""
    return " ".join(_UNSEEN.sub("", _CONTROLS.sub(" ", _TERMINAL.sub("", line))).split())


def mask(text: str, used: frozenset[str] = frozenset()) -> str:
    """Put `[email]`, `[link]` and `[number]` for addresses, codes, and numbers of seven digits and more.

    Dates stay, and so do codes among the words used by the answers, such as the name of a part or a gene.
    """
    text = _LINK.sub("[link]", _EMAIL.sub("[email]", text))
    text = _NUMBER.sub(_long_number, text)
    return _CODE_INSIDE.sub(lambda match: match[0] if set(normalise(match[0]).split()) <= used else "[number]", text)


def clean(line: str, known: Vocabulary) -> tuple[str, str]:
    """Return the question of one line and "", or "" and the first rule that removes the line."""
    text = tidy(line)
    rule = _fault(text, known)
    if rule:
        return "", rule
    masked = mask(text, known.words)
    if masked != text and _mostly_masked(masked, text):
        return "", "contact or link"
    return masked, ""


def _fault(text: str, known: Vocabulary) -> str:
    words = normalise(text).split()
    rules: tuple[tuple[str, Callable[[], bool]], ...] = (
        ("empty", lambda: not any(map(str.isalnum, text))),
        ("pasted text", lambda: len(text) > _LONGEST or len(text.split()) > _MOST_WORDS),
        ("numbers only", lambda: not any(map(str.isalpha, text)) or _is_code(text)),
        ("contact or link", lambda: bool(_SITE.fullmatch(text))),
        ("file name", lambda: bool(_FILE.fullmatch(text))),
        ("other script", lambda: _foreign(text, known.scripts)),
        ("greeting", lambda: not _GREETING.isdisjoint(words) and set(words) <= _BESIDE_GREETING),
        ("one-word noise", lambda: len(words) == 1 and _is_noise(words[0], known.words)),
        ("keyboard noise", lambda: all(_is_keyboard(word, known.words) for word in words)),
    )
    return next((name for name, breaks in rules if breaks()), "")


def _long_number(match: re.Match[str]) -> str:
    text = match.group()
    many = sum(map(str.isdigit, text)) >= _NUMBER_DIGITS
    return "[number]" if many and not _DATE_OR_YEARS.fullmatch(text) else text


def _mostly_masked(masked: str, text: str) -> bool:
    """Tell whether less than half of a text's characters are left outside the placeholders."""
    rest = _PLACEHOLDER.sub("", masked)
    return 2 * len(rest.strip()) < len(text) or not any(map(str.isalpha, rest))


def _is_code(text: str) -> bool:
    """Tell whether a text is one token of which most characters are digits, five at least."""
    digits = sum(map(str.isdigit, text))
    return digits >= _CODE_DIGITS and 2 * digits > len(text) and bool(_CODE.fullmatch(text))


def _is_noise(word: str, used: Collection[str]) -> bool:
    """Tell whether one word asks nothing; answers may be about tests or samples, but all of them use "how" or "no"."""
    return (len(word) == 1 and word.isascii()) or word in _REPLY or (word in _TRIAL and word not in used)


def _is_keyboard(word: str, used: Collection[str]) -> bool:
    if word in used or not (word.isascii() and word.isalpha()) or len(word) < _LEAST_RUN:
        return False
    if len(set(word)) == 1 or (len(word) >= _LEAST_WITHOUT_VOWEL and not set(word) & set("aeiouy")):
        return True
    return any(_is_run(word[:length]) for length in range(2, len(word) + 1) if word == _again(word, length))


def _again(word: str, length: int) -> str:
    """Repeat the first characters of a word up to its length: asdfasdf is asdf again and again."""
    return (word[:length] * (len(word) // length + 1))[: len(word)]


def _is_run(keys: str) -> bool:
    """Tell whether keys lie side by side on some keyboard, in one direction."""
    rows = (_LOWER_ROWS if len(keys) >= _LEAST_RUN else ()) + (_UPPER_ROWS if len(keys) >= _LEAST_UPPER_RUN else ())
    return any(keys in row or keys[::-1] in row for row in rows)


def _foreign(text: str, scripts: Collection[str]) -> bool:
    if not scripts or (text.isascii() and "LATIN" in scripts):
        return False
    letters = [_script(character) for character in text if character.isalpha()]
    return 2 * sum(script not in scripts for script in letters) > len(letters)


@lru_cache(maxsize=4096)
def _script(letter: str) -> str:
    """Name a letter's script by the first word of its Unicode name; full-width forms as what they stand for."""
    return unicodedata.name(unicodedata.normalize("NFKC", letter)[0], "").split(" ")[0]
