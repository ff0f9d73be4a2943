"""Fuzz the targets of fuzz.py guided by the code that is reached: atheris keeps what leads to new lines.

    python tests/guided.py --seconds 600 --seed 1

The first byte of an input names its target. Wants atheris, which `make guided` puts into an environment of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path

import atheris

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "src")]  # an editable install is unknown in another environment

with atheris.instrument_imports(include=["expertune"]):
    import fuzz
    from expertune.errors import ExpertuneError

NAMES = sorted(fuzz.TARGETS)
LONGEST = 4096


def reached(data: bytes) -> None:
    """Give one input to its target; whatever is no error of ours ends the run."""
    if data:
        with contextlib.suppress(ExpertuneError):
            fuzz.TARGETS[NAMES[data[0] % len(NAMES)]](data[1:])


def main() -> None:
    """Fuzz for a while; atheris prints what was tried, and writes an input that fails to the working folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as corpus:
        for number, name in enumerate(NAMES):
            for place, seed in enumerate(fuzz.seeds()[name]):
                Path(corpus, f"{name}-{place}").write_bytes(bytes([number]) + seed[: LONGEST - 1])
        limits = [f"-max_total_time={wanted.seconds}", f"-seed={wanted.seed}", f"-max_len={LONGEST}"]
        atheris.Setup([sys.argv[0], *limits, "-print_final_stats=1", corpus], reached)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
