"""The rows of a stored table that are about one dataset item."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from segpipe.errors import TableError
from segpipe.storage.files import Folder

_ID = "reference_id"


def rows_of_item(
    folder: Folder, name: str, reference_id: str | None, columns: Sequence[str] | None = None
) -> pa.Table:
    """The rows of a Parquet file that are about an item; row groups that cannot have any are not
    read. A table without rows and columns where there are none, or no such file.

    Args:
        reference_id: of the item; None for rows whose id is null or empty.
        columns: those of these that the file has; None for all.

    Raises:
        TableError: if the file is damaged.
        StorageError: if it cannot be read.
    """
    if not folder.exists(name):
        return pa.table({})
    with folder.open_input(name) as handle:
        try:
            return _read(pq.ParquetFile(handle), reference_id, columns)
        except pa.ArrowException as error:
            raise TableError(
                f"{folder.shown}/{name} is damaged ({error}): run its partition again with --force"
            ) from None


def _read(
    file: pq.ParquetFile, reference_id: str | None, columns: Sequence[str] | None
) -> pa.Table:
    has = file.schema_arrow.names
    wanted = None if columns is None else [one for one in columns if one in has]
    place = [file.schema.column(n).path for n in range(len(file.schema))].index(_ID)
    found: list[pa.Table] = []
    for group in range(file.metadata.num_row_groups):
        spans = file.metadata.row_group(group).column(place).statistics
        told = spans is not None and spans.has_min_max and isinstance(spans.min, str)
        if reference_id is not None and told and not spans.min <= reference_id <= spans.max:
            continue
        ids = file.read_row_group(group, columns=[_ID])[_ID]
        own = pc.equal(pc.fill_null(ids, "") if reference_id is None else ids, reference_id or "")
        if pc.any(own).as_py():
            found.append(file.read_row_group(group, columns=wanted).filter(own))
    return pa.concat_tables(found) if found else pa.table({})
