"""How time and peak memory of each stage grow with documents, questions and experts, and over Ray from 1 to 2 workers.

    python bench/scale.py                                  # synthetic texts, about 12 minutes on two cores
    python bench/scale.py --data NPL                       # a BEIR folder whose corpus is tiled to each size
    python bench/scale.py --only memory                    # 100,000 documents x 20,000 questions x 8 experts
    python bench/scale.py --most-documents 1000 --most-questions 1000 --most-experts 2   # a quick look

Writes bench/results/scale.json. Every point is a process of its own. The time of embedding models is not the question
here, so the panel is cheap: vectors by random projection of words stand for embedding models, beside the project's own
BM25, static vectors (where that model is installed), latent and character n-gram experts. The tuned base is real.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from expertune.models.plugins import EmbeddingExpert

RESULTS = Path(__file__).parent / "results" / "scale.json"
DOCUMENTS = (100, 1_000, 10_000, 100_000)
QUESTIONS = (100, 1_000, 10_000, 50_000)
EXPERTS = (1, 2, 4, 8, 16)
USUAL = {"documents": 1_000, "questions": 1_000, "experts": 4}
LARGE = {"documents": 100_000, "questions": 20_000, "experts": 8, "stages": ["score", "label", "train", "evaluate"]}
STEPS = 10
# The whole ranking of one query is exact and independent of the others: more of them only take longer.
MOST_QUERIES = 1_000
DIMENSION = 384
NOTE = (
    "stand-in = unit vectors of 384 dimensions by random projection of hashed words: the cost of a cosine expert "
    "without that of a model; train = 10 steps of 64 questions, with stand-in document vectors"
)


class StandIn(EmbeddingExpert):
    """An embedding expert without a model: every word has a random direction."""

    symmetric = True

    def __init__(self, seed: int) -> None:
        from sklearn.feature_extraction.text import HashingVectorizer

        self.name = f"stand-in-{seed}"
        self.fingerprint = f"stand-in {seed}"
        self._words = HashingVectorizer(n_features=2**15, alternate_sign=False)
        self._directions = np.random.default_rng(seed).standard_normal((2**15, DIMENSION)).astype(np.float32)

    def embed(self, texts: Sequence[str], *, is_query: bool) -> np.ndarray:  # noqa: ARG002
        """Return unit vectors `[len(texts), 384]`."""
        from expertune.models.embed import unit_rows

        return unit_rows(np.asarray(self._words.transform(texts) @ self._directions, dtype=np.float32))

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        """Return unit vectors."""
        return self.embed(texts, is_query=True)

    def encode_documents(self, texts: Sequence[str]) -> np.ndarray:
        """Return unit vectors."""
        return self.embed(texts, is_query=False)


def panel(count: int) -> list[Any]:
    from expertune import models
    from expertune.config import PluginSpec
    from expertune.score.stage import load_experts

    static = [PluginSpec(model="wordllama-256")] if models.installed(models.find("wordllama-256")) else []
    specs = [PluginSpec(use="bm25"), *static, PluginSpec(use="latent"), PluginSpec(use="ngrams")]
    others = list(load_experts(specs, offline=True))
    return [others.pop(0) if number % 2 and others else StandIn(number) for number in range(count)]


# --- texts -----------------------------------------------------------------------------------------------------------


def texts(count: int, source: str) -> list[str]:
    """Return distinct documents: of a BEIR folder, repeated with another ending each time, or made of random words."""
    if source:
        lines = (Path(source) / "corpus.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        own = [f"{row.get('title', '')} {row['text']}".strip() for row in rows]
        return [own[n % len(own)] + (f" edition {n // len(own)}" if n >= len(own) else "") for n in range(count)]
    generator = np.random.default_rng(0)
    syllables = [first + second for first in "bdfgklmnprst" for second in "aeiou"]
    words = ["".join(generator.choice(syllables, generator.integers(2, 5))) for _ in range(20_000)]
    # Zipf's law, as in real texts: a few words are everywhere, most are rare.
    shares = 1.0 / np.arange(1, len(words) + 1)
    drawn = generator.choice(len(words), size=(count, 25), p=shares / shares.sum())
    return [" ".join(words[word] for word in row) + f" {number}" for number, row in enumerate(drawn)]


def job(documents: int, questions: int, source: str) -> tuple[Any, Any]:
    """Return a dataset and training questions: words of the document each leads to; 200 are the user's."""
    from expertune.records import Dataset, Document, Provenance, Question, Questions

    corpus = tuple(Document(f"d{n}", text) for n, text in enumerate(texts(documents, source)))
    generator = np.random.default_rng(1)
    items = []
    for number in range(questions):
        document = corpus[int(generator.integers(documents))]
        words = document.text.split()
        some = generator.choice(len(words), size=min(6, len(words)), replace=False)
        origin = () if number < 200 else (Provenance.SYNTHETIC, "stand-in", "short")
        items.append(Question(" ".join(words[index] for index in sorted(some)), (document.id,), *origin))
    own = tuple(item for item in items if item.labelled)
    return Dataset("scale", corpus, own), Questions(tuple(items))


