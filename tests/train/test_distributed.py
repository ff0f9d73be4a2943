"""Tuning in two processes: the losses are those of one process with the same batches. On processors only, over gloo."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from expertune import models
from expertune.config import TrainSection
from expertune.errors import TrainingError
from expertune.models.load import load_model
from expertune.train import distributed, trainer

ROOT = Path(__file__).parents[2]
TOLERANCE = 1e-3
"""Of losses around 0.4: Adam makes whole steps of what rounding leaves, and how much that is differs by processor.

Processes that do not share their gradients are off by 2e-2."""
EXACT = 2e-6
"""Of the losses before the first steps of Adam have grown, where nothing but the order of sums differs."""

SCRIPT = """
import json, sys
from pathlib import Path
from expertune import models
from expertune.train import distributed, trainer
sys.path.insert(0, {tests!r})
import test_distributed as shared
if not distributed.leads():
    trainer.follow()
    raise SystemExit
if {every_step}:
    trainer.checkpoints.SECONDS = 0.0
data, section = shared.data({model!r}, candidates={candidates}), shared.section({steps}, {mode!r})
losses = trainer.tune(models.resolve({model!r}), data, section, Path({folder!r}))
distributed.dismiss()
Path({folder!r}).with_suffix(".json").write_text(json.dumps(losses))
"""


def data(model, *, candidates=False):
    generator = np.random.default_rng(0)
    words = [
        "order",
        "return",
        "refund",
        "ship",
        "delivery",
        "price",
        "card",
        "size",
        "colour",
        "password",
        "account",
        "parcel",
    ]
    questions = [f"how do i {words[n % 12]} my {words[(5 * n + 1) % 12]}" for n in range(22)]
    documents = [f"the {word} is in the shop" for word in words]
    reference = ["what is the size of my colour", "where are you", "who can open the store"]
    encoder = load_model(models.resolve(model))
    columns = None
    if candidates:
        columns = np.sort([generator.choice(12, 5, replace=False) for _ in questions], axis=1).astype(np.int64)
    targets = generator.dirichlet(np.ones(5 if candidates else 12), len(questions)).astype(np.float32)
    return trainer.TrainingData(
        questions=questions,
        documents=documents,
        targets=targets,
        active=np.ones(12, bool),
        document_vectors=encoder.encode(documents, normalize_embeddings=True),
        reference=reference,
        reference_vectors=encoder.encode(reference, normalize_embeddings=True),
        columns=columns,
    )


def section(steps=8, mode="query"):
    return TrainSection(steps=steps, batch_size=8, learning_rate=1e-3, precision="float32", mode=mode)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A tiny model without dropout: processes draw their own, so that losses would differ by it."""
    from conftest import write_tiny_model

    folder = write_tiny_model(tmp_path_factory.mktemp("plain"))
    file = next(path for path in folder.rglob("config.json") if "hidden_dropout_prob" in path.read_text())
    settings = json.loads(file.read_text())
    file.write_text(json.dumps({**settings, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}))
    return str(folder)


def launched(tmp_path, arguments, *, launcher=("torch.distributed.run", "--standalone", "--nproc-per-node", "2")):
    """Run something in two processes and return what came of it."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", *launcher, *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment, timeout=900
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done


def script(tmp_path, **values):
    values = {
        "tests": str(Path(__file__).parent),
        "every_step": False,
        "candidates": False,
        "steps": 8,
        "mode": "query",
    } | values
    file = tmp_path / "script.py"
    file.write_text(SCRIPT.format(**values))
    return file


def test_without_a_launcher_there_is_one_process(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    assert (distributed.count(), distributed.leads()) == (1, True)
    distributed.dismiss()
    assert list(distributed.jobs()) == []


def test_a_batch_that_cannot_be_shared_is_refused(monkeypatch, tmp_path, plain):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert distributed.leads()
    with pytest.raises(TrainingError, match="8 questions cannot be shared evenly by 3"):
        trainer.tune(models.resolve(plain), data(plain), section(), tmp_path / "tuned")


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [{}, {"candidates": True}, {"mode": "full"}, {"every_step": True}],
    ids=["query", "candidates", "full", "saved"],
)
def test_two_processes_have_the_losses_and_weights_of_one(tmp_path, plain, changes):
    given = data(plain, candidates=changes.get("candidates", False))
    expected = trainer.tune(models.resolve(plain), given, section(mode=changes.get("mode", "query")), tmp_path / "one")
    launched(tmp_path, [script(tmp_path, model=plain, folder=str(tmp_path / "two"), **changes)])
    losses = json.loads((tmp_path / "two.json").read_text())
    assert len(losses) == 8
    np.testing.assert_allclose(losses[:2], expected[:2], atol=EXACT)
    np.testing.assert_allclose(losses, expected, atol=TOLERANCE)
    # Adam steps as far for a gradient of rounding errors as for any other; eight steps of 1e-3 move 8e-3 at most.
    first, second = (load_model(models.resolve(str(tmp_path / name))).state_dict() for name in ("one", "two"))
    for name in first:
        np.testing.assert_allclose(second[name], first[name], atol=1e-3)


@pytest.mark.slow
def test_accelerate_launches_them_too(tmp_path, plain):
    expected = trainer.tune(models.resolve(plain), data(plain), section(), tmp_path / "one")
    file = script(tmp_path, model=plain, folder=str(tmp_path / "two"))
    options = ["launch", "--cpu", "--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no"]
    options += ["--dynamo_backend", "no", "--main_process_port", "0"]
    launched(tmp_path, [file], launcher=("accelerate.commands.accelerate_cli", *options))
    np.testing.assert_allclose(json.loads((tmp_path / "two.json").read_text()), expected, atol=TOLERANCE)
