"""The how-to pages of plug-ins, executed: a one-file expert and a one-file generator, found by entry points."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from expertune.config import Config, PluginSpec, from_mapping
from expertune.models import registry
from expertune.models.plugins import Expert, Generator, Request
from expertune.records import Dataset, Document, Question, Questions
from expertune.score.stage import load_experts, score

PAGES = Path(__file__).parents[1] / "docs" / "how-to"
GUIDE = "\n".join((PAGES / name).read_text(encoding="utf-8") for name in ("own-expert.md", "own-generator.md"))


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.M | re.S)


def entry_points() -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for block in blocks("toml"):
        found |= tomllib.loads(block).get("project", {}).get("entry-points", {})
    return found


def example_config() -> Config:
    sections = [tomllib.loads(block) for block in blocks("toml")]
    return from_mapping({name: table for block in sections for name, table in block.items() if name != "project"})


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install the guide's modules the way a third party's package would be: files and entry points, no more."""
    lines = []
    code = {re.search(r"^class (\w+)", block, re.M)[1]: block for block in blocks("python")}
    for group, names in entry_points().items():
        for name, target in names.items():
            module = f"guide_{name}"
            cls = target.partition(":")[2]
            (tmp_path / f"{module}.py").write_text(code[cls], encoding="utf-8")
            lines += [f"[{group}]", f"{name} = {module}:{cls}"]
    info = tmp_path / "guide-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: guide\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    for module in [name for name in sys.modules if name.startswith("guide_")]:
        del sys.modules[module]


def test_the_guide_shows_one_expert_and_one_generator():
    assert {group: len(names) for group, names in entry_points().items()} == {
        "expertune.experts": 1,
        "expertune.generators": 1,
    }
    assert len(blocks("python")) == 2


def test_the_examples_stay_small():
    assert all(len([line for line in block.splitlines() if line.strip()]) <= 30 for block in blocks("python"))


def spec(section: tuple[PluginSpec, ...], group: str) -> PluginSpec:
    """Return the guide's own plug-in among those its config names."""
    (name,) = entry_points()[group]
    (found,) = [item for item in section if item.use == name]
    return found


@pytest.mark.usefixtures("installed")
def test_the_expert_scores_through_the_real_stage():
    (expert,) = load_experts([spec(example_config().score.experts, "expertune.experts")], offline=True)
    assert isinstance(expert, Expert)
    documents = (Document("d1", "We refund within seven days"), Document("d2", "Parcels ship on Monday"))
    questions = (Question("refund within what time", ("d1",)), Question("an", ("d2",)))
    scores = score(Dataset("tiny", documents, questions), Questions(questions), [expert])
    # Words of at least four letters, as the guide's config asks: "refund" and "within" of refund, within, what, time.
    np.testing.assert_allclose(scores.values[:, :, 0], [[0.5, 0.0], [0.0, 0.0]])


@pytest.mark.usefixtures("installed")
def test_an_option_changes_score_and_fingerprint():
    overlap = registry.factory("experts", "overlap")
    loose, strict = overlap(None, shortest=1), overlap(None, shortest=4)
    assert loose.fingerprint != strict.fingerprint
    assert loose.score(["is it new"], ["it is old"])[0, 0] == pytest.approx(2 / 3)
    assert strict.score(["is it new"], ["it is old"])[0, 0] == 0.0


@pytest.mark.usefixtures("installed")
def test_the_generator_answers_every_request_in_order():
    wanted = spec(example_config().augment.generators, "expertune.generators")
    generator = registry.factory("generators", wanted.use)(None, **wanted.options)
    assert isinstance(generator, Generator)
    requests = [
        Request(document="Returns are free for thirty days after delivery.", question="", kind="question"),
        Request(document="", question="", kind="question"),
    ]
    assert generator.generate(requests, seed=0) == ["What about returns are free for thirty days?", ""]
