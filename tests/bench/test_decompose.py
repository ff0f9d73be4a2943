"""What the gain is made of: what each row is tuned on, and differences worked out by hand."""

import importlib
import json
import sys
from argparse import Namespace
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from expertune.commands.study.lab import Point
from expertune.records import Measurement, Provenance, Question, Questions, Role, SoftLabels
from small_shop import FILES, quick, write_files

pytestmark = pytest.mark.usefixtures("few_resamples")
BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture(scope="module")
def bench():
    sys.path.insert(0, str(BENCH))
    yield importlib.import_module("decompose")
    sys.path.remove(str(BENCH))


def measured(split: str, values: list[float], *, role: Role = Role.DOMAIN, dataset: str = "shop") -> Measurement:
    count = len(values)
    ids, answers = tuple(f"q{n}" for n in range(count)), tuple(f"a{n % 3}" for n in range(count))
    metrics = {"ndcg@10": np.array(values)}
    return Measurement(dataset, split, role, "tuned", ids, answers, metrics, (1,) * count, ((),) * count)


def test_every_row_of_the_chain_changes_one_thing_in_the_row_before(bench):
    for before, after in zip(bench.CHAIN, bench.CHAIN[1:], strict=False):
        changed = [item.name for item in fields(bench.Row) if getattr(before, item.name) != getattr(after, item.name)]
        assert len(changed) == 2, (after.name, changed)
        assert "name" in changed
    assert replace(bench.CHAIN[-1], layout=False, name=bench.LOG.name) == bench.LOG == bench.CHAIN[-2]
    assert {row.name for row in bench.ORDER} == {row.name for row in (*bench.CHAIN[:-1], *bench.BESIDE)}
    assert bench.Row(bench.LOG.name) == bench.LOG  # the defaults of a row are the whole recipe


def test_a_row_asks_the_questions_it_is_named_after(bench):
    def asked(row) -> list[str]:
        return [kind.value for kind in Provenance if bench._asked(kind, row)]

    assert "span" not in asked(bench.ALONE)
    assert "log" not in asked(bench.READING)
    assert {"pair", "span", "log"} <= set(asked(bench.LOG))


def test_without_a_share_nobody_knows_which_questions_are_labelled(bench):
    questions = Questions((Question("how", ("a",)), Question("some words", ("a",), Provenance.SPAN)))
    found = bench.unshared(questions)
    assert not found.labelled.any()
    assert [item.text for item in found.items] == ["how", "some words"]


def test_even_smoothing_gives_spans_and_nobody_else_the_rest(bench):
    questions = Questions((Question("how", ("a",)), Question("some words", ("b",), Provenance.SPAN)))
    targets = np.array([[1, 0, 0], [0, 1, 0]], dtype=np.float32)
    labels = SoftLabels("hard", targets, np.array([True, True, False]), True, (), ())
    found = bench.smoothed(labels, questions, 0.4)
    assert found.targets == pytest.approx(np.array([[1, 0, 0], [0.3, 0.7, 0]]))


def test_differences_count_seen_and_unseen_alike(bench):
    def point(gain: float) -> Point:
        sets = (
            measured("test_seen", [0.1 + gain] * 6), measured("test_unseen", [0.2 - gain] * 3),
            measured("dev", [0.5] * 4, role=Role.GENERAL, dataset="general-dev"),
            measured("test_seen" + bench.ON_QUESTIONS, [0.9] * 6), measured("test", [0.0] * 3, dataset="other"),
        )  # fmt: skip
        return Point(0.75, sets, ())

    base, tuned = (bench.values([point(gain)], "shop", layout=False) for gain in (0.0, 0.04))
    found = bench.differences(tuned, base)
    assert list(found) == ["seen", "unseen", "general", "domain"]
    assert [found[kind]["mean"] for kind in found] == [4.0, -4.0, 0.0, 0.0]
    on_questions = bench.values([point(0.0)], "shop", layout=True)
    assert bench.differences({"seen": on_questions["seen"]}, {"seen": base["seen"]})["seen"]["mean"] == 80.0


def test_rows_are_tuned_and_measured_on_a_small_shop(bench, tiny_model, tmp_path, monkeypatch):
    write_files(tmp_path / "shop", {**FILES, "log.txt": "stop my order\nnew password please\nis delivery free\n"})
    config = quick(tmp_path, tiny_model, **{"data.log": [str(tmp_path / "shop" / "log.txt")]})
    monkeypatch.setattr(bench, "configured", lambda *_: config)
    monkeypatch.setattr(bench, "FURTHER", ())
    made = bench.Bench(Namespace(steps=2, data_root=tmp_path), "shop")
    rows = (bench.ALONE, bench.BEST, bench.READING, bench.LOG, bench.EVEN)
    tuned = {row.name: made.tunings(row, [0]) for row in rows}
    found = bench.described(made, tuned, [0])
    assert [line["row"] for line in found["rows"]] == [
        row.name for row in (*bench.CHAIN, *bench.BESIDE) if row in (*rows, bench.LAYOUT)
    ]
    by_name = {line["row"]: line for line in found["rows"]}
    assert set(by_name[bench.LOG.name]["gain"]) == {"0.25", "0.5", "0.75", "1"}
    assert set(by_name[bench.LAYOUT.name]["gain"]["0.75"]) == {"test", "general", "domain"}
    assert by_name[bench.LOG.name]["step"]["domain"]["mean"] is not None
    assert by_name[bench.BEST.name]["step"] is None  # the row before it was not tuned
    assert list(found["worth"]) == ["the panel instead of an even smoothing, no log"]
    assert found["questions"]["log"] == 3
    # What was tuned is found again, and another row is another tuning.
    assert [item.seconds for item in made.tunings(bench.LOG, [0])] == [item.seconds for item in tuned[bench.LOG.name]]
    assert len({json.dumps(made.taught(row)[1].targets.tolist()) for row in rows}) == len(rows)


def test_page_and_plot_hold_every_set_and_row(bench, tmp_path, monkeypatch):
    def figures(mean: float) -> dict:
        return {kind: {"mean": mean, "low": mean - 1, "high": mean + 1, "answers": 20} for kind in KINDS}

    rows = [
        {"row": row.name, "gain": {"0.75": figures(2.0)}, "step": figures(-0.5) if number else None, "seconds": [1.0]}
        for number, row in enumerate(bench.CHAIN)
    ]
    entry = {
        "set": "shop", "seeds": [0, 1], "steps": 50, "questions": {"pair": 20}, "best_expert": "mpnet", "rows": rows,
        "worth": {name: figures(3.0) for name in bench.WORTH},
    }  # fmt: skip
    page = tmp_path / "page.md"
    page.write_text(f"before\n{bench.BEGIN}\n{bench.END}\nafter\n", encoding="utf-8")
    monkeypatch.setattr(bench, "PAGE", page)
    monkeypatch.setattr(bench, "PLOT", tmp_path / "plot.svg")
    bench.write_page([entry, {**entry, "set": "other"}])
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "### shop, 2 seeds, 50 steps" in text
    assert "| + the search log | +2.0 (+1.0 to +3.0) |" in text
    assert "| + spans of the answers | −0.5 | 0 / 0 / 2 | −0.5 | 0 / 0 / 2 |" in text
    drawing = (tmp_path / "plot.svg").read_text(encoding="utf-8")
    assert all(name in drawing for name in ("other", "shop", *bench.WORTH))
    json.dumps(entry)


KINDS = ("seen", "unseen", "general", "domain")
