"""Rows of a manifest, in Arrow form and as Python values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import pyarrow as pa

from segpipe.manifests.cells import cells_of
from segpipe.manifests.columns import FINDINGS_COLUMN, SIZE_COLUMNS, TEXT_COLUMNS
from segpipe.manifests.common_types import as_text, fitted
from segpipe.manifests.held_masks import (
    MASK_COLUMN,
    PATH_MEMBER,
    HeldMask,
    HeldPath,
    MaskForm,
    held_masks,
)
from segpipe.manifests.limits import MAX_TEXT_BYTES
from segpipe.manifests.row_sizes import TooLarge
from segpipe.predictions.declarations import MOST_READ

# How text that is not UTF-8 is decoded. In other text columns it becomes None, so that the row is
# rejected for having no identity or no mask.
_DECODING_ERRORS = {"annotation_id": "backslashreplace"}
# Findings that are kept of a record's importer, which wrote one for each thing it found.
_MOST_FINDINGS = 10


@dataclass(frozen=True, slots=True)
class ImportFinding:
    """Something an importer found wrong with the record from which a row was made.

    Attributes:
        rule: id in the catalogue of rules.
        message: for people.
        found, expected: the values alone, for programs.
        remedy: what to do in this very case; empty if the rule's own remedy says it.
    """

    rule: str
    message: str
    found: str = ""
    expected: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """One row of a manifest, with types normalized and values not yet validated.

    Attributes:
        manifest: name of the file in tables and messages.
        number: of the row in the file, from 0.
        segments: the cell: a list of structs, JSON text, or None.
        height, width: the cells; valid ones are positive whole numbers of pixels.
        import_findings: what an importer found wrong with the row's record.
        mask: in the row itself; ``mask_url`` is empty then, or the row says two things.
    """

    manifest: str
    number: int
    reference_id: str | None
    mask_url: str | None
    segments: object
    annotation_id: str | None = None
    height: object = None
    width: object = None
    image_url: str | None = None
    import_findings: tuple[ImportFinding, ...] = ()
    mask: HeldMask | None = None


@dataclass(frozen=True)
class ManifestChunk:
    """Consecutive rows of one manifest file.

    Attributes:
        folder: URL of the file's folder; relative mask URLs are resolved against it.
        extras: the carried columns of these rows, in the schema ``Manifest.extras``.
    """

    folder: str
    rows: tuple[ManifestRow, ...]
    extras: pa.Table


@dataclass(frozen=True)
class ManifestBatch:
    """Consecutive rows of one manifest file in Arrow form, compact to send to a worker.

    Attributes:
        folder: URL of the file's folder.
        manifest: name of the file in tables and messages.
        first: number of the first row in the file, from 0.
        rows: the file's columns, or those that were requested.
        segment_column: the name of the column of Segments.
        extras: schema of the carried columns.
        carried: the name of each column of ``rows`` in ``extras``; None if it is not carried.
        class_names: what the whole numbers in Segments' labels stand for; empty if nothing.
        too_large: place of a row in ``rows`` -> why it was not read as a whole.
        mask_form: how the column ``mask`` holds masks; None if it holds none.
    """

    folder: str
    manifest: str
    first: int
    rows: pa.RecordBatch
    segment_column: str
    extras: pa.Schema
    carried: tuple[str | None, ...] = ()
    class_names: tuple[str, ...] = ()
    too_large: Mapping[int, TooLarge] = field(default_factory=dict)
    mask_form: MaskForm | None = None

    def __str__(self) -> str:
        return f"{self.manifest} rows {self.first} to {self.first + self.rows.num_rows - 1}"

    def chunk(self) -> ManifestChunk:
        """The rows as Python values, for the rules."""
        names, count = self.rows.schema.names, self.rows.num_rows
        columns = dict(zip(names, self.rows.columns, strict=True))
        cells: Mapping[str, list[Any]] = {
            name: cells_of(columns[name], _DECODING_ERRORS.get(name))
            if name in columns
            else [None] * count
            for name in (*TEXT_COLUMNS, *SIZE_COLUMNS, FINDINGS_COLUMN, self.segment_column)
        }
        segments = cells[self.segment_column]
        if self.class_names:
            segments = [_with_labels(cell, self.class_names) for cell in segments]
        findings = [*map(_findings, cells[FINDINGS_COLUMN])]
        for place, why in self.too_large.items():
            findings[place] = (_too_large(why, self.segment_column),)
        masks: list[HeldMask | None] = [None] * count
        if self.mask_form is not None and MASK_COLUMN in columns:
            masks = held_masks(columns[MASK_COLUMN], self.mask_form)
        urls = cells["mask_url"]
        for place, mask in enumerate(masks):
            if isinstance(mask, HeldPath) and not (urls[place] or "").strip():
                urls[place], masks[place] = mask.path, None
        rows = tuple(
            ManifestRow(self.manifest, number, *values)
            for number, values in enumerate(
                zip(
                    cells["reference_id"],
                    urls,
                    segments,
                    cells["annotation_id"],
                    map(_whole, cells["height"]),
                    map(_whole, cells["width"]),
                    cells["image_url"],
                    findings,
                    masks,
                    strict=True,
                ),
                self.first,
            )
        )
        carried = dict(zip(self.carried, self.rows.columns, strict=False))
        extras = [
            _carried(carried[field.name], field.type)
            if field.name in carried
            else pa.nulls(count, field.type)
            for field in self.extras
        ]
        return ManifestChunk(self.folder, rows, pa.Table.from_arrays(extras, schema=self.extras))


def _too_large(why: TooLarge, segment_column: str) -> ImportFinding:
    """The finding of a row that was not read as a whole."""
    if why.column == segment_column and why.limit == MOST_READ:
        return ImportFinding(
            "INDEX-OVERFLOW",
            f"{why.size:,} Segments, and at most 256 are possible: keep the best and merge the "
            "rest per label, or write the semantic view",
            f"{why.size} Segments",
            "at most 256",
        )
    if why.limit == MAX_TEXT_BYTES and why.column in (*TEXT_COLUMNS, PATH_MEMBER):
        message = (
            f"{why.column} has {why.size:,} bytes, over the limit of {why.limit:,}: is it another "
            "column's content?"
        )
    else:
        message = (
            f"the row has {why.size:,} bytes, most of them in column {why.column!r}, over the "
            f"limit of {why.limit:,} (max_row_bytes in the policy): write less into it, or a URL "
            "of it"
        )
    return ImportFinding(
        "ROW-TOO-LARGE", message, f"{why.size} bytes", f"at most {why.limit} bytes"
    )


def _findings(cell: Any) -> tuple[ImportFinding, ...]:
    """The findings that an importer wrote into a row: the first few, and how many more."""
    given = [one for one in cell or () if one is not None and one["rule"] is not None]
    more = len(given) - _MOST_FINDINGS
    findings = [
        ImportFinding(
            str(one["rule"]),
            str(one["message"]),
            str(one.get("found") or ""),
            str(one.get("expected") or ""),
            str(one.get("remedy") or ""),
        )
        for one in given[:_MOST_FINDINGS]
    ]
    if more > 0:
        last = findings[-1]
        findings[-1] = replace(last, message=f"{last.message} (and {more:,} more findings)")
    return tuple(findings)


def _carried(column: pa.Array, kind: pa.DataType) -> pa.Array:
    return as_text(column) if pa.types.is_string(kind) else fitted(column, kind)


def _whole(cell: Any) -> Any:
    return int(cell) if isinstance(cell, Decimal) and cell == cell.to_integral_value() else cell


def _with_labels(cell: Any, names: Sequence[str]) -> Any:
    """A cell of Segments, or of lists of their members, with names for numbers as labels."""
    if isinstance(cell, dict) and isinstance(cell.get("label"), list):
        return {**cell, "label": [_class_name(label, names) for label in cell["label"]]}
    if isinstance(cell, list):
        return [
            {**member, "label": _class_name(member.get("label"), names)}
            if isinstance(member, dict)
            else member
            for member in cell
        ]
    return cell


def _class_name(label: Any, names: Sequence[str]) -> Any:
    return names[label] if type(label) is int and 0 <= label < len(names) else label
