"""Work on several items at once and lose nothing that is finished. Knows no server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ThreadPoolExecutor, wait
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


def side_by_side(
    work: Callable[[Item], Made], items: Sequence[Item], *, most: int, stopping: threading.Event
) -> Iterator[tuple[int, Made]]:
    """Yield (position, result) of `work` on every item as each is finished, `most` at a time.

    After a failure, or when the user interrupts, nothing new is begun; what is under way is still yielded, because
    it is paid for, and then the failure is raised. `stopping` is set as soon as that is so, for `work` to see.
    """

    def begun(item: Item) -> Made:
        if stopping.is_set():
            raise CancelledError
        try:
            return work(item)
        except BaseException:
            stopping.set()
            raise

    stopping.clear()
    pool = ThreadPoolExecutor(most, thread_name_prefix="server")
    futures: dict[Future[Made], int] = {pool.submit(begun, item): index for index, item in enumerate(items)}
    waiting = set(futures)
    failure: BaseException | None = None
    try:
        while waiting:
            try:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            except KeyboardInterrupt as interruption:
                if failure:
                    raise
                done, failure = set(), interruption
            for future in done:
                error = future.exception()
                if error is None:
                    yield futures[future], future.result()
                elif not isinstance(error, CancelledError):
                    failure = failure or error
            if failure:
                stopping.set()
                waiting = {future for future in waiting if not future.cancel()}
    finally:
        stopping.set()
        pool.shutdown(wait=False, cancel_futures=True)
    if failure:
        raise failure
