"""Where chunks are run: here, on threads, in processes of this machine, or on a cluster.

Results always come in the chunks' order and are the same wherever they were made. What is in memory
at a time is bounded by the number of workers, not by the number of chunks.
"""

from __future__ import annotations

import gc
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

#: Files fetched at a time by one worker, where each waits for a network.
FETCHED_AT_ONCE = 16
#: Rows from which on processes of their own are worth the second they take to start.
ROWS_FOR_PROCESSES = 4000

# Objects made between two looks for cycles, and how many of those make a longer look.
_SELDOM = (100_000, 50, 100)

Chunk = TypeVar("Chunk")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Workers:
    """Who works on the chunks of one step.

    Attributes:
        count: workers on this machine; 0 means one per processor.
        scheduler: address of a Dask scheduler whose workers do it instead; empty for none.
    """

    count: int = 0
    scheduler: str = ""

    def map(
        self, work: Callable[[Chunk], Result], chunks: Iterable[Chunk], rows: int
    ) -> Iterator[Result]:
        """``work`` on every chunk; results in order, whatever finishes first.

        An exception of one chunk is raised when its turn comes; chunks not begun by then are not
        begun at all, and those under way have ended when this does.

        Args:
            rows: of all chunks together.

        Raises:
            ChunkError: naming the chunk, if it ends its worker each time it is tried.
            SettingsError: if the scheduler cannot be reached.
        """
        if self.scheduler:
            from segpipe.cluster import map_cluster

            return map_cluster(work, chunks, self.scheduler)
        count = self.count or default_workers()
        if count > 1 and rows >= ROWS_FOR_PROCESSES:
            from segpipe.processes import map_processes

            return map_processes(work, chunks, count)
        return map_threads(work, chunks, count)


@contextmanager
def seldom_collected() -> Iterator[None]:
    """Python's collector looks for cycles less often while the block runs.

    A chunk makes thousands of objects, holds them until it is done, and leaves no cycles; looking
    through all of them again and again takes a tenth of the time.
    """
    before = gc.get_threshold()
    gc.set_threshold(*_SELDOM)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def default_workers() -> int:
    """One per processor this process may use, at most eight."""
    try:
        return min(8, len(os.sched_getaffinity(0)))
    except AttributeError:  # not on Linux
        return min(8, os.cpu_count() or 1)


def map_threads(
    work: Callable[[Chunk], Result], chunks: Iterable[Chunk], threads: int
) -> Iterator[Result]:
    """``work`` on every chunk, on threads of this process; results in order."""
    if threads <= 1:
        yield from map(work, chunks)
        return
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="segpipe-chunk") as pool:
        try:
            for chunk in chunks:
                waiting.append(pool.submit(work, chunk))
                if len(waiting) >= 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
