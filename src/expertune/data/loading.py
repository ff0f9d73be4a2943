"""Read the files of a data section: what may be trained on, what people judged, and what is held out from training.

Two sides that never mix. `Files.train` opens no test judgements; `Files.judged` is what evaluation alone sees;
`Files.held_out` knows both and refuses a question that stands on both sides.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from expertune.config import DataSection
from expertune.data.beir import (
    Corpus,
    Judgement,
    PlacedQuery,
    answers,
    companions,
    join_equal,
    judged_set,
    read_corpus,
    read_qrels,
    read_queries,
    relevant,
)
from expertune.data.columns import named
from expertune.data.general import GENERAL_DEV, read_general
from expertune.data.layout import Layout, find
from expertune.data.leakage import HeldOut
from expertune.data.notes import of_corpus, of_table
from expertune.data.pairs import LabelledQuestion, Pair, Side, merge, pair_up, read_pairs, refuse_leaks
from expertune.data.readers import frame_table, read_bytes, read_hub, read_table
from expertune.data.rows import Table
from expertune.data.texts import VERSION, TextFindings, clean
from expertune.data.wording import normalise
from expertune.errors import DataError
from expertune.records import Dataset, Document, JudgedSet, Provenance, Query, Question, Role

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True, slots=True)
class Loaded:
    """Everything that a data section names.

    `fingerprint` is a SHA-256 over the names and contents of the files that `train` comes from and the columns taken
    from them (a hub data set counts by its id alone), `judged_fingerprint` the same of `judged`. `texts` tells what was
    done to the texts of both, `notes` in lines how the rows were read. `unanswered` are questions of users that people
    found no answer for. `same` leads from the id of an answer that was joined with an equal one to that one's.
    """

    train: Dataset
    judged: tuple[JudgedSet, ...]
    held_out: HeldOut
    fingerprint: str
    judged_fingerprint: str
    texts: TextFindings = field(default_factory=TextFindings)
    notes: tuple[str, ...] = ()
    unanswered: tuple[Query, ...] = ()
    same: Mapping[str, str] = field(default_factory=dict)


def load(section: DataSection, *, offline: bool = True) -> Loaded:
    """Read everything that a data section names.

    Raises:
        DataError: a file is missing or malformed, a held-out question is trained on as well, or there are fewer than
            two questions or answers.
    """
    files = Files(section, offline)
    train, judged, held_out = files.train, files.judged, files.held_out
    prints, same = (files.fingerprint, files.judged_fingerprint), files.side.corpus.same
    return Loaded(train, judged, held_out, *prints, files.texts, files.notes, files.unanswered, same)


def load_frame(frame: DataFrame, section: DataSection) -> Dataset:
    """Read what may be trained on from a data frame with the columns that `section` names.

    Of `section.path` only the last part is used, as the name; the rows are all there is, so a corpus or qrels beside
    that path do not count.

    Raises:
        DataError: as `load` does.
    """
    name = Path(section.path).stem or "frame"
    table, _ = _understood(frame_table(frame, "frame"), section)
    corpus, questions = pair_up(read_pairs(table, section), None)
    return _dataset(Side(name, "frame", corpus, questions))


def load_corpus(path: Path) -> tuple[Document, ...]:
    """Read the answers alone: of a folder or Q&A file as `load` takes it, held-out rows included, or of a BEIR corpus.

    Raises:
        DataError: the file is missing or malformed.
    """
    files = Files(DataSection(path=str(path)))
    qa = files.layout.qa
    if qa and qa.suffix.lower() in (".jsonl", ".json") and {"_id", "text"} <= set(read_table(qa).columns):
        return tuple(read_corpus(qa).documents.values())
    return tuple(files.side.corpus.documents.values())


@dataclass(frozen=True)
class Files:
    """The files of a data section, each parsed once, and only when something that needs it is asked for.

    Unless `join` is false, answers that are the same become one document, and judgements of either are of that one.
    Every property may raise a DataError: a file is missing or malformed.
    """

    section: DataSection
    offline: bool = True
    join: bool = True
    _judgements: dict[str, tuple[Judgement, ...]] = field(default_factory=dict, init=False, repr=False)
    _texts: dict[str, TextFindings] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def layout(self) -> Layout:
        """Where the files lie."""
        return find(self.section)

    # --- what may be trained on: no test judgements, and queries.jsonl only for `train_split` ---------------------

    @cached_property
    def train(self) -> Dataset:
        """Every answer, and the questions that are not held out.

        A question leads to further answers as well: those that judgements of training splits name wherever they name
        its own.

        Raises:
            DataError: also where a held-out row is trained on, or there are fewer than two questions or answers.
        """
        layout = self.layout
        if not (layout.qa or layout.hub or self.section.train_split):
            splits = ", ".join(layout.splits) or "none"
            message = f"has no qa file and data.train_split is not set (judgements found: {splits})"
            hint = "Add qa.jsonl, or set data.train_split to a labelled split."
            raise DataError(message, place=layout.place, hint=hint)
        return _dataset(self._with_companions(self.side))

    @cached_property
    def side(self) -> Side:
        """The corpus and every question of the training files, held-out rows included."""
        corpus, rows = self._rows
        return Side(self.layout.name, self.layout.place, corpus, (*rows, *self._labelled(corpus)))

    @property
    def fingerprint(self) -> str:
        """The `Loaded.fingerprint`."""
        section, layout = self.section, self.layout
        columns = (section.question_column, section.answer_column, section.id_column, section.split_column)
        return _digest([layout.name, layout.hub, *columns, section.train_split], layout.training_files(section))

    @cached_property
    def _rows(self) -> tuple[Corpus, tuple[LabelledQuestion, ...]]:
        """The corpus and the rows of the Q&A file; no rows where questions come from `train_split` alone."""
        return pair_up(self._pairs, self._corpus)

    @cached_property
    def _table(self) -> Table | None:
        """The Q&A table, its columns called as the section says and its texts clean."""
        layout = self.layout
        if not (layout.hub or layout.qa):
            return None
        table = read_table(layout.qa) if layout.qa else read_hub(layout.hub, offline=self.offline)
        table, self._texts[table.place] = _understood(table, self.section)
        return table

    @cached_property
    def _pairs(self) -> list[Pair]:
        return read_pairs(self._table, self.section) if self._table else []

    @property
    def notes(self) -> tuple[str, ...]:
        """How the training files were read: rows by split, columns not used, rows left out, answers joined."""
        if not self.section.path:
            return ()
        rows = of_table(self._table, self._pairs, self.section) if self._table else ()
        return (*rows, *of_corpus(self.side.corpus))

    @cached_property
    def _corpus(self) -> Corpus | None:
        """The documents of corpus.jsonl; None where the answers of a Q&A file are the corpus."""
        if self.layout.corpus is None:
            return None
        corpus = read_corpus(self.layout.corpus, self._clean)
        return join_equal(corpus) if self.join else corpus

    @cached_property
    def _queries(self) -> dict[str, PlacedQuery]:
        return read_queries(self.layout.queries, self._clean)

    def _clean(self, table: Table) -> Table:
        table, self._texts[table.place] = clean(table, ("title", "text"))
        return table

    @property
    def texts(self) -> TextFindings:
        """What was done to the texts of the files that have been read so far."""
        return sum(self._texts.values(), TextFindings())

    @cached_property
    def _unanswered(self) -> tuple[PlacedQuery, ...]:
        path = self.layout.unanswered
        return tuple(read_queries(path, self._clean).values()) if path else ()

    @property
    def unanswered(self) -> tuple[Query, ...]:
        """Questions of users that people found no answer for."""
        return tuple(item.query for item in self._unanswered) if self.section.path else ()

    def _qrels(self, split: str) -> tuple[Judgement, ...]:
        if split not in self._judgements:
            self._judgements[split] = read_qrels(self.layout.qrels(split))
        return self._judgements[split]

    def _labelled(self, corpus: Corpus) -> list[LabelledQuestion]:
        """Read the questions of `train_split`; one may lead to several documents."""
        if not self.section.train_split:
            return []
        queries = self._queries
        questions = []
        for query_id, grades in relevant(self._qrels(self.section.train_split), queries, corpus).items():
            place, text = queries[query_id].place, queries[query_id].query.text
            questions.append(LabelledQuestion(place, text, answers(grades), provenance=Provenance.JUDGED))
        return questions

    def _with_companions(self, side: Side) -> Side:
        """Lead each question to the companions of its answers too; no query is read for that."""
        # What train_split judges has been read with its questions.
        answered = [item.document_ids for item in side.questions if item.provenance is Provenance.JUDGED]
        for split in self.layout.companion_splits(self.section):
            answered += map(answers, relevant(self._qrels(split), None, side.corpus).values())
        together = companions(answered)

        def further(item: LabelledQuestion) -> LabelledQuestion:
            ids = [other for own in item.document_ids for other in (own, *sorted(together.get(own, ())))]
            return replace(item, document_ids=tuple(dict.fromkeys(ids)))

        return replace(side, questions=tuple(item if item.split else further(item) for item in side.questions))

    # --- what evaluation sees -----------------------------------------------------------------------------------

    @cached_property
    def judged(self) -> tuple[JudgedSet, ...]:
        """The sets of the user's own domain, then the general ones (default: the general dev set).

        A domain split is a file of `qrels/`, or else the held-out rows of the Q&A file: those called heldout or test,
        and where there are none, those called validation, dev or eval. Of each set only queries with a
        relevant document are kept: of others no metric says anything.

        Raises:
            DataError: also where a split is not there, or two sets have one name.
        """
        domain = self._domain() if self.section.path else []
        sets = (*domain, *(read_general(layout) for layout in self._general))
        names = [judged.name for judged in sets]
        for name in names:
            if names.count(name) > 1:
                raise DataError(f"two judged sets are called {name}", place="data.general", hint="Rename one folder.")
        return sets

    @property
    def judged_fingerprint(self) -> str:
        """The `Loaded.judged_fingerprint`."""
        section = self.section
        files: list[Path] = []
        columns = (section.question_column, section.answer_column, section.id_column, section.split_column)
        names = [*section.test_splits, *columns]
        if section.path:
            names += [self.layout.name, self.layout.hub]
            files += self.layout.judged_files(section)
        for general in self._general:
            names.append(general.name)
            files += general.general_files
        return _digest(names, files)

    @property
    def _general(self) -> tuple[Layout, ...]:
        return tuple(Layout.of_general(folder) for folder in self.section.general) or (GENERAL_DEV,)

    def _domain(self) -> list[JudgedSet]:
        section, layout = self.section, self.layout
        tests = self._domain_qrels()
        corpus = self._corpus
        rows: list[LabelledQuestion] = []
        if corpus is None or not tests or set(section.test_splits) - set(tests):
            corpus, pairs = self._rows
            rows = [item for item in pairs if item.split]
        row_splits = tuple(dict.fromkeys(item.split for item in rows))
        by_name = tuple(split for split in row_splits if split == "heldout" or split.startswith("test")) or row_splits
        sets = []
        for split in section.test_splits or tuple(tests) or by_name:
            if split in tests:
                path = layout.qrels(split)
                sets.append(judged_set(layout.name, Role.DOMAIN, path, tests[split], self._queries, corpus))
            elif split in row_splits:
                held_out = merge(item for item in rows if item.split == split)
                sets.append(_set_of_rows(layout.name, split, corpus, tuple(held_out.values())))
            else:
                message = f"there is no split '{split}' (found: {', '.join((*layout.splits, *row_splits)) or 'none'})"
                raise DataError(message, place="data.test_splits", hint="Name one of those.")
        return sets

    def _domain_qrels(self) -> dict[str, tuple[Judgement, ...]]:
        """Read the splits to test on; unless chosen, "test" is left out where finer splits have exactly its queries."""
        tests = {split: self._qrels(split) for split in self.layout.test_splits(self.section)}
        finer = {judgement.query_id for split in tests if split != "test" for judgement in tests[split]}
        if not self.section.test_splits and finer == {judgement.query_id for judgement in tests.get("test", ())}:
            tests.pop("test", None)
        return tests

    # --- what stands between the two ----------------------------------------------------------------------------

    @cached_property
    def held_out(self) -> HeldOut:
        """The questions that must never be trained on: queries of test splits, held-out rows and unanswered questions.

        They are worded as in a judged set, or normalised where none has them.

        Raises:
            DataError: also where a training question is among them (both places are named).
        """
        if not self.section.path:
            return HeldOut({})
        side = self.side
        places = {key: item.place for key, item in side.held_out.items()}
        splits = {split: self._qrels(split) for split in self.layout.held_out_splits(self.section)}
        queries = self._queries if splits else {}
        for judgements in splits.values():
            relevant(judgements, queries, side.corpus)
            for judgement in judgements:
                placed = queries[judgement.query_id]
                places.setdefault(normalise(placed.query.text), placed.place)
        places |= {normalise(item.query.text): item.place for item in self._unanswered}
        refuse_leaks(side.trained, places)
        wording = {normalise(query.text): query.text for judged in self.judged for query in judged.queries}
        return HeldOut({key: wording.get(key, key) for key in places})


def _understood(table: Table, section: DataSection) -> tuple[Table, TextFindings]:
    """Return a Q&A table with its columns called as the section says and clean texts, and what was done to these."""
    question, answer = section.question_column, section.answer_column
    return clean(named(table, section), (question, answer), question=question, answer=answer)


def _dataset(side: Side) -> Dataset:
    trained, held_out = side.trained, side.held_out
    refuse_leaks(trained, {key: item.place for key, item in held_out.items()})
    if len(trained) < 2:
        message = f"found {len(trained)} training question(s) and {len(held_out)} held out, expected 2 to train on"
        raise DataError(message, place=side.place, hint="Tuning compares questions: add question-answer pairs.")
    if len({document.text for document in side.corpus.documents.values()}) < 2:
        message = "all answers are equal, expected at least 2 different ones"
        raise DataError(message, place=side.place, hint="Add pairs with another answer.")
    questions = (Question(item.text, item.document_ids, item.provenance) for item in trained.values())
    return Dataset(side.name, tuple(side.corpus.documents.values()), tuple(questions))


def _set_of_rows(name: str, split: str, corpus: Corpus, rows: Sequence[LabelledQuestion]) -> JudgedSet:
    queries = tuple(Query(f"h{number}", item.text) for number, item in enumerate(rows, start=1))
    grades = {query.id: dict.fromkeys(row.document_ids, 1) for query, row in zip(queries, rows, strict=True)}
    return JudgedSet(name, split, Role.DOMAIN, tuple(corpus.documents.values()), queries, grades)


def _digest(names: Sequence[str], files: Iterable[Path]) -> str:
    contents = [(file.name, hashlib.sha256(read_bytes(file)).hexdigest()) for file in files]
    return hashlib.sha256(json.dumps([VERSION, list(names), contents]).encode()).hexdigest()
