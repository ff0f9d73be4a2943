"""Several processes for one run, as `torchrun` and `accelerate launch` start them. Knows no stage and no model.

The first process leads: it alone runs the stages, reads and writes. The others wait until it shares a job (a training),
do their part of it, and wait again, until it dismisses them. A process that fails ends with an error, and the launcher
then ends the others.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

# Questions are written and scored before the first training, and that may take long.
_PATIENCE = timedelta(days=30)


def count() -> int:
    """Return how many processes there are; 1 where no launcher started this one."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1


def leads() -> bool:
    """Whether this is the process that runs the stages."""
    return count() == 1 or os.environ["RANK"] == "0"


def share(job: tuple[Any, ...]) -> None:
    """Give a job to the other processes, if there are any; each of them does it at the same time as this one."""
    _broadcast(job)


def dismiss() -> None:
    """Tell the other processes, if there are any, that there are no more jobs."""
    _broadcast(None)
    _part()


def jobs() -> Iterator[tuple[Any, ...]]:
    """Yield what the leading process shares, until it dismisses this one."""
    while (job := _broadcast(None)) is not None:
        yield job
    _part()


def _broadcast(job: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
    """Return what the leading process gave."""
    if count() == 1:
        return None
    import torch
    from torch import distributed

    if not distributed.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        distributed.init_process_group(backend, timeout=_PATIENCE)
    given = [job]
    distributed.broadcast_object_list(given, src=0, device=torch.device("cpu"))
    return given[0]


def _part() -> None:
    """Close the connections, all processes together: one that ends with threads of theirs still running aborts."""
    if count() == 1:
        return
    from torch import distributed

    distributed.barrier()
    distributed.destroy_process_group()