# --- one point, in a process of its own ------------------------------------------------------------------------------


@contextmanager
def watched(stage: str, found: dict[str, Any]) -> Iterator[None]:
    """Keep a stage's seconds and the most memory that the process held while it ran."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins anew
    start = time.perf_counter()
    yield
    seconds = time.perf_counter() - start
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
    found[stage] = {"seconds": round(seconds, 3), "peak_megabytes": round(peak)}


def measure_point(given: dict[str, Any]) -> dict[str, Any]:
    from expertune.config import LabelSection
    from expertune.label.stage import label
    from expertune.score.stage import score

    found: dict[str, Any] = {}
    wanted = given.get("stages") or ["augment", "score", "label", "train", "evaluate"]
    with watched("texts", found):
        dataset, questions = job(given["documents"], given["questions"], given["data"])
    if "augment" in wanted:
        with watched("augment", found):
            augmented(dataset, given["questions"])
    experts = panel(given["experts"])
    with tempfile.TemporaryDirectory() as folder:
        from expertune.pipeline.store import Store

        cache = Store(Path(folder)).items
        with watched("score", found):
            scores = score(dataset, questions, experts, cache=cache)
    seconds = {name: round(value, 3) for name, value in zip(scores.experts, scores.seconds, strict=True)}
    found["score"]["experts"] = seconds
    found["score"]["values"] = list(scores.values.shape)
    with watched("label", found):
        labels = label(dataset, questions, scores, LabelSection())
    del scores
    if "train" in wanted:
        train_some(dataset, questions, labels, found)
    if "evaluate" in wanted:
        with watched("evaluate", found):
            evaluated(dataset, questions)
    found["peak_megabytes"] = max(row["peak_megabytes"] for row in found.values())
    return found


def augmented(dataset: Any, questions: int) -> None:
    from expertune.augment import plan
    from expertune.augment.stage import augment, load_generators
    from expertune.config import AugmentSection

    plan.MOST = questions  # as many as the point has, however large its corpus
    section = AugmentSection(generators=["template"], per_answer=questions)
    augment(dataset, section, load_generators(section.generators, offline=True))


def train_some(dataset: Any, questions: Any, labels: Any, found: dict[str, Any]) -> None:
    """Tune the default base, where it is installed, for a few steps."""
    from expertune import models
    from expertune.config import TrainSection
    from expertune.train import trainer

    base = TrainSection().base
    if not models.installed(models.find(base)):
        found["train"] = {"seconds": None, "peak_megabytes": 0, "why": f"{base} is not installed"}
        return
    data = trainer.TrainingData(
        questions=[item.text for item in questions.items],
        documents=[item.text for item in dataset.documents],
        targets=np.asarray(labels.targets),
        active=np.asarray(labels.active),
        document_vectors=StandIn(0).embed([item.text for item in dataset.documents], is_query=False),
        reference=(),
        reference_vectors=np.zeros((0, 1), np.float32),
        columns=labels.columns,
    )
    with tempfile.TemporaryDirectory() as folder, watched("train", found):
        trainer.tune(models.resolve(base), data, TrainSection(steps=STEPS), Path(folder) / "tuned")


def evaluated(dataset: Any, questions: Any) -> None:
    from expertune.evaluate.stage import measure
    from expertune.records import JudgedSet, Query, Role

    items = questions.items[:MOST_QUERIES]
    queries = tuple(Query(f"q{n}", item.text) for n, item in enumerate(items))
    qrels = {f"q{n}": dict.fromkeys(item.document_ids, 1) for n, item in enumerate(items)}
    encoder: Any = StandIn(0)
    measure(encoder, JudgedSet("scale", "test", Role.DOMAIN, dataset.documents, queries, qrels), "stand-in")


# --- Ray -------------------------------------------------------------------------------------------------------------


def measure_workers(given: dict[str, Any]) -> dict[str, Any]:
    """Embed with a real model over Ray; the first calls, which start processes and load the model, are not counted."""
    from expertune.config import ClusterSection, PluginSpec
    from expertune.models import ray
    from expertune.models.embed import embed_texts
    from expertune.score.stage import load_experts

    spec = PluginSpec(model=given["model"])
    (expert,) = load_experts([spec], offline=True)
    own = texts(given["texts"], given["data"])
    import ray as cluster

    cluster.init(address="local", num_cpus=given["workers"], include_dashboard=False, log_to_driver=False)
    section = ClusterSection(address=ray.HERE)
    with ray.spread([expert], [functools.partial(worker, spec)], section, threads=1) as (remote,):
        list(remote.each("embed", [["warm"]] * 4 * given["workers"], is_query=False))
        start = time.perf_counter()
        vectors = embed_texts(remote, own, is_query=False)
        seconds = time.perf_counter() - start
    digest = hashlib.sha256(vectors.tobytes()).hexdigest()
    return {"seconds": round(seconds, 3), "texts_per_second": round(len(own) / seconds, 1), "sha256": digest}


def worker(spec: Any) -> Any:
    import torch

    from expertune.score.stage import load_experts

    torch.set_num_threads(1)
    return load_experts([spec], offline=True)[0]


# --- all points ------------------------------------------------------------------------------------------------------


def machine() -> dict[str, Any]:
    """Describe what the figures were measured on."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    about = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines) if value}
    flags = sorted(flag for flag in about.get("flags", "").split() if flag.startswith(("avx", "amx", "fma", "f16c")))
    packages = ("numpy", "scipy", "scikit-learn", "torch", "transformers", "sentence-transformers", "bm25s", "ray")
    versions = {}
    for package in packages:
        try:
            versions[package] = version(package)
        except ImportError:
            versions[package] = "absent"
    return {
        "processor": about.get("model name", platform.processor()),
        "cores": os.cpu_count(),
        "flags": flags,
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
        "niceness": os.nice(0),
        "python": platform.python_version(),
        "versions": versions,
    }


