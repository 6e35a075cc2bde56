"""Rows of a manifest: as Arrow holds them, and as values that rules can judge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from segpipe.manifests.cells import cells_of, is_text, plain_type, readable_text
from segpipe.manifests.columns import (
    FINDINGS_COLUMN,
    SIZE_COLUMNS,
    TEXT_COLUMNS,
    carried_name,
)

# Text that is not UTF-8 costs a row its identity or its mask; where it only travels along, its
# bytes are shown.
_UNDECODABLE = {"annotation_id": "backslashreplace"}


@dataclass(frozen=True, slots=True)
class ImportFinding:
    """What an importer found wrong with the record a row was made from.

    Attributes:
        rule: its id in the catalogue.
    """

    rule: str
    message: str
    found: str = ""
    expected: str = ""


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """One row as it stands in the manifest, types normalized, values not yet judged.

    Attributes:
        manifest: name of the file, as tables and messages show it.
        number: row in the file, counted from 0.
        segments: the cell: a list of structs, JSON text, or None.
        import_findings: what was wrong where the row was imported from.
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


@dataclass(frozen=True)
class ManifestChunk:
    """Consecutive rows of one manifest file.

    Attributes:
        folder: URL of the folder the file lies in; relative mask URLs start there.
        extras: the carried columns of these rows, in Manifest.extras' schema.
    """

    folder: str
    rows: tuple[ManifestRow, ...]
    extras: pa.Table


@dataclass(frozen=True)
class ManifestBatch:
    """Consecutive rows of one manifest file as Arrow holds them: small to send to whoever works on
    them, who makes a chunk of them.

    Attributes:
        folder: URL of the folder the file lies in.
        manifest: name of the file, as tables and messages show it.
        first: number of the first row in the file.
        rows: the file's columns, or those that were asked for.
        segment_column: the name of the column of Segments.
        extras: schema of the carried columns.
    """

    folder: str
    manifest: str
    first: int
    rows: pa.RecordBatch
    segment_column: str
    extras: pa.Schema

    def __str__(self) -> str:
        return f"{self.manifest} rows {self.first} to {self.first + self.rows.num_rows - 1}"

    def chunk(self) -> ManifestChunk:
        """The rows as Python values, ready to be judged."""
        names, count = self.rows.schema.names, self.rows.num_rows
        columns = dict(zip(names, self.rows.columns, strict=True))
        cells: Mapping[str, list[Any]] = {
            name: cells_of(columns[name], _UNDECODABLE.get(name))
            if name in columns
            else [None] * count
            for name in (*TEXT_COLUMNS, *SIZE_COLUMNS, FINDINGS_COLUMN, self.segment_column)
        }
        rows = tuple(
            ManifestRow(self.manifest, number, *values)
            for number, values in enumerate(
                zip(
                    cells["reference_id"],
                    cells["mask_url"],
                    cells[self.segment_column],
                    cells["annotation_id"],
                    cells["height"],
                    cells["width"],
                    cells["image_url"],
                    map(_findings, cells[FINDINGS_COLUMN]),
                    strict=True,
                ),
                self.first,
            )
        )
        carried = {carried_name(name): column for name, column in columns.items()}
        extras = [
            _carried(carried[field.name], field.type)
            if field.name in carried
            else pa.nulls(count, field.type)
            for field in self.extras
        ]
        return ManifestChunk(self.folder, rows, pa.Table.from_arrays(extras, schema=self.extras))


def _findings(cell: Any) -> tuple[ImportFinding, ...]:
    return tuple(
        ImportFinding(
            str(one["rule"]),
            str(one["message"]),
            str(one.get("found") or ""),
            str(one.get("expected") or ""),
        )
        for one in cell or ()
        if one is not None and one["rule"] is not None
    )


def _carried(column: pa.Array, kind: pa.DataType) -> pa.Array:
    if is_text(plain_type(column.type)):
        return readable_text(column, "backslashreplace").cast(kind)
    return column.cast(kind)
