"""Load questions and answers for training, and judged sets for evaluation. Knows no model, score or label.

Two sides that never mix. `load` reads what may be trained on and opens no test file; `load_judged` reads what people
judged; `held_out_questions` reads both and refuses a question that stands on both sides.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from expertune.config import DataSection
from expertune.data.beir import Corpus, Judgement, answers, companions, read_corpus, read_qrels, read_queries, relevant
from expertune.data.layout import Layout, find, split_of_general
from expertune.data.pairs import Asked, Side, merge, pair_up, read_pairs, refuse_leaks
from expertune.data.readers import READERS, frame_table, read_bytes, read_text
from expertune.data.sentence_pairs import read_scored_pairs
from expertune.data.wording import normalise
from expertune.errors import DataError
from expertune.records import Dataset, Document, JudgedSet, Provenance, Query, Question, Role

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = [
    "fingerprint",
    "held_out_questions",
    "judged_fingerprint",
    "load",
    "load_corpus",
    "load_frame",
    "load_general_dev_set",
    "load_judged",
    "normalise",
    "read_scored_pairs",
    "reference_sentences",
]

GENERAL_DEV = Layout("general-dev", beir=Path(__file__).with_name("general_dev"))
"""The general dev set that comes with the package."""


def load(section: DataSection, *, offline: bool = True) -> Dataset:
    """Read what may be trained on: every answer, and the questions that are not held out.

    Opens no test judgements, and `queries.jsonl` only where `train_split` is set. With `companions`, a question leads
    to further answers as well: those that the judgements of training splits name wherever they name its own.

    Raises:
        DataError: a file is missing or malformed, a held-out question is trained on as well, or there are fewer than
            two questions or answers.
    """
    layout = find(section)
    if not (layout.qa or layout.hub or section.train_split):
        message = (
            f"has no qa file and data.train_split is not set (judgements found: {', '.join(layout.splits) or 'none'})"
        )
        raise DataError(message, place=layout.place, hint="Add qa.jsonl, or set data.train_split to a labelled split.")
    return _dataset(_completed(_side(layout, section, offline=offline), layout, section))


def load_corpus(path: Path) -> tuple[Document, ...]:
    """Read the answers alone: of a folder or Q&A file as `load` takes it, held-out rows included, or of a BEIR corpus.

    Raises:
        DataError: the file is missing or malformed.
    """
    layout = find(section := DataSection(path=str(path)))
    if layout.qa and layout.qa.suffix == ".jsonl" and {"_id", "text"} <= set(READERS[".jsonl"](layout.qa).columns):
        return tuple(read_corpus(layout.qa).documents.values())
    return tuple(_side(layout, section, offline=True).corpus.documents.values())


def load_frame(frame: DataFrame, section: DataSection) -> Dataset:
    """Read what may be trained on from a data frame with the columns that `section` names.

    Of `section.path` only the last part is used, as the name; the rows are all there is, so a corpus or qrels beside
    that path do not count.

    Raises:
        DataError: as `load` does.
    """
    name = Path(section.path).stem or "frame"
    corpus, asked = pair_up(read_pairs(frame_table(frame, "frame"), section), None)
    return _dataset(Side(name, "frame", corpus, asked))


def load_judged(section: DataSection, *, offline: bool = True) -> tuple[JudgedSet, ...]:
    """Read the held-out sets: first the user's own domain, then the general ones (default: the built-in one).

    A domain split is a file of `qrels/`, or else the held-out rows of the Q&A file. Of each set only queries with a
    relevant document are kept: of others no metric says anything.

    Raises:
        DataError: a file is missing or malformed, or a split is not there.
    """
    domain = _domain_sets(section, offline=offline) if section.path else ()
    general = tuple(_general_set(layout) for layout in _general_layouts(section))
    sets = (*domain, *general)
    names = [judged.name for judged in sets]
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"two judged sets are called {name}", place="data.general", hint="Rename one folder.")
    return sets


def load_general_dev_set() -> JudgedSet:
    """Read the half of the built-in general dev set that selection looks at; evaluation shows the other half."""
    return _general_set(GENERAL_DEV, split="validation")


def reference_sentences(path: Path | None = None) -> tuple[str, ...]:
    """Read reference sentences, one a line, which belong to no domain; by default the built-in ones.

    Raises:
        DataError: the file is missing, not UTF-8 or empty.
    """
    path = path or Path(__file__).parent / "general_dev" / "reference_sentences.txt"
    texts = tuple(line.strip() for line in read_text(path).split("\n") if line.strip())
    if not texts:
        raise DataError("has no sentences", place=str(path), hint="Write one sentence a line.")
    return texts


def held_out_questions(section: DataSection, *, offline: bool = True) -> frozenset[str]:
    """Return the normalised texts that must never be trained on: queries of every domain test split, held-out rows.

    Raises:
        DataError: a training question is among them (both places are named), or a file is malformed.
    """
    if not section.path:
        return frozenset()
    layout = find(section)
    side = _side(layout, section, offline=offline)
    held_out = {key: asked.place for key, asked in side.held_out.items()}
    splits = layout.test_qrels(section, every=True)
    queries = read_queries(layout.queries) if splits else {}
    for judgements in splits.values():
        relevant(judgements, queries, side.corpus)
        for judgement in judgements:
            placed = queries[judgement.query_id]
            held_out.setdefault(normalise(placed.query.text), placed.place)
    refuse_leaks(side.trained, held_out)
    return frozenset(held_out)


def fingerprint(section: DataSection) -> str:
    """Return a SHA-256 over the names and contents of the files `load` reads, and the columns it takes from them.

    A hub data set counts by its id alone.

    Raises:
        DataError: a file is missing.
    """
    layout = find(section)
    columns = (section.question_column, section.answer_column, section.id_column, section.train_split)
    return _digest([layout.name, layout.hub, *columns], layout.training_files(section))


def judged_fingerprint(section: DataSection) -> str:
    """Return a SHA-256 over the names and contents of the files `load_judged` reads, and the splits it takes.

    Raises:
        DataError: a file is missing.
    """
    files: list[Path] = []
    names = [*section.test_splits, section.question_column, section.answer_column, section.id_column]
    if section.path:
        layout = find(section)
        names += [layout.name, layout.hub]
        files += layout.judged_files(section)
    for general in _general_layouts(section):
        split = split_of_general(general)
        names.append(general.name)
        files += [general.corpus_path, general.queries, general.qrels(split)]
    return _digest(names, files)


def _digest(names: Sequence[str], files: Iterable[Path]) -> str:
    contents = [(file.name, hashlib.sha256(read_bytes(file)).hexdigest()) for file in files]
    return hashlib.sha256(json.dumps([list(names), contents]).encode()).hexdigest()


# --- the training side -------------------------------------------------------------------------------------------


def _side(layout: Layout, section: DataSection, *, offline: bool) -> Side:
    table = layout.table(offline=offline)
    corpus, asked = pair_up(read_pairs(table, section) if table else [], layout.corpus)
    if section.train_split:
        asked = (*asked, *_labelled(layout, section.train_split, corpus))
    return Side(layout.name, layout.place, corpus, asked)


def _labelled(layout: Layout, split: str, corpus: Corpus) -> list[Asked]:
    """Read user questions that may be trained on; one may lead to several documents."""
    queries = read_queries(layout.queries)
    asked = []
    for query_id, grades in relevant(read_qrels(layout.qrels(split)), queries, corpus).items():
        placed = queries[query_id]
        asked.append(Asked(placed.place, placed.query.text, answers(grades), provenance=Provenance.JUDGED))
    return asked


def _completed(side: Side, layout: Layout, section: DataSection) -> Side:
    """Lead each question to the companions of its answers too; no query is read for that."""
    if not section.companions:
        return side
    # What train_split judges has been read with its questions.
    answered = [asked.document_ids for asked in side.asked if asked.provenance is Provenance.JUDGED]
    for split in layout.companion_splits(section):
        answered += map(answers, relevant(read_qrels(layout.qrels(split)), None, side.corpus).values())
    together = companions(answered)

    def further(asked: Asked) -> Asked:
        ids = [other for own in asked.document_ids for other in (own, *sorted(together.get(own, ())))]
        return replace(asked, document_ids=tuple(dict.fromkeys(ids)))

    return replace(side, asked=tuple(asked if asked.split else further(asked) for asked in side.asked))


def _dataset(side: Side) -> Dataset:
    trained, held_out = side.trained, side.held_out
    refuse_leaks(trained, {key: asked.place for key, asked in held_out.items()})
    if len(trained) < 2:
        message = f"found {len(trained)} training question(s) and {len(held_out)} held out, expected 2 to train on"
        raise DataError(message, place=side.place, hint="Tuning compares questions: add question-answer pairs.")
    if len({document.text for document in side.corpus.documents.values()}) < 2:
        message = "all answers are equal, expected at least 2 different ones"
        raise DataError(message, place=side.place, hint="Add pairs with another answer.")
    questions = (Question(asked.text, asked.document_ids, asked.provenance) for asked in trained.values())
    return Dataset(side.name, tuple(side.corpus.documents.values()), tuple(questions))


# --- the judged side ---------------------------------------------------------------------------------------------


def _domain_sets(section: DataSection, *, offline: bool) -> tuple[JudgedSet, ...]:
    layout = find(section)
    files = layout.test_qrels(section)
    corpus = layout.corpus
    rows: list[Asked] = []
    if corpus is None or not files or set(section.test_splits) - set(files):
        side = _side(layout, section.model_copy(update={"train_split": ""}), offline=offline)
        corpus, rows = side.corpus, [asked for asked in side.asked if asked.split]
    row_splits = tuple(dict.fromkeys(asked.split for asked in rows))
    by_name = tuple(split for split in row_splits if split == "heldout" or split.startswith("test"))
    sets = []
    for split in section.test_splits or tuple(files) or by_name:
        if split in files:
            sets.append(_judged_set(layout, split, files[split], corpus, Role.DOMAIN))
        elif split in row_splits:
            held_out = merge(asked for asked in rows if asked.split == split)
            sets.append(_set_of_rows(layout.name, split, corpus, tuple(held_out.values())))
        else:
            message = f"there is no split '{split}' (found: {', '.join((*layout.splits, *row_splits)) or 'none'})"
            raise DataError(message, place="data.test_splits", hint="Name one of those.")
    return tuple(sets)


def _set_of_rows(name: str, split: str, corpus: Corpus, rows: Sequence[Asked]) -> JudgedSet:
    queries = tuple(Query(f"h{number}", asked.text) for number, asked in enumerate(rows, start=1))
    grades = {query.id: dict.fromkeys(row.document_ids, 1) for query, row in zip(queries, rows, strict=True)}
    return JudgedSet(name, split, Role.DOMAIN, tuple(corpus.documents.values()), queries, grades)


def _general_layouts(section: DataSection) -> tuple[Layout, ...]:
    return tuple(Layout.of_general(folder) for folder in section.general) or (GENERAL_DEV,)


def _general_set(layout: Layout, *, split: str = "") -> JudgedSet:
    split = split or split_of_general(layout)
    return _judged_set(layout, split, read_qrels(layout.qrels(split)), read_corpus(layout.corpus_path), Role.GENERAL)


def _judged_set(layout: Layout, split: str, judgements: Sequence[Judgement], corpus: Corpus, role: Role) -> JudgedSet:
    queries = read_queries(layout.queries)
    grades = relevant(judgements, queries, corpus)
    if not grades:
        place = str(layout.qrels(split))
        raise DataError("calls no document relevant", place=place, hint="Give relevant documents a grade of 1 or more.")
    asked = tuple(queries[query_id].query for query_id in grades)
    return JudgedSet(layout.name, split, role, tuple(corpus.documents.values()), asked, grades)
