"""The report on a validation, for people (text, HTML) and for programs (JSON)."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from segpipe.errors import printable, shortened
from segpipe.names import shown
from segpipe.storage.files import Folder
from segpipe.tables.text import html_table
from segpipe.validation.rules import CATALOGUE, Severity
from segpipe.validation.summary import REJECTED_FILE, VALIDATED_FILE, Summary

_EXAMPLES = 3
_REMEDIES = 3
_STORED_REMEDIES = 10
# Different remedies counted per rule. Bounded, because they may name values of their rows.
_COUNTED_REMEDIES = 1000
_EXAMPLE_KEYS = ("reference_id", "manifest", "manifest_row", "message")


@dataclass
class RuleReport:
    """The findings of one rule.

    Attributes:
        rows: number of rows with a finding of the rule, accepted rows included.
        remedy: what to do; the rule's own, which is true of every case.
        rejected_rows: those of them that were rejected (by this rule or by another).
        examples: the first few: reference id, manifest, row and message.
        remedies: what to do, as made from what was found in the rejected rows -> number of rows.
    """

    rule: str
    severity: str
    remedy: str
    rows: int
    rejected_rows: int = 0
    examples: list[dict[str, Any]] = field(default_factory=list)
    remedies: dict[str, int] = field(default_factory=dict)

    def add(self, row: Mapping[str, Any]) -> None:
        """Add a finding: the first sets the severity, and the first few become examples."""
        remedy = row.get("remedy")
        if remedy and (remedy in self.remedies or len(self.remedies) < _COUNTED_REMEDIES):
            self.remedies[remedy] = self.remedies.get(remedy, 0) + 1
        if not self.examples:
            self.severity = row["severity"]
        if len(self.examples) < _EXAMPLES:
            self.examples.append({key: row[key] for key in _EXAMPLE_KEYS})

    def stored(self) -> dict[str, Any]:
        """As a JSON object; of many different remedies, the commonest ten and how many more."""
        ranked = sorted(self.remedies.items(), key=lambda one: -one[1])
        more = ranked[_STORED_REMEDIES:]
        remedies = dict(ranked[:_STORED_REMEDIES])
        if more:
            remedies[f"{len(more)} more remedies"] = sum(rows for _, rows in more)
        return {**asdict(self), "remedies": remedies}

    @property
    def advice(self) -> list[str]:
        """What to do, for people: the commonest remedies, with their rows where they differ."""
        ranked = sorted(self.remedies.items(), key=lambda one: -one[1])
        if len(ranked) < 2:
            return [ranked[0][0] if ranked else self.remedy]
        return [f"{_rows(rows)}: {remedy}" for remedy, rows in ranked[:_REMEDIES]]


@dataclass(frozen=True, repr=False)
class ValidationReport:
    """The summary of a pass and its findings by rule, most severe and most frequent first."""

    summary: Summary
    rules: tuple[RuleReport, ...]

    @classmethod
    def read(cls, tables: Folder) -> ValidationReport:
        """The report on the tables of a finished pass.

        Raises:
            TableError: if they are missing.
        """
        summary = Summary.read(tables)
        rules = {
            rule: RuleReport(rule, CATALOGUE[rule].severity.value, CATALOGUE[rule].remedy, rows)
            for rule, rows in summary.findings.items()
            if rule in CATALOGUE and rows
        }
        for row in _rejected_rows(tables):
            if row["rule"] in rules:
                rules[row["rule"]].rejected_rows += 1
                rules[row["rule"]].add(row)
        for row in _noted_rows(tables):
            if row["rule"] in rules:
                rules[row["rule"]].add(row)
        by_severity = [severity.value for severity in Severity]
        order = sorted(
            rules.values(), key=lambda r: (by_severity.index(r.severity), -r.rows, r.rule)
        )
        return cls(summary, tuple(order))

    def __repr__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        columns = ("rule", "severity", "rows", "rejected", "first", "what to do")
        rows = (
            (
                rule.rule,
                rule.severity,
                rule.rows,
                rule.rejected_rows,
                "; ".join(str(one["message"]) for one in rule.examples[:1]),
                " ".join(rule.advice),
            )
            for rule in self.rules
        )
        said = (self.summary.headline, *self.summary.warning_lines)
        first = "".join(f"<p>{html.escape(line)}</p>" for line in said)
        return f"{first}{html_table(columns, rows)}"

    def to_json(self) -> str:
        """JSON text, for programs; what a terminal would obey is escaped, as JSON has it."""
        text = json.dumps(
            {"summary": asdict(self.summary), "rules": [rule.stored() for rule in self.rules]},
            indent=2,
            ensure_ascii=False,
        )
        return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)

    def lines(self) -> Iterator[str]:
        """Lines for people: counts, then each rule with examples and its remedy.

        Control characters are escaped: ids and messages come from data.
        """
        return map(printable, self._lines())

    def _lines(self) -> Iterator[str]:
        summary = self.summary
        yield summary.headline
        yield from summary.warning_lines
        if summary.taxonomy_size:
            yield (
                f"rows list the same {summary.taxonomy_size} Segments, a taxonomy: those without "
                "pixels are not told one by one"
            )
        for rule in self.rules:
            if rule.severity == Severity.REJECT:
                yield ""
                yield f"{rule.rule}  {_rows(rule.rows)} rejected"
                yield from _example_lines(rule)
                if rule.rejected_rows > len(rule.examples):
                    yield f"  and {rule.rejected_rows - len(rule.examples)} more"
                yield from (f"  -> {line}" for line in rule.advice)
        notes = [rule for rule in self.rules if rule.severity != Severity.REJECT]
        if notes:
            yield ""
            yield "published, with a note:"
            for rule in notes:
                yield f"  {rule.rule}  {_rows(rule.rows)}: {CATALOGUE[rule.rule].meaning}"
                if rule.severity == Severity.WARN:
                    yield from (f"  {line}" for line in _example_lines(rule))


def _example_lines(rule: RuleReport) -> Iterator[str]:
    for example in rule.examples:
        reference_id = shortened(example["reference_id"] or "(no reference_id)")
        quoted = shown(reference_id)
        if quoted[1:-1] != reference_id or reference_id != reference_id.strip():
            reference_id = quoted  # a line break would break the line, and a blank not be seen
        yield f"  {reference_id} ({example['manifest']} row {example['manifest_row']})"
        yield f"    {example['message']}"


def findings_of(tables: Folder) -> Iterator[dict[str, Any]]:
    """All findings of a partition, those of rejected rows first: ``rule``, ``severity``,
    ``message``, ``reference_id``, ``manifest`` and ``manifest_row`` of each."""
    yield from _rejected_rows(tables)
    yield from _noted_rows(tables)


def _noted_rows(tables: Folder) -> Iterator[dict[str, Any]]:
    """The findings of accepted rows."""
    columns = ["reference_id", "manifest", "manifest_row", "findings"]
    with tables.open_input(VALIDATED_FILE) as handle:
        for batch in pq.ParquetFile(handle).iter_batches(batch_size=4096, columns=columns):
            noted = batch.filter(pc.greater(pc.list_value_length(batch["findings"]), 0))
            for row in noted.to_pylist():
                yield from (row | finding for finding in row["findings"])


def _rejected_rows(tables: Folder) -> Iterator[dict[str, Any]]:
    with tables.open_input(REJECTED_FILE) as handle:
        for batch in pq.ParquetFile(handle).iter_batches(batch_size=4096):
            yield from batch.to_pylist()


def _rows(count: int) -> str:
    return f"{count} row" if count == 1 else f"{count} rows"
