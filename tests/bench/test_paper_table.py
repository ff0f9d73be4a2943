"""The paper's table is joined from studies: the figures of each set, their mean and spread, worked out by hand."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench" / "paper_table.py"


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("bench_paper_table", BENCH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def study(name: str, base: float, gains: dict[str, float]) -> dict:
    """Return what `study labels` writes for a domain set and one general set, as far as the table reads it."""
    apart = {"auprc": 0.4, "prevalence": 0.05, "ks": 0.6, "overlap": 0.3, "auroc": 0.9}
    sets = {f"{name}/test": base, "scifact/test": 0.6}
    return {
        "set": name,
        "settings": {"label": {"strategy": "anchored"}},
        "figures": {
            "seeds": 3,
            "base_separation": {"test": apart},
            "gains": {
                strategy: {
                    "separation": {"test": {**apart, "auprc": 0.4 + gain}},
                    "sets": {
                        key: {f"{m} {who}": value + gain * (who == "tuned") - 0.1 * (m == "map@10")
                              for m in ("ndcg@10", "map@10") for who in ("base", "tuned")}
                        for key, value in sets.items()
                    },
                }
                for strategy, gain in gains.items()
            },
        },
    }  # fmt: skip


GAINS = {"hard": 0.1, "soft-1": 0.02, "soft-2": 0.03, "soft-3": 0.04, "weighted": 0.05, "anchored": 0.2}


def test_rows_are_sets_and_their_mean_and_deviation_follow(bench):
    found = bench.table([study("stackfaq", 0.5, GAINS), study("shop", 0.7, GAINS)])
    assert found["strategies"] == ["base", "hard", "soft-1", "soft-2", "soft-3", "anchored"]
    rows = {row["set"]: row for row in found["ndcg@10"]}
    assert rows["stackfaq/test"]["base"] == pytest.approx(0.5)
    assert rows["scifact/test (tuned to shop)"]["hard"] == pytest.approx(0.7)
    assert rows["average"]["base"] == pytest.approx(0.6)  # of 0.5, 0.6, 0.7, 0.6
    assert rows["average"]["anchored"] == pytest.approx(0.8)
    assert rows["standard deviation"]["base"] == pytest.approx(0.081650, abs=1e-6)
    assert {row["set"]: row for row in found["map@10"]}["average"]["base"] == pytest.approx(0.5)


def test_separation_has_prevalence_beside_auprc(bench):
    (row,) = bench.table([study("shop", 0.7, GAINS)])["separation"]
    assert row["measures"]["auprc"]["base"] == 0.4
    assert row["measures"]["auprc"]["hard"] == pytest.approx(0.5)
    assert row["measures"]["prevalence"]["anchored"] == 0.05


@pytest.mark.parametrize("form", [[], ["--markdown"]])
def test_the_command_prints_and_writes(bench, tmp_path, monkeypatch, capsys, form):
    file, out = tmp_path / "study.json", tmp_path / "table.json"
    file.write_text(json.dumps(study("shop", 0.7, GAINS)), encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["paper_table.py", "--files", str(file), "--out", str(out), *form])
    bench.main()
    printed = capsys.readouterr().out
    assert "nDCG@10" in printed
    assert "mAP@10" in printed
    assert "prevalence" in printed
    assert json.loads(out.read_text(encoding="utf-8"))["default"] == "anchored"
