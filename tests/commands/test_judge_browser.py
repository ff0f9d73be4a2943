"""`expertune judge` in a real browser: by keys alone, by touch on a phone, and nothing that should not run."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from expertune.commands.judge.page import JudgePage
from expertune.commands.local_page import LocalServer
from judged_shop import LOG, session, shop
from letter_encoder import HOSTILE
from watched_page import watched


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    server = LocalServer(JudgePage(session(shop(tmp_path))), 0)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    yield server.url
    server.shutdown()
    thread.join(timeout=10)


@pytest.fixture
def page(browser: Any, url: str) -> Iterator[Any]:
    """The opened page; whatever it complains about, pops up or asks for elsewhere fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, has_touch=True)
    with watched(context.new_page(), url, lambda asked: asked.startswith(url)) as opened:
        yield opened
    context.close()


def press(page: Any, key: str) -> str:
    """Press a key that leads to another page, and return the question that is asked then."""
    with page.expect_navigation():
        page.keyboard.press(key)
    return page.get_by_role("heading").inner_text()


def kept(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "judgements.jsonl").read_text().splitlines()]


def test_keys_alone_judge_skip_and_undo(page: Any, tmp_path: Path):
    first = page.get_by_role("heading").inner_text()
    ids = [box.get_attribute("value") for box in page.locator("input[name=right]").all()]
    for key in ("2", "3", "3", "1"):
        page.keyboard.press(key)
    second = press(page, "Enter")
    (entry,) = kept(tmp_path)
    assert entry["question"] == first
    assert sorted(entry["right"]) == sorted(ids[:2])
    third = press(page, "s")
    assert len({first, second, third}) == 3
    assert press(page, "u") == second
    assert press(page, "u") == first
    assert kept(tmp_path) == []


def test_enter_without_a_tick_says_what_is_missing(page: Any, tmp_path: Path):
    press(page, "Enter")
    assert "Tick what is right" in page.get_by_role("alert").inner_text()
    assert not (tmp_path / "judgements.jsonl").exists()


def test_none_of_these_is_searched_and_then_kept(page: Any, tmp_path: Path):
    first = page.get_by_role("heading").inner_text()
    assert press(page, "0") == first
    assert page.evaluate("document.activeElement.id") == "find"
    page.keyboard.type("reset password 1")  # a digit in the field is a digit
    assert press(page, "Enter") == first
    assert page.get_by_label("Search all").input_value() == "reset password 1"
    assert "reset the password" in page.locator("label:has(input[name=right])").first.inner_text()
    page.keyboard.press("1")
    second = press(page, "Enter")
    assert list(kept(tmp_path)[0]["right"]) == ["password"]
    press(page, "0")
    assert press(page, "Escape") == second
    assert page.get_by_label("Search all").count() == 0
    press(page, "0")
    assert press(page, "Enter") != second
    assert kept(tmp_path)[1]["right"] == {}
    assert json.loads((tmp_path / "unanswered.jsonl").read_text())["text"] == second


def test_the_whole_log_by_keys_shows_hostile_texts_as_text(page: Any, tmp_path: Path):
    asked = [page.get_by_role("heading").inner_text()]
    for _ in range(len(LOG)):
        page.keyboard.press("1")
        asked.append(press(page, "Enter"))
    assert HOSTILE in asked
    assert asked[-1].startswith("That was the last question")
    assert len(kept(tmp_path)) == len(LOG)
    assert page.locator("script").count() == 1
    page.get_by_text("What the judgements say so far").click()
    assert page.get_by_text("Tuned minus base on this log").is_visible()


def test_a_key_held_down_judges_one_question(page: Any, tmp_path: Path):
    page.keyboard.press("1")
    with page.expect_navigation():
        page.keyboard.down("Enter")
        page.keyboard.down("Enter")  # as a keyboard repeats it
    page.keyboard.up("Enter")
    assert len(kept(tmp_path)) == 1


def test_a_phone_needs_no_keyboard(page: Any, url: str, tmp_path: Path):
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(url)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.locator(".answers-list label").nth(1).tap()
    with page.expect_navigation():
        page.get_by_role("button", name="These are right").tap()
    assert len(kept(tmp_path)[0]["right"]) == 1
    for button in page.locator(".bar button").all():
        box = button.bounding_box()
        assert box["height"] >= 44
        assert box["y"] + box["height"] <= 844
    assert page.evaluate("getComputedStyle(document.querySelector('.bar')).position") == "fixed"


def test_without_script_the_page_works_by_mouse(browser: Any, url: str, tmp_path: Path):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(url)
    page.get_by_role("button", name="None of these").click()
    page.get_by_label("Search all").fill("refund")
    page.get_by_role("button", name="Search", exact=True).last.click()
    page.locator(".answers-list label").first.click()
    page.get_by_role("button", name="These are right").click()
    assert list(kept(tmp_path)[0]["right"]) == ["refund"]
    context.close()
