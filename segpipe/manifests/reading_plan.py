"""How a Parquet file is read in bounded memory: how many rows at once, and which texts not copied.

Texts that a file stores once and refers to a thousand times are read as dictionaries, so that they
are in memory once. How many rows are decoded at once follows from the sizes of pages and the
lengths of rows, which are read before a value is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from segpipe.errors import ManifestError
from segpipe.manifests.limits import MAX_READING_BYTES
from segpipe.manifests.pages import Page, RowLengths, longest_entry, pages_of

# Bytes that columns whose texts repeat may take in a row group when they are copied.
_COPIED = 32_000_000
# Column chunks of more bytes are read piece by piece.
_WHOLE = 32_000_000
_PIECE = 2**20
_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4, "INT64": 8, "DOUBLE": 8, "INT96": 12}
# Wider values are copied before and while rows beyond a limit are left out.
_WIDE = 64
# Memory that a value takes in a list, beside its own bytes: levels and offsets.
_NESTED = 12


@dataclass(frozen=True)
class ReadingPlan:
    """How the columns of a file are read.

    Attributes:
        rows: decoded at once.
        dictionaries: paths of the columns that are read as dictionaries.
        piecewise: column chunks are too large to be read as a whole.
        apart: rows of different row groups are not read together.
    """

    rows: int
    dictionaries: tuple[str, ...]
    piecewise: bool
    apart: bool

    def batches(
        self,
        handle: IO[bytes],
        columns: Sequence[str] | None = None,
        groups: Sequence[int] | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """The rows of the file in order, at most ``rows`` at once; texts may be dictionaries.

        Args:
            columns: those that the plan was made for.
            groups: numbers of the row groups to read; None for all.

        Raises:
            pyarrow.ArrowException, OSError: if the file turns out to be damaged.
        """
        file = pq.ParquetFile(
            handle,
            read_dictionary=list(self.dictionaries),
            pre_buffer=not self.piecewise,
            buffer_size=_PIECE if self.piecewise else 0,
        )
        groups = range(file.metadata.num_row_groups) if groups is None else groups
        for some in [[group] for group in groups] if self.apart else [list(groups)]:
            yield from file.iter_batches(self.rows, row_groups=some, columns=columns)


@dataclass(frozen=True)
class _Column:
    """A column of a row group, or of all together, as far as it takes memory.

    Attributes:
        longest: values of the longest row.
        width: bytes of a value; 0 for text and bytes.
        stored: bytes in the file.
        fixed: bytes that are in memory throughout: the largest page, and the dictionary.
        refers, shares: some pages' values refer to the dictionary, or to the values before them.
        repeated: bytes of the longest text that the dictionary or a page can make of little.
        values, bytes: of each data page.
    """

    path: str
    total: int
    longest: int
    width: int
    stored: int
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
        decoded = self._decoded(min(self.total, rows * self.longest), as_dictionary=as_dictionary)
        # Of several rows the ones before are still worked on when the next are decoded.
        return self.fixed + decoded * (1 if rows == 1 else 2)

    def _decoded(self, values: int, *, as_dictionary: bool) -> int:
        own = self.width * (3 if self.width > _WIDE else 1) or 8
        needed = values * (own + _NESTED * (self.longest > 1))
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
        handle: of the file; its footer is read.

    Raises:
        pyarrow.ArrowException, OSError: if the file cannot be read.
    """

    def __init__(self, shown: str, handle: IO[bytes]) -> None:
        file = pq.ParquetFile(handle)
        self._shown = shown
        self._metadata = file.metadata
        self._leaves = [file.schema.column(place) for place in range(file.metadata.num_columns)]
        paths = Counter(leaf.path for leaf in self._leaves)
        self._unique = {path for path, count in paths.items() if count == 1}
        self._columns: dict[int, list[_Column]] = {}

    def of(
        self,
        handle: IO[bytes],
        columns: Sequence[str] | None,
        rows: int,
        memory: int = MAX_READING_BYTES,
    ) -> ReadingPlan:
        """The plan to read columns.

        Args:
            handle: of the file; headers of pages are read, dictionaries, and some nested columns.
            columns: their names; None for all.
            rows: the most that are wanted at once.
            memory: bytes that reading takes; more if a single row does.

        Raises:
            ManifestError: if even a single row may take too much memory.
            pyarrow.ArrowException, OSError: if the file turns out to be damaged.
        """
        lengths = RowLengths(handle)
        chosen = [n for n, leaf in enumerate(self._leaves) if _is_in(leaf.path, columns)]
        for place in chosen:
            if place not in self._columns:
                self._columns[place] = [
                    _column(handle, chunk, self._leaves[place], lengths)
                    for chunk in self._chunks(place)
                ]
        groups = list(zip(*(self._columns[place] for place in chosen), strict=True))
        stored = [sum(one.stored for one in group) for group in groups]
        copied: Counter[str] = Counter()
        for group in groups:
            for one in group:
                copied[one.path] = max(copied[one.path], one.copied)
        dictionaries, total = [], 0
        for path, size in sorted(copied.items(), key=lambda item: item[1]):
            total += size
            if total > _COPIED and path in self._unique and size:
                dictionaries.append(path)
        piecewise = max(stored, default=0) > _WHOLE
        if not dictionaries:
            together = (
                [[_together(chunks) for chunks in zip(*groups, strict=True)]] if groups else []
            )
            fitting, _ = self._fitting(together, rows, dictionaries, memory)
            if fitting:
                return ReadingPlan(fitting, (), piecewise, apart=False)
        # Each row group has dictionaries of its own, and Arrow cannot change one within a list.
        fitting, largest = self._fitting(groups, rows, dictionaries, memory)
        if not fitting:
            raise self._too_large(largest)
        return ReadingPlan(fitting, tuple(dictionaries), piecewise, apart=True)

    def _chunks(self, place: int) -> Iterator[Any]:
        for number in range(self._metadata.num_row_groups):
            yield self._metadata.row_group(number).column(place)

    def _fitting(
        self,
        groups: Sequence[Sequence[_Column]],
        rows: int,
        dictionaries: Sequence[str],
        memory: int,
    ) -> tuple[int, Counter[str]]:
        """How many rows can be decoded at once, 0 if not even one; what they take, by column."""
        while True:
            needed = [self._memory(group, rows, dictionaries) for group in groups]
            largest = max(needed, key=lambda one: sum(one.values()), default=Counter())
            if sum(largest.values()) <= (memory if rows > 1 else MAX_READING_BYTES):
                return rows, largest
            if rows == 1:
                return 0, largest
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
            "taken. Write it again with smaller row groups, and rows that hold less"
        )


