"""The report in a real browser: no console errors, sorting, searching, and no sideways scroll on a phone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import finished_run
from expertune.report import write_report
from watched_page import watched


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_report(finished_run.run(), tmp_path_factory.mktemp("report")).as_uri()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """The opened page; whatever it complains about, asks for or pops up fails the test."""
    opened = browser.new_page(viewport={"width": 1400, "height": 900})
    with watched(opened, address, lambda asked: asked == address) as page:
        page.get_by_text("All 4 held-out questions").click()
        yield page


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a page with more of everything than it shows at once."""
    return write_report(finished_run.large_run(), tmp_path_factory.mktemp("large")).as_uri()


def unfold(page: Any) -> None:
    """Open everything that is folded, as a reader would, one after the other."""
    for fold in page.locator("summary").all():
        if fold.is_visible():
            fold.click()


def column(page: Any, number: int) -> list[str]:
    """Return the visible cells of a column of the held-out table (1-based), without the name of the split."""
    cells = page.locator(f"#questions tbody tr:not([hidden]) td:nth-child({number})")
    return [text.split("\n")[0] for text in cells.all_inner_texts()]


def test_style_and_script_pass_the_pages_own_policy(page: Any):
    assert page.evaluate("getComputedStyle(document.querySelector('.tools')).display") == "flex"
    assert page.locator("#shown").inner_text() == "4 of 4"
    assert page.evaluate("document.querySelectorAll('script').length") == 1


def test_numbers_sort_as_numbers_both_ways(page: Any):
    head = page.locator("#questions th:nth-child(2)")
    head.get_by_role("button").click()
    assert column(page, 2) == ["1", "2", "3", "4"]
    assert head.get_attribute("aria-sort") == "ascending"
    head.get_by_role("button").click()
    assert column(page, 2) == ["4", "3", "2", "1"]
    assert head.get_attribute("aria-sort") == "descending"


def test_lost_places_come_before_gained_ones(page: Any):
    page.get_by_role("button", name="places").click()
    assert [text.split()[0] for text in column(page, 4)] == ["down", "down", "same", "up"]
    page.get_by_role("button", name="places").click()
    assert [text.split()[0] for text in column(page, 4)] == ["up", "same", "down", "down"]


def test_sorting_works_from_the_keyboard_and_moves_the_mark(page: Any):
    page.get_by_role("button", name="places").focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="question").focus()
    page.keyboard.press("Space")
    assert column(page, 1)[1:] == ["send it back", "where is my parcel", "zebra crossing"]
    assert column(page, 1)[0].startswith("<script>alert(1)</script>")
    assert page.locator("#questions th[aria-sort]").count() == 1


def test_search_wants_every_word_and_counts(page: Any):
    page.get_by_label("Search").fill("PARCEL where")
    assert column(page, 1) == ["where is my parcel"]
    assert page.locator("#shown").inner_text() == "1 of 4"
    page.get_by_label("Search").fill("nothing like it")
    assert column(page, 1) == []
    page.get_by_label("Search").fill("")
    assert len(column(page, 1)) == 4


def test_the_filter_and_the_search_work_together(page: Any):
    page.get_by_label("Show", exact=True).select_option("worse")
    assert len(column(page, 1)) == 2
    page.get_by_label("Search").fill("back")
    assert column(page, 1) == ["send it back"]
    page.get_by_role("button", name="after").click()
    assert column(page, 1) == ["send it back"]


