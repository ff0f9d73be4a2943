"""Checkpoints: a half-written one is never read, and one that cannot be written stops no training."""

import pytest

from expertune.train import checkpoints


def checkpoint(folder, step):
    made = folder / f"checkpoint-{step}"
    made.mkdir()
    (made / "weights").write_text(str(step))
    return made


def test_the_newest_complete_one_is_found_and_half_written_ones_go(tmp_path):
    assert checkpoints.newest(tmp_path / "absent") is None
    for step in (9, 10):
        (checkpoint(tmp_path, step) / "COMPLETE").touch()
    checkpoint(tmp_path, 11)
    assert checkpoints.newest(tmp_path) == tmp_path / "checkpoint-10"
    assert not (tmp_path / "checkpoint-11").exists()


def test_a_written_one_replaces_those_before_it(tmp_path):
    for step in (1, 2):
        checkpoints.write(tmp_path / f"checkpoint-{step}", lambda step=step: checkpoint(tmp_path, step))
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-2"]
    assert checkpoints.newest(tmp_path) == tmp_path / "checkpoint-2"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("file write failed")])
def test_one_that_cannot_be_written_leaves_the_last_one_and_goes_on(tmp_path, caplog, error):
    checkpoints.write(tmp_path / "checkpoint-1", lambda: checkpoint(tmp_path, 1))

    def fail():
        checkpoint(tmp_path, 2)
        raise error

    checkpoints.write(tmp_path / "checkpoint-2", fail)
    assert checkpoints.newest(tmp_path) == tmp_path / "checkpoint-1"
    assert not (tmp_path / "checkpoint-2").exists()
    assert "no checkpoint could be written" in caplog.text
