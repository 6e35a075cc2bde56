"""Cells of manifest columns as Python values, for all the types that Parquet writers use.

pyarrow's own conversion makes a scalar object for every value, and of nanoseconds another one
where pandas is installed than where it is not. Here whole columns are converted, and lists and
structs are assembled from their child columns: this is faster, and the same everywhere.
"""

from __future__ import annotations

from datetime import datetime
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from segpipe.manifests.plain_types import is_list, is_text, list_ends, plain_array

# What pyarrow raises for text that is not Unicode, times too far away, zones nobody knows.
_UNREPRESENTABLE = (UnicodeDecodeError, OverflowError, ValueError, KeyError, pa.ArrowException)


def cells_of(column: pa.Array, errors: str | None = None) -> list[Any]:
    """A column's values; None for nulls and for values that Python cannot represent.

    Args:
        errors: error handler for text that is not UTF-8, as in ``bytes.decode``; such text becomes
            None if ``errors`` is None.
    """
    column = plain_array(column)
    if is_text(column.type):
        return _values(readable_text(column, errors))
    return _representable(column)


def readable_text(column: pa.Array, errors: str | None) -> pa.Array:
    """A text column as a string array.

    Parquet does not check that text is UTF-8. Cells that are not become null, or are decoded with
    the error handler ``errors``.
    """
    column = plain_array(column)
    if pa.types.is_null(column.type):
        return column.cast(pa.string())
    try:
        column.validate(full=True)
    except pa.ArrowException:
        cells = column.cast(pa.binary()).to_pylist()
        return pa.array([_decoded(cell, errors) for cell in cells], pa.string())
    return column


def _representable(column: pa.Array) -> list[Any]:
    """The values of a plain column, None only for the cells that Python cannot represent."""
    try:
        return _values(column)
    except _UNREPRESENTABLE:
        if len(column) < 2:
            return [None] * len(column)
        half = len(column) // 2
        return _representable(column.slice(0, half)) + _representable(column.slice(half))


def _values(column: pa.Array) -> list[Any]:
    """Like ``to_pylist``, but several times as fast for the usual types of manifests."""
    kind = column.type
    if pa.types.is_struct(kind) and kind.num_fields:
        names = [field.name for field in kind]
        if len({*names}) == len(names):
            members = zip(*map(_values, column.flatten()), strict=True)
            # No Python bytecode per struct: there are a dozen in every row.
            values: list[Any] = list(map(dict, map(partial(zip, names), members)))
            return _with_nulls(values, column)
    elif is_list(kind):
        # A slice of a column keeps the values of the whole column: start at its first list.
        ends = list_ends(column).tolist()
        first = ends[0] if ends else 0
        inner = _values(column.values.slice(first, (ends[-1] if ends else 0) - first))
        spans = pairwise(ends)
        return _with_nulls([inner[start - first : end - first] for start, end in spans], column)
    elif pa.types.is_map(kind):
        ends = column.offsets.to_numpy().tolist()
        first, last = (ends[0], ends[-1]) if ends else (0, 0)
        entries = (_values(one.slice(first, last - first)) for one in (column.keys, column.items))
        pairs = list(zip(*entries, strict=True))
        spans = pairwise(ends)
        return _with_nulls([pairs[start - first : end - first] for start, end in spans], column)
    elif pa.types.is_string(kind) or (_is_number(kind) and not column.null_count):
        made: list[Any] = column.to_numpy(zero_copy_only=False).tolist()
        return made
    elif pa.types.is_temporal(kind) and getattr(kind, "unit", "") == "ns":
        return _in_nanoseconds(column)
    return list(column.to_pylist())


def _in_nanoseconds(column: pa.Array) -> list[Any]:
    """Times; durations and times of day without what is below a microsecond."""
    kind = column.type
    numbers = column.cast(pa.int64()).fill_null(0).to_numpy()
    micros, more = np.divmod(numbers, 1000)
    is_time = pa.types.is_timestamp(kind)
    if is_time:
        plain = pa.timestamp("us", kind.tz)
    else:
        plain = pa.duration("us") if pa.types.is_duration(kind) else pa.time64("us")
    values = pa.array(micros, pa.int64()).view(plain).to_pylist()
    if is_time:
        for place in more.nonzero()[0].tolist():
            values[place] = NanosecondTime.of(values[place], int(more[place]))
    return _with_nulls(values, column)


class NanosecondTime(datetime):
    """A time that Python has no type for; its text has nine digits of a second.

    What Python makes of one (a sum, another zone) has whole microseconds, and their text.

    Attributes:
        nanosecond: beyond the microsecond, 0 to 999.
    """

    nanosecond: int = 0

    @classmethod
    def of(cls, time: datetime, nanosecond: int) -> NanosecondTime:
        """A time and what is below its microsecond."""
        made = cls.combine(time.date(), time.timetz())
        made.nanosecond = nanosecond
        return made

    def isoformat(self, sep: str = "T", timespec: str = "auto") -> str:
        """ISO 8601, whole whatever ``timespec`` says."""
        if not self.nanosecond:
            return super().isoformat(sep, timespec)
        text = super().isoformat(sep, "microseconds")
        end = len("2026-01-05T12:00:00.123456")
        return f"{text[:end]}{self.nanosecond:03}{text[end:]}"

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return NanosecondTime.of, (datetime.combine(self.date(), self.timetz()), self.nanosecond)


def _with_nulls(values: list[Any], column: pa.Array) -> list[Any]:
    if column.null_count:
        for place in column.is_null().to_numpy(zero_copy_only=False).nonzero()[0].tolist():
            values[place] = None
    return values


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _decoded(cell: bytes | None, errors: str | None) -> str | None:
    if cell is None:
        return None
    try:
        return cell.decode("utf-8", errors or "strict")
    except UnicodeDecodeError:
        return None
