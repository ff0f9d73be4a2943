"""The main job with the real packaged models, on a reduced shop: every stage, every output, reuse and recomputation."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from expertune import models
from expertune.config import Config
from expertune.report.results import schema

ROOT = Path(__file__).parents[2]
SHOP = ROOT / "examples" / "shop"
EXPERTUNE = Path(sys.executable).with_name("expertune")

pytestmark = [pytest.mark.models, pytest.mark.slow]


def missing_models():
    defaults = Config()
    wanted = [defaults.train.base, *(spec.model for spec in (*defaults.score.experts, *defaults.augment.generators))]
    return [name for name in wanted if name and not models.installed(models.find(name))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Ten answers of the shop with their questions: small enough for a test, real enough to mean something."""
    if missing := missing_models():
        pytest.skip(f"packaged models are not installed: {', '.join(missing)}")
    target = tmp_path_factory.mktemp("job") / "shop"
    shutil.copytree(SHOP, target)
    rows = [json.loads(line) for line in (SHOP / "qa.jsonl").read_text(encoding="utf-8").splitlines()]
    kept = {
        row["id"]
        for row in [r for r in rows if r["split"] == "train"][:7] + [r for r in rows if r["split"] != "train"][:3]
    }
    for name, key in (("qa.jsonl", "id"), ("corpus.jsonl", "_id")):
        lines = (SHOP / name).read_text(encoding="utf-8").splitlines()
        (target / name).write_text("\n".join(line for line in lines if json.loads(line)[key] in kept), encoding="utf-8")
    for split in ("test_seen", "test_unseen"):
        header, *lines = (SHOP / "qrels" / f"{split}.tsv").read_text(encoding="utf-8").splitlines()
        lines = [line for line in lines if line.split("\t")[1] in kept]
        (target / "qrels" / f"{split}.tsv").write_text("\n".join([header, *lines]), encoding="utf-8")
    return target


def run(folder, *changes):
    command = [EXPERTUNE, "run", "--data", folder, "--out", folder.parent / "out"]
    for change in ("augment.per_answer=3", "train.steps=12", "train.batch_size=16", *changes):
        command += ["--set", change]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    results = json.loads((folder.parent / "out" / "results.json").read_text(encoding="utf-8"))
    jsonschema.validate(results, schema())
    return results, {row["stage"]: row["reused"] for row in results["timings"]}


def test_the_main_job_from_questions_to_a_report(folder):
    from sentence_transformers import SentenceTransformer

    results, _ = run(folder)
    out = folder.parent / "out"
    assert {"report.html", "results.json", "config.toml", "model"} <= {path.name for path in out.iterdir()}
    assert {row["split"] for row in results["evaluations"]} == {"test_seen", "test_unseen", "test"}
    assert {row["model"] for row in results["evaluations"]} == {"base", "tuned"}
    assert len(results["panel"]) == 8
    assert sum(row["weight"] for row in results["panel"]) == pytest.approx(1.0, abs=1e-4)
    assert {"smollm2-135m-instruct", "gemma-3-270m"} <= set(results["questions"]["by_source"])
    tuned = SentenceTransformer(str(out / "model"), local_files_only=True)
    base = SentenceTransformer(models.resolve("all-minilm-l6-v2").location, local_files_only=True)
    texts = ["Tents can be returned within 60 days."]
    np.testing.assert_allclose(tuned.encode_document(texts), base.encode_document(texts), atol=1e-6)

    _, reused = run(folder)
    assert [stage for stage, was in reused.items() if not was] == ["load"]

    _, reused = run(folder, "label.hard_weight=0.4")
    assert [stage for stage, was in reused.items() if not was] == ["load", "label", "train", "evaluate", "alternatives"]
