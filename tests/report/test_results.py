from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import finished_run
from expertune.records import Candidate, Comparison, Separation
from expertune.report import FinishedRun
from expertune.report.results import results, schema, to_json


def made(inputs: FinishedRun | None = None, folder: Path | None = None) -> dict[str, Any]:
    return results(inputs or finished_run.run(), folder)


def validate(values: dict[str, Any]) -> None:
    jsonschema.validate(json.loads(to_json(values)), schema(), cls=jsonschema.Draft202012Validator)


def test_the_schema_is_itself_valid_and_strict_everywhere():
    jsonschema.Draft202012Validator.check_schema(schema())

    def objects(node: Any) -> list[dict[str, Any]]:
        if isinstance(node, list):
            return [found for item in node for found in objects(item)]
        if not isinstance(node, dict):
            return []
        own = [node] if node.get("type") == "object" else []
        return own + [found for item in node.values() for found in objects(item)]

    assert all("additionalProperties" in item for item in objects(schema()))


def test_results_follow_the_schema_with_and_without_the_optional_parts():
    validate(made())
    short = made(finished_run.run(agreement=None, geometry=None))
    assert "agreement" not in short
    assert "geometry" not in short
    validate(short)


def test_an_expanded_index_is_compared_with_the_plain_one():
    assert "index" not in made()
    inputs = finished_run.expanded_run()
    values = made(inputs)
    validate(values)
    assert (values["index"]["file"], values["index"]["expanded"]) == ("expanded.jsonl", 1)
    base, tuned = (row for row in values["index"]["comparisons"] if row["metric"] == "ndcg@10")
    assert (base["model"], base["plain"], base["expanded"], base["difference"]) == ("base", 0.65, 0.7, 0.05)
    assert (tuned["model"], tuned["plain"], tuned["expanded"], tuned["difference"]) == ("tuned", 0.65, 0.78, 0.13)
    assert [row["model"] for row in values["evaluations"]][-1] == "base, plain index"


@pytest.mark.parametrize(
    "break_it",
    [
        lambda values: values.pop("verdict"),
        lambda values: values.update(extra=1),
        lambda values: values["evaluations"][0].update({"ndcg@10": 74.4}),
        lambda values: values["evaluations"][0].update(role="training"),
        lambda values: values["evaluations"][0].update(model="expert"),
        lambda values: values["verdict"].update(domain="great"),
        lambda values: values["timings"][0].update(reused="no"),
        lambda values: values.update(schema=1),
    ],
)
def test_the_schema_refuses_what_is_not_a_result(break_it: Any):
    values = json.loads(to_json(made()))
    break_it(values)
    with pytest.raises(jsonschema.ValidationError):
        validate(values)


@pytest.mark.parametrize(
    ("record", "row"), [(Comparison, "comparisons"), (Separation, "separations"), (Candidate, "candidates")]
)
def test_every_field_of_a_record_is_in_its_row(record: type, row: str):
    values = made()
    rows = values["selection"]["candidates"] if row == "candidates" else values[row]
    assert set(rows[0]) == {field.name for field in fields(record)}


def test_rows_carry_the_measured_numbers():
    values = made()
    first = values["evaluations"][0]
    # 1/rank of the base: ranks 4, 2, 1, 3.
    assert first["ndcg@10"] == pytest.approx((1 / 4 + 1 / 2 + 1 + 1 / 3) / 4, abs=1e-6)
    assert (first["dataset"], first["split"], first["role"], first["model"]) == ("shop", "test_seen", "domain", "base")
    assert (first["queries"], first["ties"]) == (4, 1)
    assert len(values["evaluations"]) == 4
    assert values["comparisons"][0]["difference"] == 0.08
    assert values["selection"]["interpolation_weight"] == 0.5
    assert [row["chosen"] for row in values["selection"]["candidates"]] == [False, True, False]
    assert (first["hit@1"], first["hit@3"]) == (0.25, 0.75)
    said = values["verdict"]
    assert (said["ship"], said["decision"], said["basis"]) == (True, "Better", "held-out questions")
    assert said["hits"] == {"questions": 4, "first": [1, 1], "three": [3, 4], "gained": 1, "lost": 1}
    assert values["timings"][1] == {"stage": "score", "seconds": 0.04, "reused": True}


def test_questions_are_counted_by_source_and_kind():
    counted = made()["questions"]
    assert counted["by_source"] == {"pair": 1, "small-llm": 81, "tiny-llm": 4}
    assert counted["by_kind"] == {"keyword": 42, "pair": 1, "short": 1, "story": 42}
    assert counted["total"] == 86
    assert counted["removed"] == {"duplicate": 7}


def test_floats_are_plain_rounded_and_never_nan():
    values = made()
    panel = {row["expert"]: row for row in values["panel"]}
    assert panel["silent"]["ndcg"] is None  # NaN in the records
    assert panel["strong"] == {"expert": "strong", "ndcg": 0.875, "weight": 0.75, "seconds": 2.5}

    def floats(node: Any) -> list[float]:
        if isinstance(node, dict):
            node = list(node.values())
        if isinstance(node, list):
            return [found for item in node for found in floats(item)]
        return [node] if isinstance(node, float) else []

    found = floats(values)
    assert found
    assert all(type(value) is float and value == round(value, 6) for value in found)
    to_json(values)  # refuses NaN and infinity


def test_the_panel_lists_every_expert_when_the_labels_weighed_none():
    inputs = finished_run.run()
    values = made(replace(inputs, labels=replace(inputs.labels, panel=())))
    assert [row["weight"] for row in values["panel"]] == [None, None, None]
    validate(values)


def test_paths_are_relative_and_show_no_machine(tmp_path: Path):
    store = finished_run.run(tmp_path / "store" / "tune" / "abc" / "tuned")
    assert made(store, tmp_path)["tuned"] == "store/tune/abc/tuned"
    elsewhere = finished_run.run(Path("/elsewhere/secret/tuned"))
    assert made(elsewhere, tmp_path)["tuned"] == "tuned"
    (tmp_path / "model").mkdir()
    assert made(store, tmp_path)["tuned"] == "model"  # the published copy
    inputs = replace(store, model=replace(store.model, base="/home/somebody/models/base"))
    assert made(inputs)["base"] == "base"
    hub = replace(store, model=replace(store.model, base="maidalun1020/bce-embedding-base_v1"))
    assert made(hub)["base"] == "maidalun1020/bce-embedding-base_v1"


def test_the_same_records_give_the_same_text():
    assert to_json(made()) == to_json(made())
