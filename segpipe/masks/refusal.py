"""Why a file is not taken for a mask, and what is worth telling of one that is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Remark:
    """Something worth telling of a mask that was accepted: a rule's id and the words for it."""

    rule: str
    message: str


class MaskRefused(Exception):
    """A mask file is not an index mask. ``rule`` is the id of the rule it breaks."""

    def __init__(self, rule: str, message: str, found: str = "", expected: str = "") -> None:
        super().__init__(message)
        self.rule = rule
        self.message = message
        self.found = found
        self.expected = expected
