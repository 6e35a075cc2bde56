"""How large rows are once they are decoded, and the rows that are too large to be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from segpipe.manifests.columns import SEGMENT_COLUMNS, SIZE_COLUMNS, TEXT_COLUMNS
from segpipe.manifests.held_masks import MASK_COLUMN, PATH_MEMBER, mask_form
from segpipe.manifests.limits import MAX_TEXT_BYTES, Limits
from segpipe.manifests.plain_types import is_bytes, is_text, list_ends, plain_array
from segpipe.predictions.declarations import MOST_READ
from segpipe.tables.amounts import bytes_at_once

_Sizes = NDArray[np.int64]
#: What any value takes at least, and what a list, a struct or a text takes beside its content.
_LEAST = 8


@dataclass(frozen=True, slots=True)
class TooLarge:
    """Why a row is not read as a whole.

    Attributes:
        column: the largest one.
        size: bytes of the row; of the cell, where an identity or URL is too long; Segments, where
            there are too many.
        limit: what it is beyond.
    """

    column: str
    size: int
    limit: int


@dataclass(frozen=True, slots=True)
class SizedRows:
    """Consecutive rows that can be worked on at once.

    Attributes:
        rows: with plain types; in rows that are too large, only identities, URLs and sizes are
            there, and of those what is not too long.
        too_large: place of a row in ``rows`` -> why it is not there.
    """

    rows: pa.RecordBatch
    too_large: dict[int, TooLarge]


def sized(batch: pa.RecordBatch, limits: Limits) -> Iterator[SizedRows]:
    """Rows as they were read, texts as dictionaries, in pieces that can be decoded at once."""
    if _is_small(batch, limits):
        yield SizedRows(plain_rows(batch), {})
        return
    names = batch.schema.names
    sizes = np.array(list(map(_sizes, names, batch.columns)))
    too_large = dict(_too_large(batch, sizes, limits))
    columns = []
    for name, column, own in zip(names, batch.columns, sizes, strict=True):
        missing = np.zeros(batch.num_rows, bool)
        if name in TEXT_COLUMNS:
            missing = own > MAX_TEXT_BYTES + _LEAST
        elif name not in SIZE_COLUMNS:
            missing[list(too_large)] = True
        if missing.any():
            column = column.take(pa.array(np.arange(batch.num_rows), mask=missing))
            own[missing] = _LEAST
        columns.append(column)
    whole = pa.RecordBatch.from_arrays(columns, names=names)
    for first, end in _pieces(sizes.sum(axis=0), limits.chunk_bytes):
        own_too_large = {p - first: why for p, why in too_large.items() if first <= p < end}
        yield SizedRows(plain_rows(whole.slice(first, end - first)), own_too_large)


def merged(parts: Iterable[SizedRows], rows: int, limits: Limits) -> Iterator[SizedRows]:
    """Pieces put together again where they are smaller than asked for and than they may be."""
    waiting: list[SizedRows] = []
    count = size = 0
    for part in parts:
        own = part.rows.nbytes
        if waiting and (count + part.rows.num_rows > rows or size + own > limits.chunk_bytes):
            yield _joined(waiting)
            waiting, count, size = [], 0, 0
        waiting.append(part)
        count += part.rows.num_rows
        size += own
    if waiting:
        yield _joined(waiting)


def _joined(parts: list[SizedRows]) -> SizedRows:
    if len(parts) == 1:
        return parts[0]
    too_large: dict[int, TooLarge] = {}
    first = 0
    for part in parts:
        too_large.update({first + place: why for place, why in part.too_large.items()})
        first += part.rows.num_rows
    return SizedRows(pa.concat_batches([part.rows for part in parts]), too_large)


def cut(batch: pa.RecordBatch, most_bytes: int) -> Iterator[pa.RecordBatch]:
    """Rows with plain types, in pieces of no more than so many bytes, or of a single row.

    Args:
        most_bytes: a fourth of it where the rows are large.
    """
    most = sum(_bounds(column)[1] for column in batch.columns)
    if most <= bytes_at_once(most_bytes, batch.num_rows, most):
        yield plain_rows(batch)
        return
    sizes = np.sum([sizes_of(column) for column in batch.columns], axis=0)
    for first, end in _pieces(sizes, bytes_at_once(most_bytes, len(sizes), int(sizes.sum()))):
        yield plain_rows(batch.slice(first, end - first))


def _pieces(sizes: _Sizes, most_bytes: int) -> Iterator[tuple[int, int]]:
    """First and end of the longest pieces of consecutive rows within a number of bytes."""
    ends, first = np.cumsum(sizes), 0
    while first < len(sizes):
        before = ends[first - 1] if first else 0
        end = max(first + 1, int(np.searchsorted(ends, before + most_bytes, "right")))
        yield first, end
        first = end


def plain_rows(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The rows with plain types."""
    columns = [plain_array(column) for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _is_small(batch: pa.RecordBatch, limits: Limits) -> bool:
    """Whether no row can be too large, nor all together; seen without looking at each value."""
    total = 0
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        longest, own = _bounds(column)
        if name in TEXT_COLUMNS and longest > MAX_TEXT_BYTES:
            return False
        if name in SEGMENT_COLUMNS and int(_counts(column).max(initial=0)) > MOST_READ:
            return False
        paths = _paths(column) if name == MASK_COLUMN else None
        if paths is not None and int(paths.max(initial=0)) > MAX_TEXT_BYTES:
            return False
        total += own
    return total <= limits.max_row_bytes


def _too_large(
    batch: pa.RecordBatch, sizes: NDArray[np.int64], limits: Limits
) -> Iterator[tuple[int, TooLarge]]:
    names = batch.schema.names
    beyond: dict[int, TooLarge] = {}
    # Masks have limits of their own: those of mask files.
    of_rows = [not _are_large_masks(*one) for one in zip(names, batch.columns, strict=True)]
    sizes = np.where(np.array(of_rows)[:, None], sizes, 0)
    whole = sizes.sum(axis=0)
    for place in np.flatnonzero(whole > limits.max_row_bytes).tolist():
        largest = names[int(sizes[:, place].argmax())]
        beyond[place] = TooLarge(largest, int(whole[place]), limits.max_row_bytes)
    for name, column, own in zip(names, batch.columns, sizes, strict=True):
        if name in TEXT_COLUMNS:
            for place in np.flatnonzero(own > MAX_TEXT_BYTES + _LEAST).tolist():
                beyond[place] = TooLarge(name, int(own[place]) - _LEAST, MAX_TEXT_BYTES)
        elif name == MASK_COLUMN and (paths := _paths(column)) is not None:
            for place in np.flatnonzero(paths > MAX_TEXT_BYTES).tolist():
                beyond[place] = TooLarge(PATH_MEMBER, int(paths[place]), MAX_TEXT_BYTES)
        elif name in SEGMENT_COLUMNS and int(_counts(column).max(initial=0)) > MOST_READ:
            counts = _counts(column)
            for place in np.flatnonzero(counts > MOST_READ).tolist():
                beyond[place] = TooLarge(name, int(counts[place]), MOST_READ)
    yield from sorted(beyond.items())


def _are_large_masks(name: str, column: pa.Array) -> bool:
    form = mask_form(column.type) if name == MASK_COLUMN else None
    return form is not None and form.is_large


def _paths(column: pa.Array) -> _Sizes | None:
    """Bytes of each path in a column of masks; None where it has no paths."""
    column = column.storage if isinstance(column.type, pa.BaseExtensionType) else column
    if not pa.types.is_struct(column.type) or column.type.get_field_index("path") < 0:
        return None
    return sizes_of(column.field("path")) - _LEAST


def _sizes(name: str, column: pa.Array) -> _Sizes:
    """Bytes of each value of a column when it is worked on; masks stay arrays and bytes."""
    if _are_large_masks(name, column):
        packed = _packed(column)
        return sizes_of(column) if packed is None else packed
    return sizes_of(column)


def _packed(array: pa.Array) -> _Sizes | None:
    """Bytes of each list of numbers, or of lists of them, in Arrow's memory; None for others."""
    values = array.storage if isinstance(array.type, pa.BaseExtensionType) else array
    ends = None
    while pa.types.is_list(values.type) or _is_other_list(values.type):
        own = list_ends(values)
        ends, values = own if ends is None else own[ends], values.values
    return None if ends is None else np.diff(ends) * max(1, _width(values.type)) + _LEAST


def _is_other_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def sizes_of(array: pa.Array) -> _Sizes:
    """Bytes of each value when it is decoded; a value takes 8 at least, lists what is in them.

    Returns:
        int64 of shape (N,) for N values.
    """
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        return sizes_of(array.storage)
    if pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind):
        return sizes_of(array.cast(pa.large_list(kind.value_type)))
    if pa.types.is_dictionary(kind):
        entries: _Sizes = np.append(sizes_of(array.dictionary), _LEAST)
        places = array.indices.cast(pa.int64()).fill_null(len(entries) - 1)
        return np.asarray(entries[places.to_numpy()])
    if pa.types.is_struct(kind):
        own = np.full(len(array), _LEAST, np.int64)
        for place in range(kind.num_fields):
            own += sizes_of(array.field(place))
        return own
    if pa.types.is_fixed_size_list(kind):
        values = array.values.slice(array.offset * kind.list_size, len(array) * kind.list_size)
        sums = np.asarray(sizes_of(values).reshape(len(array), kind.list_size).sum(axis=1))
        return sums + _LEAST
    inner = _inner(array)
    if inner is not None:
        offsets = array.offsets.to_numpy()
        first, last = int(offsets[0]), int(offsets[-1])
        sums = np.zeros(last - first + 1, np.int64)
        for members in inner:
            sums[1:] += np.cumsum(sizes_of(members.slice(first, last - first)))
        return np.asarray(np.diff(sums[offsets - first])) + _LEAST
    lengths = _lengths(array)
    if lengths is not None:
        return lengths + np.int64(_LEAST)
    return np.full(len(array), max(_LEAST, _width(kind)), np.int64)


