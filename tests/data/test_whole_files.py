"""A file is replaced as a whole or not at all; what people set about it stays."""

import os
import stat
from pathlib import Path

import pytest

from expertune.data.whole_files import write_whole


@pytest.mark.parametrize(
    ("content", "bytes_"),
    [("ein Rücksendeschein\r\n\n", "ein Rücksendeschein\r\n\n".encode()), (b"\x00\xff", b"\x00\xff")],
)
def test_the_content_is_there_to_the_byte(content: str | bytes, bytes_: bytes, tmp_path: Path):
    file = tmp_path / "new" / "folder" / "file.txt"
    write_whole(file, content)
    write_whole(file, content)
    assert file.read_bytes() == bytes_
    assert list(file.parent.iterdir()) == [file]


def test_who_may_read_it_stays(tmp_path: Path):
    file = tmp_path / "private.jsonl"
    file.write_text("mine")
    file.chmod(0o600)
    write_whole(file, "ours")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_link_stays_a_link(tmp_path: Path):
    (tmp_path / "data").mkdir()
    there, link = tmp_path / "data" / "corpus.jsonl", tmp_path / "corpus.jsonl"
    there.write_text("before")
    link.symlink_to(there)
    write_whole(link, "after")
    assert link.is_symlink()
    assert there.read_text() == "after"


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "file.txt"
    file.write_text("before")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(file, "after")
    assert file.read_text() == "before"
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_in_its_place_is_an_error_that_leaves_nothing(tmp_path: Path):
    (tmp_path / "file.txt").mkdir()
    with pytest.raises(OSError, match=r"file\.txt"):
        write_whole(tmp_path / "file.txt", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["file.txt"]
