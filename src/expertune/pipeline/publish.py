"""Put what a run made into the folder that a user looks at: killed in between, whole files and folders lie there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from expertune import config
from expertune.data.whole_files import write_whole
from expertune.errors import ConfigError, StoreError
from expertune.models.folders import RUN_CONFIG
from expertune.pipeline.store import fingerprint

if TYPE_CHECKING:
    from expertune.report import FinishedRun

RESULTS = "results.json"
BENCHMARKS = "mteb"
PASSING = ".publishing"
"""Where new things are written and old ones go until all are replaced: a folder that has it is a run's."""


def names() -> tuple[str, ...]:
    """Return what a run may leave in its folder, in the order of replacement: the results come last."""
    from expertune.report.questions import QUESTIONS
    from expertune.report.results import EXPANDED, PUBLISHED
    from expertune.report.unanswered import UNANSWERED

    return (RUN_CONFIG, PUBLISHED, BENCHMARKS, "report.html", "report.md", QUESTIONS, EXPANDED, UNANSWERED, RESULTS)


def require_own(folder: Path) -> None:
    """Make sure that nothing would be replaced which no run wrote.

    Raises:
        ConfigError: something else lies there under the name of something that a run writes.
    """
    if (folder / PASSING).is_dir() or _results_of_a_run(folder / RESULTS):
        return
    there = [name for name in names() if (folder / name).exists() and not _own_config(folder / name)]
    if there:
        raise ConfigError(
            [f"{folder} holds {', '.join(there)}, which no run of expertune wrote and this one would replace"],
            place="run.out",
            hint="Name another folder with --out or run.out, or move what lies there.",
        )


def write_output(file: Path, text: str) -> None:
    """Write a text file whole, or say what is to do.

    Raises:
        StoreError: it cannot be written; what lay there before is whole.
    """
    try:
        write_whole(file, text)
    except OSError as error:
        hint = "Free some space or name another folder; everything finished before is kept."
        raise StoreError(f"cannot be written ({error})", place=str(file), hint=hint) from error


def write_apart(folder: Path, name: str, text: str) -> Path:
    """Write a text file whole, in a folder of its own that is named after its content: it replaces no other text.

    Returns:
        Where it is, such as `folder/1f3a9c02/name`.

    Raises:
        StoreError: it cannot be written.
    """
    file = folder / fingerprint(text)[:8] / name
    write_output(file, text)
    return file


def publish(run: FinishedRun, benchmarks: Sequence[Path], folder: Path) -> None:
    """Write everything beside its place, then replace the old by renaming; what only an earlier run had goes.

    Args:
        run: What is shown.
        benchmarks: Folders with mteb's own `results`.
        folder: Where it goes; one run at a time.

    Raises:
        OSError: something cannot be written; what lay there before is whole.
    """
    new, old = (folder / PASSING / part for part in ("new", "old"))
    for name in names():  # A run that was killed between two renames took it away.
        if (old / name).exists() and not (folder / name).exists():
            (old / name).rename(folder / name)
    for part in (new, old):
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
    try:
        _write(run, benchmarks, new)
        for name in names():
            _replace(folder / name, new / name, old / name)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    shutil.rmtree(folder / PASSING, ignore_errors=True)


def _write(run: FinishedRun, benchmarks: Sequence[Path], folder: Path) -> None:
    from expertune.report import write_card, write_report
    from expertune.report.questions import write_questions
    from expertune.report.results import PUBLISHED

    (folder / RUN_CONFIG).write_text(run.config_toml, encoding="utf-8")
    shutil.copytree(run.model.folder, folder / PUBLISHED)
    for made in benchmarks:
        shutil.copytree(made / "results", folder / BENCHMARKS / "results", dirs_exist_ok=True)
    write_report(run, folder)
    write_questions(run.dataset, run.questions, run.labels, folder)
    write_card(run, folder / PUBLISHED)


def _replace(place: Path, new: Path, old: Path) -> None:
    """Rename the new into its place; a folder takes two renames, and the old one comes back if the second fails."""
    if new.is_dir() and place.exists():
        place.rename(old)
        try:
            new.rename(place)
        except BaseException:
            old.rename(place)
            raise
    elif new.exists():
        new.replace(place)
    elif place.is_file():
        place.unlink()


def _results_of_a_run(path: Path) -> bool:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(values, dict) and {"schema", "expertune"} <= values.keys()


def _own_config(path: Path) -> bool:
    """Say whether it is a config that a run could begin with, which the resolved one may replace."""
    try:
        return path.name == RUN_CONFIG and bool(config.read(path))
    except ConfigError:
        return False
