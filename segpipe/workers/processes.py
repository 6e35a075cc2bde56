"""Maps work over chunks in processes of this machine.

Half of the work on a mask holds Python's GIL, so threads do not help. Processes are forked from one
that has loaded what they need and holds no locks (:mod:`segpipe.workers.forking`), or spawned where
there are no forks.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import wait
from types import FrameType
from typing import Any, TypeVar

from segpipe.errors import ChunkError
from segpipe.workers.forking import forking_context

Chunk = TypeVar("Chunk")
Result = TypeVar("Result")

_PARENT_LOOKED_FOR_SECONDS = 1.0

# The trackers of semaphores remove those that a pool left when it was told to end, and warn of it,
# which is no news for whoever pressed Ctrl-C. Processes of Python's take over this list.
_TRACKERS_ARE_QUIET = [
    "ignore::UserWarning:loky.backend.resource_tracker",
    "ignore::UserWarning:multiprocessing.resource_tracker",
]

# Within which a process that was told to end has left its chunk.
_END_SECONDS = 20.0

_work: Callable[[Any], Any]
_working = False


def map_processes(
    work: Callable[[Chunk], Result],
    chunks: Iterable[Chunk],
    processes: int,
    *,
    begin_here: bool = False,
) -> Iterator[Result]:
    """``work`` on every chunk, in other processes; results in order.

    The chunks of a process that died are tried a second time, each in its own process.

    Args:
        begin_here: work on chunks in this process until the first of the others has begun, which
            takes it a second.

    Raises:
        ChunkError: if a chunk ended two processes.
    """
    from loky.process_executor import BrokenProcessPool

    chunks = iter(chunks)
    retried: deque[Chunk] = deque()
    while True:
        under_way: deque[Future[Result]] = deque()
        taken: deque[Chunk] = deque()  # also one that a broken pool does not take
        try:
            with _pool(work, processes) as pool:
                if begin_here:
                    begin_here = False  # not again for a pool in place of a broken one
                    yield from _until_ready(pool, work, chunks)
                while True:
                    while len(under_way) < 2 * processes:
                        chunk = next(chunks, None)
                        if chunk is None:
                            break
                        taken.append(chunk)
                        under_way.append(pool.submit(_run, chunk))
                    if not under_way:
                        return
                    result = under_way[0].result()
                    under_way.popleft()
                    taken.popleft()
                    yield result
        except BrokenProcessPool:
            retried.extend(taken)
        while retried:
            yield _alone(work, retried.popleft())


def _until_ready(
    pool: Any, work: Callable[[Chunk], Result], chunks: Iterator[Chunk]
) -> Iterator[Result]:
    """Results of the first chunks, computed here while a pool's processes begin."""
    # On a thread, since to begin them is to wait for the one that they are forked from.
    with ThreadPoolExecutor(1, thread_name_prefix="segpipe-begin") as thread:
        begun = thread.submit(lambda: pool.submit(_ready))
        while not (begun.done() and (begun.exception() or begun.result().done())):
            for chunk in chunks:
                yield work(chunk)
                break
            else:
                begun.exception()  # waits until they can be ended
                _end(pool)  # nothing is left for them
                return


def _alone(work: Callable[[Chunk], Result], chunk: Chunk) -> Result:
    """Run one chunk in its own process, to find out whether it is the one that kills processes."""
    from loky.process_executor import BrokenProcessPool

    try:
        with _pool(work, 1) as pool:
            result: Result = pool.submit(_run, chunk).result()
            return result
    except BrokenProcessPool as error:
        raise ChunkError(
            f"{chunk}: the process that worked on it died twice ({_how(error)}). If it was killed "
            "for want of memory, lower rows_per_chunk or workers. Nothing was published, and the "
            "tables of an earlier run are untouched"
        ) from None


def _how(error: BaseException) -> str:
    """The exit codes in loky's message."""
    _, found, codes = str(error).partition("exit codes of the workers are ")
    return codes.partition("\n")[0].strip(" {}") if found else "its pool broke"


@contextmanager
def _pool(work: Callable[[Any], Any], processes: int) -> Iterator[Any]:
    """A pool whose processes hold ``work``; submitted chunks have finished when the block ends."""
    from loky.process_executor import BrokenProcessPool, ProcessPoolExecutor

    sys.warnoptions += [one for one in _TRACKERS_ARE_QUIET if one not in sys.warnoptions]
    pool = ProcessPoolExecutor(
        processes,
        context=forking_context(work),
        initializer=_begin,
        initargs=(pickle.dumps(work), os.getpid(), dict(os.environ)),
    )
    try:
        yield pool
    except BrokenProcessPool:
        pool.shutdown(kill_workers=True)
        raise
    except (KeyboardInterrupt, GeneratorExit):
        _end(pool)
        raise
    except BaseException as error:
        if isinstance(error, Exception):
            # Whatever was handed over ends by itself, so that no file is left half-written.
            pool.shutdown(wait=True)
        else:  # Dagster has an interrupt of its own
            _end(pool)
        raise
    pool.shutdown(wait=True)


def _end(pool: Any) -> None:
    """Tell a pool's processes to leave their chunks, and wait until they have gone."""
    # loky's own way of ending them is SIGKILL, which leaves temporary files.
    processes = list(pool._processes.values())
    for process in processes:
        process.terminate()
    waiting, until = {process.sentinel for process in processes}, time.monotonic() + _END_SECONDS
    while waiting and time.monotonic() < until:
        waiting.difference_update(wait(waiting, timeout=until - time.monotonic()))
    pool.shutdown(wait=True, kill_workers=True)


class _Ended(BaseException):
    """This process was told to end: the chunk is left, and its temporary files removed."""


def _told_to_end(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if not _working:
        os._exit(128 + number)
    raise _Ended


def _begin(work: bytes, parent: int, environment: dict[str, str]) -> None:
    """Initialize a new process: unpickle the work, load the fast path, watch the parent."""
    global _work
    # The process it was forked from has the environment of when it began, with the credentials of
    # an earlier hour.
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    os.environ.update(environment)
    # A terminal sends Ctrl-C to all processes; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _told_to_end)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    _work = pickle.loads(work)
    from segpipe.masks.fast_path import load_fast_path

    load_fast_path()
    gc.freeze()


def _end_with(parent: int) -> None:
    """Exit this process once the one that wants its results has died."""
    known = multiprocessing.parent_process()
    if known is not None and os.getppid() != parent:  # forked from another
        known.join()
    while os.getppid() == parent:
        time.sleep(_PARENT_LOOKED_FOR_SECONDS)
    os._exit(1)


def _ready() -> None:
    """What the first process that has begun does at once."""


def _run(chunk: Any) -> Any:
    global _working
    _working = True
    try:
        return _work(chunk)
    except _Ended:
        os._exit(128 + signal.SIGTERM)
    finally:
        _working = False
