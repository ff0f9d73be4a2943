"""Kill real runs again and again, let them go on, and see that nothing is lost, done twice or different in the end.

python tests/faults/kill.py --kills 60 --seed 1
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from faults.runs import MOST_PAUSE, Ended, Started, Task, finished_artefacts, finished_items, left, run


@dataclass
class Tally:
    """What was done to the runs, and what was found."""

    kills: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    items: int = 0
    again: int = 0
    steps_again: int = 0
    faults: list[str] = field(default_factory=list)


def torture(task: Task, *, kills: int, seed: int, most_per_round: int = 6) -> Tally:
    """Kill `kills` times: round for round a fresh folder, some kills, and then a run to the end that is compared."""
    chance = random.Random(seed)
    whole = replace(task, folder=task.folder / "whole")
    started = time.monotonic()
    reference = run(whole)
    assert reference.code == 0, reference.printed
    lasted, expected = time.monotonic() - started, left(whole)
    by_kind: dict[str, list[int]] = {}
    for number, what in enumerate(reference.moments, start=1):
        by_kind.setdefault(what, []).append(number)
    tally, rounds = Tally(items=len(set(reference.embedded))), 0
    while tally.kills.total() < kills:
        rounds += 1
        here = replace(task, folder=task.folder / f"round-{rounds}")
        ended: list[Ended] = []
        while len(ended) < most_per_round and tally.kills.total() < kills:
            ended.append(_killed(here, chance, by_kind, lasted, tally))
            if not ended[-1].code:  # It had ended before the kill: nothing is left to be killed.
                break
        _finish(here, expected, ended, reference.steps, tally)
    return tally


def _killed(task: Task, chance: random.Random, by_kind: dict[str, list[int]], lasted: float, tally: Tally) -> Ended:
    """Start a run and kill it: every third time by the clock alone, else at a moment of a kind drawn at random."""
    by_clock = chance.random() < 1 / 3
    kind = chance.choice(sorted(by_kind))
    moment = 0 if by_clock else chance.choice(by_kind[kind])
    pause = chance.choice((0.0, chance.uniform(0, MOST_PAUSE)))
    before = finished_items(task.store), finished_artefacts(task.store)
    started = Started(task, moment=moment, pause=pause)
    if by_clock:
        time.sleep(chance.uniform(0.0, lasted))
        started.send(signal.SIGKILL)
    ended = started.wait()
    if ended.code == -signal.SIGKILL:
        where = ended.moments[-1] if ended.moments else "before the first moment"
        tally.kills[f"{'by the clock' if by_clock else 'at'}: {where}"] += 1
    elif ended.code:
        tally.faults.append(f"{task.folder.name}: exit {ended.code}: {ended.printed[-2000:]}")
    _check_nothing_again(task, before, ended, tally)
    return ended


def _finish(task: Task, expected: dict[str, str], ended: list[Ended], whole: int, tally: Tally) -> None:
    """Let the run end, and compare what it leaves with an undisturbed one's, which took `whole` training steps."""
    before = finished_items(task.store), finished_artefacts(task.store)
    last = run(task)
    if last.code:
        tally.faults.append(f"{task.folder.name}: exit {last.code} in the end: {last.printed[-2000:]}")
        return
    _check_nothing_again(task, before, last, tally)
    found = left(task)
    wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    if wrong:
        tally.faults.append(f"{task.folder.name}: differs in {wrong}")
    # A step is repeated only where its checkpoint was not complete yet: at most one a kill.
    steps = sum(item.steps for item in (*ended, last))
    tally.steps_again += steps - whole
    if not whole <= steps <= whole + len(ended):
        tally.faults.append(f"{task.folder.name}: {steps} training steps for {whole}, {len(ended)} kills")


def _check_nothing_again(
    task: Task, before: tuple[set[tuple[str, str]], dict[str, int]], ended: Ended, tally: Tally
) -> None:
    items, artefacts = before
    tally.runs += 1
    tally.again += len(items & set(ended.embedded))
    if items & set(ended.embedded):
        tally.faults.append(f"{task.folder.name}: finished items were asked for again")
    after = finished_artefacts(task.store)
    if made_again := sorted(name for name in artefacts if after.get(name) != artefacts[name]):
        tally.faults.append(f"{task.folder.name}: finished artefacts were made again: {made_again}")


def main() -> None:
    """Kill as often as asked for, and print what was found."""
    from conftest import write_tiny_model
    from faults.runs import write_data

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        task = Task(home / "runs", write_data(home / "shop"), write_tiny_model(home / "tiny"))
        tally = torture(task, kills=wanted.kills, seed=wanted.seed)
    for what, count in sorted(tally.kills.items()):
        print(f"{count:4}  {what}")
    print(
        f"{tally.kills.total()} kills at {len(tally.kills)} kinds of moments in {tally.runs} runs; "
        f"{tally.items} items a run, {tally.again} finished ones asked for again; "
        f"{tally.steps_again} training steps repeated; {len(tally.faults)} faults"
    )
    for fault in tally.faults:
        print(fault)
    sys.exit(bool(tally.faults))


if __name__ == "__main__":
    main()
