"""What a run puts into its folder replaces its own only, and whole."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from expertune.errors import ConfigError
from expertune.pipeline import preflight, publish
from expertune.pipeline.run import Run
from finished_run import run
from small_shop import FILES, quick, write_files

OURS = json.dumps({"schema": 3, "expertune": "0.2.0"})
THEIRS = [
    {"model/weights.bin": "theirs"},
    {"mteb/results/task.json": "{}"},
    {"questions.jsonl": "{}"},
    {"report.html": "a page"},
    {"results.json": '{"accuracy": 1}', "model/weights.bin": "theirs"},
    {"results.json": "[1, 2]"},
    {"config.toml": "[another.tool]\nkey = 1\n"},
]


def files(folder: Path) -> dict[str, str]:
    """Return everything that lies in a folder."""
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("theirs", THEIRS, ids=lambda theirs: ",".join(theirs))
def test_what_no_run_wrote_is_refused(tmp_path: Path, theirs: dict[str, str]):
    write_files(tmp_path, theirs)
    with pytest.raises(ConfigError) as caught:
        publish.require_own(tmp_path)
    assert caught.value.place == "run.out"
    assert all(name.partition("/")[0] in caught.value.message for name in theirs)


@pytest.mark.parametrize(
    "own",
    [
        {},
        {"qa.jsonl": "{}", "models/weights.bin": "theirs"},
        {"config.toml": '[data]\npath = "qa.jsonl"\n'},
        {"model/weights.bin": "ours", "mteb/results/task.json": "{}", "report.html": "", "results.json": OURS},
        {".publishing/new/report.html": "", "model/weights.bin": "half an hour of work, and then killed"},
    ],
    ids=lambda own: ",".join(own),
)
def test_a_new_folder_and_one_of_a_run_are_taken(tmp_path: Path, own: dict[str, str]):
    publish.require_own(write_files(tmp_path, own))


def test_a_run_is_refused_before_it_computes_anything(tmp_path: Path, tiny_model: Path):
    write_files(tmp_path / "shop", FILES)
    theirs = {"model/weights.bin": "theirs"}
    config = quick(tmp_path, tiny_model)
    write_files(config.run.out, theirs)
    with pytest.raises(ConfigError, match="no run of expertune wrote"):
        Run(config).execute()
    assert files(config.run.out) == theirs
    assert not (tmp_path / "store").exists()
    (problem,) = preflight.check(config.model_dump(mode="json", exclude_none=True)).problems
    assert isinstance(problem, ConfigError)
    assert problem.place == "run.out"


def model(folder: Path) -> Path:
    return write_files(folder, {"modules.json": "[]", "weights.safetensors": folder.name})


def test_all_that_is_written_has_a_place_and_what_only_an_earlier_run_had_goes(tmp_path: Path):
    out = write_files(tmp_path / "out", {"results.json": OURS, "expanded.jsonl": "old", "notes.txt": "theirs"})
    benchmark = write_files(tmp_path / "mteb", {"results/model/rev/task.json": "{}"})
    publish.publish(run(model(tmp_path / "first")), [benchmark], out)
    left = {path.name for path in out.iterdir()}
    assert left == {*publish.names(), "notes.txt"} - {"expanded.jsonl", "unanswered.csv"}
    assert (out / "mteb" / "results" / "model" / "rev" / "task.json").is_file()
    assert json.loads((out / "results.json").read_text())["tuned"] == "model"
    assert "library_name: sentence-transformers" in (out / "model" / "README.md").read_text()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], dict[str, str]]:
    """Make publishing write few small files that say of which run they are, and return which files those are."""

    def expected(name: str) -> dict[str, str]:
        return {
            "model/a": name,
            "model/b": name,
            "mteb/results/c": name,
            "report.html": name,
            "results.json": json.dumps({"schema": 3, "expertune": name}),
        }

    def write(finished: object, benchmarks: object, folder: Path) -> None:
        write_files(folder, expected(str(finished)))

    monkeypatch.setattr(publish, "_write", write)
    return expected


def killed_at(number: int, act: Callable[[], None]) -> bool:
    """Do something in a process of its own that dies at once when it renames for the n-th time; say whether it died."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    left = iter(range(number))
    rename = os.rename

    def counted(*places: object) -> None:
        if next(left, None) is None:
            os._exit(9)
        rename(*places)

    os.rename = os.replace = counted
    try:
        act()
    finally:
        os._exit(0)


@pytest.mark.parametrize("first", [True, False], ids=["first run", "second run"])
def test_killed_at_any_rename_nothing_is_half_there_and_the_next_run_ends_well(tmp_path: Path, small, first: bool):
    number = 0
    while True:
        out = tmp_path / str(number)
        if not first:
            publish.publish("old", [], out)
        if not killed_at(number, lambda out=out: publish.publish("new", [], out)):
            break
        there = files(out)
        for part in ("model", "mteb"):
            mine = {name: text for name, text in there.items() if name.startswith(f"{part}/")}
            whole = [{k: v for k, v in small(run).items() if k.startswith(f"{part}/")} for run in ("old", "new")]
            # Between two renames it is away, and whole where it waits.
            assert mine in whole or (not mine and (first or there[f".publishing/old/{next(iter(whole[0]))}"] == "old"))
        if there.get("results.json") == small("new")["results.json"]:
            assert {k: v for k, v in there.items() if not k.startswith(".")} == small("new")
        publish.require_own(out)
        publish.publish("newest", [], out)
        assert files(out) == small("newest")
        number += 1
    assert number == (4 if first else 6)


def test_an_error_while_things_are_written_leaves_the_old_output_as_it_was(tmp_path: Path, small, monkeypatch):
    publish.publish("old", [], tmp_path)

    def write(finished: object, benchmarks: object, folder: Path) -> None:
        write_files(folder, {"model/a": "half"})
        raise OSError("no space left on device")

    monkeypatch.setattr(publish, "_write", write)
    with pytest.raises(OSError, match="no space"):
        publish.publish("new", [], tmp_path)
    assert files(tmp_path) == small("old")


def test_a_folder_that_cannot_take_its_place_gives_the_old_one_back(tmp_path: Path, small, monkeypatch):
    publish.publish("old", [], tmp_path)
    rename = Path.rename

    def refused(self: Path, target: Path) -> Path:
        if self.parent.name == "new":
            raise OSError("refused")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refused)
    with pytest.raises(OSError, match="refused"):
        publish.publish("new", [], tmp_path)
    assert files(tmp_path) == small("old")
