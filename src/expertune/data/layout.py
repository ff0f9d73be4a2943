"""Find out what a data path is and which of its files serve training and which testing. Opens none of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from expertune.config import DataSection
from expertune.data.readers import READERS
from expertune.errors import DataError
from expertune.models import HUB_ID

SUFFIXES = ", ".join(READERS)
_SPREADSHEETS = (".xlsx", ".xlsm", ".xls", ".ods", ".numbers")
_FROM_SPREADSHEET = (
    'Save the sheet as CSV (in Excel: Save As, "CSV UTF-8"; elsewhere: export as CSV) and name that file.'
)
_BEIR_FILES = ("corpus.jsonl", "queries.jsonl")
JUDGED_SUFFIX = ".judged"
"""Of the folder beside a table that holds what people judged: `faq.judged` beside `faq.csv`."""

UNANSWERED = "unanswered.jsonl"
"""Questions of users that no answer fits, as `expertune judge` writes them."""

SIDECAR = "judgements.jsonl"
"""Who judged what: the file that `expertune judge` writes the others from."""

_NO_TABLES = (*_BEIR_FILES, UNANSWERED, SIDECAR)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the parts of one data set lie: a Q&A file, a BEIR folder, both, or a hub id."""

    name: str
    qa: Path | None = None
    beir: Path | None = None
    hub: str = ""

    @classmethod
    def of_general(cls, folder: str) -> Layout:
        """Return the layout of a general set, which must be a BEIR folder."""
        path = Path(folder)
        if not path.is_dir():
            raise DataError(
                "no such folder", place=f"data.general: {folder}", hint="Name a folder with a BEIR set, or none."
            )
        return cls(path.resolve().name, beir=path)

    @property
    def place(self) -> str:
        """What errors call the whole set."""
        beside = self.beir is not None and self.beir.suffix == JUDGED_SUFFIX
        return str((self.qa if beside else None) or self.beir or self.qa or self.hub)

    @property
    def corpus_path(self) -> Path:
        """Where the corpus lies, or would lie."""
        return self._folder / "corpus.jsonl"

    @property
    def corpus(self) -> Path | None:
        """Where the corpus lies; None where the answers of a Q&A file are the corpus."""
        if self.beir is None or (self.qa and not self.corpus_path.exists()):
            return None
        return self.corpus_path

    @property
    def queries(self) -> Path:
        """Where the queries lie, or would lie."""
        return self._folder / "queries.jsonl"

    @property
    def unanswered(self) -> Path | None:
        """Where users' questions that no answer fits lie; None where there are none."""
        path = self.beir / UNANSWERED if self.beir else None
        return path if path and path.exists() else None

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of all qrels files, sorted."""
        return tuple(sorted(path.stem for path in (self.beir / "qrels").glob("*.tsv"))) if self.beir else ()

    @property
    def general_split(self) -> str:
        """The one split that a general set is tested on: "test", or the only one that begins so."""
        tests = [split for split in self.splits if split.startswith("test")]
        if "test" in tests:
            return "test"
        if len(tests) != 1:
            found = ", ".join(self.splits) or "none"
            hint = "Put judgements into qrels/test.tsv."
            raise DataError(f"needs one test split (found: {found})", place=self.place, hint=hint)
        return tests[0]

    def qrels(self, split: str) -> Path:
        """Return the judgements of a split that must be there."""
        if split not in self.splits:
            found = ", ".join(self.splits) or "none"
            message = f"there are no judgements qrels/{split}.tsv (found: {found})"
            raise DataError(message, place=self.place, hint="Name a split that is there, or add the file.")
        return self._folder / "qrels" / f"{split}.tsv"

    def test_splits(self, section: DataSection) -> list[str]:
        """Return the splits to test on: the chosen ones that have qrels, else all whose name begins with "test"."""
        if section.test_splits:
            return [split for split in section.test_splits if split in self.splits]
        return [split for split in self.splits if split.startswith("test") and split != section.train_split]

    def held_out_splits(self, section: DataSection) -> list[str]:
        """Return the splits whose questions must not be trained on: those to test on, and all others named "test"."""
        unchosen = self.test_splits(section.model_copy(update={"test_splits": ()}))
        return list(dict.fromkeys((*self.test_splits(section), *unchosen)))

    def companion_splits(self, section: DataSection) -> list[str]:
        """Return the splits that only tell which answers go together: training ones, not chosen for anything else."""
        chosen = (section.train_split, *section.test_splits)
        return [split for split in self.splits if split.startswith("train") and split not in chosen]

    def training_files(self, section: DataSection) -> list[Path]:
        """Return the files that training reads."""
        labelled = [self.queries, self.qrels(section.train_split)] if section.train_split else []
        return [*self._shared_files, *labelled, *(self.qrels(split) for split in self.companion_splits(section))]

    def judged_files(self, section: DataSection) -> list[Path]:
        """Return the files that testing reads, without those of general sets."""
        tests = [self.qrels(split) for split in self.test_splits(section)]
        return [*self._shared_files, *([self.queries] if tests else []), *tests]

    @property
    def general_files(self) -> list[Path]:
        """The files that a general set is read from."""
        return [*self._shared_files, self.queries, self.qrels(self.general_split)]

    @property
    def _shared_files(self) -> list[Path]:
        return [path for path in (self.qa, self.corpus) if path]

    @property
    def _folder(self) -> Path:
        if self.beir is None:
            hint = "Set data.path to a folder with corpus.jsonl, queries.jsonl and qrels, or unset data.train_split."
            raise DataError("is not a folder with a BEIR set", place=self.place, hint=hint)
        return self.beir


def find(section: DataSection) -> Layout:
    """Find out what `section.path` is.

    Raises:
        DataError: it is nothing that can be read, or `train_split` is also to be tested on.
    """
    if not section.path:
        hint = f"Set data.path to a folder with qa.jsonl, a file ({SUFFIXES}) or an id of the datasets hub."
        raise DataError("no data is named", place="data.path", hint=hint)
    if section.train_split and section.train_split in section.test_splits:
        message = f"'{section.train_split}' is to be trained on and tested on"
        raise DataError(message, place="data.train_split", hint="Name it in train_split or test_splits, not in both.")
    path = Path(section.path)
    if path.is_dir():
        return _folder_layout(path)
    if path.exists():
        if path.suffix.lower() not in READERS:
            message = f"is a file of unknown kind '{path.suffix}', expected one of {SUFFIXES}"
            spreadsheet = path.suffix.lower() in _SPREADSHEETS
            hint = _FROM_SPREADSHEET if spreadsheet else "Convert it, for instance to JSON lines."
            raise DataError(message, place=str(path), hint=hint)
        judged = path.with_suffix(JUDGED_SUFFIX)
        return Layout(path.stem, qa=path, beir=judged if judged.is_dir() else None)
    if path.suffix.lower() not in READERS and HUB_ID.fullmatch(section.path):
        return Layout(path.name, hub=section.path)
    raise DataError("no such file or folder", place=section.path, hint="Check data.path.")


def _folder_layout(path: Path) -> Layout:
    """Return the layout of a folder: its qa file, else the one table that lies there; a BEIR set needs neither."""
    name = path.resolve().name
    files = [path / f"qa{suffix}" for suffix in READERS if (path / f"qa{suffix}").exists()]
    if len(files) > 1:
        both = " and ".join(file.name for file in files)
        raise DataError(f"has both {both}", place=str(path), hint="Keep one of them.")
    if not files and not all((path / file).exists() for file in _BEIR_FILES):
        files = _tables(path)
    has_corpus = (path / "corpus.jsonl").exists()
    if len(files) > 1 and not has_corpus:
        message = f"has {len(files)} tables, expected one: {', '.join(file.name for file in files[:10])}"
        hint = f"Name one in data.path (--data {files[0]}), or call it qa{files[0].suffix.lower()}."
        raise DataError(message, place=str(path), hint=hint)
    if not files and not has_corpus:
        entries = sorted(path.iterdir())
        found = ", ".join(entry.name for entry in entries[:10]) or "nothing"
        message = f"has neither a qa file ({SUFFIXES}) nor a BEIR set with corpus.jsonl (found: {found})"
        spreadsheet = any(entry.suffix.lower() in _SPREADSHEETS for entry in entries)
        hint = _FROM_SPREADSHEET if spreadsheet else "Put qa.jsonl with question and answer into the folder."
        raise DataError(message, place=str(path), hint=hint)
    return Layout(name, qa=files[0] if len(files) == 1 else None, beir=path)


def _tables(path: Path) -> list[Path]:
    """Return the tables of a folder, without those of a BEIR set and what editors and systems leave there."""
    return sorted(
        entry
        for entry in path.iterdir()
        if entry.suffix.lower() in READERS
        and entry.name.casefold() not in _NO_TABLES
        and not entry.name.startswith((".", "~"))
        and entry.is_file()
    )
