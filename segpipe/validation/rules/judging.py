"""Applying the catalogue to one row: its findings, in order of precedence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

from segpipe.errors import shortened
from segpipe.validation.rules.catalogue import CATALOGUE, Check, Finding, Found, Rule, Severity
from segpipe.validation.rules.evidence import Evidence
from segpipe.validation.rules.policy import Policy

# Characters of what a finding says. Ten rows of such stand on one page.
_LONGEST = 3000


class Rules(tuple[Rule, ...]):
    """Rules for single rows, in an order."""

    @cached_property
    def by_requirement(self) -> Sequence[tuple[str | None, Sequence[tuple[int, Rule, Check]]]]:
        """The property of Evidence that rules need not to be empty -> their places, themselves and
        their checks. Most rows have few such, so that most rules are skipped together."""
        found: dict[str | None, list[tuple[int, Rule, Check]]] = {}
        for place, rule in enumerate(self):
            if rule.check is not None:
                needed = "reported" if rule.reported_by_reader else rule.requires
                found.setdefault(needed, []).append((place, rule, rule.check))
        return tuple(found.items())


def rules_in_force(policy: Policy) -> Rules:
    """The rules for single rows that a policy does not switch off, in the catalogue's order."""
    return Rules(
        rule
        for rule in CATALOGUE.values()
        if rule.check is not None and policy.severity_of(rule) is not Severity.OFF
    )


def compares_with_truth(policy: Policy) -> bool:
    """Whether a rule that a policy leaves in force looks at ground truth."""
    return any(rule.requires == "truth" for rule in rules_in_force(policy))


def judge(evidence: Evidence, rules: Rules | None = None) -> list[Finding]:
    """All findings of one row, in the order of the rules.

    A finding is left out if a rule that it yields to has one that is at least as severe.

    Args:
        rules: :func:`rules_in_force` under the evidence's policy; computed if None.
    """
    policy, reported = evidence.policy, evidence.reported
    broken: dict[int, tuple[Rule, list[Finding]]] = {}
    for needed, those in (rules_in_force(policy) if rules is None else rules).by_requirement:
        if needed is not None and not getattr(evidence, needed):
            continue
        for place, rule, check in those:
            if rule.reported_by_reader and rule.id not in reported:
                continue
            for one in check(evidence):
                _, found = broken.setdefault(place, (rule, []))
                found.append(finding(rule, policy, one))
    if not broken:
        return []
    by_id = {rule.id: found for rule, found in broken.values()}
    return [
        one
        for _, (rule, found) in sorted(broken.items())
        for one in found
        if not _explained_better(one, rule, by_id)
    ]


def _explained_better(one: Finding, rule: Rule, broken: Mapping[str, Sequence[Finding]]) -> bool:
    return any(
        better.severity is Severity.REJECT or one.severity is not Severity.REJECT
        for id in rule.yields_to & broken.keys()
        for better in broken[id]
    )


def finding(rule: Rule, policy: Policy, found: Found) -> Finding:
    """What a rule found, with the severity that applies: the policy's, else that of the case."""
    severity = policy.severity_of(rule)
    if found.severity is not None and rule.id not in policy.severities:
        severity = found.severity
    return Finding(
        rule.id,
        severity,
        _encodable(found.message),
        _encodable(found.found),
        _encodable(found.expected),
        _encodable(found.remedy or rule.remedy),
    )


def _encodable(text: str) -> str:
    """The text with everything escaped that UTF-8 cannot encode; values from data may hold it, and
    be of any length."""
    text = shortened(text, _LONGEST)
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")
