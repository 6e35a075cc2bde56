"""What a rule is, and the catalogue they are collected in.

A rule lives in one place: a function decorated with :func:`rule`, which holds its id, its default
severity, what it means and how to fix it, and yields what it found. Ids are data: they stand in
tables and reports, and never change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    """What a finding does to its row."""

    REJECT = "reject"
    WARN = "warn"
    CONVERT = "convert"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Found:
    """What a rule saw in one row: words, and the figures apart for whoever computes with them."""

    message: str
    found: str = ""
    expected: str = ""
    severity: Severity | None = None  # where this case is graver than the rule's default


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule broken by a row, with the severity that applied."""

    rule: str
    severity: Severity
    message: str
    found: str = ""
    expected: str = ""


# Of one row's Evidence, which is defined above this module because it knows the policy.
Check = Callable[[Any], Iterator[Found]]


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of the catalogue.

    Attributes:
        meaning: one sentence, why this is wrong.
        remedy: one sentence, what to do.
        example: a few words that show a case.
        yields_to: rules that explain the same symptom better; when one of them has a finding
            for the row, at least as grave, this one keeps silent: one cause gives one finding.
        check: None for rules that look at several rows and are applied where those are known.
        essential: a row that breaks it cannot be published at all; no policy can change that.
        told_by_reading: what breaks it is said while the mask is read, so there is nothing to look
            for where nothing was said.
        only_with: what there has to be of evidence for the rule to be broken, as the name of a
            property of Evidence: it saves asking most rules of most rows.
    """

    id: str
    severity: Severity
    meaning: str
    remedy: str
    yields_to: frozenset[str]
    check: Check | None
    essential: bool
    example: str
    told_by_reading: bool = False
    only_with: str | None = None


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
    told_by_reading: bool = False,
    only_with: str | None = None,
) -> Callable[[Check], Check]:
    """Enter a check into the catalogue."""

    def enter(check: Check) -> Check:
        explained = frozenset(yields_to)
        _enter(
            Rule(
                id,
                severity,
                meaning,
                remedy,
                explained,
                check,
                essential,
                example,
                told_by_reading,
                only_with,
            )
        )
        return check

    return enter


def rule_across_rows(
    id: str,
    severity: Severity,
    *,
    meaning: str,
    remedy: str,
    example: str,
    essential: bool = False,
) -> Rule:
    """Enter a rule that needs more than one row to be seen."""
    entered = Rule(id, severity, meaning, remedy, frozenset(), None, essential, example)
    _enter(entered)
    return entered


def _enter(entered: Rule) -> None:
    if entered.id in CATALOGUE:
        raise ValueError(f"rule {entered.id} is in the catalogue already")
    CATALOGUE[entered.id] = entered
