"""What a rule is, and the catalogue of all rules.

A rule is one function, decorated with :func:`rule`. The decorator holds its id, its default
severity, what it means and how to fix it; the function yields what it found. Ids are data: they
appear in tables and reports, and never change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    """What a finding does to its row: reject it, or accept it with a warning or a note."""

    REJECT = "reject"
    WARN = "warn"
    CONVERT = "convert"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Found:
    """What a rule found in one row.

    Attributes:
        message: for people, with the remedy.
        found, expected: the values alone, for programs.
        severity: of this case, if it differs from the rule's default.
        remedy: what to do in this case; empty if the rule's own remedy says it.
    """

    message: str
    found: str = ""
    expected: str = ""
    severity: Severity | None = None
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule broken by a row, with the severity that applied and what to do about it."""

    rule: str
    severity: Severity
    message: str
    found: str = ""
    expected: str = ""
    remedy: str = ""


# Takes the Evidence of one row. That module imports this one, so its type is not named here.
Check = Callable[[Any], Iterator[Found]]


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of the catalogue.

    Attributes:
        severity: the default; a policy may set another.
        meaning: why this is wrong, in one sentence.
        remedy: what to do, in one sentence that is true of every case.
        example: a short example.
        yields_to: rules that explain the same symptom better. If one of them has a finding for the
            row that is at least as severe, this rule reports nothing: one cause, one finding.
        check: None for rules that compare several rows; they are applied where the rows are known.
        essential: a row that breaks it cannot be published; no policy can change the severity.
        reported_by_reader: violations are reported while the mask is read and decoded. Without
            such a report the check is skipped.
        requires: name of the property of Evidence that must not be empty for the rule to be
            broken. It avoids running most checks on most rows.
    """

    id: str
    severity: Severity
    meaning: str
    remedy: str
    yields_to: frozenset[str]
    check: Check | None
    essential: bool
    example: str
    reported_by_reader: bool = False
    requires: str | None = None


CATALOGUE: dict[str, Rule] = {}


def rule(
    id: str,
    severity: Severity,
    *,
    meaning: str,
    remedy: str,
    example: str,
    yields_to: tuple[str, ...] = (),
    essential: bool = False,
    reported_by_reader: bool = False,
    requires: str | None = None,
) -> Callable[[Check], Check]:
    """Add the decorated check to the catalogue; see :class:`Rule` for the arguments.

    Raises:
        ValueError: if the catalogue has a rule with this id already.
    """

    def decorate(check: Check) -> Check:
        _add(
            Rule(
                id,
                severity,
                meaning,
                remedy,
                frozenset(yields_to),
                check,
                essential,
                example,
                reported_by_reader,
                requires,
            )
        )
        return check

    return decorate


def rule_across_rows(
    id: str,
    severity: Severity,
    *,
    meaning: str,
    remedy: str,
    example: str,
    essential: bool = False,
) -> Rule:
    """Add a rule that compares several rows; see :class:`Rule` for the arguments.

    Raises:
        ValueError: if the catalogue has a rule with this id already.
    """
    entry = Rule(id, severity, meaning, remedy, frozenset(), None, essential, example)
    _add(entry)
    return entry


def _add(entry: Rule) -> None:
    if entry.id in CATALOGUE:
        raise ValueError(f"rule {entry.id} is in the catalogue already")
    CATALOGUE[entry.id] = entry
