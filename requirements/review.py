"""Review the pinned dependencies without a connection: nothing unasked for, nothing missing, no licence that binds us.

python requirements/review.py
python requirements/review.py --write    # run.txt anew from lock.txt: `make lock` does

What is installed is read, so it wants the environment of `make setup`. Known vulnerabilities need a database, and so a
connection: that is `make audit`.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HERE = Path(__file__).parent
EXTRAS = ("lora", "mteb", "ray", "servers")
"""The extras that `make lock` pins."""

PERMISSIVE = re.compile(
    r"Apache|MIT|BSD|ISC|PSF|Python Software Foundation|MPL|Mozilla Public License|Zlib|CC0|CNRI|BSL", re.IGNORECASE
)
RUN_HEAD = """# What a run needs of lock.txt: no extra, no test, no check. Written by requirements/review.py --write.

"""
TO_BUILD = ("hatchling", "editables")
"""What `make demo` installs beside what a run asks for: they make the editable install."""

FOR_TESTS_ONLY = {"krippendorff"}
"""Copyleft: an oracle in the tests, which nothing that is installed with expertune may ask for."""


def pins(*names: str) -> dict[str, str]:
    """Return canonical name -> version of requirement files."""
    found: dict[str, str] = {}
    for name in names:
        text = (HERE / name).read_text(encoding="utf-8")
        found |= {canonicalize_name(p): v for p, v in re.findall(r"^([\w.-]+)==([^\s\\;]+)", text, re.M)}
    return found


def wanted(project: dict[str, dict[str, list[str]]]) -> tuple[list[str], list[str]]:
    """Return what is asked for by those who use expertune, and by those who develop it."""
    optional = project["project"]["optional-dependencies"]
    users = [*project["project"]["dependencies"], *(line for extra in EXTRAS for line in optional[extra])]
    return users, project["dependency-groups"]["dev"]


def reached(lines: Iterable[str], problems: list[str], pinned: dict[str, str]) -> set[str]:
    """Follow requirements through what is installed, and note what is not pinned or pinned to what does not fit."""
    seen: set[tuple[str, str]] = set()
    left = [(Requirement(line), "pyproject.toml", "") for line in lines]
    while left:
        requirement, asker, extra = left.pop()
        name = canonicalize_name(requirement.name)
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        if name not in pinned:
            problems.append(f"{asker} asks for {requirement}, which is not pinned")
            continue
        if not requirement.specifier.contains(pinned[name], prereleases=True):
            problems.append(f"{asker} asks for {requirement}, pinned is {pinned[name]}")
        for wish in (*requirement.extras, ""):
            if (name, wish) not in seen:
                seen.add((name, wish))
                left += [(Requirement(line), name, wish) for line in metadata.requires(name) or ()]
    return {name for name, _ in seen}


def needed_to_run(project: dict[str, dict[str, list[str]]]) -> str:
    """Return the part of lock.txt that a run needs: the text of run.txt."""
    users = [*project["project"]["dependencies"], *TO_BUILD]
    names = reached(users, [], pins("lock.txt", "torch.txt"))
    blocks = re.split(r"^(?=[A-Za-z0-9])", (HERE / "lock.txt").read_text(encoding="utf-8"), flags=re.M)[1:]
    kept = [block for block in blocks if canonicalize_name(block.partition("==")[0]) in names]
    return RUN_HEAD + "".join(kept)


def licence(name: str) -> str:
    """Return what a package says of its licence, or ""."""
    told = metadata.metadata(name)
    classifiers = [line.rpartition(" :: ")[2] for line in told.get_all("Classifier", []) if "License ::" in line]
    plain = (told.get("License") or "").partition("\n")[0]
    return told.get("License-Expression") or " / ".join(classifiers) or plain


def review() -> Iterator[str]:
    """Yield every problem as a sentence."""
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))
    locked, pinned = pins("lock.txt"), pins("lock.txt", "torch.txt")
    absent = [name for name in pinned if not _installed(name)]
    if absent:
        yield f"not installed, so not looked at: {', '.join(absent)}"
        return
    if (HERE / "run.txt").read_text(encoding="utf-8") != needed_to_run(project):
        yield "run.txt is not what lock.txt and pyproject.toml say: python requirements/review.py --write"
    problems: list[str] = []
    users, developers = wanted(project)
    runtime = reached(users, problems, pinned)
    everything = runtime | reached(developers, problems, pinned)
    yield from sorted(set(problems))
    for name in sorted(set(locked) - everything):
        yield f"{name} is pinned, but nothing asks for it"
    for name in sorted(everything):
        said = licence(name)
        free = bool(PERMISSIVE.search(said)) and ("GPL" not in said or " OR " in said)
        if not free and (name in runtime or name not in FOR_TESTS_ONLY):
            yield f"{name} has the licence {said or '(none)'}, which is not on the list of permissive ones"


def _installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def main() -> None:
    """Print what is found; exit 1 if it is anything."""
    if sys.argv[1:] == ["--write"]:
        project = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))
        (HERE / "run.txt").write_text(needed_to_run(project), encoding="utf-8")
    found = list(review())
    print(*found, sep="\n") if found else print(
        f"{len(pins('lock.txt', 'torch.txt'))} pinned packages reviewed: all fit"
    )
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
