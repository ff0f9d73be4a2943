"""The check that is blind to half of the held-out questions: which half, and what stays in training for it."""

import importlib
import json
import sys
from argparse import Namespace
from pathlib import Path

import pytest

from expertune.records import Document, JudgedSet, Query, Role
from small_shop import FILES, quick, write_files

pytestmark = pytest.mark.usefixtures("few_resamples")
BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture(scope="module")
def bench():
    sys.path.insert(0, str(BENCH))
    yield importlib.import_module("blind")
    sys.path.remove(str(BENCH))


def test_the_hidden_half_has_half_of_the_answers_with_all_their_questions(bench):
    documents = tuple(Document(f"d{n}", f"text {n}") for n in range(6))
    queries = tuple(Query(f"q{n}", f"ask {n}") for n in range(18))
    qrels = {f"q{n}": {f"d{n % 6}": 1} for n in range(18)}
    judged = JudgedSet("shop", "test", Role.DOMAIN, documents, queries, qrels)
    found = bench.half(judged, 0)
    assert len(found.queries) == 9
    assert len({answer for ids in found.qrels.values() for answer in ids}) == 3
    assert found.qrels == {query.id: qrels[query.id] for query in found.queries}
    assert bench.half(judged, 0) == found != bench.half(judged, 1)


def test_near_copies_of_hidden_questions_stay_in_training_and_are_judged(bench, tiny_model, tmp_path, monkeypatch):
    # Every held-out question is in the log as well: the run that looks drops all, the blind one half of them.
    asked = [json.loads(line)["text"] for line in FILES["queries.jsonl"].splitlines()]
    log = "".join(f"{text}\n" for text in [*asked, "stop my order"])
    write_files(tmp_path / "shop", {**FILES, "log.txt": log})
    config = quick(tmp_path, tiny_model, **{"data.log": [str(tmp_path / "shop" / "log.txt")]})
    monkeypatch.setattr(bench, "configured", lambda *_: config)
    found = bench.measured(Namespace(count=False), "shop", 0)
    assert found["only_looking_left_out"]["log"] == found["hidden_questions"] == 1
    assert set(found["test"]) == {"looking", "blind", "looking_minus_blind"}
    assert found["test"]["looking"]["answers"] == 1
