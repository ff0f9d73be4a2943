"""Find out what a data path is and which of its files serve training and which testing. Knows no question.

Nothing here opens a test file unless asked for the tests.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from expertune.config import DataSection
from expertune.data.beir import Corpus, Judgement, read_corpus, read_qrels
from expertune.data.readers import READERS, Row, Table, frame_table
from expertune.errors import DataError

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
SUFFIXES = ", ".join(READERS)


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
        return str(self.beir or self.qa or self.hub)

    @property
    def corpus_path(self) -> Path:
        """Where the corpus lies, or would lie."""
        return self._folder / "corpus.jsonl"

    @property
    def corpus(self) -> Corpus | None:
        """The corpus, read now; None where the set has only a Q&A file."""
        if self.beir is None or (self.qa and not self.corpus_path.exists()):
            return None
        return read_corpus(self.corpus_path)

    @property
    def queries(self) -> Path:
        """Where the queries lie, or would lie."""
        return self._folder / "queries.jsonl"

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of all qrels files, sorted; none is opened."""
        return tuple(sorted(path.stem for path in (self.beir / "qrels").glob("*.tsv"))) if self.beir else ()

    def qrels(self, split: str) -> Path:
        """Return the judgements of a split that must be there."""
        if split not in self.splits:
            found = ", ".join(self.splits) or "none"
            message = f"there are no judgements qrels/{split}.tsv (found: {found})"
            raise DataError(message, place=self.place, hint="Name a split that is there, or add the file.")
        return self._folder / "qrels" / f"{split}.tsv"

    def table(self, *, offline: bool) -> Table | None:
        """Read the Q&A rows; None where training questions come from `train_split` alone.

        Raises:
            DataError: the file is malformed, or the hub cannot be reached or must not be.
        """
        if self.hub:
            return _hub_table(self.hub, offline=offline)
        if self.qa:
            return READERS[self.qa.suffix](self.qa)
        return None

    def test_qrels(self, section: DataSection, *, every: bool = False) -> dict[str, tuple[Judgement, ...]]:
        """Read the judgements of the test splits: the chosen ones, else all whose name begins with "test".

        The coarse "test" is left out where finer splits have exactly its queries. `every` adds all that begin with
        "test" to the chosen ones and leaves out nothing.
        """
        found = {split: read_qrels(self.qrels(split)) for split in self._test_splits(section, every=every)}
        finer = {judgement.query_id for split in found if split != "test" for judgement in found[split]}
        chosen = bool(section.test_splits)
        if not every and not chosen and finer == {judgement.query_id for judgement in found.get("test", ())}:
            found.pop("test", None)
        return found

    def companion_splits(self, section: DataSection) -> list[str]:
        """Return the splits that only tell which answers go together: training ones, not chosen for anything else."""
        chosen = (section.train_split, *section.test_splits)
        begun = [split for split in self.splits if split.startswith("train") and split not in chosen]
        return begun if section.companions else []

    def training_files(self, section: DataSection) -> list[Path]:
        """Return the files that training reads."""
        files = [self.qa] if self.qa else []
        if self.beir and (not self.qa or self.corpus_path.exists()):
            files.append(self.corpus_path)
        if section.train_split:
            files += [self.queries, self.qrels(section.train_split)]
        return [*files, *(self.qrels(split) for split in self.companion_splits(section))]

    def judged_files(self, section: DataSection) -> list[Path]:
        """Return the files that testing reads."""
        files = self.training_files(section.model_copy(update={"train_split": "", "companions": False}))
        tests = [self.qrels(split) for split in self._test_splits(section)]
        return [*files, *([self.queries] if tests else []), *tests]

    def _test_splits(self, section: DataSection, *, every: bool = False) -> list[str]:
        chosen = [split for split in section.test_splits if split in self.splits]
        begun = [split for split in self.splits if split.startswith("test") and split != section.train_split]
        if every:
            return list(dict.fromkeys((*chosen, *begun)))
        return chosen if section.test_splits else begun

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
        if path.suffix not in READERS:
            message = f"is a file of unknown kind '{path.suffix}', expected one of {SUFFIXES}"
            raise DataError(message, place=str(path), hint="Convert it, for instance to JSON lines.")
        return Layout(path.stem, qa=path)
    if path.suffix not in READERS and _HUB_ID.fullmatch(section.path):
        return Layout(path.name, hub=section.path)
    raise DataError("no such file or folder", place=section.path, hint="Check data.path.")


def _folder_layout(path: Path) -> Layout:
    name = path.resolve().name
    files = [path / f"qa{suffix}" for suffix in READERS if (path / f"qa{suffix}").exists()]
    if len(files) > 1:
        both = " and ".join(file.name for file in files)
        raise DataError(f"has both {both}", place=str(path), hint="Keep one of them.")
    if files:
        return Layout(name, qa=files[0], beir=path)
    layout = Layout(name, beir=path)
    if not layout.corpus_path.exists():
        found = ", ".join(sorted(entry.name for entry in path.iterdir())[:10]) or "nothing"
        message = f"has neither a qa file ({SUFFIXES}) nor a BEIR set with corpus.jsonl (found: {found})"
        raise DataError(message, place=str(path), hint="Put qa.jsonl with question and answer into the folder.")
    return layout


def split_of_general(layout: Layout) -> str:
    """Return the one split a general set is tested on: "test", or the only one that begins so."""
    tests = [split for split in layout.splits if split.startswith("test")]
    if "test" in tests:
        return "test"
    if len(tests) != 1:
        found = ", ".join(layout.splits) or "none"
        hint = "Put judgements into qrels/test.tsv."
        raise DataError(f"needs one test split (found: {found})", place=layout.place, hint=hint)
    return tests[0]


def _hub_table(name: str, *, offline: bool) -> Table:
    """Download a data set of the hub; where it has no column `split`, the names of its splits serve."""
    if offline:
        message = (
            "no such file or folder; as an id of the datasets hub it would need a connection, but the run is offline"
        )
        raise DataError(message, place=name, hint="Correct data.path, or set run.offline = false.")
    import datasets

    try:
        frames = {split: part.to_pandas() for split, part in datasets.load_dataset(name).items()}
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        hint = "Check the id and the connection."
        raise DataError(f"cannot be had from the datasets hub ({reason})", place=name, hint=hint) from None
    columns: dict[str, None] = {}
    rows: list[Row] = []
    for split, frame in frames.items():
        part = frame_table(frame, f"{name}[{split}]")
        columns.update(dict.fromkeys(part.columns))
        rows += [Row(row.place, {"split": split, **row.values}) for row in part.rows]
    return Table(name, tuple(columns), tuple(rows))
