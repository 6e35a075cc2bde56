"""The pages of a Parquet file's columns: how large they are, before one is decompressed.

The footer's sizes are a writer's word. What a reader allocates stands in the header of each page.
"""

from __future__ import annotations

import struct
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import pyarrow as pa

from segpipe.manifests.thrift import Compact, Struct, ThriftError

# Fields of Parquet's PageHeader, and the kinds of pages.
_KIND, _INFLATED, _STORED, _DATA, _DICTIONARY, _DATA_2 = 1, 2, 3, 5, 7, 8
_DATA_PAGE, _DICTIONARY_PAGE, _DATA_PAGE_2 = 0, 2, 3
_DELTA_BYTE_ARRAY = 7
_FROM_DICTIONARY = (2, 8)
# A header is some dozen bytes, and more where it holds statistics.
_HEADER_AT_ONCE, _LARGEST_HEADER = 512, 2**24
# Runs of levels that are looked at in a file; beyond, its rows count as long as they can be.
_MOST_RUNS = 2_000_000
_BYTES_AT_ONCE = 2**17
_BYTES_COMPARED = 2**12
# Larger dictionaries than writers write are not looked into.
_LARGEST_LOOKED_AT = 2**21
_START, _NO_START = np.zeros(1, np.int64), np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a column, as its header says.

    Attributes:
        is_dictionary: it holds the distinct values, to which the data pages after it refer.
        values: number of values, nulls and empty lists included.
        inflated, stored: bytes, decompressed and in the file.
        refers: its values are numbers of entries of the dictionary.
        shares: its values share beginnings with the ones before (``DELTA_BYTE_ARRAY``).
        place: of its bytes in the file.
        repetition: bytes of the repetition levels, where they lie uncompressed before the values;
            None where they are the beginning of the decompressed page.
    """

    is_dictionary: bool
    values: int
    inflated: int
    stored: int
    refers: bool
    shares: bool
    place: int
    repetition: int | None


def pages_of(handle: IO[bytes], chunk: Any) -> Iterator[Page]:
    """The pages of a column of a row group.

    Args:
        chunk: its ``pyarrow.parquet.ColumnChunkMetaData``.

    Raises:
        ThriftError: if a header cannot be read.
        OSError: if the file cannot be read.
    """
    place = chunk.data_page_offset
    if chunk.has_dictionary_page and chunk.dictionary_page_offset is not None:
        place = min(place, chunk.dictionary_page_offset)
    end = place + chunk.total_compressed_size
    remaining = chunk.num_values
    while remaining > 0 and place < end:
        header, size = _header(handle, place)
        inflated, stored = header.get(_INFLATED, -1), header.get(_STORED, -1)
        if inflated < 0 or stored < 0:
            raise ThriftError("a page has no size")
        page = _page(header, inflated, stored, place + size)
        if page is not None:
            if not page.is_dictionary:
                remaining -= page.values
            yield page
        place += size + stored


def _page(header: Struct, inflated: int, stored: int, place: int) -> Page | None:
    kind = header.get(_KIND)
    if kind == _DICTIONARY_PAGE:
        values = header.get(_DICTIONARY, {}).get(1, 0)
        return Page(True, values, inflated, stored, False, False, place, None)
    if kind not in (_DATA_PAGE, _DATA_PAGE_2):
        return None
    is_second = kind == _DATA_PAGE_2
    about = header.get(_DATA_2 if is_second else _DATA, {})
    encoding = about.get(4 if is_second else 2)
    repetition = max(0, about.get(6, 0)) if is_second else None
    refers, shares = encoding in _FROM_DICTIONARY, encoding == _DELTA_BYTE_ARRAY
    values = max(0, about.get(1, 0))
    return Page(False, values, inflated, stored, refers, shares, place, repetition)


def _header(handle: IO[bytes], place: int) -> tuple[Struct, int]:
    size = _HEADER_AT_ONCE
    while True:
        handle.seek(place)
        data = handle.read(size)
        reader = Compact(data)
        try:
            return reader.struct(), reader.place
        except ThriftError:
            if len(data) < size or size >= _LARGEST_HEADER:
                raise
            size *= 8


def longest_entry(handle: IO[bytes], chunk: Any, page: Page) -> int:
    """Bytes of the longest text in a dictionary page; if it cannot be told, as many as there can
    be."""
    most = max(0, page.inflated - 4 * page.values)
    if page.inflated > _LARGEST_LOOKED_AT:
        return most
    handle.seek(page.place)
    try:
        data = _inflated(handle.read(page.stored), chunk, page)
    except (pa.ArrowException, OSError, ValueError):
        return most
    longest = place = 0
    each = len(data) // page.values if page.values else 0
    if each > 4 and each * page.values == len(data):  # texts of one length, as ids often are
        heads = np.frombuffer(data, np.uint8).reshape(page.values, each)[:, :4]
        if np.all(heads == np.frombuffer((each - 4).to_bytes(4, "little"), np.uint8)):
            return each - 4
    length = struct.Struct("<I").unpack_from
    for _ in range(page.values):
        if place + 4 > len(data):
            return most
        (size,) = length(data, place)
        place += 4 + size
        if size > longest:
            longest = size
    return longest if place <= len(data) else most


def _inflated(data: bytes, chunk: Any, page: Page) -> bytes:
    if chunk.compression == "UNCOMPRESSED":
        return data
    codec = chunk.compression.lower()
    codec = "lz4_raw" if codec == "lz4" else codec
    inflated: bytes = pa.decompress(data, page.inflated, codec=codec, asbytes=True)
    return inflated


class RowLengths:
    """Finds how many values the longest row of a nested column has, from its repetition levels.

    Args:
        handle: of the file.
    """

    def __init__(self, handle: IO[bytes]) -> None:
        self._handle = handle
        self._runs = 0

    def longest(self, chunk: Any, pages: list[Page], highest: int) -> int:
        """Values of the longest row of a column of a row group; of all rows if it cannot be told.

        Args:
            pages: of the column.
            highest: the column's highest repetition level.
        """
        longest = current = 0
        for page in pages:
            if page.is_dictionary:
                continue
            try:
                levels = self._levels(chunk, page)
                for starts, values in self._starts(levels, highest.bit_length(), page.values):
                    if starts.size:
                        inner = int(np.diff(starts).max(initial=0))
                        longest = max(longest, current + int(starts[0]), inner)
                        current = values - int(starts[-1])
                    else:
                        current += values
            except (pa.ArrowException, OSError, ValueError, IndexError):
                return int(chunk.num_values)
        return max(longest, current)

    def _levels(self, chunk: Any, page: Page) -> memoryview:
        self._handle.seek(page.place)
        if page.repetition is not None:
            return memoryview(self._handle.read(min(page.repetition, page.stored)))
        data = _inflated(self._handle.read(page.stored), chunk, page)
        size = int.from_bytes(data[:4], "little")
        return memoryview(data)[4 : 4 + size]

    def _starts(
        self, levels: memoryview, bits: int, values: int
    ) -> Iterator[tuple[np.ndarray, int]]:
        """For stretches of levels: the places at which a row starts, and the stretch's length."""
        reader = Compact(levels)
        marks: list[tuple[int, int]] = []  # where the last runs without a start begin
        while values > 0:
            self._runs += 1
            if self._runs > _MOST_RUNS:
                raise ValueError("too many runs")
            marks.append((reader.place, values))
            count, starts_rows = yield from _run(reader, levels, bits, values)
            values -= count
            if starts_rows:
                marks.clear()
            elif len(marks) == 2:
                place, left = marks.pop(0)
                length = left - values
                times = _repeats(levels, place, reader.place)
                times = min(times, values // length) if length else 0
                if times:
                    yield _NO_START, times * length
                    reader.place += times * (reader.place - place)
                    values -= times * length
                    marks.clear()


def _run(
    reader: Compact, levels: memoryview, bits: int, values: int
) -> Generator[tuple[np.ndarray, int], None, tuple[int, bool]]:
    """The next run of levels, in stretches as :meth:`RowLengths._starts` gives them; returns its
    length, and whether a row starts in it."""
    head = reader.varint()
    if head & 1:
        size = (head >> 1) * bits
        packed = np.frombuffer(levels[reader.place : reader.place + size], np.uint8)
        reader.place += size
        length, starts_rows = 0, False
        for first in range(0, len(packed), _BYTES_AT_ONCE * bits):
            part = packed[first : first + _BYTES_AT_ONCE * bits]
            found = np.unpackbits(part, bitorder="little").reshape(-1, bits)[: values - length]
            starts = np.flatnonzero(~found.any(axis=1))
            yield starts, len(found)
            length, starts_rows = length + len(found), starts_rows or starts.size > 0
        return length, starts_rows
    count = min(head >> 1, values)
    if not count:
        raise ValueError("an empty run of levels")
    size = (bits + 7) // 8
    level = int.from_bytes(levels[reader.place : reader.place + size], "little")
    reader.place += size
    if level:
        yield _NO_START, count
    else:  # rows of one value each, of which the first ends the one before
        for _ in range(min(count, 2)):
            yield _START, 1
    return count, not level


def _repeats(levels: memoryview, start: int, end: int) -> int:
    """How many times bytes repeat themselves: lines of an image are equally long."""
    period, place, size = end - start, end, _BYTES_COMPARED
    if not period or levels[end : end + period] != levels[start:end]:
        return 0
    data = np.frombuffer(levels, np.uint8)
    while place < len(data):
        stop = min(place + size, len(data))
        differs = data[place:stop] != data[place - period : stop - period]
        if differs.any():
            return (place + int(differs.argmax()) - end) // period
        place, size = stop, min(2 * size, _BYTES_AT_ONCE)
    return (len(data) - end) // period