def in_a_process(function: Callable[[dict[str, Any]], dict[str, Any]], given: dict[str, Any]) -> dict[str, Any]:
    """Measure one point in a fresh process and return its figures with the load before it."""
    load = os.getloadavg()[0]
    command = [sys.executable, __file__, "--point", function.__name__, json.dumps(given)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{given} failed:\n{done.stderr[-3000:]}")
    row = {**{key: value for key, value in given.items() if key != "data"}, "load": round(load, 1)}
    row.update(json.loads(done.stdout.splitlines()[-1]))
    return row


def exponent(sizes: Sequence[int], values: Sequence[float]) -> float | None:
    """Return the slope of log(value) over log(size): 1 is proportional; None with fewer than two usable points."""
    points = [(size, value) for size, value in zip(sizes, values, strict=True) if value and value > 0]
    if len(points) < 2:
        return None
    x, y = np.log(np.array(points, dtype=float).T)
    return round(float(np.polyfit(x, y, 1)[0]), 2)


def sweep(axis: str, sizes: Sequence[int], given: argparse.Namespace) -> dict[str, Any]:
    """Measure the sizes along one axis, the others as usual, and fit the upper half of the sizes."""
    rows = []
    for size in sizes:
        rows.append(in_a_process(measure_point, {**USUAL, axis: size, "data": given.data}))
        show(axis, rows[-1])
    fitted = {}
    for stage in ("augment", "score", "label", "train", "evaluate"):
        upper = rows[-2:] if len(rows) < 4 else rows[len(rows) // 2 - 1 :]
        seconds = [row[stage]["seconds"] for row in upper]
        fitted[stage] = exponent([row[axis] for row in upper], seconds)
    print(f"{'exponents':>12} " + "  ".join(f"{stage} {value}" for stage, value in fitted.items()), flush=True)
    return {"points": rows, "exponents": fitted}


def show(axis: str, row: dict[str, Any]) -> None:
    stages = ("augment", "score", "label", "train", "evaluate")
    cells = [f"{stage} {row[stage]['seconds']} s {row[stage]['peak_megabytes']} MB" for stage in stages if stage in row]
    print(f"{axis:>9} {row[axis]:>7,}: " + " | ".join(cells), flush=True)


def workers(given: argparse.Namespace) -> dict[str, Any]:
    from expertune import models

    model = "all-minilm-l6-v2"
    if importlib.util.find_spec("ray") is None or not models.installed(models.find(model)):
        return {"why": f"ray or {model} is not installed"}
    rows = []
    # In turn, so that a change of load meets both.
    for repeat in range(given.repeats):
        for count in (1, 2):
            wanted = {"workers": count, "texts": given.ray_texts, "model": model, "data": given.data}
            rows.append({"repeat": repeat, **in_a_process(measure_workers, wanted)})
            print(f"  workers {count}: {rows[-1]['texts_per_second']} texts/s", flush=True)
    rates = {count: [row["texts_per_second"] for row in rows if row["workers"] == count] for count in (1, 2)}
    return {
        "points": rows,
        "scaling_1_to_2": round(float(np.median(rates[2]) / np.median(rates[1])), 2),
        "same_bytes": len({row["sha256"] for row in rows}) == 1,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="", help="a BEIR folder whose corpus is tiled; default: synthetic texts")
    parser.add_argument("--only", choices=("documents", "questions", "experts", "memory", "ray"), action="append")
    parser.add_argument("--most-documents", type=int, default=DOCUMENTS[-1])
    parser.add_argument("--most-questions", type=int, default=QUESTIONS[-1])
    parser.add_argument("--most-experts", type=int, default=EXPERTS[-1])
    parser.add_argument("--memory", action="store_true", help="also the large point, which takes the longest")
    parser.add_argument("--ray-texts", type=int, default=2_000)
    parser.add_argument("--repeats", type=int, default=3, help="of the Ray points")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--point", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.point:
        name, values = given.point
        print(
            json.dumps({"measure_point": measure_point, "measure_workers": measure_workers}[name](json.loads(values)))
        )
        return
    given.data = str(Path(given.data).resolve()) if given.data else ""
    parts = given.only or ["documents", "questions", "experts", "ray", *(["memory"] if given.memory else [])]
    limits = {"documents": given.most_documents, "questions": given.most_questions, "experts": given.most_experts}
    sizes = {"documents": DOCUMENTS, "questions": QUESTIONS, "experts": EXPERTS}
    results: dict[str, Any] = json.loads(given.out.read_text(encoding="utf-8")) if given.out.exists() else {}
    source = Path(given.data).name or "synthetic"
    results.update({"machine": machine(), "usual": USUAL, "note": NOTE})
    for part in parts:
        print(f"{part} ({source})", flush=True)
        if part == "memory":
            found = in_a_process(measure_point, {**LARGE, "data": given.data})
            show("documents", found)
        elif part == "ray":
            found = workers(given)
        else:
            found = sweep(part, [size for size in sizes[part] if size <= limits[part]], given)
        results.setdefault(source, {})[part] = found
        given.out.parent.mkdir(exist_ok=True)
        given.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
