"""Failures of requests to Nucleus: messages without the API key, and waiting before retries."""

from __future__ import annotations

import base64
import email.utils
import random
import time
from collections.abc import Sequence
from datetime import UTC, datetime

# HTTP statuses after which the same request may succeed.
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 524})
# HTTP statuses about the key, the dataset or the model, and so about every request.
_EVERYWHERE = frozenset({401, 403, 404})
_LONGEST_WAIT = 60.0  # seconds
_MOST_CHARACTERS = 500


class ServiceFailed(Exception):
    """A request that failed.

    Attributes:
        words: the message of the service or the network, without secrets.
        transient: whether a retry may succeed.
        status: of HTTP; None without an answer, or with one that cannot be understood.
        wait: seconds that the service asked to wait; None if it did not.
    """

    def __init__(
        self,
        words: str,
        *,
        transient: bool,
        status: int | None = None,
        wait: float | None = None,
    ) -> None:
        super().__init__(words)
        self.words, self.transient, self.status, self.wait = words, transient, status, wait

    @property
    def everywhere(self) -> bool:
        """Whether every other upload would be refused as well."""
        return self.status in _EVERYWHERE


class Redactor:
    """Makes text safe to show and store: without a secret, and optionally shortened."""

    def __init__(self, secret: str) -> None:
        as_sent = base64.b64encode(f"{secret}:".encode()).decode()
        # Text is shortened last: half of a secret would not be recognized.
        self._secrets = (secret, as_sent, as_sent.rstrip("="))

    def __repr__(self) -> str:
        return "Redactor()"

    def __call__(self, text: str) -> str:
        """The text in one line of bounded length, without the secret."""
        return " ".join(self.entirely(text).split())[:_MOST_CHARACTERS] or "nothing"

    def entirely(self, text: str) -> str:
        """The whole text, without the secret."""
        for secret in self._secrets:
            text = text.replace(secret, "...")
        return text

    def refusal(self, status: int, text: str, retry_after: str | None) -> ServiceFailed:
        """The failure for an answer with an error status.

        Args:
            text: body of the answer.
            retry_after: its Retry-After header, if it has one.
        """
        return ServiceFailed(
            f"answered {status}: {self(text)}",
            transient=status in _TRANSIENT,
            status=status,
            wait=seconds_of(retry_after),
        )


def most_severe(failures: Sequence[ServiceFailed]) -> ServiceFailed:
    """The one of several failures that decides what to do, with the longest wait of all."""
    chosen = min(failures, key=lambda one: (not one.everywhere, one.transient))
    waits = [one.wait for one in failures if one.wait is not None]
    chosen.wait = max(waits, default=None)
    return chosen


class Backoff:
    """Exponential backoff with jitter, up to a time limit.

    Args:
        seconds: how long to go on retrying.
    """

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds
        self._attempt = 0

    def wait(self, asked: float | None = None) -> bool:
        """Wait before the next attempt; False if there is no time left for one.

        Args:
            asked: seconds that the service asked to wait.
        """
        longest = min(_LONGEST_WAIT, 0.5 * 2**self._attempt)
        self._attempt += 1
        wait = random.uniform(longest / 2, longest) if asked is None else asked
        if time.monotonic() + wait > self._until:
            return False
        time.sleep(wait)
        return True


def seconds_of(retry_after: str | None) -> float | None:
    """Seconds to wait by a Retry-After header (seconds, or a date); None without a valid one."""
    if retry_after is None:
        return None
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        at = email.utils.parsedate_to_datetime(retry_after)
        return max(0.0, (at - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None
