"""The summary of a pass over a partition, and the names of its files."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from segpipe.errors import TableError, printable
from segpipe.storage.files import Folder
from segpipe.tables.text import html_table, text_table

VALIDATED_FILE, SEGMENTS_FILE, REJECTED_FILE = (
    "validated.parquet",
    "segments.parquet",
    "rejected.parquet",
)
_FOUND = ("rule", "rows")
SUMMARY_FILE = "_summary.json"


@dataclass(frozen=True, repr=False)
class Summary:
    """Counts of a pass over a manifest. Every row is accepted, rejected or repeated.

    Attributes:
        rows: rows of the manifest.
        accepted: predictions in the validated table.
        rejected: rows in the rejected table.
        repeated: rows left out because an equal one of the same item was accepted.
        segments: rows of the segment table.
        taxonomy_size: Segments of the list that all rows share; 0 if rows list what they found.
        findings: rule -> number of rows with a finding of it, accepted rows (warnings,
            conversions) included.
        validated_digest, rejected_digest: of the tables' content (hex).
        warnings: what of the manifest's columns is not in the tables as its files have it, and what
            of the ground truth could not be compared.
        ground_truth: what became of the rows whose masks were read -> number of rows, in the words
            of ``segpipe.validation.ground_truth``; empty if nothing was to be compared.
        reused: the tables of an earlier pass were up to date, and were left as they are.
    """

    rows: int
    accepted: int
    rejected: int
    repeated: int
    segments: int
    taxonomy_size: int
    findings: Mapping[str, int]
    validated_digest: str
    rejected_digest: str
    warnings: Sequence[str] = field(default_factory=list)
    ground_truth: Mapping[str, int] = field(default_factory=dict)
    reused: bool = field(default=False, compare=False)

    @property
    def rejection_rate(self) -> float:
        """Share of the rows that were rejected, 0 to 1."""
        return self.rejected / self.rows

    @property
    def headline(self) -> str:
        """The counts in one line."""
        repeated = f", {self.repeated} repeated (kept once)" if self.repeated else ""
        return f"{self.rows} rows: {self.accepted} accepted, {self.rejected} rejected{repeated}"

    @property
    def warning_lines(self) -> list[str]:
        """The warnings, and how many rows were compared with ground truth, as lines for people."""
        lines = [printable(f"warning: {warning}") for warning in self.warnings]
        if self.ground_truth:
            counts = ", ".join(f"{rows} {outcome}" for outcome, rows in self.ground_truth.items())
            lines.append(f"ground truth: {counts}")
        return lines

    def __repr__(self) -> str:
        lines = [self.headline, *self.warning_lines]
        if self.findings:
            lines.append(text_table(_FOUND, sorted(self.findings.items())))
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        warnings = "".join(f"<p>{html.escape(line)}</p>" for line in self.warning_lines)
        found = html_table(_FOUND, sorted(self.findings.items()))
        return f"<p>{self.headline}</p>{warnings}{found}"

    def to_json(self) -> str:
        """JSON text, as stored beside the tables."""
        stored = {name: value for name, value in asdict(self).items() if name != "reused"}
        for name in ("warnings", "ground_truth"):
            if not stored[name]:
                del stored[name]
        return json.dumps(stored, indent=2, sort_keys=True) + "\n"

    @property
    def outcome(self) -> str:
        """Identifies the content of this pass's tables."""
        return f"{self.validated_digest} {self.rejected_digest}"

    @classmethod
    def read(cls, folder: Folder) -> Summary:
        """The summary stored beside the tables.

        Raises:
            TableError: if there is none, or it is damaged.
        """
        if not folder.exists(SUMMARY_FILE):
            raise TableError(f"{folder.shown} holds no finished tables: materialize them first")
        try:
            return cls(**json.loads(folder.read(SUMMARY_FILE)))
        except (ValueError, TypeError) as error:
            raise TableError(
                f"{folder.shown}/{SUMMARY_FILE} is damaged ({error}): materialize again"
            ) from None