@pytest.mark.parametrize("width", [320, 390, 768, 1400])
def test_the_page_itself_never_scrolls_sideways(page: Any, width: int):
    page.set_viewport_size({"width": width, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_phone_shows_every_part_of_a_held_out_question(page: Any):
    page.set_viewport_size({"width": 390, "height": 844})
    cells = page.locator("#questions tbody tr:not([hidden])").first.locator("td")
    for box in [cells.nth(number).bounding_box() for number in range(7)]:
        assert box["x"] >= 0
        assert box["width"] > 0
        assert box["x"] + box["width"] <= 390
    page.get_by_role("button", name="after").click()
    assert [text.split()[-1] for text in column(page, 3)] == ["1", "2", "3", "3"]
    page.get_by_label("Search").fill("parcel where")
    assert page.locator("#questions tbody tr:visible").count() == 1


def contrast(page: Any, selector: str) -> float:
    """Return the WCAG contrast of an element's text against the nearest painted ground behind it."""
    return float(
        page.evaluate(
            """(selector) => {
              const light = (colour) => {
                const parts = colour.match(/[\\d.]+/g).slice(0, 3).map((value) => value / 255);
                const [r, g, b] = parts.map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
              };
              const element = document.querySelector(selector);
              let ground = element;
              while (getComputedStyle(ground).backgroundColor === "rgba(0, 0, 0, 0)") ground = ground.parentElement;
              const style = getComputedStyle(element);
              const ink = light(element instanceof SVGElement ? style.fill : style.color);
              const pair = [ink, light(getComputedStyle(ground).backgroundColor)];
              return (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
            }""",
            selector,
        )
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_in_light_and_dark(page: Any, scheme: str):
    page.emulate_media(color_scheme=scheme)
    for selector in ("h1", ".decision", ".action", "p.brand", ".better", ".worse",
                     ".numbers dt"):  # fmt: skip
        assert contrast(page, selector) >= 4.5, selector


def test_a_table_shows_twelve_rows_and_then_pages(browser: Any, tmp_path: Path):
    opened = browser.new_page()
    opened.goto(write_report(finished_run.many_rows(30, "short"), tmp_path).as_uri())
    opened.get_by_text("All 30 held-out questions").click()
    pager = opened.locator(".all-questions .pager")
    assert opened.locator("#questions tbody tr:visible").count() == 12
    pager.get_by_role("button", name="Next").click()
    pager.get_by_role("button", name="Next").click()
    assert pager.inner_text().endswith("25 to 30 of 30")
    assert opened.locator("#questions tbody tr:visible").count() == 6
    assert pager.get_by_role("button", name="Next").is_disabled()
    opened.get_by_role("button", name="after").click()
    assert "1 to 12 of 30" in pager.inner_text()
    opened.close()


@pytest.mark.parametrize(("width", "height", "rows"), [(1280, 5000, 12), (390, 8000, 4)])
def test_a_page_with_much_to_say_is_short_until_it_is_unfolded(
    browser: Any, large: str, width: int, height: int, rows: int
):
    opened = browser.new_page(viewport={"width": width, "height": 844})
    opened.goto(large)
    assert opened.evaluate("document.documentElement.scrollHeight") < height
    unfold(opened)
    tables = opened.locator(".scroll table").all()
    assert len(tables) > 10
    assert max(table.locator("tbody tr:visible").count() for table in tables) == rows
    cut_off = "Array.from(document.querySelectorAll('.scroll, pre')).filter((box) => box.scrollWidth > box.clientWidth)"
    if width == 390:
        assert opened.evaluate(f"{cut_off}.map((box) => box.ariaLabel)") == []
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    opened.close()


def test_a_page_without_its_script_shows_every_row(browser: Any, large: str):
    opened = browser.new_page(java_script_enabled=False)
    opened.goto(large)
    assert opened.locator("#answers tbody tr:visible").count() == 48
    opened.get_by_text("All 180 held-out questions").click()
    assert opened.locator("#questions tbody tr:visible").count() == 180
    assert not opened.locator(".tools").is_visible()  # nothing would happen
    opened.get_by_role("heading", name="Details for specialists").click()
    opened.get_by_text("Every way to search that was measured").click()
    assert opened.locator("#ways tbody tr:visible").count() == 17
    opened.close()


def test_a_click_shows_the_whole_of_an_answer_that_was_cut(browser: Any, tmp_path: Path):
    inputs = finished_run.run()
    long = [replace(item, text=f"{item.text} {'and so on ' * 20}to its end") for item in finished_run.DOCUMENTS]
    judged = [replace(item, documents=tuple(long)) for item in inputs.judged]
    opened = browser.new_page()
    opened.goto(write_report(replace(inputs, judged=judged), tmp_path).as_uri())
    case = opened.locator("#heldout .case .whole").first
    assert "to its end" not in case.inner_text()
    case.locator("summary").click()
    assert case.inner_text().endswith("to its end")
    opened.close()


def test_the_page_prints_on_two_sheets(browser: Any, large: str):
    opened = browser.new_page()
    opened.goto(large)
    opened.locator("#answers").get_by_role("button", name="Next").click()
    assert len(re.findall(rb"/Type\s*/Page\b", opened.pdf(prefer_css_page_size=True))) == 2
    opened.emulate_media(media="print")
    for place, rows in {"#alternatives": 7, "#answers": 5, "#unanswered": 4, "#details": 0}.items():
        assert opened.locator(f"{place} tbody tr:visible").count() == rows, place
    assert "Answer number 0" in opened.locator("#answers tbody").inner_text()  # the first page, not the one last read
    assert opened.get_by_text("What to do:").is_visible()
    opened.close()
