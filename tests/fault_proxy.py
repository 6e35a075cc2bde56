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
import random
import re
import threading
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from enum import StrEnum

import aiohttp
import yarl
from aiohttp import web

_PIECE = 64 * 1024
# Between two hops only; each side makes its own.
_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "expect"}


class Fault(StrEnum):
    """What goes wrong with a request."""

    SLOW_DOWN = "answer 503 SlowDown, forward nothing"
    DELAY = "forward after a while"
    CUT = "close the connection before an answer, forward nothing"
    CUT_IN_REQUEST = "forward half of the request's body, then close both connections"
    CUT_IN_ANSWER = "forward, then close half-way through the answer's body"
    TOO_MANY = "answer 429 with Retry-After: 1, forward nothing"
    BROKEN = "answer 500, forward nothing"
    BAD_GATEWAY = "answer 502, forward nothing"
    NULL_ERRORS = "forward, then add `errors: null` to the JSON of the answer"
    STORED_BUT_502 = "forward, then answer 502 whatever was said"
    STORED_BUT_503 = "forward, then answer 503 whatever was said"
    STORED_BUT_500 = "forward, then answer 500 InternalError whatever the store said"
    STORED_THEN_CUT = "forward, then close the connection before an answer"


#: Status, code and words of answers without and after forwarding.
_REFUSALS = {
    Fault.TOO_MANY: (429, "TooManyRequests", "Please come back later."),
    Fault.BROKEN: (500, "InternalError", "We encountered an internal error."),
    Fault.BAD_GATEWAY: (502, "BadGateway", "The server behind did not answer."),
}
_AFTERWARDS = {
    Fault.STORED_BUT_500: (500, "InternalError", "We encountered an internal error."),
    Fault.STORED_BUT_502: (502, "BadGateway", "The server behind did not answer."),
    Fault.STORED_BUT_503: (503, "SlowDown", "Please reduce your request rate."),
}


@dataclass
class Rule:
    """When a fault happens. ``matched`` and ``happened`` count while it is in force."""

    fault: Fault
    method: re.Pattern[str]
    path: re.Pattern[str]
    nth: int | None
    times: int | None
    probability: float
    seconds: float
    seed: int
    matched: int = 0
    happened: int = 0
    _seen: Counter[tuple[str, str]] = field(default_factory=Counter)

    def strikes(self, method: str, path: str) -> bool:
        """Whether this request is to fail; counts it."""
        if not (self.method.fullmatch(method) and self.path.search(path)):
            return False
        self.matched += 1
        if self.nth is not None and self.matched != self.nth:
            return False
        if self.times is not None and self.happened >= self.times:
            return False
        # Drawn per object and attempt, so that the order in which threads come does not matter;
        # without the bucket, whose name is new in every test.
        within = path.split("/", 2)[-1]
        self._seen[method, within] += 1
        attempt = self._seen[method, within]
        if random.Random(f"{self.seed} {method} {within} {attempt}").random() >= self.probability:
            return False
        self.happened += 1
        return True


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
        probability: float = 1.0,
        seconds: float = 0.5,
    ) -> Rule:
        """Make matching requests fail from now on; the first rule that strikes wins.

        Args:
            fault: what happens.
            method: the whole HTTP method, a regular expression.
            path: found in the path and query as sent (percent-encoded, ``/bucket/key?query``),
                a regular expression.
            nth: only the n-th request that matches, counted from 1.
            times: at most so many.
            probability: of each that matches.
            seconds: how long a ``DELAY`` is.
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

    def _struck(self, method: str, path: str) -> Rule | None:
        with self._lock:
            return next((rule for rule in self._rules if rule.strikes(method, path)), None)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        rule = self._struck(request.method, request.raw_path)
        passed = Passed(request.method, request.raw_path, rule.fault if rule else None)
        with self._lock:
            self._log.append(passed)
        return await _Exchange(self._session, self.upstream, request, rule, passed).answer()


class _Exchange:
    """One request on its way."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        upstream: str,
        request: web.Request,
        rule: Rule | None,
        passed: Passed,
    ) -> None:
        self.session = session
        self.upstream = upstream
        self.request = request
        self.rule = rule
        self.fault = passed.fault
        self.passed = passed

    async def answer(self) -> web.StreamResponse:
        """The answer to the client, with what goes wrong on the way."""
        if self.fault is Fault.SLOW_DOWN:
            async for _ in self._body():  # read, so that the connection stays usable
                pass
            return _error(503, "SlowDown", "Please reduce your request rate.")
        if self.fault in _REFUSALS:
            async for _ in self._body():
                pass
            answer = _error(*_REFUSALS[self.fault])
            if self.fault is Fault.TOO_MANY:
                answer.headers["Retry-After"] = "1"
            return answer
        if self.fault is Fault.CUT:
            return self._cut()
        if self.fault is Fault.DELAY and self.rule is not None:
            await asyncio.sleep(self.rule.seconds)
        try:
            return await self._forward()
        except (aiohttp.ClientError, _HalfwayThroughError):
            return self._cut()

    async def _forward(self) -> web.StreamResponse:
        request = self.request
        url = yarl.URL(self.upstream + request.raw_path, encoded=True)
        headers = [(name, value) for name, value in request.headers.items() if _kept(name)]
        body = self._body() if request.can_read_body else None
        async with self.session.request(
            request.method, url, headers=headers, data=body, allow_redirects=False
        ) as answer:
            self.passed.status = answer.status
            if self.fault is Fault.STORED_THEN_CUT:
                await answer.read()
                return self._cut()
            if self.fault in _AFTERWARDS:
                await answer.read()
                return _error(*_AFTERWARDS[self.fault])
            if self.fault is Fault.NULL_ERRORS:
                return web.json_response({**await answer.json(), "errors": None})
            return await self._relay(answer)

    async def _body(self) -> AsyncIterator[bytes]:
        """The request's body, piece by piece."""
        half = (self.request.content_length or 0) // 2
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
