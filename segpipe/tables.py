"""The Arrow schemas of segpipe's tables, and writing them a chunk at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from segpipe.storage import Folder

FINDING = pa.struct(
    [
        pa.field("rule", pa.string()),
        pa.field("severity", pa.string()),
        pa.field("message", pa.string()),
    ]
)

IDENTITY = [
    pa.field("dataset", pa.string()),
    pa.field("model_run", pa.string()),
    pa.field("reference_id", pa.string()),
]

_WHERE = [pa.field("manifest", pa.string()), pa.field("manifest_row", pa.int64())]

#: One row per accepted prediction. Columns a manifest adds follow under their own names.
VALIDATED = pa.schema(
    [
        *IDENTITY,
        pa.field("annotation_id", pa.string()),
        pa.field("mask_path", pa.string()),
        pa.field("mask_sha256", pa.string()),
        pa.field("fingerprint", pa.string()),
        pa.field("height", pa.int32()),
        pa.field("width", pa.int32()),
        pa.field("n_segments", pa.int32()),
        pa.field("bytes", pa.int64()),
        pa.field("mask_url", pa.string()),
        pa.field("image_url", pa.string()),
        *_WHERE,
        pa.field("findings", pa.list_(FINDING)),
    ]
)

MEASURED = [
    pa.field("label", pa.string()),
    pa.field("index", pa.int32()),
    pa.field("metadata", pa.string()),
    pa.field("confidence", pa.float64()),
    pa.field("area_px", pa.int64()),
    pa.field("area_fraction", pa.float64()),
    pa.field("bbox_x", pa.int32()),
    pa.field("bbox_y", pa.int32()),
    pa.field("bbox_w", pa.int32()),
    pa.field("bbox_h", pa.int32()),
    pa.field("centroid_x", pa.float64()),
    pa.field("centroid_y", pa.float64()),
]

#: One row per (prediction, segment), in the order of VALIDATED and by index within a prediction.
SEGMENTS = pa.schema([*IDENTITY, *MEASURED])

#: One row per finding of a row that was rejected; all of them, not the first.
REJECTED = pa.schema(
    [
        *IDENTITY,
        *_WHERE,
        pa.field("rule", pa.string()),
        pa.field("severity", pa.string()),
        pa.field("message", pa.string()),
        pa.field("found", pa.string()),
        pa.field("expected", pa.string()),
    ]
)

#: What happened to each prediction when it was published.
RECEIPTS = pa.schema(
    [
        *IDENTITY,
        pa.field("outcome", pa.string()),
        pa.field("fingerprint", pa.string()),
        pa.field("previous_fingerprint", pa.string()),
        pa.field("message", pa.string()),
        pa.field("run_id", pa.string()),
        pa.field("time", pa.timestamp("us", tz="UTC")),
    ]
)


class TableWriter:
    """Rows appended to one Parquet file; row groups bounded, so memory is bounded too."""

    def __init__(self, writer: pq.ParquetWriter, schema: pa.Schema, rows_per_group: int) -> None:
        self._writer = writer
        self._schema = schema
        self._rows_per_group = rows_per_group
        self._waiting: list[pa.Table] = []
        self._waiting_rows = 0
        self.rows = 0

    def write(self, table: pa.Table) -> None:
        """Append rows; the table must have the writer's schema."""
        if table.num_rows == 0:
            return
        self._waiting.append(table)
        self._waiting_rows += table.num_rows
        self.rows += table.num_rows
        if self._waiting_rows >= self._rows_per_group:
            self.flush()

    def add_metadata(self, key: str, value: str) -> None:
        """Put a note into the file's footer."""
        self._writer.add_key_value_metadata({key: value})

    def flush(self) -> None:
        """Write what is waiting as one row group."""
        if self._waiting:
            whole = pa.concat_tables(self._waiting).combine_chunks()
            self._writer.write_table(whole, row_group_size=self._rows_per_group)
            self._waiting, self._waiting_rows = [], 0


@contextmanager
def table_writer(
    folder: Folder, name: str, schema: pa.Schema, rows_per_group: int = 50_000
) -> Iterator[TableWriter]:
    """A Parquet file that appears under its name when the block ends without an error."""
    with folder.open_output(name) as output:
        writer = pq.ParquetWriter(output, schema, compression="zstd")
        table = TableWriter(writer, schema, rows_per_group)
        try:
            yield table
            table.flush()
        except BaseException:
            # The file is given up; closing only frees it, and must not hide the first error.
            with suppress(Exception):
                writer.close()
            raise
        writer.close()


def table_of(columns: Mapping[str, Any], schema: pa.Schema) -> pa.Table:
    """A table of these columns in the schema's order and types."""
    arrays = [
        value if isinstance(value, (pa.Array, pa.ChunkedArray)) else pa.array(value, field.type)
        for field in schema
        for value in (columns[field.name],)
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def column_array(table: pa.Table, name: str) -> pa.Array:
    """A column as one array."""
    column = table[name]
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
