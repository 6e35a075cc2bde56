"""The commands' exit statuses."""

from __future__ import annotations

ALL_ACCEPTED, SOME_REJECTED, UNUSABLE, UNEXPECTED = 0, 1, 2, 3
#: Of a command that looks at something: it has looked, and something is wrong.
SOME_PROBLEMS = SOME_REJECTED


def after_signal(number: int) -> int:
    """The status of a command that a signal ended: 130 for SIGINT, 143 for SIGTERM."""
    return 128 + number