def _is_in(path: str, columns: Sequence[str] | None) -> bool:
    if columns is None:
        return True
    return any(path == name or path.startswith(f"{name}.") for name in columns)


def _column(handle: IO[bytes], chunk: Any, leaf: Any, lengths: RowLengths) -> _Column:
    pages = list(pages_of(handle, chunk))
    data = [page for page in pages if not page.is_dictionary]
    total = sum(page.values for page in data)
    width = _WIDTHS.get(leaf.physical_type, leaf.length if _is_fixed(leaf) else 0)
    shares = any(page.shares for page in data)
    repeated = max((page.inflated for page in data if page.shares), default=0)
    for page in pages:
        if page.is_dictionary and not width:
            repeated = max(repeated, longest_entry(handle, chunk, page))
    longest = 1
    if leaf.max_repetition_level:
        longest = total
        if total * (8 + _NESTED + (repeated if shares else 0)) > _COPIED // 4:
            longest = lengths.longest(chunk, data, leaf.max_repetition_level)
    refers = any(page.refers for page in data)
    return _Column(
        path=leaf.path,
        total=total,
        longest=max(1, longest),
        width=width,
        stored=chunk.total_compressed_size,
        fixed=_fixed(pages),
        refers=refers,
        shares=shares,
        repeated=repeated,
        values=np.array([page.values for page in data], np.int64),
        bytes=np.array([0 if page.refers else page.inflated for page in data], np.int64),
    )


def _together(chunks: Sequence[_Column]) -> _Column:
    """A column of all row groups, as rows at the end of one and the start of the next have it."""
    if len(chunks) == 1:
        return chunks[0]
    return _Column(
        path=chunks[0].path,
        total=sum(one.total for one in chunks),
        longest=max(one.longest for one in chunks),
        width=chunks[0].width,
        stored=sum(one.stored for one in chunks),
        fixed=max(one.fixed for one in chunks),
        refers=any(one.refers for one in chunks),
        shares=any(one.shares for one in chunks),
        repeated=max(one.repeated for one in chunks),
        values=np.concatenate([one.values for one in chunks]),
        bytes=np.concatenate([one.bytes for one in chunks]),
    )


def _is_fixed(leaf: Any) -> bool:
    return bool(leaf.physical_type == "FIXED_LEN_BYTE_ARRAY")


def _fixed(pages: Sequence[Page]) -> int:
    largest = max((page.inflated + page.stored for page in pages), default=0)
    # Arrow keeps the bytes twice, and a place for each entry.
    return largest + sum(
        2 * page.inflated + 24 * page.values for page in pages if page.is_dictionary
    )
