"""Writing a manifest file row by row, in bounded memory."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from segpipe.errors import ManifestError
from segpipe.manifests.columns import FINDINGS_COLUMN, FINDINGS_TYPE
from segpipe.storage.files import Folder

_ROWS_PER_GROUP = 2000
_SEGMENTS = pa.list_(
    pa.struct(
        [
            pa.field("label", pa.string()),
            pa.field("index", pa.int32()),
            pa.field("metadata", pa.string()),
        ]
    )
)
_COLUMNS = {
    "reference_id": pa.string(),
    "mask_url": pa.string(),
    "segments": _SEGMENTS,
    "annotation_id": pa.string(),
    "height": pa.int32(),
    "width": pa.int32(),
    "image_url": pa.string(),
}


class RowWriter:
    """Writes a manifest file row by row, as a context manager.

    The file appears under its name when the block ends without an error.

    Args:
        folder: holds the file.
        name: of the file.
        carried: types of further columns, if known; otherwise they are inferred from the first
            rows.
        importing: whether rows may have an importer's findings.

    Raises:
        StorageError: if the file cannot be written.
    """

    def __init__(
        self, folder: Folder, name: str, carried: Mapping[str, pa.DataType], *, importing: bool
    ) -> None:
        self.rows = 0
        self._folder = folder
        self._name = name
        self._carried = dict(carried)
        self._importing = importing
        self._waiting: list[dict[str, Any]] = []
        self._stack = ExitStack()
        self._writer: pq.ParquetWriter | None = None
        self._schema: pa.Schema | None = None

    def __enter__(self) -> RowWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._stack.__exit__(kind, error, trace)
            return
        with self._stack:
            self._flush()

    def write(self, row: dict[str, Any], carried: Mapping[str, Any]) -> None:
        """Append a row.

        Args:
            row: reference_id, mask_url, segments and the other columns of manifests.
            carried: values of further columns.

        Raises:
            ManifestError: naming the item, if a column changes its type, or a carried column has
                the name of a manifest column.
            StorageError: if the file cannot be written.
        """
        taken = [name for name in carried if name in _COLUMNS]
        if taken:
            raise ManifestError(f"{row['reference_id']!r}: {taken[0]!r} is a column of its own")
        self._waiting.append({**row, **carried})
        self.rows += 1
        if len(self._waiting) >= _ROWS_PER_GROUP:
            self._flush()

    def _flush(self) -> None:
        if not self._waiting:
            return
        if self._schema is None:
            self._schema = self._inferred_schema()
        unknown = {name for row in self._waiting for name in row} - {*self._schema.names}
        unknown -= {FINDINGS_COLUMN}
        if unknown:
            raise ManifestError(
                f"the column {min(unknown)!r} appears first after {_ROWS_PER_GROUP} rows: give it "
                "from the first row on, None where there is no value"
            )
        columns = [self._column(field) for field in self._schema]
        if self._writer is None:
            output = self._stack.enter_context(self._folder.open_output(self._name))
            self._writer = pq.ParquetWriter(output, self._schema, compression="zstd")
            self._stack.callback(self._writer.close)
        self._writer.write_table(pa.Table.from_arrays(columns, schema=self._schema))
        self._waiting = []

    def _column(self, field: pa.Field) -> pa.Array:
        values = [row.get(field.name) for row in self._waiting]
        try:
            return pa.array(values, field.type)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            for row, value in zip(self._waiting, values, strict=True):
                if not _fits(value, field.type):
                    raise ManifestError(
                        f"{row['reference_id']!r}: {field.name} is {value!r}, expected "
                        f"{field.type} as in the rows before"
                    ) from None
            raise

    def _inferred_schema(self) -> pa.Schema:
        names = dict.fromkeys(name for row in self._waiting for name in row)
        kinds = {**_COLUMNS, **self._carried}
        if self._importing:
            kinds[FINDINGS_COLUMN] = FINDINGS_TYPE
        for name in names:
            if name not in kinds and name != FINDINGS_COLUMN:
                values = [row.get(name) for row in self._waiting]
                try:
                    kinds[name] = pa.array(values).type
                except (pa.ArrowException, TypeError, ValueError) as error:
                    raise ManifestError(
                        f"the column {name!r} holds values of several types: {error}"
                    ) from None
        return pa.schema([pa.field(name, kind) for name, kind in kinds.items()])


def _fits(value: Any, kind: pa.DataType) -> bool:
    try:
        pa.array([value], kind)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return False
    return True
