"""The rule catalogue: one file per kind of evidence, one function per rule.

To add a rule, write its function in the file of its kind; nothing else has to change.
"""

from segpipe.validation.rules import (
    files,
    imports,
    interpolation,
    labels,
    numbering,
    pdfs,
    pixels,
    rows,
    sizes,
    truth,
)
from segpipe.validation.rules.catalogue import CATALOGUE, Finding, Found, Rule, Severity
from segpipe.validation.rules.evidence import Evidence
from segpipe.validation.rules.judging import Rules, finding, judge, rules_in_force
from segpipe.validation.rules.policy import Policies, Policy

__all__ = [
    "CATALOGUE",
    "Evidence",
    "Finding",
    "Found",
    "Policies",
    "Policy",
    "Rule",
    "Rules",
    "Severity",
    "files",
    "finding",
    "imports",
    "interpolation",
    "judge",
    "labels",
    "numbering",
    "pdfs",
    "pixels",
    "rows",
    "rules_in_force",
    "sizes",
    "truth",
]