def _inner(array: pa.Array) -> list[pa.Array] | None:
    """The members of lists or maps, those of all; None for other types."""
    kind = array.type
    if pa.types.is_map(kind):
        return [array.keys, array.items]
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return [array.values]
    return None


def _lengths(array: pa.Array) -> _Sizes | None:
    """Bytes of texts, or of bytes; None for other types."""
    kind = array.type
    if pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
        # Arrow has no function for it: a view is 16 bytes, and begins with its length.
        views = np.frombuffer(array.buffers()[1], np.int32)[::4]
        given = views[array.offset : array.offset + len(array)].astype(np.int64)
        return np.where(array.is_valid().to_numpy(zero_copy_only=False), given, 0)
    if not (is_text(kind) or is_bytes(kind)) or pa.types.is_fixed_size_binary(kind):
        return None
    # By hand: Arrow's functions take a second to load, which small manifests do not need.
    is_large = pa.types.is_large_string(kind) or pa.types.is_large_binary(kind)
    offsets = np.frombuffer(array.buffers()[1] or bytes(8), np.int64 if is_large else np.int32)
    own = offsets[array.offset : array.offset + len(array) + 1]
    return np.asarray(np.diff(own), np.int64) if len(array) else np.zeros(0, np.int64)


def _width(kind: pa.DataType) -> int:
    try:
        return int(kind.bit_width) // 8
    except ValueError:
        return _LEAST


