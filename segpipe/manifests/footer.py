"""The footer of a Parquet file, looked at before Arrow reads it.

Arrow makes an object of a kilobyte for every five bytes that claim to be a column, and follows a
schema as deep as it goes. So rows, columns, row groups and nesting are counted here first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO

from segpipe.errors import ManifestError
from segpipe.manifests.limits import (
    MAX_COLUMN_CHUNKS,
    MAX_COLUMNS,
    MAX_FOOTER_BYTES,
    MAX_NAME_BYTES,
    MAX_NESTING,
)
from segpipe.manifests.thrift import Compact, Struct, ThriftError

_MAGIC = b"PAR1"
# Fields of Parquet's FileMetaData, SchemaElement and RowGroup.
_SCHEMA, _ROWS, _GROUPS = 2, 3, 4
_NAME, _CHILDREN = 4, 5
_COLUMNS = 1
# A footer of fewer bytes cannot hold so many columns that they matter.
_SMALL = 1_000_000


def check_footer(shown: str, handle: IO[bytes]) -> None:
    """Check what a file's footer claims, before anything is made of it.

    A file that is no Parquet file passes: Arrow says better what is wrong with it.

    Args:
        shown: name of the file, for messages.
        handle: it is read from its end.

    Raises:
        ManifestError: if the file is beyond a limit, which is named.
        OSError: if it cannot be read.
    """
    end = handle.seek(0, 2)
    handle.seek(max(0, end - 8))
    tail = handle.read(8)
    size = int.from_bytes(tail[:4], "little")
    if tail[4:] != _MAGIC or size > end - 8:
        return
    if size > MAX_FOOTER_BYTES:
        raise _beyond(
            shown,
            f"its footer has {size:,} bytes, and at most {MAX_FOOTER_BYTES:,} are read",
            "fewer columns, or larger row groups",
        )
    handle.seek(end - 8 - size)
    footer = Compact(handle.read(size))
    try:
        fields = footer.struct(last=_GROUPS)
        schema, groups = fields.get(_SCHEMA, []), fields.get(_GROUPS, 0)
        columns = _check_schema(shown, schema)
        chunks = groups * columns
        if size > _SMALL:
            chunks = max(chunks, sum(len(_columns_of(footer)) for _ in range(groups)))
    except ThriftError:
        return
    if chunks > MAX_COLUMN_CHUNKS:
        raise _beyond(
            shown,
            f"it has {columns:,} columns in {groups:,} row groups, together {chunks:,}, and at "
            f"most {MAX_COLUMN_CHUNKS:,} are read",
            "fewer columns, or larger row groups",
        )


def _columns_of(footer: Compact) -> Sequence[object]:
    columns: Sequence[object] = footer.struct().get(_COLUMNS, [])
    return columns


def _check_schema(shown: str, schema: Sequence[Struct]) -> int:
    """The number of columns; raises ManifestError if the schema is beyond a limit."""
    open_groups: list[int] = []
    columns = deepest = 0
    for element in schema:
        name = element.get(_NAME, b"")
        if len(name) > MAX_NAME_BYTES:
            raise _beyond(
                shown,
                f"the name of a column has {len(name):,} bytes (it begins with {name[:40]!r}), and "
                f"at most {MAX_NAME_BYTES:,} are read",
                "shorter names",
            )
        while open_groups and not open_groups[-1]:
            open_groups.pop()
        if open_groups:
            open_groups[-1] -= 1
        children = element.get(_CHILDREN, 0)
        if children:
            open_groups.append(children)
        else:
            columns += 1
        deepest = max(deepest, len(open_groups))
    if columns > MAX_COLUMNS:
        raise _beyond(
            shown,
            f"it has {columns:,} columns, those within structs and lists counted, and at most "
            f"{MAX_COLUMNS:,} are read",
            "fewer columns, or lists instead of columns with numbers in their names",
        )
    if deepest > MAX_NESTING:
        raise _beyond(
            shown,
            f"its columns are nested {deepest:,} levels deep, and at most {MAX_NESTING} are read",
            "values that lie less deep, or JSON text",
        )
    return columns


def _beyond(shown: str, found: str, instead: str) -> ManifestError:
    return ManifestError(f"{shown}: {found}. Write it again with {instead}")
