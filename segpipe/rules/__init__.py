"""The rule catalogue: one file per kind of evidence, one function per rule.

To add a rule, write its function in the file of its kind; nothing else needs to know.
"""

from segpipe.rules import files, imports, labels, pixels, rows, sizes
from segpipe.rules.catalogue import (
    CATALOGUE,
    Finding,
    Found,
    Rule,
    Severity,
    finding,
    judge,
    rules_in_force,
)
from segpipe.rules.evidence import Evidence
from segpipe.rules.policy import Policies, Policy

__all__ = [
    "CATALOGUE",
    "Evidence",
    "Finding",
    "Found",
    "Policies",
    "Policy",
    "Rule",
    "Severity",
    "files",
    "finding",
    "imports",
    "judge",
    "labels",
    "pixels",
    "rows",
    "rules_in_force",
    "sizes",
]
