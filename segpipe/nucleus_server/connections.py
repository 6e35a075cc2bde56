"""How many connections there may be, and how long one may wait for its client.

uvicorn limits neither: its keep-alive ends with the first byte of a request, however slow the next,
an answer may be fetched for ever, ``limit_concurrency`` refuses everybody as soon as somebody holds
that many connections, and its end waits for every client, or for none of the work under way.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.utils import get_remote_addr

from segpipe.nucleus_server.limits import Limits

_FULL = b'{"error":"too many connections; send it again later"}'
_REFUSAL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(_FULL), _FULL)
)


class Connections:
    """The open connections of a server.

    Where there are too many, the one that waited longest for its client makes room: of the same
    address if that has too many, else of any. Only where all are at work a new one is refused.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._of: Counter[str] = Counter()
        self._waiting: dict[BoundedProtocol, None] = {}  # the longest first

    def admit(self, new: BoundedProtocol) -> bool:
        """Count a connection in; False if there is no room for it."""
        address: str | None = None
        if self._of[new.address] >= self.limits.connections_per_address:
            address = new.address
        elif self._of.total() < self.limits.connections:
            self._of[new.address] += 1
            return True
        for old in self._waiting:
            if address in (None, old.address):
                self.leave(old)
                old.abort()
                self._of[new.address] += 1
                return True
        return False

    def leave(self, one: BoundedProtocol) -> None:
        """Count an admitted connection out; nothing if that was done."""
        self._waiting.pop(one, None)
        if one.admitted:
            one.admitted = False
            self._of[one.address] -= 1
            if not self._of[one.address]:
                del self._of[one.address]

    def wait(self, one: BoundedProtocol) -> None:
        """A connection begins to wait for a request, or for its answer to be fetched."""
        if one.admitted:
            self._waiting[one] = None

    def work(self, one: BoundedProtocol) -> None:
        """A connection has a request to answer."""
        self._waiting.pop(one, None)


class BoundedProtocol(H11Protocol):
    """A connection with a limit of the time in which its client has to do something.

    Attributes:
        address: of the client.
        admitted: whether it is counted.
    """

    def __init__(self, among: Connections, **settings: Any) -> None:
        super().__init__(**settings)
        self._among = among
        self._timer: asyncio.TimerHandle | None = None
        self._unsent = 0
        self.address, self.admitted = "", False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio."""
        client = get_remote_addr(transport)
        self.address = client[0] if client else ""
        self.admitted = self._among.admit(self)
        if not self.admitted:
            self.transport = transport
            transport.write(_REFUSAL)
            transport.close()
            return
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self._stop()
        self._among.leave(self)
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """See uvicorn: parse what there is, and begin a request where it is complete."""
        super().handle_events()
        if self._at_work():
            self._work()

    def on_response_complete(self) -> None:
        """See uvicorn: the answer is written, to the transport's buffer."""
        super().on_response_complete()
        if self.cycle.response_complete:  # not of a next request that had come already
            self._wait()

    def pause_writing(self) -> None:
        """See asyncio: there is more of an answer than its client fetches."""
        super().pause_writing()
        self._wait()

    def resume_writing(self) -> None:
        """See asyncio: the client has fetched nearly all."""
        super().resume_writing()
        if self._at_work():
            self._work()
        else:
            self._wait()

    def shutdown(self) -> None:
        """See uvicorn: the server ends. What is at work is answered; its client has a while."""
        super().shutdown()
        self.loop.call_later(self._among.limits.ending_seconds, self._end)

    def abort(self) -> None:
        """End the connection without another word."""
        self._stop()
        self.transport.abort()

    def _at_work(self) -> bool:
        """Whether there is a request, and its answer can be written."""
        begun = self.cycle is not None and not self.cycle.response_complete
        return begun and not self.flow.write_paused

    def _work(self) -> None:
        self._stop()
        self._among.work(self)

    def _wait(self) -> None:
        self._stop()
        self._among.wait(self)
        self._unsent = self.transport.get_write_buffer_size()
        self._timer = self.loop.call_later(self._among.limits.head_seconds, self._late)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        # An answer that is still being fetched is not late; one that nobody fetches is.
        if self.transport.get_write_buffer_size() < self._unsent:
            self._wait()
        else:
            self.abort()

    def _end(self) -> None:
        if self._at_work() and not self.cycle.more_body:
            self.loop.call_later(self._among.limits.ending_seconds, self._end)
        else:
            self.abort()
