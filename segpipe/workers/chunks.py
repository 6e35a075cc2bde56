"""Maps work over chunks: in this process, in processes of this machine, or on a Dask cluster.

Threads are only used to wait for I/O: half of the work on a chunk holds Python's GIL, and threads
were never faster than a single one. Results come in the chunks' order and do not depend on where
they were computed. Memory is bounded by the number of workers, not by the number of chunks.
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

from segpipe.workers import forking

#: Concurrent fetches per worker from remote storage.
FETCHED_AT_ONCE = 16
#: Remaining work, in seconds, from which processes pay off: the one that they are forked from takes
#: about one to load; and where it has loaded, as for an earlier partition.
SECONDS_FOR_PROCESSES, SECONDS_FOR_MORE = 2.0, 0.5

# Thresholds of the garbage collector while a chunk is worked on; see gc.set_threshold.
_SELDOM = (100_000, 50, 100)

Chunk = TypeVar("Chunk")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Workers:
    """The workers for the chunks of one step.

    Attributes:
        count: workers on this machine; 0 means one per processor.
        scheduler: address of a Dask scheduler whose workers are used instead; empty for none.
    """

    count: int = 0
    scheduler: str = ""

    def map(
        self, work: Callable[[Chunk], Result], chunks: Iterable[Chunk], count: int
    ) -> Iterator[Result]:
        """``work`` on every chunk; results in order, whatever finishes first.

        A chunk's exception is raised when its result is due; chunks not started by then are not
        started, and running ones have finished when it is raised.

        Args:
            work: picklable, unless it runs in this process only.
            count: approximate number of chunks.

        Raises:
            ChunkError: naming the chunk, if its worker dies every time it is tried.
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

                rest = chain([first], chunks)
                yield from map_processes(work, rest, workers, begin_here=True)
        else:
            yield from map(work, chunks)


def _until_worthwhile(
    work: Callable[[Chunk], Result], chunks: Iterator[Chunk], count: int
) -> Iterator[Result]:
    """Results of the first chunks, computed in this process until the remaining work is known to
    take long enough for worker processes to pay off."""
    enough = SECONDS_FOR_MORE if forking.has_begun() else SECONDS_FOR_PROCESSES
    seconds = 0.0
    for done, chunk in enumerate(chunks):
        begun = perf_counter()
        result = work(chunk)
        if done > 0:  # the first also loads packages and caches
            seconds += perf_counter() - begun
        yield result
        if done > 0 and seconds / done * (count - done - 1) > enough:
            return


_collecting = threading.Lock()
_seldom: list[tuple[int, int, int]] = []  # the usual thresholds, once for each chunk under way


@contextmanager
def seldom_collected() -> Iterator[None]:
    """Run Python's cyclic garbage collector less often while a chunk is worked on.

    A chunk holds thousands of objects until it is done and leaves no cycles; collecting at the
    usual rate takes a tenth of the time.
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
