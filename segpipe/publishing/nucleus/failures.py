"""What goes wrong on the way to Nucleus, in words without the API key, and what is tried again."""

from __future__ import annotations

import base64
import email.utils
import random
import time
from collections.abc import Sequence
from datetime import UTC, datetime

#: Statuses that may pass when the request is sent again.
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 524})
#: Statuses that are about the key, the dataset or the model, and so about every request.
_EVERYWHERE = frozenset({401, 403, 404})
_LONGEST_WAIT = 60.0  # seconds
_MOST_CHARACTERS = 500


class ServiceFailed(Exception):
    """A request that was not answered as it should be.

    Attributes:
        words: the service's or the network's, without anything secret.
        passing: whether it may pass when it is tried again.
        status: of HTTP; None where nobody answered, or with what is not understood.
        wait: seconds the service asked to wait; None where it did not say.
    """

    def __init__(
        self,
        words: str,
        *,
        passing: bool,
        status: int | None = None,
        wait: float | None = None,
    ) -> None:
        super().__init__(words)
        self.words, self.passing, self.status, self.wait = words, passing, status, wait

    @property
    def everywhere(self) -> bool:
        """Whether every other upload would be refused alike."""
        return self.status in _EVERYWHERE


class Discretion:
    """Repeats what others say, in one line of bounded length and without a secret."""

    def __init__(self, secret: str) -> None:
        as_sent = base64.b64encode(f"{secret}:".encode()).decode()
        # What is cut off is cut off last: a half of a secret is not recognized any more.
        self._secrets = (secret, as_sent, as_sent.rstrip("="))

    def __repr__(self) -> str:
        return "Discretion()"

    def __call__(self, text: str) -> str:
        """The text, fit to be shown and stored."""
        return " ".join(self.entirely(text).split())[:_MOST_CHARACTERS] or "nothing"

    def entirely(self, text: str) -> str:
        """The text without the secret, uncut."""
        for secret in self._secrets:
            text = text.replace(secret, "...")
        return text

    def refusal(self, status: int, text: str, retry_after: str | None) -> ServiceFailed:
        """An answer with a status that is no success."""
        return ServiceFailed(
            f"answered {status}: {self(text)}",
            passing=status in _PASSING,
            status=status,
            wait=seconds_of(retry_after),
        )


def gravest(failures: Sequence[ServiceFailed]) -> ServiceFailed:
    """The failure of several that decides what is done, with the longest wait of all."""
    chosen = min(failures, key=lambda one: (not one.everywhere, one.passing))
    waits = [one.wait for one in failures if one.wait is not None]
    chosen.wait = max(waits, default=None)
    return chosen


class Patience:
    """How long something is tried again: ever longer waits with some chance in them."""

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds
        self._attempt = 0

    def waits(self, asked: float | None = None) -> bool:
        """Wait before the next attempt; False where there is no time for another.

        Args:
            asked: seconds the service wants to be left alone.
        """
        longest = min(_LONGEST_WAIT, 0.5 * 2**self._attempt)
        self._attempt += 1
        wait = random.uniform(longest / 2, longest) if asked is None else asked
        if time.monotonic() + wait > self._until:
            return False
        time.sleep(wait)
        return True


def seconds_of(retry_after: str | None) -> float | None:
    """What a Retry-After header says: seconds, or a date; None where it says nothing."""
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
