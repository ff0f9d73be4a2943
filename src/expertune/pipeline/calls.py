"""Tune a model, or compare what can be had without tuning, in one call from Python."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expertune import config
from expertune.config import Config
from expertune.data.rows import is_missing, kind_of
from expertune.errors import DataError
from expertune.pipeline.publish import write_apart
from expertune.pipeline.run import Run, RunResult
from expertune.records import Alternatives, Report, ignore_progress

if TYPE_CHECKING:
    from pandas import DataFrame

    Pairs = str | Path | DataFrame | Sequence[tuple[str, str]]


def tune(
    pairs: Pairs,
    *,
    log: str | Path | Iterable[str] = (),
    base: str | Path = "",
    out: str | Path = "runs/tuned",
    settings: Mapping[str, Any] | None = None,
    report: Report = ignore_progress,
) -> RunResult:
    """Tune a model to questions and answers and report whether it got better, as `expertune run` does.

    Args:
        pairs: Pairs of a question and its answer, a data frame with such columns, or a file or folder.
        log: What users asked, without labels: a file, or the questions, such as a column of a data frame.
        base: The model to tune: a name, a folder or a hub id; empty: the default.
        out: Where report, results and model go.
        settings: Any other key of the config by its dotted name, such as `{"train.steps": 50}`.
        report: Told of progress.

    Returns:
        What the run made; `result.folder / "model"` loads with sentence-transformers.

    Raises:
        ExpertuneError: bad input, a missing model, a broken plug-in; everything finished before is kept.
    """
    return _run(pairs, log, base, Path(out), settings or {}, report).execute()


def compare(
    pairs: Pairs,
    *,
    model: str | Path = "",
    out: str | Path = "runs/compared",
    settings: Mapping[str, Any] | None = None,
    report: Report = ignore_progress,
) -> Alternatives:
    """Measure what can be had without tuning: other models, other indexes, search by words.

    Args:
        pairs: As for `tune`; with held-out questions where the data has some.
        model: A run's folder or a tuned model's, to be compared with all that is untuned; empty: none.
        out: Where finished work is kept.
        settings: As for `tune`.
        report: Told of progress.

    Raises:
        ExpertuneError: bad input or a missing model.
    """
    return _run(pairs, (), "", Path(out), settings or {}, report).compare(str(model))


def _run(
    pairs: Pairs,
    log: str | Path | Iterable[str],
    base: str | Path,
    out: Path,
    settings: Mapping[str, Any],
    report: Report,
) -> Run:
    values: dict[str, Any] = {"run.out": str(out), **({"train.base": str(base)} if base else {}), **settings}
    if file := _log_file(log, out):
        values["data.log"] = [str(file)]
    if isinstance(pairs, str | Path):
        return Run(_config({**values, "data.path": str(pairs)}), report)
    return Run.from_frame(_frame(pairs), _config(values), report=report)


def _config(values: Mapping[str, Any]) -> Config:
    return config.from_mapping(config.overlaid({}, values.items()), place="settings")


def _frame(pairs: DataFrame | Sequence[tuple[str, str]]) -> DataFrame:
    import pandas

    if isinstance(pairs, pandas.DataFrame):
        return pairs
    rows = [_pair(item) for item in _items(pairs, "pairs", "(question, answer) tuples")]
    if any(len(row) != 2 for row in rows):
        raise DataError("holds something else than pairs", place="pairs", hint="Give (question, answer) tuples.")
    return pandas.DataFrame(rows, columns=["question", "answer"])


def _pair(item: object) -> tuple[Any, ...]:
    """Return what an item holds; nothing of a text, whose letters are none, or of a mapping, whose names are none."""
    return tuple(item) if isinstance(item, Iterable) and not isinstance(item, str | bytes | Mapping) else ()


def _items(values: object, place: str, expected: str) -> list[Any]:
    """Return what was given as any iterable but a table or a mapping, of which the names alone would be read.

    Raises:
        DataError: it is none.
    """
    if not isinstance(values, Iterable) or isinstance(values, Mapping) or hasattr(values, "columns"):
        raise DataError(f"is a {kind_of(values)}, expected {expected}", place=place, hint=f"Give {expected}.")
    return list(values)


def _log_file(log: str | Path | Iterable[str], out: Path) -> Path | None:
    """Return the file of a log, None where there is no question; they are written, so that the config can run again."""
    if isinstance(log, str | Path):
        return Path(log) if str(log) else None
    questions = [item for item in _items(() if log is None else log, "log", "questions") if not is_missing(item)]
    if not questions:
        return None
    if odd := [kind_of(item) for item in questions if not isinstance(item, str)]:
        raise DataError(f"holds a {odd[0]}, expected texts", place="log", hint="Give the questions as texts.")
    lines = [" ".join(question.split()) + "\n" for question in questions]
    return write_apart(out / "data", "log.txt", "".join(lines))
