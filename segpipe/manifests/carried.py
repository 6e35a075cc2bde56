"""Carried columns: those nobody asked for, brought through to the tables whatever their types.

The files of a partition were often written by different runs and tools, and a column may have
another type in each. It gets one type that holds all its values without loss. Where there is none,
it is carried as text, and a warning says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from segpipe.errors import listed
from segpipe.manifests.columns import form_of_masks, no_masks, type_name, used_columns
from segpipe.manifests.common_types import Inexact, always_fits, common_types, fitted
from segpipe.manifests.held_masks import MASK_COLUMN
from segpipe.tables.schemas import VALIDATED

# A carried column with one of these names gets the prefix "manifest_".
_TAKEN = frozenset([*VALIDATED.names, "date"])
# Row numbers that pandas and Dask write beside a frame's columns.
_INDEX = re.compile(r"__index_level_\d+__|__null_dask_index__")
_MOST_FILES, _MOST_WARNINGS = 3, 10


def carried_name(column: str) -> str:
    """The name a carried column has in the tables, where no other column takes it."""
    return _free_name(column, 1, set())


class CarryingFile(Protocol):
    """A manifest file, as far as its carried columns are concerned."""

    @property
    def shown(self) -> str:
        """Its name in messages."""

    @property
    def schema(self) -> pa.Schema:
        """Of its columns."""

    def column(self, place: int) -> Iterator[pa.Array]:
        """Stream one column, given its place in the schema."""


@dataclass(frozen=True)
class CarriedColumns:
    """The carried columns of the files of a partition.

    Attributes:
        schema: their names and types in the tables.
        names: for each file and each of its columns, the name in ``schema``; None if the column
            is not carried.
        warnings: what is not as the files have it, for people.
    """

    schema: pa.Schema
    names: tuple[tuple[str | None, ...], ...]
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(cls, files: Sequence[CarryingFile]) -> CarriedColumns:
        """Find names and types. Values are read only of columns whose types differ.

        Raises:
            ManifestError: if a file turns out to be damaged.
        """
        names = tuple(_carried_names(files))
        columns: dict[str, list[_Column]] = {}
        for file, carried in zip(files, names, strict=True):
            for place, name in enumerate(carried):
                if name is not None:
                    columns.setdefault(name, []).append(_Column(file, place))
        fields, warnings = [], [*_without_masks(files), *_renamed(files, names)]
        for name, parts in columns.items():
            kind = _common_type(parts)
            if kind is None:
                kind = pa.string()
                warnings.append(_carried_as_text(name, parts))
            fields.append(pa.field(name, kind))
        more = len(warnings) - _MOST_WARNINGS
        if more > 0:
            warnings[_MOST_WARNINGS:] = [f"{more:,} more columns have other names, or are text"]
        return cls(pa.schema(fields), names, tuple(warnings))


@dataclass(frozen=True)
class _Column:
    """A carried column of one file."""

    file: CarryingFile
    place: int

    @property
    def type(self) -> pa.DataType:
        return self.file.schema.field(self.place).type

    def fits(self, kind: pa.DataType) -> bool:
        """Whether a type holds every value of the column."""
        if always_fits(self.type, kind):
            return True
        try:
            for array in self.file.column(self.place):
                fitted(array, kind)
        except Inexact:
            return False
        return True


def _common_type(parts: Sequence[_Column]) -> pa.DataType | None:
    """The type that holds the values of all parts; None if there is none."""
    possible = common_types([part.type for part in parts])
    return next((kind for kind in possible if all(part.fits(kind) for part in parts)), None)


def _carried_names(files: Sequence[CarryingFile]) -> Iterator[tuple[str | None, ...]]:
    """For each file, the names of its columns in the tables."""
    given = {name for file in files for name in file.schema.names}
    for file in files:
        used = {*used_columns(file.schema)}
        seen: dict[str, int] = {}
        carried: list[str | None] = []
        for name in file.schema.names:
            if name in used or _INDEX.fullmatch(name):
                carried.append(None)
                continue
            seen[name] = seen.get(name, 0) + 1
            carried.append(_free_name(name, seen[name], given))
        yield tuple(carried)


def _free_name(name: str, occurrence: int, given: set[str]) -> str:
    """The name of a column in the tables, which no other column has; the same in every file.

    Args:
        occurrence: 1 for the first column of the name in its file.
        given: names of the columns of all files.
    """
    free = name if occurrence == 1 else f"{name}_{occurrence}"
    while free in _TAKEN or (free != name and free in given):
        free = f"manifest_{free}"
    return free


def _renamed(files: Sequence[CarryingFile], names: Sequence[Sequence[str | None]]) -> Iterator[str]:
    """Warnings of columns whose name does not tell what they are called in the tables."""
    for file, carried in zip(files, names, strict=True):
        for name, new in zip(file.schema.names, carried, strict=True):
            if new not in (None, name, f"manifest_{name}"):
                yield (
                    f"{file.shown}: column {name!r} is carried as {new!r}, since another column "
                    "has its name; rename one of them"
                )


def _without_masks(files: Sequence[CarryingFile]) -> Iterator[str]:
    """Warnings of columns with the name of masks, and none in them."""
    for file in files:
        if MASK_COLUMN in file.schema.names and form_of_masks(file.schema) is None:
            yield f"{file.shown}: {no_masks(file.schema)}. It is carried, and read as no mask"


def _carried_as_text(name: str, parts: Sequence[_Column]) -> str:
    files: dict[str, list[str]] = {}
    for part in parts:
        if not pa.types.is_null(part.type):
            files.setdefault(type_name(part.type), []).append(part.file.shown)
    found = "; ".join(f"{kind} in {listed(of, _MOST_FILES)}" for kind, of in files.items())
    return (
        f"column {name!r} is carried as text, because no one type holds all its values without "
        f"loss: {found}. Write it with one type to have numbers, times or lists in the tables"
    )
