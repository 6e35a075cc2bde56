"""``segpipe rules``: list the rules, or explain one."""

from __future__ import annotations

from segpipe.cli.console import put
from segpipe.errors import SettingsError, nearest
from segpipe.validation.rules import CATALOGUE


def list_rules() -> None:
    """Print a line per rule."""
    for rule in CATALOGUE.values():
        put(f"{rule.id:<20} {rule.severity.value:<8} {rule.meaning}")
    put()
    put("segpipe rules ID explains one; severities can be changed in [policy.severities]")


def explain_rule(id: str) -> None:
    """Print one rule, with an example.

    Args:
        id: the rule's, in any case.

    Raises:
        SettingsError: if there is no such rule, naming the most similar one.
    """
    rule = CATALOGUE.get(id.upper())
    if rule is None:
        raise SettingsError(f"there is no rule {id!r}{nearest(id.upper(), list(CATALOGUE))}")
    fixed = " (cannot be changed: such a row could not be published)" if rule.essential else ""
    put(f"{rule.id}  {rule.severity.value}{fixed}")
    put()
    put(f"  {rule.meaning}")
    put()
    put(f"  example:     {rule.example}")
    put(f"  what to do:  {rule.remedy}")
    if rule.yields_to:
        better = ", ".join(sorted(rule.yields_to))
        put(f"  not reported where one of these explains it better: {better}")
