"""What a busy core costs: the same steps with threads that spin, threads that sleep, and one thread.

Each contender is a process of its own, because OpenMP reads its environment once. Beside them 0, 1 and 2 loops keep
cores busy.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from speed_parts.measuring import Section, ratio, row

BENCH = Path(__file__).parent.parent
SECONDS = 5.0
WAYS = {"spinning": {}, "sleeping": {"OMP_WAIT_POLICY": "PASSIVE"}, "one thread": {"OMP_NUM_THREADS": "1"}}
WORK = ("training", "writing")
BUSY = (0, 1, 2)
_PLAIN = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


def run(given: Namespace) -> Section:
    """Measure steps a second of training and of writing, all ways in turn, beside 0, 1 and 2 busy loops."""
    rows, ratios = [], []
    for busy in BUSY:
        for work in WORK:
            rates: dict[str, list[float]] = {way: [] for way in WAYS}
            for _ in range(given.turns):
                for way, changes in WAYS.items():
                    with loops(busy):
                        rates[way].append(_rate(work, changes))
            beside = f"{work} beside {busy} busy loops"
            rows += [row(f"{beside}, {way}", "steps/s", values) for way, values in rates.items()]
            ratios += [
                ratio(f"{beside}, {way} / spinning", rates[way], rates["spinning"]) for way in WAYS if way != "spinning"
            ]
    return Section({"threads": os.cpu_count(), "seconds": SECONDS}, rows, ratios, [])


@contextmanager
def loops(count: int) -> Iterator[None]:
    """Keep so many cores busy."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def _rate(work: str, changes: dict[str, str]) -> float:
    environment = {name: value for name, value in os.environ.items() if name not in _PLAIN} | changes
    command = [sys.executable, "-m", "speed_parts.threads", work]
    done = subprocess.run(command, cwd=BENCH, env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def _training() -> Callable[[], None]:
    """Return a step of 64 short questions through the base, forward and backward."""
    import torch

    from expertune.models import resolve
    from expertune.models.hardware import computes_bfloat16
    from expertune.models.load import load_model

    model = load_model(resolve("all-minilm-l6-v2"))
    questions = [f"how do I change the address of order number {number}" for number in range(64)]
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-6)

    def step() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=computes_bfloat16()):
            vectors = model(model.preprocess(questions))["sentence_embedding"]
        vectors.square().sum().backward()
        optimiser.step()
        optimiser.zero_grad()

    return step


def _writing() -> Callable[[], None]:
    """Return a step of the small language model: eight tokens after each of 32 prompts."""
    import torch

    from expertune import models
    from expertune.models import language_models

    tokenizer, model = language_models.load(models.resolve("smollm2-135m-instruct"), dtype="auto", place="bench")
    inputs = tokenizer(
        ["You can change the address until the parcel leaves us. A user asks:"] * 32, return_tensors="pt"
    )

    def step() -> None:
        with torch.inference_mode():
            model.generate(**inputs, max_new_tokens=8, min_new_tokens=8, do_sample=False)

    return step


def main() -> None:
    """Print the steps a second of one kind of work."""
    step = {"training": _training, "writing": _writing}[sys.argv[1]]()
    step()
    step()
    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < SECONDS:
        step()
        count += 1
    print(count / (time.perf_counter() - started))


if __name__ == "__main__":
    main()
