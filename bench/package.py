"""Does what is shipped work? Wheel, sdist and Dockerfile in an environment that has nothing else.

    python bench/package.py                 # all three; build/package takes about 4 GB
    python bench/package.py image           # the RUN lines of the Dockerfile, where docker is absent
    TORCH_INDEX= python bench/package.py    # torch from wherever pip looks anyway

Each way ends with a run on a table of questions and answers, with the packaged models, and with what the README shows
after a run. The environment, build/package/venv, is made where it is missing: remove it to begin with nothing.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
SHOP = ROOT / "examples" / "shop"
WORK = ROOT / "build" / "package"
VENV = WORK / "venv"
WAYS = ("wheel", "sdist", "image")
QUESTION = "can i send it back"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ways", nargs="*", metavar="WAY", help=f"{', '.join(WAYS)}; default: all")
    ways = parser.parse_args().ways or WAYS
    if not set(ways) <= set(WAYS):
        parser.error(f"the ways are {', '.join(WAYS)}")
    WORK.mkdir(parents=True, exist_ok=True)
    if not VENV.exists():
        _do(sys.executable, "-m", "venv", str(VENV))
    write_table(WORK / "shop.csv")
    for way in ways:
        print(f"== {way}", flush=True)
        install(way)
        use(WORK / f"run-{way}")
    print(f"{len(ways)} passed, 0 failed")


def install(way: str) -> None:
    """Install expertune as a user of a wheel, of an sdist or of the Dockerfile would."""
    if way == "image":
        stage = WORK / "image"
        shutil.rmtree(stage, ignore_errors=True)
        for line in run_lines((ROOT / "Dockerfile").read_text(encoding="utf-8"), stage):
            _do("sh", "-e", "-c", line, cwd=stage, **_arguments())
        return
    shutil.rmtree(WORK / "dist", ignore_errors=True)
    _do(sys.executable, "-m", "hatchling", "build", "-t", way, "-d", str(WORK / "dist"), cwd=ROOT)
    (built,) = (WORK / "dist").iterdir()
    index = _arguments()["TORCH_INDEX"]
    torch = ["--index-url", index] if index else []
    _do("pip", "install", "--quiet", *torch, "-r", str(ROOT / "requirements" / "torch.txt"))
    _do("pip", "uninstall", "--quiet", "--yes", "expertune")
    _do("pip", "install", "--quiet", str(built))
    _do("expertune", "models", "install")


def use(out: Path) -> None:
    """Do what the README shows, on a table, and look at what came out."""
    shutil.rmtree(out, ignore_errors=True)
    table, store = str(WORK / "shop.csv"), str(WORK / "store")
    _do("expertune", "check", "--data", table)
    quick = ("--set", "run.threads=1", "--set", "train.steps=10")  # it shall work, not gain
    _do("expertune", "run", "--data", table, "--out", str(out), "--store", store, *quick)
    _do("expertune", "export", str(out), "--to", "index", "--out", str(out / "index"))
    code = f"""
from sentence_transformers import SentenceTransformer
model = SentenceTransformer({str(out / "model")!r})
print(model.similarity(model.encode_query({QUESTION!r}), model.encode_document(["Unused items may be returned."])))
"""
    _do("python", "-c", code)
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    print(results["verdict"]["headline"])


def run_lines(dockerfile: str, stage: Path) -> Iterator[str]:
    """Yield the RUN lines of a Dockerfile; each COPY before them is done, into a folder that stands for WORKDIR."""
    for line in re.sub(r"\\\n\s*", "", dockerfile).splitlines():
        word, _, rest = line.partition(" ")
        if word == "COPY":
            *sources, target = rest.split()
            for source in sources:
                into = stage / target / ("" if (ROOT / source).is_dir() else Path(source).name)
                into.parent.mkdir(parents=True, exist_ok=True)
                (shutil.copytree if (ROOT / source).is_dir() else shutil.copy)(ROOT / source, into)
        elif word == "RUN":
            yield rest


def write_table(file: Path) -> None:
    """Write the shop as people have it: one table, with the questions of users held out."""
    answers = {row["_id"]: row["text"] for row in _lines("corpus.jsonl")}
    asked = {row["_id"]: row["text"] for row in _lines("queries.jsonl")}
    rows = [(row["question"], row["answer"], "train") for row in _lines("qa.jsonl") if row["split"] == "train"]
    for judged in sorted((SHOP / "qrels").glob("*.tsv")):
        with judged.open(encoding="utf-8", newline="") as lines:
            _, *pairs = csv.reader(lines, delimiter="\t")
        rows += [(asked[query], answers[answer], "heldout") for query, answer, _ in pairs]
    with file.open("w", encoding="utf-8", newline="") as text:
        csv.writer(text).writerows([("question", "answer", "split"), *rows])


def _lines(name: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in (SHOP / name).read_text(encoding="utf-8").splitlines()]


def _arguments() -> dict[str, str]:
    """Return the build arguments of the Dockerfile, as the environment sets them."""
    lines = re.findall(r"^ARG (\w+)=(.*)$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.M)
    return {name: os.environ.get(name, value) for name, value in lines}


def _do(*command: str, cwd: Path = WORK, **settings: str) -> None:
    path = f"{VENV / 'bin'}{os.pathsep}{os.environ['PATH']}"
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    subprocess.run(command, cwd=cwd, check=True, env={**clean, **settings, "PATH": path})


if __name__ == "__main__":
    main()
