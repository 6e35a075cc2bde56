"""Applying the catalogue to one row: its findings, after precedence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from segpipe.validation.rules.catalogue import CATALOGUE, Finding, Found, Rule, Severity
from segpipe.validation.rules.evidence import Evidence
from segpipe.validation.rules.policy import Policy


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
