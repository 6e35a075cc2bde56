"""Maps work over chunks on a Dask cluster.

The cluster's workers need the same version of segpipe as the client and access to the root's
storage; nothing else is shared. The scheduler reassigns the chunks of a worker that dies; workers
that join later get chunks too.
"""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any, TypeVar

from segpipe import __version__
from segpipe.errors import ChunkError, SettingsError
from segpipe.extras import require

Chunk = TypeVar("Chunk")
Result = TypeVar("Result")

_CONNECT_SECONDS = 30
# Chunks submitted per thread of the cluster: one that runs and one that waits.
_AHEAD = 2
_FIRST_WORKER_SECONDS = 120
# Adaptive clusters take minutes to replace workers.
_WORKERLESS_SECONDS = 600
_LOOK_SECONDS = 5


def map_cluster(
    work: Callable[[Chunk], Result], chunks: Iterable[Chunk], scheduler: str
) -> Iterator[Result]:
    """``work`` on every chunk, by the workers of a cluster; results in order.

    Args:
        scheduler: address of the cluster's scheduler, such as ``tcp://host:8786``.

    Raises:
        ChunkError: if a chunk ended several workers, or no worker is left and none comes.
        SettingsError: if the cluster cannot be used, or Dask is not installed.
    """
    require("dask", f"a scheduler is set, {scheduler}: to ask it needs")
    from distributed import KilledWorker

    with _client(scheduler) as client:
        # One task holds the work for all others; where its worker is lost, it is run again.
        held = client.submit(_unpickled, pickle.dumps(work), __version__, pure=False)
        under_way: deque[tuple[Chunk, Any]] = deque()
        for chunk in chunks:
            under_way.append((chunk, client.submit(_run, held, chunk, pure=False)))
            while len(under_way) >= _AHEAD * max(1, sum(client.nthreads().values())):
                yield _result(client, *under_way.popleft(), KilledWorker)
        while under_way:
            yield _result(client, *under_way.popleft(), KilledWorker)


def _result(client: Any, chunk: object, future: Any, killed: type[Exception]) -> Any:
    try:
        return _awaited(client, chunk, future)
    except killed as error:
        raise ChunkError(
            f"{chunk}: every worker that was given it died ({error}). If they were killed for want "
            "of memory, lower rows_per_chunk or give the cluster's workers more of it. Nothing was "
            "published, and the tables of an earlier run are untouched"
        ) from None


def _awaited(client: Any, chunk: object, future: Any) -> Any:
    """A chunk's result, with a timeout: Dask itself would wait forever for lost workers."""
    deserted: float | None = None  # since when there has been no worker
    while True:
        try:
            return future.result(timeout=_LOOK_SECONDS)
        except TimeoutError:
            if future.done():  # the work's own, or it ended this very moment
                return future.result()
        if client.nthreads():
            deserted = None
        elif deserted is None:
            deserted = monotonic()
        elif monotonic() - deserted > _WORKERLESS_SECONDS:
            raise ChunkError(
                f"{chunk}: the cluster has had no worker for {_WORKERLESS_SECONDS} s. If they were "
                "killed for want of memory, lower rows_per_chunk or give them more of it; start "
                "workers and run again. Nothing was published, and the tables of an earlier run "
                "are untouched"
            )


@contextmanager
def _client(scheduler: str) -> Iterator[Any]:
    """A client of a cluster that has workers; pending futures are released when the block ends."""
    from distributed import Client

    try:
        client = Client(scheduler, timeout=_CONNECT_SECONDS, name="segpipe", set_as_default=False)
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"the Dask scheduler at {scheduler} cannot be reached ({type(error).__name__}): check "
            "that it runs, and `scheduler` in segpipe.toml"
        ) from None
    with client:
        try:
            client.wait_for_workers(1, timeout=_FIRST_WORKER_SECONDS)
        except TimeoutError:
            raise SettingsError(
                f"the Dask scheduler at {scheduler} has had no worker for "
                f"{_FIRST_WORKER_SECONDS} s: start some with `dask worker {scheduler}`"
            ) from None
        yield client


def _unpickled(work: bytes, version: str) -> Callable[[Any], Any]:
    """On a worker: the work."""
    if version != __version__:
        raise SettingsError(
            f"a worker of the cluster has segpipe {__version__}, and {version} asks it: install "
            "the same version everywhere"
        )
    function: Callable[[Any], Any] = pickle.loads(work)
    return function


def _run(work: Callable[[Any], Any], chunk: Any) -> Any:
    from segpipe.masks.fast_path import load_fast_path

    load_fast_path()  # once in a process, which may have the work from another worker
    return work(chunk)
