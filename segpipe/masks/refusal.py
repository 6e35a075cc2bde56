"""Why a file is refused as a mask, and remarks about files that are accepted."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Remark:
    """A conversion or oddity of an accepted mask: the rule's id and its message."""

    rule: str
    message: str


class MaskRefused(Exception):
    """A file is not an index mask, or may not be read.

    Args:
        rule: id of the rule it breaks.
        message: what was found and what to do.
        found: the value found, for tables.
        expected: the value expected, for tables.
    """

    def __init__(self, rule: str, message: str, found: str = "", expected: str = "") -> None:
        super().__init__(message)
        self.rule = rule
        self.message = message
        self.found = found
        self.expected = expected
