"""The embedded catalog: one Delta Lake table of published predictions.

A row is one published prediction with its segments nested in it, so that the table alone defines
what is published. Masks are immutable and stored before the commit that refers to them; a mask that
no row refers to is harmless.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from segpipe.errors import CatalogError, nearest
from segpipe.manifests.partition import Partition
from segpipe.publishing import maintenance
from segpipe.publishing.catalog_destination import CatalogDestination
from segpipe.publishing.history import History, diff, history
from segpipe.publishing.outcomes import new_run_id
from segpipe.publishing.table_format import MASKS_KEY, PREDICTIONS, quoted
from segpipe.publishing.upgrading import Upgrade, upgrade
from segpipe.storage.files import Folder
from segpipe.storage.mask_store import MaskStore
from segpipe.storage.redaction import redacted


class Catalog(CatalogDestination):
    """The embedded catalog: published predictions, their history, and undoing.

    Args:
        folder: holds the Delta table ``predictions``.
        masks: the content-addressed mask files its rows refer to.
        dataset: whose predictions :meth:`unpublish` removes and :meth:`predictions` returns; None
            if the catalog was opened without its root.
        root: path or URL of its root, for the commands that messages advise; None likewise.
        single_publisher: whether never more than one process publishes or maintains it at a time,
            so that its store need not hold conditional puts.
    """

    def __init__(
        self,
        folder: Folder,
        masks: MaskStore,
        dataset: str | None = None,
        root: str | None = None,
        *,
        single_publisher: bool = False,
    ) -> None:
        super().__init__(folder, masks, root)
        self.table.single_publisher = single_publisher
        self.dataset = dataset

    def predictions(
        self,
        model_run: str | None = None,
        reference_ids: Sequence[str] | None = None,
        *,
        date: str | None = None,
        columns: Sequence[str] | None = None,
        version: int | None = None,
    ) -> pa.Table:
        """Published predictions as an Arrow table; ``.to_pandas()`` makes a data frame of it.

        A row is one prediction: identity, ``mask_path``, ``mask_sha256``, ``fingerprint``,
        ``height`` and ``width`` (pixels), ``segments`` (a list of structs with ``label``,
        ``index``, ``metadata`` as JSON, ``confidence``, ``area_px``, ``area_fraction``, the box
        ``bbox_x``, ``bbox_y``, ``bbox_w``, ``bbox_h`` and the centroid, in pixels, ``class_pdf``,
        ``entropy``, ``margin`` and declared metadata), and which run published it when. All
        columns: ``docs/tables.md``.

        Args:
            model_run: only this model run's predictions.
            reference_ids: only the predictions for these dataset items.
            date: only the predictions of this day's partition, ``YYYY-MM-DD``.
            columns: names to read; all if None.
            version: of the catalog; the newest if None.

        Raises:
            CatalogError: if the version does not exist or its files were vacuumed, or a column
                does not exist.
        """
        given = {"dataset": self.dataset, "model_run": model_run, "partition": date}
        where = " AND ".join(f"{name} = {quoted(v)}" for name, v in given.items() if v is not None)
        ids = None if reference_ids is None else pa.array(reference_ids, pa.string())
        wanted = None if columns is None else list(columns)
        _check_columns(wanted or ())
        read = wanted
        if wanted is not None and ids is not None:  # needed to filter by item
            read = list(dict.fromkeys([*wanted, "reference_id"]))
        found = self.read_from(self.table.open(version), read, where or None, ids)
        return found if wanted is None else found.select(wanted)

    def datasets(self, version: int | None = None) -> list[str]:
        """The datasets there are predictions of, sorted.

        Args:
            version: of the catalog; the newest if None.

        Raises:
            CatalogError: if the version does not exist.
        """
        table = self.table.open(version)
        return [] if table is None else sorted({str(one["dataset"]) for one in table.partitions()})

    def history(self, most: int | None = None) -> History:
        """The catalog's versions, newest first; see :class:`segpipe.publishing.history.Version`.

        Args:
            most: how many of the newest; all if None.
        """
        return history(self, most)

    def diff(self, before: int, after: int | None = None) -> pa.Table:
        """What changed from one version to another: one row per item that differs.

        Args:
            after: the newest version if None.

        Returns:
            ``segpipe.publishing.history.DIFFERENCES``: identity, ``change`` (added, replaced or
            removed), both fingerprints, and the Segments added, removed and changed, as text.

        Raises:
            CatalogError: if there is no such version, or its files were vacuumed.
        """
        if after is None:
            after = self.version() or 0
        return diff(self, before, after)

    def restore(self, version: int, *, run_id: str | None = None) -> int:
        """Restore the catalog to an earlier version, as a new version, whose number is returned.

        Nothing is lost: the versions in between stay and can be restored as well.

        Raises:
            CatalogError: if there is no such version, or its files were vacuumed.
        """
        return maintenance.restore(self, version, run_id or new_run_id())

    def unpublish(
        self,
        model_run: str,
        date: str | None = None,
        *,
        reference_ids: Sequence[str] | None = None,
        run_id: str | None = None,
    ) -> int:
        """Remove predictions of a model run: by item, by day, or both.

        This is recorded in the history, and undone by restoring the version before.

        Args:
            date: only the predictions of this day's partition, ``YYYY-MM-DD``.
            reference_ids: only the predictions for these items.

        Returns:
            How many predictions were removed.

        Raises:
            CatalogError: if neither items nor a day are given, or the catalog was opened without
                its root and therefore without its dataset.
            SettingsError: if the model run's name or the day is not valid.
        """
        if self.dataset is None:
            raise CatalogError(
                "this catalog was opened by itself: unpublish with segpipe.Root.open(ROOT).catalog,"
                " which knows the dataset"
            )
        if date is not None:
            Partition(model_run, date)  # raises SettingsError
        return maintenance.unpublish(
            self,
            self.dataset,
            model_run,
            run_id or new_run_id(),
            reference_ids=reference_ids,
            partition=date,
        )

    def upgrade(self, *, dry_run: bool = True, run_id: str | None = None) -> Upgrade:
        """Upgrade a catalog that an older segpipe wrote to the format of this one.

        No file is rewritten, and restoring the version before undoes it. One that needs none is
        left alone.

        Args:
            dry_run: say what would be done, and change nothing.

        Raises:
            CatalogError: if there is none, or it is of a newer format.
            StorageError: if it cannot be written.
        """
        return upgrade(self, run_id or new_run_id(), dry_run=dry_run)

    def optimize(self, *, run_id: str | None = None) -> dict[str, int]:
        """Rewrite the table's many small files as a few large ones.

        Returns:
            The numbers of files ``added`` and ``removed``.
        """
        return maintenance.optimize(self, run_id or new_run_id())


def _check_columns(columns: Sequence[str]) -> None:
    for name in columns:
        if name not in PREDICTIONS.names:
            hint = nearest(name, PREDICTIONS.names)
            raise CatalogError(f"predictions have no column {name!r}{hint}")


def open_catalog(url: str, storage_options: Mapping[str, Any] | None = None) -> Catalog:
    """Open a catalog for reading: ``open_catalog("demo/catalog").read()``.

    Args:
        url: of the catalog's folder, or of the root that holds it as ``catalog/``.
        storage_options: fsspec's options for remote URLs.

    Raises:
        CatalogError: if there is none.
        StorageError: if not even the bucket is there.
    """
    Folder(url, storage_options).check_bucket()
    for place, root in ((url.rstrip("/"), None), (f"{url.rstrip('/')}/catalog", url)):
        folder = Folder(place, storage_options)
        # The table itself names the folder of the masks.
        table = Catalog(folder, MaskStore(folder), root=root).table.open()
        if table is not None:
            masks = table.metadata().configuration.get(MASKS_KEY, "../masks")
            if "://" not in masks and not masks.startswith("/"):
                scheme, separator, path = place.rpartition("://")
                masks = f"{scheme}{separator}{posixpath.normpath(f'{path}/{masks}')}"
            return Catalog(folder, MaskStore(Folder(masks, storage_options)), root=root)
    raise CatalogError(f"there is no catalog in {redacted(url)}: nothing was published there yet")
