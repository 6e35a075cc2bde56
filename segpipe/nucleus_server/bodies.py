"""Bodies of requests while they arrive: within a time, on disk when large, and within a budget."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

from starlette.concurrency import run_in_threadpool
from starlette.types import Message, Receive

from segpipe.nucleus_server.limits import Limits
from segpipe.nucleus_server.requests import RequestRefused

_CHUNK = 1024 * 1024
_logger = logging.getLogger("segpipe.nucleus_server")


class Budget:
    """Bytes of memory that are shared, first come, first served."""

    def __init__(self, size: int) -> None:
        self._size = self._free = size
        self._queue: deque[tuple[int, asyncio.Future[None]]] = deque()

    def take(self, size: int) -> bool:
        """Take bytes if they are there and nobody waits for them."""
        if self._queue or size > self._free:
            return False
        self._free -= size
        return True

    async def wait_for(self, size: int) -> int:
        """Wait for bytes, at most for all there are; how many were taken."""
        size = min(size, self._size)
        if not self.take(size):
            turn = (size, asyncio.get_running_loop().create_future())
            self._queue.append(turn)
            try:
                await turn[1]
            except asyncio.CancelledError:
                if turn in self._queue:
                    self._queue.remove(turn)
                    self.give_back(0)
                else:
                    self.give_back(size)
                raise
        return size

    def give_back(self, size: int) -> None:
        """Return bytes, to whoever waits."""
        self._free += size
        while self._queue and self._queue[0][0] <= self._free:
            wanted, turn = self._queue.popleft()
            self._free -= wanted
            turn.set_result(None)


class Body:
    """One request's body.

    It is read when the application first asks for it, and handed on when it is complete, so that
    a slow one holds no more than a part of it in memory. A body on disk holds no memory until its
    turn has come: those that wait never wait for each other.
    """

    def __init__(self, receive: Receive, limits: Limits, budget: Budget, folder: Path) -> None:
        self._receive, self._limits, self._budget = receive, limits, budget
        self._folder = folder
        self._memory = bytearray()
        self._file: IO[bytes] | None = None
        self._size = self._held = self._left = 0
        self._read = self._done = False

    async def receive(self) -> Message:
        """See ASGI.

        Raises:
            RequestRefused: 413 for a body beyond the limit, 408 for one that is too slow, 507 where
                there is no room on the disk.
        """
        if self._done:
            return await self._receive()
        if not self._read:
            if not await self._arrived():
                self._done = True
                return {"type": "http.disconnect"}
            self._read, self._left = True, self._size
            if self._file is not None:
                self._held = await self._budget.wait_for(self._size)
                self._file.seek(0)
        if self._file is None:
            part, self._memory = bytes(self._memory), bytearray()
        else:
            part = await run_in_threadpool(self._file.read, _CHUNK)
        self._left -= len(part)
        self._done = self._left <= 0
        return {"type": "http.request", "body": part, "more_body": not self._done}

    def close(self) -> None:
        """Give back what it holds."""
        if self._file is not None:
            self._file.close()
        self._budget.give_back(self._held)
        self._held = 0

    async def _arrived(self) -> bool:
        """Read it all; False where the client went away."""
        loop = asyncio.get_running_loop()
        start, more = loop.time(), True
        while more:
            end = start + self._limits.body_seconds + self._size / self._limits.body_rate
            try:
                async with asyncio.timeout(min(self._limits.idle_seconds, end - loop.time())):
                    message = await self._receive()
            except TimeoutError:
                words = f"the body came too slowly: {self._size:,} bytes are here; send it again"
                raise RequestRefused(408, words) from None
            if message["type"] != "http.request":
                return False
            more = message.get("more_body", False)
            await self._keep(message.get("body", b""))
        return True

    async def _keep(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self._limits.body_bytes:
            raise RequestRefused(413, too_large(self._limits))
        try:
            if self._file is None:
                if self._size <= self._limits.spool_bytes and self._budget.take(len(part)):
                    self._held += len(part)
                    self._memory += part
                    return
                # Without a name: it is gone with the process, however that ends.
                self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115
                await run_in_threadpool(self._file.write, self._memory)
                self._memory = bytearray()
                self._budget.give_back(self._held)
                self._held = 0
            await run_in_threadpool(self._file.write, part)
        except OSError as error:
            _logger.error("a body cannot be kept in %s: %s", self._folder, error)
            words = "the endpoint has no room for the body on its disk; its log says why"
            raise RequestRefused(507, words) from None


class Bodies:
    """The bodies of a server's requests.

    Args:
        folder: where the large ones are; it has to be there.
    """

    def __init__(self, limits: Limits, folder: Path) -> None:
        self._limits, self._folder = limits, folder
        self._budget = Budget(limits.memory_bytes)

    @asynccontextmanager
    async def of(self, receive: Receive) -> AsyncIterator[Receive]:
        """What a request's application receives its body from."""
        body = Body(receive, self._limits, self._budget, self._folder)
        try:
            yield body.receive
        finally:
            body.close()


def too_large(limits: Limits) -> str:
    """What is said of a body beyond the limit."""
    return f"the body has more than {limits.body_bytes:,} bytes; send fewer at a time"
