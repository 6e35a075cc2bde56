"""Why a file is refused as a mask, and remarks about files that are accepted."""

from __future__ import annotations

from dataclasses import dataclass

from segpipe.masks.png import PngHeader


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
        remedy: what to do in this very case; empty if the rule's own remedy says it.

    Attributes:
        header: of the PNG, if it was read; what it says is judged although the pixels are refused.
    """

    def __init__(
        self, rule: str, message: str, found: str = "", expected: str = "", remedy: str = ""
    ) -> None:
        super().__init__(message)
        self.rule = rule
        self.message = message
        self.found = found
        self.expected = expected
        self.remedy = remedy
        self.header: PngHeader | None = None
