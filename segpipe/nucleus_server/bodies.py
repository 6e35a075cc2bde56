"""Bodies of requests while they arrive: within a time, on disk when large, and within a budget."""

from __future__ import annotations

import asyncio
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import IO

from starlette.concurrency import run_in_threadpool
from starlette.types import Message, Receive

from segpipe.nucleus_server.limits import Limits
from segpipe.nucleus_server.requests import RequestRefused, no_room

_CHUNK = 1024 * 1024


class Budget:
    """Bytes of memory that are shared, first come, first served."""

    def __init__(self, size: int) -> None:
        self._size = self._free = size
        self._queue: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def is_awaited(self) -> bool:
        """Whether anybody waits for bytes."""
        return bool(self._queue)

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


class Bodies:
    """The bodies of a server's requests.

    Args:
        folder: where the large ones are; it has to be there.
    """

    def __init__(self, limits: Limits, folder: Path) -> None:
        self.limits, self.folder = limits, folder
        # Two halves: complete bodies never wait for slow ones.
        self.arriving = Budget(limits.memory_bytes // 2)
        self.complete = Budget(limits.memory_bytes // 2)

    @asynccontextmanager
    async def of(self, receive: Receive) -> AsyncIterator[Receive]:
        """What a request's application receives its body from."""
        body = _Body(receive, self)
        try:
            yield body.receive
        finally:
            body.close()


class _Body:
    """One request's body.

    It is read when the application first asks for it, and handed on when it is complete, so that
    a slow one holds no more than a part of it in memory. A body on disk holds no memory until its
    turn has come: those that wait never wait for each other.
    """

    def __init__(self, receive: Receive, among: Bodies) -> None:
        self._receive, self._among, self._limits = receive, among, among.limits
        self._budget = among.arriving
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
                self._budget = self._among.complete
                self._held = await self._budget.wait_for(self._size)
        if self._file is None:
            part, self._memory = bytes(self._memory), bytearray()
        else:
            part = await run_in_threadpool(self._file.read, _CHUNK)
        self._left -= len(part)
        self._done = self._left <= 0
        return {"type": "http.request", "body": part, "more_body": not self._done}

    def close(self) -> None:
        """Give back what it holds."""
        self._give_back()
        if self._file is not None:
            with suppress(OSError):  # what a full disk did not take
                self._file.close()

    def _give_back(self) -> None:
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
            with self._room():
                await self._keep(message.get("body", b""))
        if self._file is not None:
            with self._room():
                self._file.seek(0)  # and with it the rest is written
        return True

    @contextmanager
    def _room(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise no_room(self._among.folder, error) from None

    async def _keep(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self._limits.body_bytes:
            raise RequestRefused(413, too_large(self._limits))
        if self._file is None:
            if self._size <= self._limits.spool_bytes and self._budget.take(len(part)):
                self._held += len(part)
                self._memory += part
                return
            # Without a name: it is gone with the process, however that ends.
            self._file = tempfile.TemporaryFile(dir=self._among.folder)  # noqa: SIM115
            await run_in_threadpool(self._file.write, self._memory)
            self._memory = bytearray()
            self._give_back()
        await run_in_threadpool(self._file.write, part)


def too_large(limits: Limits) -> str:
    """What is said of a body beyond the limit."""
    return f"the body has more than {limits.body_bytes:,} bytes; send fewer at a time"
