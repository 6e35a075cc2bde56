"""Where chunks are run: here, in processes of this machine, or on a cluster.

Threads would share what Python does with a chunk, which is half of it: they never were faster than
none, and are for waiting only. Results always come in the chunks' order and are the same wherever
they were made. What is in memory at a time is bounded by the number of workers, not by the number
of chunks.
"""

from __future__ import annotations

import gc
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from time import perf_counter
from typing import TypeVar

#: Files fetched at a time by one worker, where each waits for a network.
FETCHED_AT_ONCE = 16
#: Work left, in seconds, from which on processes are worth the time they take to start.
SECONDS_FOR_PROCESSES = 3.0

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
        self, work: Callable[[Chunk], Result], chunks: Iterable[Chunk], count: int
    ) -> Iterator[Result]:
        """``work`` on every chunk; results in order, whatever finishes first.

        An exception of one chunk is raised when its turn comes; chunks not begun by then are not
        begun at all, and those under way have ended when this does.

        Args:
            count: of the chunks, about.

        Raises:
            ChunkError: naming the chunk, if it ends its worker each time it is tried.
            SettingsError: if the scheduler cannot be reached.
        """
        if self.scheduler:
            from segpipe.workers.cluster import map_cluster

            yield from map_cluster(work, chunks, self.scheduler)
            return
        workers = self.count or default_workers()
        chunks = iter(chunks)
        if workers > 1:
            yield from _until_worthwhile(work, chunks, count)
            first = next(chunks, None)
            if first is not None:
                from segpipe.workers.processes import map_processes

                yield from map_processes(work, chain([first], chunks), workers)
        else:
            yield from map(work, chunks)


def _until_worthwhile(
    work: Callable[[Chunk], Result], chunks: Iterator[Chunk], count: int
) -> Iterator[Result]:
    """Results of the first chunks, worked on here, until it is known that the rest takes long
    enough for processes of their own to pay."""
    seconds = 0.0
    for done, chunk in enumerate(chunks):
        begun = perf_counter()
        result = work(chunk)
        if done > 0:  # the first also loads what all need
            seconds += perf_counter() - begun
        yield result
        if done > 0 and seconds / done * (count - done - 1) > SECONDS_FOR_PROCESSES:
            return


_collecting = threading.Lock()
_seldom: list[tuple[int, int, int]] = []  # the usual thresholds, once for each chunk under way


@contextmanager
def seldom_collected() -> Iterator[None]:
    """Python's collector looks for cycles less often while a chunk is worked on.

    A chunk makes thousands of objects, holds them until it is done, and leaves no cycles; looking
    through all of them again and again takes a tenth of the time.
    """
    with _collecting:
        _seldom.append(_seldom[0] if _seldom else gc.get_threshold())
        gc.set_threshold(*_SELDOM)
    try:
        yield
    finally:
        with _collecting:
            usual = _seldom.pop()
            if not _seldom:  # other threads' chunks may go on
                gc.set_threshold(*usual)


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
