"""The page on the rules, made of the catalogue."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from docs.reference_pages.markdown import MADE, prose, table
from segpipe.validation.rules import CATALOGUE, Rule, Severity

#: File of ``segpipe/validation/rules/`` -> the heading of its rules and what they look at.
KINDS = {
    "files": ("The mask file", "It is there, is an intact PNG, and holds index values."),
    "rows": ("The row", "Its dataset item, and the Segments it declares."),
    "sizes": ("Sizes", "The mask's size beside its image's."),
    "pixels": ("Values and Segments", "The mask's values beside the row's Segments."),
    "numbering": ("Numbering", "Values and indexes that are numbered differently."),
    "interpolation": (
        "Values no class was written with", "Scores, interpolation, lossy compression."
    ),
    "labels": ("Labels", "Labels beside the policy's taxonomy and task."),
    "pdfs": ("Class PDFs", "What a Segment's metadata says of each class."),
    "truth": ("Ground truth", "A prediction beside the published ground truth of its item."),
    "imports": ("Imports", "What was found while another format was imported."),
}  # fmt: skip
_EFFECTS = {
    Severity.REJECT: "The row is rejected.",
    Severity.WARN: "The row is accepted, with a warning.",
    Severity.CONVERT: "The row is accepted after a lossless conversion, which is noted.",
    Severity.OFF: "Off, unless a policy says otherwise.",
}
_HEAD = f"""# Rules

{MADE}

What masks and rows are checked against. `segpipe rules ID` says the same of one rule in a terminal.

Findings of rejected rows are in `rejected.parquet`, with what to do in that very case in the column
`remedy`; warnings and conversions are in the column `findings` of `validated.parquet`. Severities
can be changed per root and per model run, in `[policy.severities]`
([settings](settings.md#policy)).
"""


def rules_page() -> str:
    """The page, as Markdown."""
    parts = [_HEAD.rstrip("\n"), "## All rules", _overview()]
    for kind, (title, meaning) in KINDS.items():
        parts += [f"## {title}", meaning]
        parts += [part for rule in CATALOGUE.values() if kind_of(rule) == kind
                  for part in _section(rule)]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def kind_of(rule: Rule) -> str:
    """The file of ``segpipe/validation/rules/`` that has a rule.

    Raises:
        LookupError: if none of ``KINDS`` has it.
    """
    for kind in KINDS:
        module = sys.modules[f"segpipe.validation.rules.{kind}"]
        is_check = rule.check is not None and rule.check.__module__ == module.__name__
        if is_check or rule in [one for one in vars(module).values() if isinstance(one, Rule)]:
            return kind
    raise LookupError(f"{rule.id} is in no file that docs/reference_pages/rules.py lists")


def _overview() -> str:
    rows = (
        (f"[`{rule.id}`](#{rule.id.lower()})", rule.severity.value, prose(rule.meaning))
        for rule in CATALOGUE.values()
    )
    return table(("rule", "severity", "meaning"), rows)


def _section(rule: Rule) -> Iterator[str]:
    yield f"### `{rule.id}`"
    yield f"{prose(rule.meaning)} {_EFFECTS[rule.severity]}"
    lines = [
        f"- **Example**: {prose(rule.example)}",
        f"- **What to do**: {prose(rule.remedy)}",
        f"- **Severity**: `{rule.severity.value}`; {_choice(rule)}.",
    ]
    if rule.yields_to:
        others = ", ".join(f"[`{one}`](#{one.lower()})" for one in sorted(rule.yields_to))
        lines.append(f"- **Silent where one of these explains it better**: {others}")
    yield "\n".join(lines)


def _choice(rule: Rule) -> str:
    if rule.essential:
        return "it cannot be changed, since such a row could not be published"
    if rule.check is None:
        return "a policy may set `warn` or `off`"
    return "a policy may set `reject`, `warn` or `off`"
