from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import jsonschema
import numpy as np
import pytest

import finished_run
from expertune import report
from expertune.data.inspection import DataFindings
from expertune.records import Basis, Evaluation, Outcome, PanelFit, Questions, Role, Verdict
from expertune.report import FinishedRun, charts, write_report
from expertune.report.alternatives import SHOWN, shown
from expertune.report.results import schema
from expertune.report.write import MOST_BYTES

HEADINGS = [
    "Right answer first: 1 of 4 questions before, 1 after.",
    "Answers that need work",
    "Wins and losses",
    "How to use the model",
    "Details for specialists",
]
FOLDED = [
    "How sure is this?",
    "Details for specialists",
    "All measures before and after",
    "How far the model was moved",
    "Similarity of right and other answers",
    "The experts",
    "Geometry of the embedding space",
    "Synthetic questions",
    "Time and cost",
    "Every setting of this run",
]
NOTHING = Verdict(
    Outcome.NOT_MEASURED, Outcome.NOT_MEASURED, None, "Not measured.", "Collect questions.", "", basis=Basis.NONE
)
VOID = {"meta", "input", "br"}


class Page(HTMLParser):
    """Everything the tests ask of a page: elements with attributes, headings, texts of sections and raw blocks."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.headings: list[str] = []
        self.summaries: list[str] = []
        self.inline: dict[str, list[str]] = {"style": [], "script": []}
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag in ("h1", "h2"):
            self.headings.append("")
        if tag == "summary":
            self.summaries.append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        if self.open and self.open[-1] in self.inline:
            self.inline[self.open[-1]].append(data)
            return
        self.words.append(data)
        if any(tag in ("h1", "h2") for tag in self.open):
            self.headings[-1] += data
        if "summary" in self.open:
            self.summaries[-1] += data

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def values(self, attribute: str) -> list[str]:
        return [given[attribute] or "" for _, given in self.elements if attribute in given]


def written(tmp_path: Path, inputs: FinishedRun | None = None) -> str:
    return write_report(inputs or finished_run.run(), tmp_path / "out").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return written(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def page(source: str) -> Page:
    return Page(source)


def test_all_sections_stand_in_order(page: Page):
    assert page.headings == HEADINGS
    assert [text for text in page.summaries if "question" not in text or text == "Synthetic questions"] == FOLDED


def test_every_element_is_closed_and_every_id_is_unique(page: Page):
    assert page.open == []
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert {reference.removeprefix("#") for reference in page.values("href")} <= set(ids)
    clips = [re.fullmatch(r"url\(#(.+)\)", value) for value in page.values("clip-path")]
    assert clips
    assert all(match and match[1] in ids for match in clips)
    for attribute in ("aria-labelledby", "for"):
        assert {name for value in page.values(attribute) for name in value.split()} <= set(ids)


def test_a_script_in_the_data_is_shown_and_not_run(source: str, page: Page):
    assert "<script>alert" not in source
    assert source.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 3  # held-out table, a loss, generated sample
    assert [tag for tag, _ in page.elements if tag == "script"] == ["script"]
    assert "<script>alert(1)</script> & \"quotes\" 'too'" in page.text
    assert "<b>parcels</b>" in page.text
    assert "<i>more</i>" in page.text


def test_the_page_reaches_for_nothing_outside_itself(source: str, page: Page):
    assert page.values("src") == []
    assert all(value.startswith("#") for value in page.values("href"))
    assert not [tag for tag, _ in page.elements if tag in ("link", "img", "iframe", "object", "embed", "form", "base")]
    assert not re.search(r"url\(\s*['\"]?(?!#)|@import|fetch\(|XMLHttpRequest|innerHTML", source)
    assert "http://" not in source
    assert "https://" not in source


def test_the_policy_lets_through_exactly_the_own_style_and_script(page: Page):
    policy = next(
        given["content"] for _, given in page.elements if given.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    for kind, blocks in page.inline.items():
        assert len(blocks) == 1
        digest = base64.b64encode(hashlib.sha256(blocks[0].encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    # What the policy would block must not be there in the first place.
    assert page.values("style") == []
    assert not [name for _, given in page.elements for name in given if name.startswith("on")]


def test_charts_are_labelled_and_follow_the_theme(source: str, page: Page):
    charts = [given for tag, given in page.elements if tag == "svg"]
    assert len(charts) == 8  # levels, differences, frontier, similarity of two models, panel, agreement, stages
    assert all(given["role"] == "img" and given["aria-label"] for given in charts)
    drawn = "".join(re.findall(r"<svg.*?</svg>", source, flags=re.S))
    assert not re.search(r'(fill|stroke)="#', drawn)
    assert 'class="f-tuned' in drawn


def test_no_question_is_hidden_from_wins_and_losses(page: Page):
    # q1 climbs from 4 to 1, q2 falls from 2 to 3, q3 from 1 to 2; q4 stays.
    wins, losses = page.text.split("Biggest wins")[1].split("Search")[0].split("Worst losses")
    assert "where is my parcel place of the right answer: 4 → 1" in wins
    assert losses.index("send it back place of the right answer: 1 → 2") < losses.index("answer: 2 → 3")
    assert "zebra" not in wins + losses
    assert "All 4 held-out questions" in page.text


def test_the_table_says_what_moved(source: str):
    rows = re.findall(r'<tr data-outcome="(\w+)"><td class="question">(.*?) <span', source)
    assert [(outcome, text[:5]) for outcome, text in rows] == [
        ("better", "where"),
        ("worse", "send "),
        ("worse", "&lt;s"),
        ("same", "zebra"),
    ]
    assert "up 3" in source
    assert "down 1" in source


def test_numbers_are_shown_in_points_with_intervals(page: Page):
    assert "70.0 → 78.0" in page.text
    assert "+8.0 [+6.0, +10.0]" in page.text
    assert "95 % interval" in page.text
    assert "Krippendorff's alpha 0.43, Kendall's W 0.60" in page.text
    assert "effective rank 188 193" in page.text
    assert "1 min 2 s" in page.text
    assert "duplicate 7" in page.text
    assert 'path = "a <b> & c"' in "".join(page.words)


def test_what_comes_from_the_index_stands_beside_what_comes_from_tuning(page: Page, tmp_path: Path):
    assert "plain index" not in page.text
    assert "expanded.jsonl" not in page.text
    shown = Page(written(tmp_path, finished_run.expanded_run()))
    row = "shop/test_seen 65.0 70.0 78.0 +5.0 +3.0 to +7.0 +8.0 +6.0 to +10.0 +13.0 +11.0 to +15.0"
    assert row in shown.text
    assert "1 of 4 answers" in shown.text
    assert "The texts are ready in expanded.jsonl" in shown.text
    assert "stays as it is" not in shown.text
    summary = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "| shop/test_seen | 65.0 | 70.0 | 78.0 | +5.0 | +8.0 | +13.0 | +11.0 to +15.0 |" in summary


def test_generated_questions_show_every_expert_with_rank(page: Page):
    sample = page.text.split("Synthetic questions")[-1].split("Time and cost")[0]
    assert "30 of 86 training questions" in sample
    for group in ("small-llm keyword", "small-llm story", "small-llm short", "tiny-llm keyword", "tiny-llm story"):
        assert group in sample
    # The hostile question was written for d1: second for "strong", third for "weak", not scored by "silent".
    assert re.search(r"alert\(1\).*? d1 small-llm short 0\.25 0\.50 #2 0\.30 #3 –", sample)


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path):
    first = write_report(finished_run.run(), tmp_path / "a").parent
    second = write_report(finished_run.run(), tmp_path / "b").parent
    for name in ("report.html", "report.md", "results.json"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_results_and_summary_lie_beside_the_page(tmp_path: Path):
    written(tmp_path)
    values = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert values["verdict"]["ship"] is True
    summary = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert summary.startswith(
        "# Better: shop\n\n**Right answer first: 1 of 4 questions before, 1 after.**\n\nUse the tuned model.\n"
    )
    assert "| shop/test_seen | domain | 4 | 1 → 1 | 3 → 4 | 70.0 → 78.0 | +8.0 | +6.0 to +10.0 | better |" in summary
    assert len(summary) < 2000


@pytest.mark.parametrize(
    ("ship", "domain", "basis", "expected", "tone"),
    [
        (True, "better", "held-out questions", "Better", "shown"),
        (True, "likely better", "held-out questions", "Likely better", "likely"),
        (False, "no difference shown", "held-out questions", "No difference shown", "likely"),
        (False, "likely worse", "held-out questions", "Likely worse", "likely"),
        (False, "worse", "held-out questions", "Worse", "worse"),
        (False, "better", "held-out questions", "Better here, worse elsewhere", "worse"),
        (None, "not measured", "not measured", "Not measured", "unknown"),
        (None, "better", "your own questions, cross-validated", "Better on your own questions", "likely"),
        (None, "worse", "your own questions, cross-validated", "Worse on your own questions", "worse"),
    ],
)
def test_words_and_colour_say_the_verdict(
    tmp_path: Path, ship: bool | None, domain: str, basis: str, expected: str, tone: str
):
    said = finished_run.evaluation(ship=ship, domain=domain, basis=basis)
    assert (said.verdict.decision, said.verdict.tone) == (expected, tone)
    text = written(tmp_path, finished_run.run(evaluation=said))
    assert f'<section id="verdict" class="verdict {tone}"' in text
    assert f"<title>{expected}: shop" in text


def test_a_run_without_the_optional_parts_still_gives_a_page(tmp_path: Path):
    inputs = finished_run.run(agreement=None, geometry=None, timings=(), judged=())
    bare = replace(
        inputs,
        questions=Questions(inputs.questions.items[:1]),
        labels=replace(inputs.labels, panel=()),
        model=replace(inputs.model, mode="full", selection=replace(inputs.model.selection, candidates=())),
        evaluation=Evaluation((), (), (), NOTHING),
    )
    page = Page(written(tmp_path, bare))
    assert page.headings == ["Not measured.", *HEADINGS[2:]]
    for said in (
        "Measured on: not measured .",
        "Nothing was weighed",
        "No similarities were measured.",
        "There are no synthetic questions",
        "No times were recorded.",
        "No question got better.",
        "No question got worse.",
        "encode the documents of your index again",
    ):
        assert said in page.text


def test_strange_names_break_neither_charts_nor_page(tmp_path: Path):
    name = "prix $5$ & <日本語> \x00\x1b[31m \ud800" + "x" * 300
    inputs = finished_run.run()
    evaluation = replace(
        inputs.evaluation,
        comparisons=tuple(replace(row, dataset=name) for row in inputs.evaluation.comparisons),
    )
    page = Page(written(tmp_path, replace(inputs, evaluation=evaluation, dataset=replace(inputs.dataset, name=name))))
    assert page.headings == HEADINGS
    assert [text for text in page.summaries if "question" not in text or text == "Synthetic questions"] == FOLDED
    assert "prix $5$ & <日本語>" in page.text


def test_what_servers_used_up_stands_beside_the_times(tmp_path: Path):
    line = "small: 24 answers of the server, 2,400 tokens read, 240 written, cost 0.0072"
    inputs = finished_run.run()
    page = write_report(inputs, tmp_path / "without").read_text(encoding="utf-8")
    assert "No server was asked" in page
    inputs = finished_run.run(questions=replace(inputs.questions, used=(line,)))
    page = write_report(inputs, tmp_path / "with").read_text(encoding="utf-8")
    assert f"<li>{line}</li>" in page
    assert "No server was asked" not in page
    assert json.loads((tmp_path / "with" / "results.json").read_text(encoding="utf-8"))["used"] == [line]


def test_an_interval_that_says_nothing_is_left_out_and_squeezes_no_other():
    known = finished_run.comparison("test_seen", Role.DOMAIN)
    unknown = replace(known, split="test_unseen", difference=0.0, low=-1.0, high=1.0, detectable=0.0)
    drawn = charts.differences((known, unknown))
    assert "[no interval]" in drawn
    assert "−100" not in drawn
    assert "100" not in re.findall(r">([^<>]+)</text>", drawn)


def test_a_set_about_few_answers_has_no_interval_anywhere(tmp_path: Path):
    inputs = finished_run.run()
    rows = tuple(replace(row, answers=4) for row in inputs.evaluation.comparisons)
    few = replace(inputs, evaluation=replace(inputs.evaluation, comparisons=rows))
    assert "[no interval]" in charts.differences(few.evaluation.compared)
    page = write_report(few, tmp_path).read_text(encoding="utf-8")
    summary = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert page.count("too few answers for an interval") >= len(rows)
    assert "too few answers for an interval" in summary
    assert "+6.0 to +10.0" not in page + summary
    found = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert {row["answers"] for row in found["comparisons"]} == {4}


def test_the_panel_is_shown_on_questions_that_taught_it_and_on_others(tmp_path: Path):
    fit = PanelFit(20, in_sample=0.55, left_out=0.61, guessing=3.81, sharpness=3.06, left_out_sharpness=3.87)
    page = write_report(finished_run.run(fit=fit), tmp_path).read_text(encoding="utf-8")
    assert "is 0.55 on questions that taught the weights and 0.61 on questions that did not (guessing: 3.81;" in page
    found = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert (found["panel_fit"]["in_sample"], found["panel_fit"]["left_out"]) == (0.55, 0.61)
    jsonschema.validate(found, schema())


def test_a_measure_that_nobody_took_has_no_row(tmp_path: Path):
    page = write_report(finished_run.run(), tmp_path).read_text(encoding="utf-8")
    assert "IsoScore" in page
    assert ">alignment<" not in page  # None before and after


def test_sixty_bins_of_similarity_are_drawn_as_twenty_and_keep_their_area():
    density, edges = charts._coarser(np.linspace(0, 2, 60), np.linspace(-0.5, 1.0, 61))
    assert (len(density), len(edges)) == (20, 21)
    assert edges[0] == -0.5
    assert edges[-1] == 1.0
    assert np.sum(density * np.diff(edges)) == pytest.approx(np.sum(np.linspace(0, 2, 60)) * 1.5 / 60)
    few, same = charts._coarser([1.0, 2.0, 3.0], [0.0, 0.1, 0.2, 0.3])
    assert (len(few), len(same)) == (3, 4)


def test_a_long_table_is_cut_to_the_largest_changes_and_says_so(tmp_path: Path):
    source = written(tmp_path, finished_run.many_rows(3000, "short"))
    assert source.count("<tr data-outcome=") == 1500
    assert "The 1500 questions that changed most, of 3000" in source
    assert source.count('data-outcome="better"') == 9
    assert source.count('data-outcome="worse"') == 1
    assert len(source.encode()) < MOST_BYTES


def test_the_page_stays_small_whatever_the_texts_are(tmp_path: Path):
    wide = written(tmp_path, finished_run.many_rows(3000, "<&" * 4000))  # every character of it grows when escaped
    assert 500_000 < len(wide.encode()) < MOST_BYTES
    assert re.search(r"The \d+ questions that changed most, of 3000", wide)


def test_the_summary_is_markdown_not_html(tmp_path: Path) -> None:
    verdict = replace(
        finished_run.run().evaluation.verdict, why="The user's nDCG@10 rose in <b>shop</b> | [x](http://y)"
    )
    write_report(finished_run.run(evaluation=replace(finished_run.run().evaluation, verdict=verdict)), tmp_path)
    text = (tmp_path / "report.md").read_text("utf-8")
    assert r"The user's nDCG@10 rose in &lt;b&gt;shop&lt;/b&gt; \| \[x\](http&#58;//y)" in text
    assert "&#39;" not in text


def test_what_was_found_in_the_texts_is_shown(tmp_path: Path) -> None:
    found = DataFindings(notes=("3 texts lost <b>tags</b>.",))
    write_report(replace(finished_run.run(), texts=found), tmp_path)
    assert "3 texts lost &lt;b&gt;tags" in (tmp_path / "report.html").read_text("utf-8")
    assert "- 3 texts lost &lt;b&gt;tags" in (tmp_path / "report.md").read_text("utf-8")
    values = json.loads((tmp_path / "results.json").read_text("utf-8"))
    jsonschema.validate(values, schema())
    assert values["data"]["notes"] == list(found.notes)


def test_words_follow_the_questions_that_the_verdict_rests_on(tmp_path: Path) -> None:
    page = Page(written(tmp_path, finished_run.own_run()))
    assert "Measured on your own 4 labelled questions" in page.text
    assert "All 4 left-out questions" in page.text
    assert "of their left-out questions or fewer" in page.text
    assert "where is my parcel place of the right answer: 4 → 1" in page.text  # wins and losses tell them as well
    assert "shop/own questions domain , 4 questions nDCG@10 70.0 78.0" in page.text.replace("domain,", "domain ,")
    assert "held-out" not in page.text
    shown = Page(written(tmp_path, finished_run.large_run()))
    assert "Measured on 4 held-out questions" in shown.text
    assert "left-out" not in shown.text


def test_what_is_shown_of_the_alternatives_always_holds_ours_and_the_base() -> None:
    found = finished_run.large_run().evaluation.alternatives
    assert found is not None
    names = [row.model for row in shown(found)]
    assert len(names) == SHOWN
    assert names[0] == "a-model-of-a-rather-long-name-0"
    assert names[-2:] == ["tuned", "all-minilm-l6-v2"]
    worse = replace(found.others[0], ndcg=0.79, holds="question + answer")
    assert worse not in shown(replace(found, others=(*found.others, worse)))  # another index of a model that is there


def test_no_page_needs_a_rare_glyph() -> None:
    """Every character of a template is ASCII or one that each common font has: no emoji, no dingbat."""
    root = Path(report.__file__).parents[1]
    files = [path for kind in ("j2", "css", "js") for path in root.rglob(f"templates/*.{kind}")]
    assert len(files) > 15
    rare = {character for path in files for character in path.read_text(encoding="utf-8") if ord(character) > 126}
    assert rare <= set("–−→↑↓↕…·±")
