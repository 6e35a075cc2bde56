"""Where chunks are run: here and now, or on a few threads; results always in the chunks' order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

#: Workers where each waits for an object store most of the time.
REMOTE_WORKERS = 16

Chunk = TypeVar("Chunk")
Result = TypeVar("Result")


def default_workers() -> int:
    """One per processor this process may use, at most eight."""
    try:
        return min(8, len(os.sched_getaffinity(0)))
    except AttributeError:  # not on Linux
        return min(8, os.cpu_count() or 1)


def map_chunks(
    work: Callable[[Chunk], Result], chunks: Iterable[Chunk], workers: int
) -> Iterator[Result]:
    """``work`` on every chunk; results in order, whatever finishes first.

    At most ``2 * workers`` chunks are in memory at a time. An exception of one chunk is raised when
    its turn comes; chunks not begun by then are not begun at all.
    """
    if workers <= 1:
        yield from map(work, chunks)
        return
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="segpipe-chunk") as pool:
        try:
            for chunk in chunks:
                waiting.append(pool.submit(work, chunk))
                if len(waiting) >= 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
