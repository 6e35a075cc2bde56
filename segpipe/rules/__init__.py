"""The rule catalogue: one file per kind of evidence, one function per rule.

To add a rule, write its function in the file of its kind; nothing else needs to know.
"""

from segpipe.rules import files, pixels, rows, sizes
from segpipe.rules.catalogue import (
    CATALOGUE,
    Finding,
    Found,
    Policy,
    Rule,
    Severity,
    finding,
    judge,
)
from segpipe.rules.evidence import Evidence

__all__ = [
    "CATALOGUE",
    "Evidence",
    "Finding",
    "Found",
    "Policy",
    "Rule",
    "Severity",
    "files",
    "finding",
    "judge",
    "pixels",
    "rows",
    "sizes",
]
