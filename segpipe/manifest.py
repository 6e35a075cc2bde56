"""Parquet manifests: one row per prediction, read as a stream of chunks.

What a *file* must be is checked before its first row is read and raises ManifestError; what a *row*
must be is for the rules to say (segpipe.rules), so one bad row never costs the others.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from segpipe.cells import cells_of, is_text, plain_type, readable_text
from segpipe.errors import ManifestError
from segpipe.storage import Folder
from segpipe.tables import VALIDATED

#: Names under which the column of Segments is found, in this order.
SEGMENT_COLUMNS = ("segments", "annotations")
_TEXT = ("reference_id", "mask_url", "annotation_id", "image_url")
_SIZES = ("height", "width")
#: Where importers say what was wrong with the records they read.
FINDINGS_COLUMN = "import_findings"
FINDINGS_TYPE = pa.list_(
    pa.struct([pa.field(name, pa.string()) for name in ("rule", "message", "found", "expected")])
)
# A carried column of one of these names gets the prefix "manifest_": the name is taken.
_TAKEN = frozenset([*VALIDATED.names, "date"])
# Text that is not UTF-8 costs a row its identity or its mask; where it only travels along, its
# bytes are shown.
_UNDECODABLE = {"annotation_id": "backslashreplace"}
_EXPECTED_SEGMENTS = "list<struct<label, index, metadata>> or the same as a JSON string"


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
            for name in (*_TEXT, *_SIZES, FINDINGS_COLUMN, self.segment_column)
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


@dataclass(frozen=True)
class ManifestFile:
    """One readable Parquet manifest whose columns were checked."""

    folder: Folder
    name: str
    shown: str
    rows: int
    schema: pa.Schema


@dataclass(frozen=True)
class Manifest:
    """The manifest files of one partition, read as one, in the order of their names."""

    files: tuple[ManifestFile, ...]
    extras: pa.Schema

    @classmethod
    def open(cls, files: Sequence[tuple[Folder, str, str]]) -> Manifest:
        """Check manifest files; reads footers only.

        Args:
            files: folder, file name, and the name to show, of each.

        Raises:
            ManifestError: naming the file, the column, what was found and what was expected.
        """
        opened = tuple(_open(folder, name, shown) for folder, name, shown in files)
        if not any(file.rows for file in opened):
            shown = ", ".join(file.shown for file in opened)
            raise ManifestError(
                f"{shown}: the manifest has no rows. A model run that predicted nothing needs no "
                "manifest; otherwise write it again"
            )
        return cls(opened, _extras(opened))

    @property
    def rows(self) -> int:
        """Rows of all files together."""
        return sum(file.rows for file in self.files)

    def content_sha256(self) -> str:
        """SHA-256 over the bytes of all files: equal content, equal digest."""
        digest = hashlib.sha256()
        for file in self.files:
            with file.folder.open_input(file.name) as handle:
                digest.update(hashlib.file_digest(handle, "sha256").digest())  # type: ignore[arg-type]
        return digest.hexdigest()

    def batches(
        self, rows_per_batch: int, columns: Sequence[str] | None = None
    ) -> Iterator[ManifestBatch]:
        """Stream all rows in order; memory is bounded by a row group and a batch.

        Args:
            columns: those of a row that are wanted, where not all are; no others are read.

        Raises:
            ManifestError: if a file turns out to be damaged further on.
        """
        for file in self.files:
            number = 0
            names = columns and [name for name in columns if name in file.schema.names]
            extras = self.extras if columns is None else pa.schema([])
            segments = segment_column(file.schema)
            for rows in _batches(file, names, rows_per_batch):
                yield ManifestBatch(file.folder.url, file.shown, number, rows, segments, extras)
                number += rows.num_rows

    def chunks(
        self, rows_per_chunk: int = 256, columns: Sequence[str] | None = None
    ) -> Iterator[ManifestChunk]:
        """:meth:`batches`, each made a chunk."""
        for batch in self.batches(rows_per_chunk, columns):
            yield batch.chunk()

    def reference_ids(self) -> Iterator[pa.Array]:
        """Stream the reference ids alone, as string arrays."""
        for file in self.files:
            for batch in _batches(file, ["reference_id"], 65_536):
                yield readable_text(batch.column(0), None)


def _open(folder: Folder, name: str, shown: str) -> ManifestFile:
    handle = folder.open_input(name)
    try:
        with handle:
            file = pq.ParquetFile(handle)
            schema, rows = file.schema_arrow, file.metadata.num_rows
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ManifestError(
            f"{shown} is not a readable Parquet file ({reason}). Write the manifest again, or "
            "point to a .parquet file"
        ) from None
    _check_columns(shown, schema)
    return ManifestFile(folder, name, shown, rows, schema)


def _check_columns(shown: str, schema: pa.Schema) -> None:
    for name in ("reference_id", "mask_url"):
        if name not in schema.names:
            raise ManifestError(_missing(shown, name, schema))
    if not any(name in schema.names for name in SEGMENT_COLUMNS):
        raise ManifestError(_missing(shown, "segments", schema))
    for name in schema.names:
        if schema.names.count(name) > 1:
            raise ManifestError(f"{shown}: there are several columns named {name!r}")
    for name in _TEXT:
        if name in schema.names:
            _check_type(shown, name, schema.field(name).type, "text", is_text)
    for name in _SIZES:
        if name in schema.names:
            _check_type(shown, name, schema.field(name).type, "integers", _is_number)
    column = segment_column(schema)
    _check_type(shown, column, schema.field(column).type, _EXPECTED_SEGMENTS, _is_segments)
    if FINDINGS_COLUMN in schema.names:
        kind = schema.field(FINDINGS_COLUMN).type
        _check_type(shown, FINDINGS_COLUMN, kind, str(FINDINGS_TYPE), _is_findings)


def segment_column(schema: pa.Schema) -> str:
    """The name of the column of Segments in a manifest's schema."""
    return next(name for name in SEGMENT_COLUMNS if name in schema.names)


