"""`expertune try` in a real browser: typing a question, what both models answer, and nothing that should not run."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from expertune.commands.judge.thumbs import Thumbs
from expertune.commands.try_page.server import PageServer
from expertune.commands.try_page.side_by_side import SideBySide
from expertune.config import DataSection
from letter_encoder import DOCUMENTS, HOSTILE, ByLetter
from small_shop import qa, write_files
from watched_page import watched


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_files(tmp_path_factory.mktemp("shop"), {"qa.jsonl": qa()})


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    models = SideBySide(DOCUMENTS, ByLetter("base: plain"), ByLetter("tuned: model", turn=0.5))
    server = PageServer(models, 0, Thumbs(DataSection(path=str(folder)), "anna"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    yield server.url
    server.shutdown()
    thread.join(timeout=10)


@pytest.fixture
def page(browser: Any, url: str) -> Iterator[Any]:
    """The opened page; whatever it complains about, pops up or asks for elsewhere fails the test."""
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    with watched(opened, url, lambda asked: asked.startswith(url)) as page:
        yield page


def test_a_question_is_typed_and_answered_by_both(page: Any):
    page.keyboard.type("we")  # the field has the focus already
    page.keyboard.press("Enter")
    page.wait_for_url("**/?q=we")
    base, tuned = page.locator(".sides section").all()
    assert base.get_by_role("heading").inner_text() == "base: plain"
    assert base.locator(".found p").first.inner_text() == "we ship today"
    assert tuned.locator(".found p").first.inner_text() == HOSTILE
    assert "score 1.000" in base.locator(".facts").first.inner_text()
    assert page.get_by_role("status").inner_text().startswith("They put different answers first.")
    assert page.get_by_label("Ask a question").input_value() == "we"


def test_a_thumb_goes_up_and_down_again(page: Any, url: str, folder: Path):
    page.goto(f"{url}?q=we")
    thumb = page.get_by_role("button", name="Thumb up: is right").first
    thumb.wait_for()
    thumb = page.locator(".found button").first
    assert thumb.locator("svg").bounding_box()["width"] == 15  # drawn, not a character that needs a font
    for pressed, kept in (("true", True), ("false", False)):
        with page.expect_navigation():
            thumb.click()
        assert thumb.get_attribute("aria-pressed") == pressed
        assert (folder / "qrels/test.tsv").exists() is kept


def test_a_script_in_question_and_answer_is_text(page: Any):
    page.get_by_label("Ask a question").fill(HOSTILE)
    page.get_by_role("button", name="Ask both").click()
    page.wait_for_url("**/?q=*")
    assert page.get_by_label("Ask a question").input_value() == HOSTILE
    assert page.locator("script").count() == 0
    assert page.get_by_text(HOSTILE).count() >= 1


def test_the_style_passes_the_pages_own_policy(page: Any):
    assert page.evaluate("getComputedStyle(document.querySelector('.ask')).display") == "flex"


@pytest.mark.parametrize(("width", "columns"), [(390, 1), (1280, 2)])
def test_the_sides_stand_beside_each_other_where_there_is_room(page: Any, url: str, width: int, columns: int):
    page.set_viewport_size({"width": width, "height": 844})
    page.goto(f"{url}?q=we")
    left = {round(side.bounding_box()["x"]) for side in page.locator(".sides section").all()}
    assert len(left) == columns
    assert page.evaluate("document.documentElement.scrollWidth") <= width
