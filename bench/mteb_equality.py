"""Measure the base with expertune and with mteb itself, and show how far the figures are apart.

    python bench/mteb_equality.py scifact cranfield stackfaq --data-root DATA

Prints one row a set and split and writes bench/results/mteb-equality.json. Embeddings are kept, so a second call is
quick. Ends with code 1 where a difference is above 1e-6.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import sets
from expertune import data
from expertune.config import DataSection
from expertune.evaluate import benchmarks
from expertune.evaluate.stage import measure
from expertune.models.encoder import CachedEncoder, sentence_encoder
from expertune.pipeline.store import SqliteItems
from expertune.records import JudgedSet, Role

HERE = Path(__file__).parent
ROOT = HERE.parent
ALLOWED = 1e-6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", default=["scifact", "cranfield", "stackfaq"])
    parser.add_argument("--base", default="all-minilm-l6-v2")
    parser.add_argument("--data-root", type=Path, default=sets.DATA)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "mteb-equality.json")
    given = parser.parse_args()
    kept = ROOT / "runs" / "mteb-equality"
    kept.mkdir(parents=True, exist_ok=True)
    expert = sentence_encoder(given.base)
    base = CachedEncoder("base", expert, cache=SqliteItems(kept / "items.sqlite"))
    rows = [row for name in given.sets for row in compared(base, sets.folder(name, given.data_root))]
    print(f"{'set':28}{'queries':>8}{'ties':>6}{'nDCG@10':>12}{'mAP@10':>12}{'furthest from mteb':>22}")
    for row in rows:
        figures = f"{row['ndcg@10']:>12.6f}{row['map@10']:>12.6f}{row['furthest']:>22.1e}"
        print(f"{row['set']:28}{row['queries']:>8}{row['ties']:>6}{figures}")
    found = {"base": given.base, "mteb": version("mteb"), "allowed": ALLOWED, "sets": rows}
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    sys.exit(int(any(row["furthest"] > ALLOWED for row in rows)))


def compared(base: CachedEncoder, folder: Path) -> list[dict[str, float | int | str]]:
    """Return one row for each judged split of a BEIR folder."""
    (task,) = benchmarks.find([str(folder)], offline=True)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        benchmarks.run(task, base, Path(scratch), name="base", fingerprint="base")
        theirs = {score.split: score for score in benchmarks.scores(Path(scratch), "base")}
    seconds = time.perf_counter() - started
    splits: list[JudgedSet] = [
        judged
        for judged in data.Files(DataSection(path=str(folder)), offline=True).judged
        if judged.role is Role.DOMAIN
    ]
    rows: list[dict[str, float | int | str]] = []
    for judged in splits:
        ours, score = measure(base, judged, "base"), theirs[judged.split]
        ndcg, average = ours.mean("ndcg@10"), ours.mean("map@10")
        rows.append(
            {
                "set": f"{judged.dataset}/{judged.split}",
                "queries": len(ours.query_ids),
                "documents": len(judged.documents),
                "ties": ours.ties,
                "ndcg@10": ndcg,
                "map@10": average,
                "mteb ndcg@10": score.ndcg,
                "mteb map@10": score.map,
                "mteb main score": score.main,
                "furthest": max(abs(ndcg - score.ndcg), abs(average - score.map)),
                "seconds": round(seconds, 1),
            }
        )
    return rows


if __name__ == "__main__":
    main()
