"""Results as files: CSV, JSON, Parquet, a batch at a time."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator
from decimal import Decimal
from itertools import chain
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from segpipe.errors import QueryError
from segpipe.manifests.common_types import cells_or_text

#: Formats of a result; their names are also the suffixes of files.
FORMATS = ("csv", "json", "parquet")


def write_result(batches: Iterable[pa.RecordBatch], kind: str, output: IO[bytes]) -> list[str]:
    """Write a result; what has no place in the format is told.

    Args:
        batches: one or more, of one schema.
        kind: one of FORMATS.

    Returns:
        A message for each kind of value that is written as another.

    Raises:
        QueryError: if Parquet has no type for a column, or JSON would lose one, whose name another
            has as well.
    """
    if kind == "parquet":
        return _write_parquet(batches, output)
    cells = Cells()
    lines = _csv_lines(batches, cells) if kind == "csv" else _json_lines(batches, cells)
    for line in lines:
        output.write(line.encode("utf-8", "surrogatepass"))
    return cells.notes(kind)


class Cells:
    """Values of Arrow as values of JSON; counts those that JSON does not have."""

    def __init__(self) -> None:
        self._not_finite = 0

    def plain(self, value: Any) -> Any:
        """A value as JSON has it: maps as objects, times in ISO 8601, bytes in hexadecimal."""
        match value:
            case None | bool() | int() | str():
                return value
            case float():
                if math.isfinite(value):
                    return value
                self._not_finite += 1
                return None
            case Decimal():
                whole = value.to_integral_value()
                return int(whole) if whole == value else float(value)
            case bytes():
                return value.hex()
            case dict():
                return {str(key): self.plain(one) for key, one in value.items()}
            case list() | tuple():
                return [self.plain(one) for one in value]
            case _ if hasattr(value, "isoformat"):
                return value.isoformat()
        return str(value)

    def text(self, value: Any) -> str:
        """A value in one cell of a table: nested values as JSON, nothing for null."""
        if value is None:
            return ""
        if isinstance(value, float):
            return repr(value)  # as it is, also where it is not finite
        made = self.plain(value)
        return made if isinstance(made, str) else json.dumps(made, ensure_ascii=False)

    def notes(self, kind: str) -> list[str]:
        """What is to be said of the values so far."""
        if not self._not_finite:
            return []
        return [f"{self._not_finite} numbers are infinite or NaN, which {kind} does not have: null"]


def rows_of(batch: pa.RecordBatch) -> Iterator[list[Any]]:
    """A batch's rows, their values as Python's; maps as dicts."""
    columns = [_values(column) for column in batch.columns]
    for place in range(batch.num_rows):
        yield [column[place] for column in columns]


def _values(column: pa.Array) -> list[Any]:
    kind = column.type
    values = cells_or_text(column)
    if not pa.types.is_nested(kind):
        return values
    return [value if isinstance(value, str) else _mapped(value, kind) for value in values]


def _mapped(value: Any, kind: pa.DataType) -> Any:
    """A value whose maps are dicts, where Arrow has lists of pairs."""
    if value is None or not pa.types.is_nested(kind) or pa.types.is_union(kind):
        return value
    if pa.types.is_map(kind):
        return {key: _mapped(one, kind.item_type) for key, one in value}
    if pa.types.is_struct(kind):
        return {field.name: _mapped(value[field.name], field.type) for field in kind}
    return [_mapped(one, kind.value_type) for one in value]


def _csv_lines(batches: Iterable[pa.RecordBatch], cells: Cells) -> Iterator[str]:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for number, batch in enumerate(batches):
        if number == 0:
            writer.writerow(batch.schema.names)
        writer.writerows([cells.text(value) for value in row] for row in rows_of(batch))
        yield text.getvalue()
        text.seek(0)
        text.truncate()


def _json_lines(batches: Iterable[pa.RecordBatch], cells: Cells) -> Iterator[str]:
    start = "[\n"
    for batch in batches:
        names = batch.schema.names
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise QueryError(
                f"two columns of the result are named {twice[0]!r}, and JSON has one of a name: "
                f"name them apart, as in SELECT a.{twice[0]} AS first, b.{twice[0]} AS second"
            )
        for row in rows_of(batch):
            named = dict(zip(names, map(cells.plain, row), strict=True))
            yield start + json.dumps(named)
            start = ",\n"
    yield "[]\n" if start == "[\n" else "\n]\n"


def _write_parquet(batches: Iterable[pa.RecordBatch], output: IO[bytes]) -> list[str]:
    remaining = iter(batches)
    first = next(remaining)
    try:
        with pq.ParquetWriter(output, first.schema, compression="zstd") as writer:
            for batch in chain([first], remaining):
                writer.write_batch(batch)
    except pa.ArrowNotImplementedError as error:
        raise QueryError(
            f"the result cannot be written as Parquet: {error}. Cast the column, or write CSV"
        ) from None
    return []
