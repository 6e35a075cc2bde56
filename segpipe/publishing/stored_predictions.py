"""Reading the catalog's table; what publishing and maintenance have in common."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

import pyarrow as pa
from deltalake import DeltaTable

from segpipe.publishing.table import PredictionsTable
from segpipe.publishing.table_format import PREDICTIONS, of_model_run
from segpipe.storage.files import Folder
from segpipe.storage.mask_store import MaskStore


class StoredPredictions:
    """Published predictions under a URL that fsspec and object_store both know.

    Args:
        folder: holds the Delta table ``predictions``.
        masks: the content-addressed mask files its rows refer to.
        root: path or URL of the catalog's root, for the commands that messages advise.
    """

    def __init__(self, folder: Folder, masks: MaskStore, root: str | None = None) -> None:
        self.folder = folder
        self.masks = masks
        self.table = PredictionsTable(folder, _masks_url(folder, masks), root)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.table.shown!r})"

    def take_remarks(self) -> list[str]:
        """What was set aside or mended since this was asked last, a sentence each."""
        remarks, self.table.remarks = self.table.remarks, []
        return remarks

    @property
    def uri(self) -> str:
        """URL or path of the Delta table."""
        return self.table.uri

    def read(
        self,
        columns: list[str] | None = None,
        where: str | None = None,
        *,
        version: int | None = None,
    ) -> pa.Table:
        """Published predictions as an Arrow table; empty if nothing has been published yet.

        Args:
            columns: names to read; all if None.
            where: an SQL predicate on the columns.
            version: of the catalog; the newest if None.

        Raises:
            CatalogError: if the version does not exist or its files were vacuumed.
        """
        return self.read_from(self.table.open(version), columns, where)

    def read_items(
        self,
        dataset: str,
        model_run: str,
        reference_ids: Sequence[str],
        columns: list[str],
        *,
        version: int | None = None,
    ) -> pa.Table:
        """Published predictions for some items of a model run.

        Args:
            columns: names to read; must contain ``reference_id``.

        Raises:
            CatalogError: if the version does not exist or its files were vacuumed.
        """
        ids = pa.array(reference_ids, pa.string())
        return self.read_from(
            self.table.open(version), columns, of_model_run(dataset, model_run), ids
        )

    def version(self) -> int | None:
        """The table's newest version; None if there is no table yet."""
        return self.table.version()

    def read_from(
        self,
        table: DeltaTable | None,
        columns: list[str] | None,
        where: str | None,
        ids: pa.Array | None = None,
    ) -> pa.Table:
        """:meth:`read` from an open table; empty if ``table`` is None.

        Args:
            ids: string array of reference ids to read; all if None.

        Raises:
            CatalogError: if files of the table's version no longer exist.
        """
        if table is None:
            names = PREDICTIONS.names if columns is None else columns
            return pa.schema([PREDICTIONS.field(name) for name in names]).empty_table()
        return self.table.read(table, columns, where, ids)


def _masks_url(folder: Folder, masks: MaskStore) -> str:
    """Where the masks are, relative to the catalog's folder if possible."""
    own, other = folder.url, masks.folder.url
    if own.partition("://")[0] == other.partition("://")[0] or "://" not in own + other:
        return posixpath.relpath(other, own)
    return masks.folder.shown
