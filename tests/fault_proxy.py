"""An HTTP proxy in front of an object store that makes happen what networks and stores do.

It runs in a thread of its own with aiohttp, streams both ways and keeps connections alive. Every
fault is a ``Fault`` with a rule of when: the n-th request that matches a method and a path, the
first so many, or each with a probability. It counts what passes, so that a test can say how
many requests and bytes something cost.

    proxy.fail(Fault.SLOW_DOWN, method="PUT", path=r"_delta_log/", nth=1)
    proxy.fail(Fault.STORED_BUT_500, method="PUT", path=r"\\.png$", probability=0.1)
"""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import yarl
from aiohttp import web

from tests.faults import AFTERWARDS, REFUSALS, Fault, Rule

__all__ = ["Fault", "FaultProxy"]

_PIECE = 64 * 1024
# Between two hops only; each side makes its own.
_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "expect"}


@dataclass
class Passed:
    """A request that came by: what was asked, what the store answered, what was done to it.

    Kept up to date while it passes, always before the client can know: who has an answer finds it
    counted.
    """

    method: str
    path: str
    fault: Fault | None
    status: int | None = None  # of the store; None where it was not asked or did not answer
    bytes_in: int = 0
    bytes_out: int = 0
    at: float = field(default_factory=time.monotonic)  # seconds, when it came


class FaultProxy:
    """The proxy; a context manager. ``endpoint`` is its URL.

    Args:
        upstream: the URL of the object store.
        seed: of the rules with a probability.
    """

    def __init__(self, upstream: str, seed: int = 0) -> None:
        self.upstream = upstream.rstrip("/")
        self.seed = seed
        self._lock = threading.Lock()
        self._rules: list[Rule] = []
        self._log: list[Passed] = []
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="fault-proxy", daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise self._failure

    # What tests say and ask.

    def fail(
        self,
        fault: Fault,
        *,
        method: str = ".*",
        path: str = "",
        nth: int | None = None,
        times: int | None = None,
        after: int = 0,
        probability: float = 1.0,
        seconds: float = 0.5,
        body: bytes = b"",
        rewrite: Callable[[Any], Any] = dict,
    ) -> Rule:
        """Make matching requests fail from now on; the first rule that strikes wins.

        Args:
            fault: what happens.
            method: the whole HTTP method, a regular expression.
            path: found in the path and query as sent (percent-encoded, ``/bucket/key?query``),
                a regular expression.
            nth: only the n-th request that matches, counted from 1.
            times: at most so many.
            after: not the first so many that match.
            probability: of each that matches.
            seconds: how long a ``DELAY`` is, how late ``LATE``, or what ``TOO_MANY`` asks to wait.
            body: found in the body; requests such a rule is about are read whole first.
            rewrite: makes the JSON that is answered of the JSON that was said.
        """
        rule = Rule(
            fault,
            re.compile(method),
            re.compile(path),
            nth,
            times,
            probability,
            seconds,
            self.seed,
            after,
            body,
            rewrite,
        )
        with self._lock:
            self._rules.append(rule)
        return rule

    def heal(self) -> None:
        """Forget all rules."""
        with self._lock:
            self._rules.clear()

    def forget(self) -> None:
        """Start counting anew."""
        with self._lock:
            self._log.clear()

    @property
    def log(self) -> list[Passed]:
        """Every request so far, in the order they came."""
        with self._lock:
            return list(self._log)

    @property
    def requests(self) -> Counter[str]:
        """How many requests of each method came."""
        return Counter(passed.method for passed in self.log)

    @property
    def faults(self) -> Counter[Fault]:
        """How many faults of each kind happened."""
        return Counter(passed.fault for passed in self.log if passed.fault is not None)

    @property
    def bytes_in(self) -> int:
        """Bytes of request bodies: what was written."""
        return sum(passed.bytes_in for passed in self.log)

    @property
    def bytes_out(self) -> int:
        """Bytes of answers' bodies: what was read."""
        return sum(passed.bytes_out for passed in self.log)

    def stop(self) -> None:
        """Close all connections and end."""
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    def __enter__(self) -> FaultProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # What happens in the thread.

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # told to the one who waits for the start
            self._failure = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        application = web.Application(client_max_size=0)
        application.router.add_route("*", "/{path:.*}", self._handle)
        # A client that gives up takes its request with it, as with a store that is hung up on.
        runner = web.AppRunner(
            application, access_log=None, handler_cancellation=True, shutdown_timeout=0.1
        )
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
        await site.start()
        self.endpoint = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
            skip_auto_headers={"User-Agent", "Content-Type", "Accept", "Accept-Encoding"},
        ) as self._session:
            self._ready.set()
            await self._stopping.wait()
            await runner.cleanup()

    def _struck(self, method: str, path: str, body: bytes) -> Rule | None:
        with self._lock:
            return next((rule for rule in self._rules if rule.strikes(method, path, body)), None)

    def _looks_into(self, method: str, path: str) -> bool:
        with self._lock:
            return any(rule.body and rule.concerns(method, path) for rule in self._rules)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        content = None
        if self._looks_into(request.method, request.raw_path):
            content = await request.read()
        rule = self._struck(request.method, request.raw_path, content or b"")
        passed = Passed(request.method, request.raw_path, rule.fault if rule else None)
        with self._lock:
            self._log.append(passed)
        exchange = _Exchange(self._session, self.upstream, request, rule, passed, content)
        return await exchange.answer()


