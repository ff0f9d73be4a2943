"""The table of what is asked and not answered, the section of the page, and the sentence about scores."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import jsonschema

import finished_run
from expertune.records import Cut, Refusal, Threshold, Unanswered, UnansweredGroup
from expertune.report import FinishedRun, write_report
from expertune.report.results import results, schema
from expertune.report.threshold import threshold_sentence
from expertune.report.unanswered import SHOWN_GROUPS, UNANSWERED, write_unanswered

EVIL = '=HYPERLINK("http://evil.example") <script>alert(1)</script>'
GROUPS = (
    UnansweredGroup(("ski hire", "rent skis"), (4, 1), ("d1", "d0")),
    UnansweredGroup((EVIL,), (2,), ("d2",)),
)
FOUND = Unanswered(GROUPS, looked_at=40, searches=90)
CUT = Cut(0.4321, 0.9, 0.91, 0.84, 0.95, (Refusal("held-out questions", 60, 0.25, 0.15, 0.4),))


def run_with(**changes: object) -> FinishedRun:
    return replace(finished_run.run(), **changes)


def test_the_table_holds_every_question_and_nothing_that_a_spreadsheet_would_run(tmp_path: Path) -> None:
    write_unanswered(FOUND, finished_run.DOCUMENTS, tmp_path)
    data = (tmp_path / UNANSWERED).read_bytes()
    assert data.startswith(b"\xef\xbb\xbf")
    _, *rows = csv.reader(data.decode("utf-8-sig").splitlines())
    answer = "Answer number 1 about <b>parcels</b>"
    assert rows[0] == ["1", "4", "ski hire", "5", "d1", answer]
    assert rows[1][:4] == ["1", "1", "rent skis", "5"]
    assert rows[2][2] == f"'{EVIL}"
    write_unanswered(None, finished_run.DOCUMENTS, tmp_path)
    assert not (tmp_path / UNANSWERED).exists()


def test_page_and_results_show_the_groups(tmp_path: Path) -> None:
    run = run_with(unanswered=FOUND, threshold=Threshold(60, 4, (CUT,)))
    page = write_report(run, tmp_path).read_text(encoding="utf-8")
    section = page.split('<section id="unanswered"')[1].split("</section>")[0]
    assert "3 of 40 questions" in section
    assert section.index("ski hire") < section.index("rent skis") < section.index("HYPERLINK")
    assert "<script" not in section
    assert "0.43" in page.split('<details id="threshold"')[1].split("</details>")[0]
    values = results(run)
    jsonschema.validate(values, schema())
    assert values["unanswered"]["groups"][0] == {"question": "ski hire", "questions": 2, "count": 5, "nearest": "d1"}
    assert values["threshold"]["cuts"][0]["refused"][0]["share"] == 0.25


def test_a_page_shows_the_largest_groups_only(tmp_path: Path) -> None:
    many = tuple(UnansweredGroup((f"question {number}",), (1,), ("d0",)) for number in range(SHOWN_GROUPS + 5))
    page = write_report(run_with(unanswered=Unanswered(many, 50, 50)), tmp_path).read_text(encoding="utf-8")
    assert f"Of {SHOWN_GROUPS + 5} groups the {SHOWN_GROUPS} that were searched most are here" in page
    assert f"question {SHOWN_GROUPS - 1}<" in page
    assert f"question {SHOWN_GROUPS}<" not in page


def test_a_log_that_is_answered_and_a_run_without_one(tmp_path: Path) -> None:
    page = write_report(run_with(unanswered=Unanswered((), 40, 90)), tmp_path).read_text(encoding="utf-8")
    assert "Every one of the 40 questions" in page
    assert 'id="unanswered"' not in write_report(run_with(), tmp_path).read_text(encoding="utf-8")
    assert "unanswered" not in results(run_with())


def test_the_sentence_about_scores_has_its_intervals() -> None:
    assert threshold_sentence(Threshold(60, 4, (CUT,))) == (
        "At a score of 0.43 or more, 91 % of the right answers pass (84 % to 95 %); refused are 25 % (15 % to "
        "40 %) of 60 held-out questions."
    )
    assert (
        threshold_sentence(Threshold(3, 1, (), "3 held-out questions are too few"))
        == "3 held-out questions are too few."
    )
