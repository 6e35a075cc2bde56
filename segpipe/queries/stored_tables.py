"""Parquet files of a root as one Arrow data set, which reads only the files a filter leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import and_
from re import Pattern
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pds
import pyarrow.fs as pfs
import pyarrow.parquet as pq
from deltalake import DeltaTable

from segpipe.errors import CatalogError, StorageError
from segpipe.manifests.common_types import always_fits, common_types, storable
from segpipe.storage.failures import storage_errors
from segpipe.storage.files import Folder

# What a reader of the table has to know, and the Arrow data set does not.
_UNREADABLE = frozenset({"columnMapping", "deletionVectors"})


@dataclass(frozen=True, slots=True)
class TableFile:
    """A Parquet file and what is known of its rows without reading it.

    Attributes:
        path: below the folder of the data set.
        values: column -> the value that all rows have.
        spans: column -> the smallest and the largest value.
    """

    path: str
    values: Mapping[str, str | None]
    spans: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def expression(self) -> pds.Expression:
        """The same for Arrow."""
        known = [
            pc.field(name).is_null() if value is None else pc.field(name) == value
            for name, value in self.values.items()
        ]
        for name, (least, most) in self.spans.items():
            known += [pc.field(name) >= least, pc.field(name) <= most]
        return reduce(and_, known)


def data_set(folder: Folder, files: Sequence[TableFile], schema: pa.Schema) -> pds.Dataset:
    """The rows of files as one data set; a column that a file lacks is null, nested ones too."""
    if not files:
        return pds.dataset(schema.empty_table())
    kind, system = pds.ParquetFileFormat(), _filesystem(folder)
    fragments = [
        kind.make_fragment(folder.path_of(file.path), system, file.expression) for file in files
    ]
    return pds.FileSystemDataset(fragments, schema, kind, system)


def _filesystem(folder: Folder) -> pfs.FileSystem:
    if folder.is_local:  # Arrow's own, in which a path means what it says
        return pfs.LocalFileSystem()
    return pfs.PyFileSystem(pfs.FSSpecHandler(folder.filesystem))


def files_below(
    folder: Folder, pattern: Pattern[str], known: Mapping[str, str | None] | None = None
) -> Iterator[TableFile]:
    """The files whose path below the folder matches, with the values that the path names.

    Args:
        pattern: its named groups are columns, percent-encoded as in the folders' names.
        known: further columns and their values.
    """
    for stored in folder.files():
        path = stored.path[len(folder.path) + 1 :]
        found = pattern.fullmatch(path)
        if found is not None:
            named = {name: unquote(value) for name, value in found.groupdict().items()}
            yield TableFile(path, {**named, **(known or {})})


def published_files(table: DeltaTable, shown: str) -> list[TableFile]:
    """The files of a version of the catalog's table, as its log names them.

    Args:
        shown: the table's name, for messages.

    Raises:
        CatalogError: if another tool has changed it so that its files are not all of it, or lie
            elsewhere.
    """
    features = _UNREADABLE.intersection(table.protocol().reader_features or ())
    if features:
        raise CatalogError(
            f"{shown} was changed by something other than segpipe, and cannot be queried: it uses "
            f"{', '.join(sorted(features))}"
        )
    return [
        _published(file, shown)
        for file in pa.table(table.get_add_actions(flatten=True)).to_pylist()
    ]


def _published(file: Mapping[str, Any], shown: str) -> TableFile:
    path = unquote(file["path"])
    if "://" in path or path.startswith("/") or ".." in path.split("/"):
        raise CatalogError(f"{shown} names a file outside of it, which is not read: {path}")
    spans = {}
    for name in ("reference_id", "partition"):
        least, most = file.get(f"min.{name}"), file.get(f"max.{name}")
        if least is not None and most is not None and file.get(f"null_count.{name}") == 0:
            spans[name] = least, most
    start = "partition."
    values = {
        name.removeprefix(start): value for name, value in file.items() if name.startswith(start)
    }
    return TableFile(path, values, spans)


def carried_columns(
    folder: Folder,
    files: Sequence[TableFile],
    known: Sequence[str],
    takes: Callable[[pa.DataType], bool],
) -> tuple[list[pa.Field], list[str]]:
    """The columns that files have besides those that all have, and what is to be said of them.

    Args:
        known: names of the columns that all have.
        takes: whether a type can be queried.

    Returns:
        The columns, each of a type that holds the values of all files unchanged; a message for
        each that has text instead, or is left out.

    Raises:
        StorageError: naming a file that cannot be read.
    """
    kinds: dict[str, dict[pa.DataType, None]] = {}
    for schema in folder.each(lambda file: _schema(folder, file), files):
        for column in schema:
            if column.name not in known:
                kinds.setdefault(column.name, {})[column.type] = None
    fields, notes = [], []
    for name, given in kinds.items():
        kind = _one_type(list(given), takes)
        words = " and ".join(sorted(map(str, given)))
        if kind is None:
            notes.append(f"the column {name!r} is left out: no type for {words} can be queried")
        else:
            fields.append(pa.field(name, kind))
            if pa.types.is_string(kind) and not all(map(_is_text, given)):
                notes.append(f"the column {name!r} is read as text: it is {words}")
    return fields, notes


def _schema(folder: Folder, file: TableFile) -> pa.Schema:
    place = folder.path_of(file.path)
    with storage_errors(f"reading {folder.shown}/{file.path}"):
        try:
            return pq.read_schema(place, filesystem=_filesystem(folder))
        except pa.ArrowInvalid as error:
            raise StorageError(
                f"{folder.shown}/{file.path} is damaged ({error}): materialize its partition again"
            ) from None


def _one_type(
    given: Sequence[pa.DataType], takes: Callable[[pa.DataType], bool]
) -> pa.DataType | None:
    plain = list(map(storable, given))
    for kind in common_types(plain):
        if takes(kind) and all(always_fits(one, kind) for one in plain):
            return kind
    halves = all(map(pa.types.is_float16, plain))
    if halves:
        return pa.float32()
    return None if any(map(pa.types.is_nested, plain)) else pa.string()


def _is_text(kind: pa.DataType) -> bool:
    plain = storable(kind)
    return bool(pa.types.is_string(plain) or pa.types.is_null(plain))