class _Exchange:
    """One request on its way."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        upstream: str,
        request: web.Request,
        rule: Rule | None,
        passed: Passed,
        content: bytes | None,
    ) -> None:
        self.session = session
        self.upstream = upstream
        self.request = request
        self.rule = rule
        self.fault = passed.fault
        self.passed = passed
        self.content = content  # the body, where it was read before

    async def answer(self) -> web.StreamResponse:
        """The answer to the client, with what goes wrong on the way."""
        if self.fault is Fault.SLOW_DOWN:
            async for _ in self._body():  # read, so that the connection stays usable
                pass
            return _error(503, "SlowDown", "Please reduce your request rate.")
        if self.fault in REFUSALS:
            async for _ in self._body():
                pass
            answer = _error(*REFUSALS[self.fault])
            if self.fault is Fault.TOO_MANY and self.rule is not None:
                answer.headers["Retry-After"] = f"{self.rule.seconds:g}"
            return answer
        if self.fault is Fault.CUT:
            return self._cut()
        if self.fault is Fault.DELAY and self.rule is not None:
            await asyncio.sleep(self.rule.seconds)
        if self.fault is Fault.LATE and self.rule is not None:
            self.content = await self.request.read()
            # Hung up on, this goes on: behind the proxy nobody is told.
            return await asyncio.shield(self._late(self.rule.seconds))
        try:
            return await self._forward()
        except (aiohttp.ClientError, _HalfwayThroughError):
            return self._cut()

    async def _late(self, seconds: float) -> web.StreamResponse:
        await asyncio.sleep(seconds)
        try:
            return await self._forward()
        except (aiohttp.ClientError, ConnectionError):
            return web.Response()

    async def _forward(self) -> web.StreamResponse:
        request = self.request
        url = yarl.URL(self.upstream + request.raw_path, encoded=True)
        headers = [(name, value) for name, value in request.headers.items() if _kept(name)]
        body = self._body() if request.can_read_body or self.content else None
        async with self.session.request(
            request.method, url, headers=headers, data=body, allow_redirects=False
        ) as answer:
            self.passed.status = answer.status
            if self.fault is Fault.STORED_THEN_CUT:
                await answer.read()
                return self._cut()
            if self.fault in AFTERWARDS:
                await answer.read()
                return _error(*AFTERWARDS[self.fault])
            if self.fault is Fault.REWRITTEN and self.rule is not None:
                return web.json_response(self.rule.rewrite(await answer.json()))
            return await self._relay(answer)

    async def _body(self) -> AsyncIterator[bytes]:
        """The request's body, piece by piece."""
        half = (self.request.content_length or 0) // 2
        if self.content is not None:
            self.passed.bytes_in += len(self.content)
            yield self.content
            return
        async for piece in self.request.content.iter_chunked(_PIECE):
            if self.fault is Fault.CUT_IN_REQUEST and self.passed.bytes_in + len(piece) > half:
                yield piece[: half - self.passed.bytes_in]
                raise _HalfwayThroughError
            self.passed.bytes_in += len(piece)
            yield piece

    async def _relay(self, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        response = web.StreamResponse(status=answer.status, reason=answer.reason)
        for name, value in answer.headers.items():
            if _kept(name):
                response.headers.add(name, value)
        await response.prepare(self.request)
        half = (answer.content_length or 0) // 2
        async for piece in answer.content.iter_chunked(_PIECE):
            if self.fault is Fault.CUT_IN_ANSWER and self.passed.bytes_out + len(piece) > half:
                rest = piece[: half - self.passed.bytes_out]
                self.passed.bytes_out += len(rest)
                await response.write(rest)
                await asyncio.sleep(0.05)  # the half that was sent arrives before the end does
                self._cut()
                return response
            self.passed.bytes_out += len(piece)
            await response.write(piece)
        await response.write_eof()
        return response

    def _cut(self) -> web.StreamResponse:
        """Hang up. The answer that is returned reaches nobody."""
        if self.request.transport is not None:
            self.request.transport.abort()
        return web.Response()


class _HalfwayThroughError(Exception):
    """The request was cut within its body."""


def _kept(header: str) -> bool:
    return header.lower() not in _HOP


def _error(status: int, code: str, message: str) -> web.Response:
    """An error as S3 words it."""
    text = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return web.Response(
        status=status, content_type="application/xml", text=f"<?xml version='1.0'?>\n{text}"
    )
