"""Tables whose schema may still widen, kept in temporary files until they are written as one."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq

from segpipe.storage.failures import storage_errors

# Of large cells, so many are written before it is looked whether a page is full.
_LARGE_CELLS = 16


class Spool:
    """A temporary folder with tables; a file begins wherever the schema differs from the last."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._files: list[Path] = []
        self._writer: pa.RecordBatchFileWriter | None = None
        self._schema: pa.Schema | None = None

    def append(self, table: pa.Table) -> None:
        """Keep a table.

        Raises:
            StorageError: if it cannot be written; the spool is of no use then.
        """
        with storage_errors(f"keeping rows in {self._place()}"):
            if self._writer is None or not table.schema.equals(self._schema):
                self._end_file()
                self._files.append(self._place() / f"{len(self._files)}.arrow")
                options = pa.ipc.IpcWriteOptions(compression="zstd")
                self._schema = table.schema
                self._writer = pa.ipc.new_file(str(self._files[-1]), self._schema, options=options)
            self._writer.write_table(table)

    def write_parquet(
        self,
        name: str,
        schema: pa.Schema,
        last: Sequence[pa.Table],
        as_they_are: Sequence[str] = (),
    ) -> Path:
        """Write all tables, and some that were not kept, as one Parquet file beside them.

        Args:
            schema: to which every kept table can be brought without loss.
            as_they_are: columns of large cells that do not get smaller when they are compressed.

        Raises:
            StorageError: if it cannot be written.
        """
        with storage_errors(f"writing a manifest in {self._place()}"):
            self._end_file()
            path = self._place() / name
            options = _options(schema, as_they_are)
            with pq.ParquetWriter(str(path), schema, **options) as output:
                for table in self._kept():
                    output.write_table(_in_schema(table, schema))
                for table in last:
                    output.write_table(_in_schema(table, schema))
        return path

    def remove(self) -> None:
        """Remove the temporary folder."""
        if self._folder is not None:
            with suppress(pa.ArrowException, OSError):  # of a full disk, which was told
                self._end_file()
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _place(self) -> Path:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="segpipe-"))
        return self._folder

    def _end_file(self) -> None:
        if self._writer is not None:
            writer, self._writer = self._writer, None
            writer.close()

    def _kept(self) -> Iterator[pa.Table]:
        for path in self._files:
            with pa.OSFile(str(path)) as source, pa.ipc.open_file(source) as file:
                for number in range(file.num_record_batches):
                    yield pa.Table.from_batches([file.get_batch(number)])


def _options(schema: pa.Schema, as_they_are: Sequence[str]) -> dict[str, Any]:
    """How Parquet is written."""
    if not as_they_are:
        return {"compression": "zstd"}
    nothing = pa.BufferOutputStream()
    pq.write_table(schema.empty_table(), nothing)
    leaves = pq.ParquetFile(pa.BufferReader(nothing.getvalue())).schema
    paths = [leaves.column(place).path for place in range(len(leaves))]
    usual = [path for path in paths if path not in as_they_are]
    return {
        "compression": {path: "zstd" if path in usual else "none" for path in paths},
        "use_dictionary": usual,
        "write_statistics": usual,
        "write_batch_size": _LARGE_CELLS,
    }


def _in_schema(table: pa.Table, schema: pa.Schema) -> pa.Table:
    if table.schema.equals(schema):
        return table
    columns = []
    for field in schema:
        if field.name not in table.schema.names:
            columns.append(pa.nulls(table.num_rows, field.type))
        elif table.schema.field(field.name).type.equals(field.type):
            columns.append(table[field.name])
        else:
            # Through Python's values: Arrow casts few nested types, and those that widen are few.
            columns.append(pa.array(table[field.name].to_pylist(), field.type))
    return pa.Table.from_arrays(columns, schema=schema)
