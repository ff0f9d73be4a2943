"""Say how a data set was read, in lines for people. Reads nothing itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from expertune.config import DataSection
from expertune.data.beir import Corpus
from expertune.data.columns import split_of, splits, unused
from expertune.data.pairs import Pair
from expertune.data.rows import Table

_MOST_SHOWN = 10


def of_table(table: Table, pairs: Sequence[Pair], section: DataSection) -> Iterator[str]:
    """Yield the rows of each split value, the columns that are not used, and the rows left out of the pairs."""
    trained, held_out = 0, Counter[str]()
    for value, count in splits(table, section).items():
        if split_of(value, section):
            held_out[value] += count
        else:
            trained += count
    kinds = ", ".join(f"{count} '{value}'" for value, count in held_out.items())
    yield f"{trained} rows to train on" + (f"; rows that their split leaves out of training: {kinds}" if kinds else "")
    if columns := unused(table, section):
        yield f"columns not used: {_listed(columns)}"
    if len(pairs) < len(table.rows):
        kept = {pair.place for pair in pairs}
        places = [row.place for row in table.rows if row.place not in kept]
        rows = "row" if len(places) == 1 else "rows"
        yield f"{len(places)} {rows} left out, as question or answer is empty: {_listed(places)}"


def of_corpus(corpus: Corpus) -> Iterator[str]:
    """Yield how many answers were joined with one that is the same."""
    if corpus.joined:
        count = f"{corpus.joined} answers were" if corpus.joined > 1 else "1 answer was"
        yield f"{count} joined with one that differs in id, case, blanks, quotes, marks around it or a full stop alone"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_SHOWN} more" if len(names) > _MOST_SHOWN else ""
    return ", ".join(names[:_MOST_SHOWN]) + more