def _bounds(array: pa.Array) -> tuple[int, int]:
    """Bytes that no value of an array exceeds if it is text, and that all together do not."""
    kind, count = array.type, len(array)
    if isinstance(kind, pa.BaseExtensionType):
        return _bounds(array.storage)
    if pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind):
        return _bounds(array.cast(pa.large_list(kind.value_type)))
    if pa.types.is_dictionary(kind):
        longest, _ = _bounds(array.dictionary)
        return longest, count * (_LEAST + longest)
    if pa.types.is_struct(kind):
        members = (_bounds(array.field(place))[1] for place in range(kind.num_fields))
        return 0, count * _LEAST + sum(members)
    if pa.types.is_fixed_size_list(kind):
        values = array.values.slice(array.offset * kind.list_size, count * kind.list_size)
        return 0, count * _LEAST + _bounds(values)[1]
    inner = _inner(array)
    if inner is not None:
        ends = array.offsets
        first, last = (ends[0].as_py(), ends[-1].as_py()) if len(ends) else (0, 0)
        members = (_bounds(values.slice(first, last - first))[1] for values in inner)
        return 0, count * _LEAST + sum(members)
    lengths = _lengths(array)
    if lengths is not None:
        return int(lengths.max(initial=0)), count * _LEAST + int(lengths.sum())
    return 0, count * max(_LEAST, _width(kind))


def _counts(column: pa.Array) -> _Sizes:
    """How many Segments each cell lists, as far as its type is a list of them."""
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        return _counts(column.storage)
    if pa.types.is_struct(kind) and kind.num_fields:
        lists = [_counts(column.field(place)) for place in range(kind.num_fields)]
        most: _Sizes = np.max(lists, axis=0)
        return most
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_map(kind):
        counts: _Sizes = np.diff(column.offsets.to_numpy()).astype(np.int64)
        return counts
    size = kind.list_size if pa.types.is_fixed_size_list(kind) else 0
    return np.full(len(column), size, np.int64)
