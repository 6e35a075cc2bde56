"""Requests on their way: a call's smaller request may be complete before its larger ones."""

from __future__ import annotations

import threading
from collections import Counter
from types import TracebackType

from segpipe.nucleus_server.bodies import Budget

_Owner = tuple[str, str]  # a dataset and a model, or the ground truth


class Arrival:
    """One request on its way; a context manager, which ends it."""

    def __init__(self, among: Arrivals, owner: _Owner) -> None:
        self._among, self._owner, self._ended = among, owner, False
        among.count(owner, 1)

    def end(self) -> None:
        """It has arrived, or never will."""
        if not self._ended:
            self._ended = True
            self._among.count(self._owner, -1)

    def __enter__(self) -> Arrival:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()


class Arrivals:
    """The requests on their way, by what they upload to.

    None counts while a body waits for memory: a request whose answer is held for others on their
    way keeps its share, and it may be this share that they wait for.

    Args:
        memory: that requests have a share of until they are answered; None where it has no limit.
    """

    def __init__(self, memory: Budget | None = None) -> None:
        self._memory = memory
        self._numbers: Counter[_Owner] = Counter()
        self._lock = threading.Lock()

    def __contains__(self, owner: _Owner) -> bool:
        if self._memory is not None and self._memory.is_awaited:
            return False
        return self._numbers[owner] > 0

    def count(self, owner: _Owner, number: int) -> None:
        """So many more; fewer if it is negative."""
        with self._lock:
            self._numbers[owner] += number
