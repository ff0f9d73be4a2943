"""Say before a run what it will be able to say after it: that depends on which questions the data folder holds."""

from __future__ import annotations

from collections.abc import Sequence

from expertune import data
from expertune.config import DataSection
from expertune.data.columns import folded
from expertune.data.readers import read_table
from expertune.errors import DataError
from expertune.records import Dataset, JudgedSet, Role
from expertune.train import crossval

JUDGE = (
    "To measure that, judge questions of your search log (`expertune judge`), or mark rows with questions that users "
    'asked as "split": "heldout".'
)

ONLY_ANSWERS = (
    "There are answers only, and no question to learn from: nothing can be tuned yet. Write down what people ask, one "
    f"row with question and answer each. Two are the least; with questions for {crossval.FEWEST_ANSWERS} answers or "
    "more a run can say whether it helped."
)


def of(dataset: Dataset, judged: Sequence[JudgedSet]) -> str:
    """Return what a run on these data can say of base and tuned model in the user's domain, and how to learn more."""
    held_out = [item for item in judged if item.role is Role.DOMAIN]
    if held_out:
        count = sum(len(item.queries) for item in held_out)
        names = ", ".join(item.name for item in held_out)
        return f"There are {count} held-out questions ({names}): the verdict will rest on them."
    answers, questions = len(dataset.labelled_ids), len(dataset.questions)
    if crossval.possible(dataset.questions):
        return (
            f"There are no held-out questions, so the verdict will rest on your own {questions}: each is put to a "
            f"model that was tuned without it ({crossval.FOLDS} tunings more). What users ask is worded otherwise, and "
            f"is not measured. {JUDGE}"
        )
    return (
        f"There are no held-out questions, and your own lead to {answers} answers only, too few to judge by "
        f"({crossval.FEWEST_ANSWERS} are needed). A run will tune a model and cannot say whether it is better for your "
        f"questions. {JUDGE}"
    )


def of_files(files: data.Files) -> str:
    """Return the same for files as far as they can be read; "" where something else is wrong, which loading says."""
    try:
        return of(files.train, files.judged)
    except DataError:
        return ONLY_ANSWERS if _only_answers(files) else ""


def of_section(section: DataSection, *, offline: bool = True) -> str:
    """Return the same for the files that a data section names."""
    return of_files(data.Files(section, offline))


def _only_answers(files: data.Files) -> bool:
    """Tell whether there are answers and nowhere a question, neither in a table nor judged."""
    try:
        layout = files.layout
        if layout.qa is None:
            return layout.corpus is not None and not layout.splits and bool(files.side.corpus.documents)
        rows = read_table(layout.qa).rows
    except DataError:
        return False
    asked = folded(files.section.question_column)
    return bool(rows) and not any(value for row in rows for name, value in row.values.items() if folded(name) == asked)
