"""Ctrl-C and SIGTERM: the first signal stops a command in order, another one at once.

Python's own handlers are not enough: Dagster replaces them while it runs, handlers wait while a
library is at work, and ``timeout`` sends its signal twice. So a thread reads the signals' numbers
where Python writes them as they arrive.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from segpipe.cli.exit_status import after_signal

_STOPPING = (signal.SIGINT, signal.SIGTERM)
# Signals that arrive together are one: a terminal and a supervisor each tell the whole group.
_TOGETHER_SECONDS = 0.5
_KNOWN_WITHIN_SECONDS = 1.0


class Stop:
    """What a command was told by signals.

    Args:
        at_once: called when a second signal has come, before the process ends.
    """

    def __init__(self, at_once: Callable[[], None]) -> None:
        self._at_once = at_once
        self._first: tuple[int, float] | None = None
        self._known = threading.Event()
        self._raised = False

    @property
    def asked(self) -> bool:
        """Whether a signal has come."""
        return self._known.is_set()

    @property
    def status(self) -> int:
        """The exit status the signal asks for."""
        self._known.wait(_KNOWN_WITHIN_SECONDS)
        return after_signal(self._first[0] if self._first else signal.SIGINT)

    def interrupt(self, number: int, frame: FrameType | None) -> None:
        """The handler of the signals, as long as no library has one of its own.

        Raises KeyboardInterrupt once: another one would end what is being put in order. A server
        that has ended raises its signal here again, which is no second one.
        """
        if self._first is None:
            self.came(number)
        if not self._raised:
            self._raised = True
            raise KeyboardInterrupt

    def came(self, number: int) -> None:
        """Take notice of a signal; the second one ends the process."""
        now = time.monotonic()
        if self._first is None:
            self._first = number, now
            self._known.set()
        elif now - self._first[1] > _TOGETHER_SECONDS:
            for child in _children():
                with suppress(OSError):
                    os.kill(child, signal.SIGKILL)
            self._at_once()
            os._exit(self.status)


@contextmanager
def stop_signals(at_once: Callable[[], None]) -> Iterator[Stop]:
    """Raise KeyboardInterrupt for SIGINT and SIGTERM while the block runs; main thread only.

    A signal that the process was started to ignore, as SIGINT by ``nohup`` or ``&``, stays ignored.
    """
    stop = Stop(at_once)
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    before = {number: signal.getsignal(number) for number in _STOPPING}
    former = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_read, args=(reader, stop), name="segpipe-stop", daemon=True).start()
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, stop.interrupt)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            # Python's own would show a traceback of whatever still happens while it exits.
            own = handler is signal.default_int_handler
            signal.signal(number, signal.SIG_DFL if own else handler)
        signal.set_wakeup_fd(former)
        writer.close()


def _read(reader: socket.socket, stop: Stop) -> None:
    with reader:
        while numbers := reader.recv(16):
            for number in numbers:
                if number in _STOPPING:
                    stop.came(number)


def _children() -> Iterator[int]:
    """The processes this one started; none where the system does not list them: segpipe's own
    then notice by themselves."""
    for listing in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):
            yield from map(int, listing.read_text().split())
