"""Faults around a real run: kills, a second run, full and read-only disks, Ctrl-C, damage, clocks. Nothing is lost."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from faults.kill import torture
from faults.runs import Ended, Started, Task, finished_artefacts, left, run, twice, write_data

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Task:
    home = tmp_path_factory.mktemp("faults")
    return Task(home / "nobody", write_data(home / "shop"), tiny_model)


@pytest.fixture(scope="module")
def whole(task: Task) -> tuple[Task, Ended]:
    """An undisturbed run; treat what it left as read-only."""
    done = replace(task, folder=task.folder.with_name("whole"))
    ended = run(done)
    assert ended.code == 0, ended.printed
    return done, ended


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own that can be resized."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small disk needs the rights of root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


def _refused(ended: Ended, *expected: str) -> None:
    assert ended.code == 2, ended.printed
    assert "Traceback" not in ended.printed
    # A library's own words for it may be "I/O error: ..." within the line.
    assert len(re.findall("^error: ", ended.printed, re.MULTILINE)) == 1, ended.printed
    for text in expected:
        assert text in ended.printed


def test_killed_runs_go_on_and_end_alike(task, tmp_path):
    """A few kills for every change; `make faults` kills sixty times."""
    tally = torture(replace(task, folder=tmp_path), kills=4, seed=int(time.time()) % 1000, most_per_round=4)
    assert tally.faults == []
    assert tally.kills.total() == 4
    assert tally.again == 0


def test_two_runs_on_one_store_do_nothing_twice_and_end_alike(task, whole, tmp_path):
    here = replace(task, folder=tmp_path)
    both = [Started(here), Started(here)]
    ended = [started.wait() for started in both]
    assert [item.code for item in ended] == [0, 0], ended[0].printed + ended[1].printed
    assert twice([pair for item in ended for pair in item.embedded]) == 0
    assert sum(item.steps for item in ended) == whole[1].steps
    assert left(here) == left(whole[0])


def test_a_full_disk_is_one_error_and_nothing_is_lost(task, whole, small_disk):
    """The disk is full at once, in the middle, and late; with more room the same command ends as if nothing was."""
    here = replace(task, folder=small_disk / "run")
    here.folder.mkdir()
    used = sum(path.stat().st_size for path in whole[0].folder.rglob("*") if path.is_file())
    codes = []
    for share in (0.02, 0.3, 0.6, 0.9):
        filler = small_disk / "filler"
        free = shutil.disk_usage(small_disk).free
        with filler.open("wb") as handle:
            handle.write(bytes(max(0, free - int(share * used))))
        ended = run(here, watch=False)
        codes.append(ended.code)
        if ended.code:
            _refused(ended, "run.store" if "item cache" in ended.printed or "artefact" in ended.printed else "run.")
        filler.unlink()
    assert codes[0] == 2
    assert run(here, watch=True).code == 0
    assert left(here) == left(whole[0])


def test_a_read_only_folder_is_one_error(task, small_disk):
    here = replace(task, folder=small_disk / "run", options=("--out", str(small_disk / "sealed" / "out")))
    other = replace(here, options=(*here.options, "--store", str(small_disk / "sealed" / "store")))
    sealed = small_disk / "sealed"
    sealed.mkdir()
    subprocess.run(["mount", "--bind", str(sealed), str(sealed)], check=True)
    _remount(sealed, "ro,bind")
    try:
        _refused(run(other, watch=False), "the store cannot be used", "Read-only file system", "run.store")
        _refused(run(here, watch=False), "the results cannot be written", "Read-only file system", "run.out")
    finally:
        subprocess.run(["umount", "--lazy", str(sealed)], check=True)


def test_ctrl_c_is_one_clean_line_and_the_run_goes_on(task, whole, tmp_path):
    here = replace(task, folder=tmp_path)
    chance = random.Random(7)
    for _ in range(3):
        started = Started(here, watch=False)
        while not started.working:
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 2))
        started.send(signal.SIGINT)
        ended = started.wait()
        if ended.code == 0:
            break
        assert ended.code == 130, ended.printed
        assert "Traceback" not in ended.printed
        assert ended.printed.endswith("stopped; everything finished is kept: run the same command to go on\n")
    assert run(here).code == 0
    assert left(here) == left(whole[0])


@pytest.mark.parametrize("damage", ["truncated", "edited", "lost"])
def test_a_damaged_artefact_is_told_and_made_again(task, whole, tmp_path, damage):
    here = replace(task, folder=tmp_path / "run")
    shutil.copytree(whole[0].folder, here.folder)
    (record,) = here.store.glob("label/*/record.json")
    text = record.read_text()
    if damage == "truncated":
        record.write_text(text[: len(text) // 2])
    elif damage == "edited":
        record.write_text(text.replace("mixed", "weighted"))
    else:
        record.unlink()
    before = finished_artefacts(here.store)
    ended = run(here)
    assert ended.code == 0, ended.printed
    assert "is damaged (truncated or edited): it is made again" in ended.printed.replace("\n", " ")
    after = finished_artefacts(here.store)
    assert [name.partition("/")[0] for name in before if before[name] != after[name]] == ["label"]
    assert left(here) == left(whole[0])


def test_a_store_of_another_version_is_refused_in_one_sentence(task, tmp_path):
    here = replace(task, folder=tmp_path)
    here.store.mkdir()
    (here.store / "FORMAT").write_text("0\n")
    _refused(run(here, watch=False), "the store has format '0', this version reads format 2", "run.store")


def test_a_clock_that_was_set_back_changes_nothing(task, whole, tmp_path):
    """Files of a finished run lie in the future: everything is reused all the same."""
    here = replace(task, folder=tmp_path / "run")
    shutil.copytree(whole[0].folder, here.folder)
    tomorrow = time.time() + 86_400
    for path in here.folder.rglob("*"):
        os.utime(path, (tomorrow, tomorrow))
    before = finished_artefacts(here.store)
    ended = run(here)
    assert ended.code == 0, ended.printed
    assert ended.embedded == []
    assert finished_artefacts(here.store) == before
    assert json.loads((here.folder / "out" / "results.json").read_text())
