"""How a Parquet file is read in bounded memory: how many rows at once, and which texts not copied.

Texts that a file stores once and refers to a thousand times are read as dictionaries, so that they
are in memory once. How many rows are decoded at once follows from the sizes of pages and the
lengths of rows, which are read before a value is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import pyarrow.parquet as pq

from segpipe.errors import ManifestError
from segpipe.manifests.limits import MAX_READING_BYTES
from segpipe.manifests.pages import Page, RowLengths, pages_of

# Bytes that columns whose texts repeat may take in a row group when they are copied.
_COPIED = 32_000_000
# Column chunks of more bytes are read piece by piece.
_WHOLE = 32_000_000
_PIECE = 2**20
_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4, "INT64": 8, "DOUBLE": 8, "INT96": 12}
# Memory that a value takes in a list, beside its own bytes: levels and offsets.
_NESTED = 12


@dataclass(frozen=True)
class ReadingPlan:
    """How the columns of a file are read.

    Attributes:
        rows: decoded at once.
        dictionaries: paths of the columns that are read as dictionaries.
        piecewise: column chunks are too large to be read as a whole.
    """

    rows: int
    dictionaries: tuple[str, ...]
    piecewise: bool

    def open(self, handle: IO[bytes]) -> pq.ParquetFile:
        """The file, to be read by this plan."""
        return pq.ParquetFile(
            handle,
            read_dictionary=list(self.dictionaries),
            pre_buffer=not self.piecewise,
            buffer_size=_PIECE if self.piecewise else 0,
        )


@dataclass(frozen=True)
class _Column:
    """A column of a row group, as far as it takes memory.

    Attributes:
        longest: values of the longest row.
        width: bytes of a value; 0 for text and bytes.
        fixed: bytes that are in memory throughout: the largest page, and the dictionary.
        refers, shares: some pages' values refer to the dictionary, or to the values before them.
        repeated: bytes of the longest text that the dictionary or a page can make of little.
        values, bytes: of each data page.
    """

    path: str
    total: int
    longest: int
    width: int
    fixed: int
    refers: bool
    shares: bool
    repeated: int
    values: np.ndarray
    bytes: np.ndarray

    @property
    def copied(self) -> int:
        """Bytes of all values, where each takes its own copy of a text that repeats."""
        return self.total * self.repeated if self.refers and not self.width else 0

    def memory(self, rows: int, *, as_dictionary: bool) -> int:
        """Bytes of memory that decoding so many consecutive rows takes at most."""
        values = min(self.total, rows * self.longest)
        needed = self.fixed + values * ((self.width or 8) + _NESTED * (self.longest > 1))
        if self.width:
            return needed
        if self.shares or (self.refers and not as_dictionary):
            needed += values * self.repeated
        ends = np.cumsum(self.values)
        last = np.searchsorted(ends, ends + (values - 2), side="right")
        sums = np.concatenate(([0], np.cumsum(self.bytes)))
        touched = sums[np.minimum(last + 1, len(self.bytes))] - sums[:-1]
        return needed + int(touched.max(initial=0))


class ReadingPlans:
    """The plans for a file, by the columns that are read.

    Args:
        shown: name of the file, for messages.
        handle: of the file; headers of pages are read, and some pages of nested columns.

    Raises:
        pyarrow.ArrowException, OSError: if the file cannot be read.
    """

    def __init__(self, shown: str, handle: IO[bytes]) -> None:
        file = pq.ParquetFile(handle)
        self._shown = shown
        self._groups: list[list[_Column]] = []
        self._piecewise = False
        lengths = RowLengths(handle)
        leaves = [file.schema.column(place) for place in range(file.metadata.num_columns)]
        for number in range(file.metadata.num_row_groups):
            group = file.metadata.row_group(number)
            chunks = [group.column(place) for place in range(len(leaves))]
            self._piecewise |= sum(chunk.total_compressed_size for chunk in chunks) > _WHOLE
            self._groups.append(
                [
                    _column(handle, chunk, leaf, lengths)
                    for chunk, leaf in zip(chunks, leaves, strict=True)
                ]
            )
        paths = Counter(leaf.path for leaf in leaves)
        self._unique = {path for path, count in paths.items() if count == 1}

    def of(self, columns: Sequence[str] | None, rows: int) -> ReadingPlan:
        """The plan to read columns.

        Args:
            columns: their names; None for all.
            rows: the most that are wanted at once.

        Raises:
            ManifestError: if even a single row may take too much memory.
        """
        groups = [[one for one in group if _is_in(one.path, columns)] for group in self._groups]
        copied: Counter[str] = Counter()
        for group in groups:
            for one in group:
                copied[one.path] = max(copied[one.path], one.copied)
        dictionaries, total = [], 0
        for path, size in sorted(copied.items(), key=lambda item: item[1]):
            total += size
            if total > _COPIED and path in self._unique and size:
                dictionaries.append(path)
        while True:
            needed = [self._memory(group, rows, dictionaries) for group in groups]
            largest = max(needed, key=lambda one: sum(one.values()), default=Counter())
            if sum(largest.values()) <= MAX_READING_BYTES:
                return ReadingPlan(rows, tuple(dictionaries), self._piecewise)
            if rows == 1:
                raise self._too_large(largest)
            rows = max(1, rows // 2)

    @staticmethod
    def _memory(group: Sequence[_Column], rows: int, dictionaries: Sequence[str]) -> Counter[str]:
        needed: Counter[str] = Counter()
        for one in group:
            needed[one.path] += one.memory(rows, as_dictionary=one.path in dictionaries)
        return needed

    def _too_large(self, needed: Counter[str]) -> ManifestError:
        (path, size), *_ = needed.most_common(1)
        return ManifestError(
            f"{self._shown}: reading a single row may take {sum(needed.values()):,} bytes of "
            f"memory, {size:,} of them for column {path!r}, and at most {MAX_READING_BYTES:,} are "
            "taken. Write the manifest again with smaller pages or row groups, and rows that hold "
            "less"
        )


def _is_in(path: str, columns: Sequence[str] | None) -> bool:
    if columns is None:
        return True
    return any(path == name or path.startswith(f"{name}.") for name in columns)


def _column(handle: IO[bytes], chunk: Any, leaf: Any, lengths: RowLengths) -> _Column:
    pages = list(pages_of(handle, chunk))
    data = [page for page in pages if not page.is_dictionary]
    total = sum(page.values for page in data)
    longest = 1
    if leaf.max_repetition_level:
        longest = total
        if total * (8 + _NESTED) > _COPIED // 4:
            longest = lengths.longest(chunk, data, leaf.max_repetition_level)
    width = _WIDTHS.get(leaf.physical_type, leaf.length if _is_fixed(leaf) else 0)
    refers = any(page.refers for page in data)
    shares = any(page.shares for page in data)
    return _Column(
        path=leaf.path,
        total=total,
        longest=max(1, longest),
        width=width,
        fixed=_fixed(pages),
        refers=refers,
        shares=shares,
        repeated=max((_repeated(page) for page in pages), default=0),
        values=np.array([page.values for page in data], np.int64),
        bytes=np.array([0 if page.refers else page.inflated for page in data], np.int64),
    )


def _is_fixed(leaf: Any) -> bool:
    return bool(leaf.physical_type == "FIXED_LEN_BYTE_ARRAY")


def _fixed(pages: Sequence[Page]) -> int:
    largest = max((page.inflated + page.stored for page in pages), default=0)
    # Arrow keeps the bytes twice, and a place for each entry.
    return largest + sum(
        2 * page.inflated + 24 * page.values for page in pages if page.is_dictionary
    )


def _repeated(page: Page) -> int:
    """Bytes of the longest text in a page, where few bytes can stand for many of it."""
    if page.is_dictionary:  # every entry begins with its length
        return max(0, page.inflated - 4 * page.values)
    return page.inflated if page.shares else 0
