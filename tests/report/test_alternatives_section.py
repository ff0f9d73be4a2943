"""What a user could take instead: the sentence in each case, values for machines, and where both are shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import finished_run
from expertune.records import Alternative, Alternatives, IndexWork, Role
from expertune.report import write_card, write_report
from expertune.report.alternatives import NAMED, lead, sentence, to_do, values
from expertune.report.results import plain, results, schema


def row(model: str, ndcg: float, low: float, high: float, **changes: Any) -> Alternative:
    comparison = finished_run.comparison("test_seen", Role.DOMAIN)
    plain = Alternative(model, "answers", IndexWork.ANEW, False, 0.5, 0.6, ndcg, ndcg - 0.7, low, high, (comparison,))
    return replace(plain, **changes)


OURS = row("tuned", 0.7, 0.0, 0.0, tuned=True, work=IndexWork.KEPT, dimensions=384, megabytes=182.0, milliseconds=9.5)
BEATS = row("strong", 0.8, 0.04, 0.16)
HIGHER = row("equal", 0.71, -0.02, 0.04, holds="question + answer")
WORSE = row("weak", 0.5, -0.3, -0.1, work=IndexWork.ADDED)
TUNED_TOO = row("tuned", 0.9, -0.1, 0.3, tuned=True, holds="question + answer")


def beside(*others: Alternative, reference: Alternative = OURS) -> Alternatives:
    return Alternatives(reference, others, 40)


def test_the_sentence_says_that_nothing_is_better() -> None:
    assert sentence(beside(WORSE, TUNED_TOO)) == (
        "None of 1 other ways to search that tune nothing beats the tuned model (nDCG@10 70.0): the best of them is "
        "weak (50.0, −20.0, 95 % interval −30.0 to −10.0, index words added)."
    )


def test_the_sentence_names_what_beats_ours_significantly_and_what_in_the_mean() -> None:
    assert sentence(beside(WORSE, HIGHER, BEATS)) == (
        "The tuned model (nDCG@10 70.0) is beaten significantly by strong (80.0, +10.0, 95 % interval +4.0 to +16.0, "
        "index made anew) and in the mean, without a difference shown, by equal, question + answer (71.0, +1.0), "
        "of 3 other ways to search that tune nothing."
    )
    assert "significantly" not in sentence(beside(WORSE, HIGHER))


def test_the_sentence_names_a_few_and_counts_the_others() -> None:
    said = sentence(beside(*(replace(BEATS, model=f"model-{n}") for n in range(NAMED + 2))))
    assert f"model-{NAMED - 1} (" in said
    assert f"model-{NAMED}" not in said
    assert "and 2 more, of 5 other" in said


def test_the_sentence_names_the_base_where_nothing_is_tuned_yet() -> None:
    said = sentence(beside(BEATS, reference=replace(OURS, model="minilm", tuned=False)))
    assert said.startswith("The base minilm (nDCG@10 70.0) is beaten significantly by strong")


def test_what_to_do_puts_what_is_better_without_tuning_first_and_never_the_base_itself() -> None:
    base = row("minilm", 0.75, 0.01, 0.09, work=IndexWork.KEPT)
    use = replace(finished_run.run().evaluation.verdict, action="Use the tuned model.")
    assert to_do(use, beside(WORSE, HIGHER, TUNED_TOO, base)) == to_do(use, None) == ("Use the tuned model.",)
    stronger = replace(BEATS, model="stronger", ndcg=0.9, hit1=0.68, megabytes=438.0, milliseconds=154.3)
    assert to_do(use, beside(WORSE, BEATS, stronger)) == (
        "If you can build your search index again, take stronger as it is, without tuning: right answer first for "
        "68 % of the questions (tuned model: 50 %). Model size, and time per question on this computer: 438 MB, 154 ms "
        "(tuned model: 182 MB, 9.5 ms).",
        "If your index has to stay as it is, use the tuned model.",
    )
    could_be_base, _ = to_do(use, beside(replace(stronger, base="folder/stronger")))
    assert could_be_base.endswith("9.5 ms). It can be tuned as well: run again with `--base folder/stronger`.")
    words, _ = to_do(use, beside(replace(BEATS, work=IndexWork.ADDED)))
    assert words.startswith("If you can set an index of words beside yours, take strong as it is")
    assert "size" not in words
    (both_anew,) = to_do(use, beside(BEATS, reference=replace(OURS, work=IndexWork.ANEW)))
    assert both_anew.startswith("Take strong as it is")
    assert "If" not in both_anew


def test_what_to_do_names_the_index_in_which_the_tuned_model_finds_most() -> None:
    use = replace(finished_run.run().evaluation.verdict, action="Use the tuned model.", ship=True)
    best = replace(TUNED_TOO, low=0.1, hit1=0.8)
    assert to_do(use, beside(WORSE, best)) == (
        "Use the tuned model.",
        "If you can build your search index again, let it hold your questions too (`expertune export RUN --to index "
        "--layout question-and-answer`): right answer first for 80 % of the questions (your index as it is: 50 %).",
    )
    assert to_do(use, beside(BEATS, best))[1].endswith("as it is: 50 %; without tuning at best 50 %, with strong).")
    stronger = replace(BEATS, ndcg=0.95)
    assert to_do(use, beside(stronger, best))[0].startswith("If you can build your search index again, take strong")
    assert to_do(use, beside(replace(best, low=-0.1))) == to_do(use, None)
    assert "--layout" not in " ".join(to_do(replace(use, ship=False), beside(best)))


def test_the_lead_counts_every_way_without_statistics() -> None:
    assert lead(beside(WORSE, HIGHER, TUNED_TOO)) == (
        "4 ways to search answered the same questions: 2 need no tuning, 2 use the tuned model. None of the others is "
        "shown to be better than the tuned model in your index."
    )
    assert lead(beside(BEATS, replace(BEATS, model="stronger", ndcg=0.9))).endswith(
        "2 need no tuning, 1 use the tuned model. Better than the tuned model in your index: without tuning (stronger, "
        "strong)."
    )
    both = lead(beside(BEATS, replace(TUNED_TOO, low=0.1), replace(TUNED_TOO, ndcg=0.8, low=0.1, holds="questions")))
    assert both.endswith(
        "in your index: without tuning (strong) and the tuned model itself in another index (question + answer, "
        "questions)."
    )


def test_an_interval_that_says_nothing_is_left_out() -> None:
    assert "strong (80.0, +10.0)" in sentence(beside(replace(BEATS, low=-1.0, high=1.0)))


@pytest.fixture
def run() -> Any:
    made = finished_run.run()
    found = beside(WORSE, BEATS, TUNED_TOO)
    return replace(made, evaluation=replace(made.evaluation, alternatives=found))


def test_values_hold_every_row_best_first_and_fit_the_schema(run: Any) -> None:
    written = results(run)
    jsonschema.validate(written, schema())
    part = written["alternatives"]
    assert [(item["model"], item["ndcg@10"], item["reference"]) for item in part["rows"]] == [
        ("tuned", 0.9, False),
        ("strong", 0.8, False),
        ("tuned", 0.7, True),
        ("weak", 0.5, False),
    ]
    assert part["rows"][1] == plain(values(beside(BEATS))["rows"][0])
    assert (part["rows"][1]["index"], part["rows"][1]["megabytes"]) == ("made anew", None)
    assert part["sentence"] == sentence(run.evaluation.alternatives)
    broken = {**written, "alternatives": {**part, "rows": [{**part["rows"][0], "index": "gone"}]}}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, schema())


def test_page_summary_and_card_say_it(run: Any, tmp_path: Path) -> None:
    page = write_report(run, tmp_path).read_text(encoding="utf-8")
    said = sentence(run.evaluation.alternatives)
    assert said.replace("+", "&#43;") in page or said in page
    assert lead(run.evaluation.alternatives) in page
    summary = (tmp_path / "report.md").read_text(encoding="utf-8")
    instead, kept = to_do(run.evaluation.verdict, run.evaluation.alternatives)
    assert "take strong" in instead
    assert f"<li>{instead}</li><li>{kept}</li>" in page
    assert f"\n- {instead}\n- {kept}\n" in summary
    assert "strong 80.0 (better, index made anew)" in page  # of the chart, for who does not see it
    assert said in (tmp_path / "report.md").read_text(encoding="utf-8")
    assert said in write_card(run, tmp_path).read_text(encoding="utf-8")


def test_a_command_is_code_and_a_name_from_outside_makes_none(run: Any, tmp_path: Path) -> None:
    based = replace(BEATS, ndcg=0.95, model="a`b<i>", base="folder/_strong")
    found = beside(WORSE, based)
    page = write_report(replace(run, evaluation=replace(run.evaluation, alternatives=found)), tmp_path)
    assert "<code><span>--base</span> <span>folder/_strong</span></code>." in page.read_text(encoding="utf-8")
    assert "take a&#39;b&lt;i&gt; as it is" in page.read_text(encoding="utf-8")
    assert "run again with `--base folder/_strong`.\n" in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_a_run_without_alternatives_shows_no_section(tmp_path: Path) -> None:
    run = finished_run.run()
    assert 'id="alternatives"' not in write_report(run, tmp_path).read_text(encoding="utf-8")
    assert "alternatives" not in results(run)


def test_the_section_fits_a_phone_and_its_table_scrolls_by_itself(browser: Any, run: Any, tmp_path: Path) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 800})
    page.goto(write_report(run, tmp_path).as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    section = page.locator("#alternatives")
    assert section.locator("svg.chart").bounding_box()["width"] <= 390
    told = " ".join(section.locator("tbody tr.chosen").inner_text().split())
    assert told == "tuned this run 70.0 50 % stays 182 MB, 9.5 ms"
    assert section.locator("tbody tr").count() == 4
    page.close()
