"""What goes wrong between a client and a store or service, and when; see ``fault_proxy``."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Fault(StrEnum):
    """What goes wrong with a request."""

    SLOW_DOWN = "answer 503 SlowDown, forward nothing"
    DELAY = "forward after a while"
    CUT = "close the connection before an answer, forward nothing"
    CUT_IN_REQUEST = "forward half of the request's body, then close both connections"
    CUT_IN_ANSWER = "forward, then close half-way through the answer's body"
    TOO_MANY = "answer 429 with Retry-After, forward nothing"
    BROKEN = "answer 500, forward nothing"
    BAD_GATEWAY = "answer 502, forward nothing"
    REFUSED = "answer 400, forward nothing"
    UNAUTHORIZED = "answer 401, forward nothing"
    FORBIDDEN = "answer 403, forward nothing"
    ABSENT = "answer 404, forward nothing"
    REWRITTEN = "forward, then answer with other JSON than was said"
    LATE = "forward after a while, to the end, even where the client hangs up"
    STORED_BUT_502 = "forward, then answer 502 whatever was said"
    STORED_BUT_503 = "forward, then answer 503 whatever was said"
    STORED_BUT_500 = "forward, then answer 500 InternalError whatever the store said"
    STORED_THEN_CUT = "forward, then close the connection before an answer"


#: Status, code and words of answers without and after forwarding.
REFUSALS = {
    Fault.REFUSED: (400, "BadRequest", "There is something wrong with one of them."),
    Fault.UNAUTHORIZED: (401, "Unauthorized", "The key was withdrawn."),
    Fault.FORBIDDEN: (403, "Forbidden", "The key may not write here."),
    Fault.ABSENT: (404, "NotFound", "There is no such thing."),
    Fault.TOO_MANY: (429, "TooManyRequests", "Please come back later."),
    Fault.BROKEN: (500, "InternalError", "We encountered an internal error."),
    Fault.BAD_GATEWAY: (502, "BadGateway", "The server behind did not answer."),
}
AFTERWARDS = {
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
    after: int = 0
    body: bytes = b""
    rewrite: Callable[[Any], Any] = dict
    matched: int = 0
    happened: int = 0
    _seen: Counter[tuple[str, str]] = field(default_factory=Counter)

    def concerns(self, method: str, path: str) -> bool:
        """Whether it is about requests like this, whatever their bodies hold."""
        return bool(self.method.fullmatch(method) and self.path.search(path))

    def strikes(self, method: str, path: str, body: bytes) -> bool:
        """Whether this request is to fail; counts it."""
        if not self.concerns(method, path) or self.body not in body:
            return False
        self.matched += 1
        if self.matched <= self.after:
            return False
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
