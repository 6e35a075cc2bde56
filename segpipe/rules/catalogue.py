"""What a rule is, and the catalogue they are collected in.

A rule lives in one place: a function decorated with :func:`rule`, which holds its id, its default
severity, what it means and how to fix it, and yields what it found. Ids are data: they stand in
tables and reports, and never change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from segpipe.rules.evidence import Evidence
    from segpipe.rules.policy import Policy


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


Check = Callable[["Evidence"], Iterator[Found]]


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


def rules_in_force(policy: Policy) -> tuple[Rule, ...]:
    """The rules of single rows that a policy does not switch off, in the catalogue's order."""
    return tuple(
        entered
        for entered in CATALOGUE.values()
        if entered.check is not None and policy.severity_of(entered) is not Severity.OFF
    )


def judge(evidence: Evidence, rules: Sequence[Rule] | None = None) -> list[Finding]:
    """Every finding of one row, in the catalogue's order, after precedence.

    Args:
        rules: those in force under the evidence's policy, where the caller knows them.
    """
    policy, told = evidence.policy, evidence.told
    broken: dict[str, list[Finding]] = {}
    for entered in rules_in_force(policy) if rules is None else rules:
        if (
            entered.check is None
            or (entered.told_by_reading and entered.id not in told)
            or (entered.only_with is not None and not getattr(evidence, entered.only_with))
        ):
            continue
        for one in entered.check(evidence):
            broken.setdefault(entered.id, []).append(finding(entered, policy, one))
    if not broken:
        return []
    return [
        one
        for id, found in broken.items()
        for one in found
        if not _explained_better(one, CATALOGUE[id], broken)
    ]


def _explained_better(one: Finding, entered: Rule, broken: Mapping[str, Sequence[Finding]]) -> bool:
    return any(
        better.severity is Severity.REJECT or one.severity is not Severity.REJECT
        for id in entered.yields_to & broken.keys()
        for better in broken[id]
    )


def finding(entered: Rule, policy: Policy, found: Found) -> Finding:
    """A finding of a rule with the severity its case has, or the policy gives it."""
    severity = policy.severity_of(entered)
    if found.severity is not None and entered.id not in policy.severities:
        severity = found.severity
    return Finding(
        entered.id, severity, _told(found.message), _told(found.found), _told(found.expected)
    )


def _told(text: str) -> str:
    """Text that can be written anywhere: what data holds may not even be Unicode."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")
