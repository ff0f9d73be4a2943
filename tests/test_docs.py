"""The documentation site: it builds without a warning, and what stands on its pages runs."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from typer.testing import CliRunner

from conftest import write_tiny_model
from expertune import models
from expertune.commands import cli
from expertune.config import from_mapping

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if path.name not in ("design.md", "security.md"))
"""Pages of code; the others only tell, and their own tests look at them."""
BY_HAND = (
    "make ",
    "pip ",
    "PIP_",
    "expertune push",
    "expertune judge",
    "torchrun ",
    "accelerate ",
    "ray ",
    "python bench/",
)
"""Lines of shell that no test here runs: they install things, need an account or serve until they are stopped."""

GOES_ON = ("deploy.md", "ecosystem.md", "new-answers.md")
"""Pages that go on where the tutorial ends."""

WHOLE_RUNS = ("tutorial.md", *GOES_ON)


def page_id(path: Path) -> str:
    return str(path.relative_to(DOCS))


def blocks(page: Path, *languages: str) -> list[tuple[str, str]]:
    """Return (language, code) of every fenced block in these languages, in order."""
    found = re.findall(r"^```(\w+)\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)
    return [(language, code) for language, code in found if language in languages]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a folder as the pages mean it: the shop, some data of one's own, and a model of one's own."""
    shutil.copytree(ROOT / "examples" / "shop", tmp_path / "examples" / "shop")
    write_tiny_model(tmp_path / "made")
    (tmp_path / "models").mkdir()
    (tmp_path / "made" / "model").rename(tmp_path / "models" / "my-base")
    (tmp_path / "my-faq").mkdir()
    things = ["parcel", "refund", "colour", "password", "invoice", "voucher", "warranty", "battery", "charger", "card"]
    rows = [{"question": f"what about my {thing}", "answer": f"Your {thing} is dealt with by us."} for thing in things]
    (tmp_path / "my-faq" / "qa.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (tmp_path / "new-answers.csv").write_text("answer\nGift cards are valid for three years.\n", encoding="utf-8")
    before = dict(os.environ)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(models, "present", lambda layout: False)  # a page must not wait for packaged models
    yield tmp_path
    os.environ.clear()
    os.environ.update(before)


QUICK = {
    "augment.generators": '["template"]',
    "augment.per_answer": "1",
    "score.experts": '["bm25", "ngrams"]',
    "train.base": '"models/my-base"',
    "train.steps": "2",
    "train.batch_size": "8",
}
"""Laid over the pages' own settings, so that a test takes seconds."""


def run_line(line: str) -> None:
    """Run one line of shell as the page has it, with tiny models where it would take minutes."""
    program, command, *rest = shlex.split(line, comments=True)
    assert program == "expertune", line
    if command in ("run", "check", "compare", "panel"):
        rest += [part for key, value in QUICK.items() for part in ("--set", f"{key}={value}")]
    result = CliRunner().invoke(cli.app, [command, *rest], catch_exceptions=False)
    assert result.exit_code == 0, f"{line}\n{result.output}"


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=[pytest.mark.slow] if page.name in WHOLE_RUNS else [], id=page_id(page))
        for page in PAGES
        if blocks(page, "sh", "python")
    ],
)
def test_what_stands_on_a_page_runs(page: Path, place: Path, capsys: pytest.CaptureFixture[str]):
    if page.name in GOES_ON:
        run_line("expertune run --data examples/shop --out runs/shop")
    names: dict[str, object] = {}
    for language, code in blocks(page, "sh", "python"):
        if language == "python":
            exec(compile(code, page.name, "exec"), names)
            continue
        for line in code.splitlines():
            if line.strip() and not line.startswith(BY_HAND):
                run_line(line)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "toml")], ids=page_id)
def test_settings_on_a_page_are_valid(page: Path):
    for _, code in blocks(page, "toml"):
        tables = tomllib.loads(code)
        if "project" not in tables:  # a plug-in's pyproject.toml
            from_mapping(tables)


def test_rows_on_a_page_are_read(tmp_path: Path):
    from expertune import data
    from expertune.config import DataSection

    ((_, rows),) = blocks(DOCS / "how-to" / "own-data.md", "json")
    (tmp_path / "qa.jsonl").write_text(rows, encoding="utf-8")
    section = DataSection(path=str(tmp_path))
    assert len(data.Files(section).held_out.wording) == 1


def script(name: str) -> ModuleType:
    """Load a script of docs/ that writes a page."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def test_the_reference_is_what_the_docstrings_say():
    import expertune

    written = (DOCS / "reference.md").read_text(encoding="utf-8")
    assert written == script("_reference").page(), "write it again with: python docs/_reference.py"
    assert all(f"# `{name}`" in written for name in expertune.__all__ if name != "__version__")


def test_the_page_of_the_config_is_what_its_fields_say():
    from expertune.config import GONE, known_keys

    generator = script("_config")
    written = (DOCS / "config.md").read_text(encoding="utf-8")
    assert written == generator.page(), "write it again with: python docs/_config.py"
    assert all(f"| `{key}` |" in written for key in known_keys())
    # An effect is of a key that there is, or that an earlier one became.
    told = {*known_keys(), *" ".join(GONE.values()).split()}
    assert {*generator.MEASURED, *generator.NOTED} <= told


def test_pages_read_the_same_on_a_code_host():
    directive = re.compile(r"^(:::|--8<--|!!!|\?\?\?)", re.M)
    assert [page_id(path) for path in DOCS.rglob("*.md") if directive.search(path.read_text(encoding="utf-8"))] == []


def test_every_page_has_a_place_in_the_navigation():
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert set(re.findall(r"([\w/-]+\.md)$", text, re.M)) == {page_id(path) for path in DOCS.rglob("*.md")}


def test_the_site_builds_without_a_warning(tmp_path: Path):
    pytest.importorskip("material", reason="mkdocs-material is not installed (the group docs)")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
