"""The store: what exists is complete, what is damaged is made again, what is known is never asked for twice."""

import os
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expertune.errors import StoreError
from expertune.pipeline.store import SqliteItems, Store, fingerprint


def writer(text, calls=None):
    def make(folder):
        if calls is not None:
            calls.append(text)
        (folder / "sub").mkdir()
        (folder / "sub" / "value.txt").write_text(text)

    return make


def test_an_artefact_is_made_once(tmp_path):
    store, calls = Store(tmp_path), []
    first = store.obtain("score", "k" * 64, writer("a", calls))
    second = store.obtain("score", "k" * 64, writer("b", calls))
    assert (first.reused, second.reused) == (False, True)
    assert calls == ["a"]
    assert (second.folder / "sub" / "value.txt").read_text() == "a"


@pytest.mark.parametrize("damage", ["truncate", "delete", "manifest"])
def test_a_damaged_artefact_is_noticed_and_made_again(tmp_path, damage, caplog):
    store = Store(tmp_path)
    folder = store.obtain("score", "k" * 64, writer("good")).folder
    if damage == "truncate":
        (folder / "sub" / "value.txt").write_text("goo")
    elif damage == "delete":
        (folder / "sub" / "value.txt").unlink()
    else:
        (folder / "manifest.json").write_text("{")
    again = store.obtain("score", "k" * 64, writer("good"))
    assert not again.reused
    assert (again.folder / "sub" / "value.txt").read_text() == "good"
    assert "damaged" in caplog.text


def test_a_failed_stage_leaves_nothing_behind(tmp_path):
    store = Store(tmp_path)

    def fail(folder):
        (folder / "half").write_text("half")
        raise RuntimeError("stage failed")

    with pytest.raises(RuntimeError, match="stage failed"):
        store.obtain("score", "k" * 64, fail)
    assert list((tmp_path / "score").iterdir()) == []


def test_two_runs_at_once_make_an_artefact_once(tmp_path, caplog):
    """The second waits for the first, says so, and takes its result."""
    begun, go_on, calls = threading.Event(), threading.Event(), []

    def slow(folder):
        begun.set()
        assert go_on.wait(10)
        writer("first", calls)(folder)

    caplog.set_level("INFO", "expertune")
    with ThreadPoolExecutor() as threads:
        first = threads.submit(Store(tmp_path).obtain, "score", "k" * 64, slow)
        assert begun.wait(10)
        second = threads.submit(Store(tmp_path).obtain, "score", "k" * 64, writer("second", calls))
        while "another run is making this" not in caplog.text:
            time.sleep(0.01)
        go_on.set()
        assert (first.result(10).reused, second.result(10).reused) == (False, True)
    assert calls == ["first"]


def test_what_a_killed_run_left_half_written_is_cleared_away(tmp_path):
    store = Store(tmp_path)
    left = tmp_path / "score" / ("." + "k" * 32)
    left.mkdir(parents=True)
    (left / "half").write_text("half")
    folder = store.obtain("score", "k" * 64, writer("whole")).folder
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "sub"]
    assert not left.exists()


def test_scratch_stays_until_the_artefact_is_made(tmp_path):
    store = Store(tmp_path)
    scratch = store.scratch("train", "k" * 64)

    def fail(folder):
        scratch.mkdir(parents=True)
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        store.obtain("train", "k" * 64, fail)
    assert scratch.is_dir()
    store.obtain("train", "k" * 64, writer("done"))
    assert not scratch.exists()


def test_scratch_that_a_killed_run_left_beside_a_finished_artefact_goes(tmp_path):
    store = Store(tmp_path)
    store.obtain("train", "k" * 64, writer("done"))
    store.scratch("train", "k" * 64).mkdir(parents=True)
    assert store.obtain("train", "k" * 64, writer("again")).reused
    assert not store.scratch("train", "k" * 64).exists()


def test_a_store_of_another_format_is_refused_in_one_sentence(tmp_path):
    (tmp_path / "FORMAT").write_text("99\n")
    with pytest.raises(StoreError, match="has format '99', this version reads format 2"):
        Store(tmp_path)


def test_a_store_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "store").write_text("")
    with pytest.raises(StoreError, match="cannot be used"):
        Store(tmp_path / "store")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match="cannot be used"):
        Store(tmp_path / "store")


def test_items_keep_their_first_value_and_spaces_apart(tmp_path):
    items = SqliteItems(tmp_path / "items.sqlite")
    items.write("model a", {"x": b"1", "y": b"2"})
    items.write("model a", {"x": b"other"})
    items.write("model b", {"x": b"3"})
    assert items.read("model a", ["x", "y", "z"]) == {"x": b"1", "y": b"2"}
    assert items.read("model b", ["x"]) == {"x": b"3"}


def test_many_items_are_read_in_parts(tmp_path):
    items = SqliteItems(tmp_path / "items.sqlite")
    values = {str(number): str(number).encode() for number in range(2500)}
    items.write("space", values)
    assert items.read("space", list(values)) == values


def test_items_survive_a_reader_that_holds_the_file(tmp_path):
    items = SqliteItems(tmp_path / "items.sqlite")
    reader = sqlite3.connect(tmp_path / "items.sqlite")
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM items").fetchall()
    items.write("space", {"key": b"value"})
    reader.close()
    assert items.read("space", ["key"]) == {"key": b"value"}


def test_an_item_cache_that_is_no_database_is_one_error(tmp_path):
    (tmp_path / "items.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(StoreError, match=r"the item cache cannot be used .*not a database"):
        Store(tmp_path)


def test_an_item_cache_with_torn_pages_is_one_error(tmp_path):
    items = SqliteItems(tmp_path / "items.sqlite")
    items.write("space", {str(number): bytes(4000) for number in range(50)})
    with sqlite3.connect(items.path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    data = items.path.read_bytes()
    items.path.write_bytes(data[:4096] + bytes(len(data) - 4096))
    with pytest.raises(StoreError, match="malformed") as caught:
        items.read("space", ["7"])
    assert "Delete this file" in caught.value.hint


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,  # deeper ones take seconds to make and are no other case
)


@given(st.dictionaries(st.text(), values, min_size=2))
def test_a_fingerprint_ignores_key_order(mapping):
    reversed_order = dict(reversed(list(mapping.items())))
    assert fingerprint(mapping) == fingerprint(reversed_order)


@given(values, values)
def test_different_values_have_different_fingerprints(first, second):
    if repr(first) != repr(second) and first != second:
        assert fingerprint(first) != fingerprint(second)
