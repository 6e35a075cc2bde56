"""Worker processes that are forked from one that has loaded what all of them need.

Loading it takes a process more than a second. The one that is forked, a fork server of Python's,
has done nothing else: it works on no chunk, opens no file and runs no thread, so that it can be
forked where a process that works may not. Scripts need no ``if __name__ == "__main__"``.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from functools import partial
from multiprocessing import context, forkserver, popen_forkserver, reduction, spawn, util
from typing import Any

_WARM = "segpipe.workers.warm"
_POOLS = ["loky.process_executor", "segpipe.workers.processes"]

_server = forkserver.ForkServer()
_begun = False


def forking_context(work: Callable[[Any], Any], *more: str) -> context.ForkServerContext | None:
    """A context whose processes have loaded the module of ``work``; None where there are no forks.

    A server that runs already has loaded that of the first work it was asked for.

    Args:
        more: modules that are loaded as well.
    """
    if not hasattr(os, "fork") or not hasattr(forkserver, "connect_to_new_process"):
        return None
    while isinstance(work, partial):
        work = work.func
    module = getattr(work, "__module__", None) or _WARM
    if module != "__main__":
        _server.set_forkserver_preload([*_POOLS, _WARM, module, *more])
    return _Context()


def has_begun() -> bool:
    """Whether this process has forked workers, so that more of them begin at once."""
    return _begun


class _Popen(popen_forkserver.Popen):
    """Python's own but for the server, and that the child does not run the main script."""

    _fds: list[int]

    def _launch(self, process_obj: Any) -> None:
        prepared = spawn.get_preparation_data(process_obj._name)
        for name in ("init_main_from_name", "init_main_from_path"):
            prepared.pop(name, None)
        content = io.BytesIO()
        context.set_spawning_popen(self)
        try:
            reduction.dump(prepared, content)
            reduction.dump(process_obj, content)
        finally:
            context.set_spawning_popen(None)
        global _begun
        _begun = True
        self.sentinel, writer = _server.connect_to_new_process(self._fds)
        parent = os.dup(writer)  # closed once this process ends, for which the child waits
        self.finalizer = util.Finalize(self, _close, (parent, self.sentinel))
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(content.getbuffer())
        self.pid = forkserver.read_signed(self.sentinel)


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


class _Process(context.ForkServerProcess):
    @staticmethod
    def _Popen(process_obj: Any) -> _Popen:  # noqa: N802
        return _Popen(process_obj)


class _Context(context.ForkServerContext):
    Process = _Process