def _check_type(shown: str, name: str, kind: pa.DataType, expected: str, fits: Any) -> None:
    # A column of nulls only has no type of its own: its rows are judged one by one.
    if not (fits(plain_type(kind)) or pa.types.is_null(kind)):
        raise ManifestError(
            f"{shown}: column {name!r} holds {_type_name(kind)}, expected {expected}"
        )


def _missing(shown: str, name: str, schema: pa.Schema) -> str:
    close = difflib.get_close_matches(name, schema.names, n=1, cutoff=0.6)
    hint = f"; is it {close[0]!r}?" if close else ""
    there = ", ".join(schema.names) or "none"
    return f"{shown}: there is no column {name!r} (columns: {there}){hint}"


def _is_number(kind: pa.DataType) -> bool:
    # pandas writes integers beside nulls as floats; whole ones are taken.
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _is_list(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(kind)
        or pa.types.is_large_list(kind)
        or pa.types.is_fixed_size_list(kind)
        or pa.types.is_list_view(kind)
    )


def _is_segments(kind: pa.DataType) -> bool:
    if is_text(kind):
        return True
    if not _is_list(kind):
        return False
    member = kind.value_type
    if pa.types.is_null(member):
        return True
    return pa.types.is_struct(member) and {"label", "index"} <= {field.name for field in member}


def _is_findings(kind: pa.DataType) -> bool:
    return _is_list(kind) and bool(
        pa.types.is_struct(kind.value_type)
        and {"rule", "message"} <= {field.name for field in kind.value_type}
    )


def _type_name(kind: pa.DataType) -> str:
    text = str(kind).replace("element: ", "").replace("item: ", "")
    return text if len(text) <= 120 else text[:117] + "..."


def _extras(files: Sequence[ManifestFile]) -> pa.Schema:
    """The carried columns of all files, under the names they get in the tables."""
    merged = pa.schema([])
    for file in files:
        used = (*_TEXT, *_SIZES, FINDINGS_COLUMN, segment_column(file.schema))
        fields = [field for field in file.schema if field.name not in used]
        names = [carried_name(field.name) for field in fields]
        for field, name in zip(fields, names, strict=True):
            if names.count(name) > 1:
                raise ManifestError(
                    f"{file.shown}: column {field.name!r} would be carried as {name!r}, a name "
                    "another column has as well; rename one of them"
                )
        own = pa.schema(
            [
                pa.field(name, _storable(field.type))
                for field, name in zip(fields, names, strict=True)
            ]
        )
        try:
            merged = pa.unify_schemas([merged, own], promote_options="permissive")
        except pa.ArrowException as error:
            raise ManifestError(
                f"{file.shown}: a carried column has another type than in the files before it "
                f"({str(error).splitlines()[0]})"
            ) from None
    return merged


def carried_name(column: str) -> str:
    """The name a manifest's additional column has in the validated table."""
    return f"manifest_{column}" if column in _TAKEN else column


def _storable(kind: pa.DataType) -> pa.DataType:
    plain = plain_type(kind)
    return pa.string() if is_text(plain) else plain


def _batches(
    file: ManifestFile, columns: Sequence[str] | None, rows: int
) -> Iterator[pa.RecordBatch]:
    try:
        with file.folder.open_input(file.name) as handle:
            yield from pq.ParquetFile(handle).iter_batches(batch_size=rows, columns=columns)
    except (pa.ArrowException, OSError) as error:
        raise ManifestError(
            f"{file.shown} is damaged: {str(error).splitlines()[0]}. Write the manifest again"
        ) from None


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
