"""The public entry point: a segpipe root and its operations.

A root holds one dataset's manifests, validated tables, views, masks and catalog. The command line
and the Dagster assets call these methods.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Collection
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from segpipe.errors import (
    NothingLandedError,
    TableError,
)
from segpipe.formats.exports import ExportFormat, export_published
from segpipe.manifests.partition import Partition
from segpipe.pictures.item_picture import LONGEST_SIDE, ShownItem
from segpipe.predictions.view import View
from segpipe.publishing.destinations import (
    CATALOG,
    DESTINATIONS,
)
from segpipe.publishing.outcomes import Provenance, new_run_id
from segpipe.publishing.publication import VERIFIED_MASKS, Publication, publish
from segpipe.publishing.vacuum import Vacuumed, vacuum
from segpipe.validation.materialization import Progress
from segpipe.validation.summary import Summary

if TYPE_CHECKING:
    from segpipe.queries.views import Sources

from segpipe.judged_root import JudgedRoot
from segpipe.validated_root import DateLike, PartitionLike


class Root(JudgedRoot):
    """A root: its settings, its folders and stores, and the operations on its partitions."""

    def publish(
        self,
        partition: PartitionLike,
        date: DateLike = None,
        *,
        update: bool = False,
        destination: str = CATALOG,
        view: View | str | None = None,
        dry_run: bool = False,
        verify_masks: int | None = VERIFIED_MASKS,
        run_id: str | None = None,
        provenance: Provenance | None = None,
        progress: Progress | None = None,
    ) -> Publication:
        """Publish a partition's validated predictions, read back what was published, and keep a
        receipt for each.

        Args:
            partition: the model run's name, together with ``date``; or a :class:`Partition`.
            date: ``YYYY-MM-DD``, or a date.
            update: replace predictions that are there already and differ; otherwise they are
                ignored, and what is published stays.
            destination: where to, ``catalog`` or ``nucleus``.
            view: ``given``, ``instance`` or ``semantic``; None for the one in the model run's
                policy. A view other than given has to be materialized first.
            dry_run: report what would happen, and change nothing.
            verify_masks: number of masks of each batch to read back and decode; None for all.
            run_id: identifies this run in rows, receipts and history; pass the same id when a run
                is repeated. None for a new id.
            provenance: update, run id, time and dataset in one object, instead of the arguments.
            progress: called with the number of predictions done and of all predictions.

        Raises:
            TableError: if the partition was not materialized completely, its tables are not of
                the manifest as it is now, or more of it was rejected than the policy allows.
            EvaluationError: if ``[evaluation]`` has a gate, and it is not good enough.
            SettingsError: if the destination is not set up.
            CatalogError, DestinationError, StorageError: if the destination fails; what was
                published by then stays, and publishing again completes it.
        """
        partition = Partition.of(partition, date)
        validated = self.validated(partition)
        with suppress(NothingLandedError):  # it was archived: then there is nothing to differ from
            self.check_current(partition)
        policy = self.settings.policies.of(partition.model_run)
        _check_rejections(validated.summary, policy.max_rejection_rate)
        if self.gated(partition.model_run):
            self.quality(partition).check()
        if provenance is None:
            provenance = self._provenance(partition, run_id, update=update)
        return publish(
            self.view(partition, policy.publish_as if view is None else View(view)),
            self.destination(destination),
            self.masks,
            self.receipts(destination),
            provenance,
            dry_run=dry_run,
            verify_masks=verify_masks,
            rows_per_batch=self.settings.publish_rows,
            progress=progress,
        )

    def _provenance(self, partition: Partition, run_id: str | None, *, update: bool) -> Provenance:
        return Provenance(
            self.settings.dataset,
            partition.model_run,
            partition.date,
            run_id or new_run_id(),
            datetime.datetime.now(datetime.UTC),
            update,
        )

    def show(
        self,
        reference_id: str,
        model_run: str | None = None,
        date: DateLike = None,
        *,
        against: str | None = None,
        longest_side: int = LONGEST_SIDE,
    ) -> ShownItem:
        """What there is of an item, published, validated or rejected: print it, ``save`` it as a
        picture, read its published ``rows``; in a notebook it shows itself.

        Args:
            model_run, date: only of these; of all where None.
            against: another model run: both side by side, with their difference.
            longest_side: of each prediction's picture without legend, in pixels.

        Raises:
            CatalogError: if there is nothing of it, or nothing that can be compared.
            SettingsError: if there is no model run to compare with ``against``.
        """
        return ShownItem.find(
            self.catalog,
            self.settings,
            lambda partition, manifest, row: self.evidence(partition, manifest=manifest, row=row),
            reference_id,
            model_run,
            date=None if date is None else str(date),
            against=against,
            longest_side=longest_side,
        )

    @property
    def query_sources(self) -> Sources:
        """What SQL reads: the catalog, the partitions' tables and evaluations, all receipts."""
        # Here, as in `sql`: only who queries pays for loading Arrow's data sets.
        from segpipe.queries.views import Sources

        receipts = {name: self.receipts(name) for name in DESTINATIONS}
        folder = self.settings.folder
        return Sources(self.catalog, folder("validated"), folder("evaluations"), receipts)

    def sql(self, query: str, *, version: int | None = None) -> pa.Table:
        """Answer an SQL query on the views ``predictions``, ``segments``, ``validated``,
        ``rejected``, ``receipts``, ``history`` and those of evaluations, ``evaluation_items`` and
        so on; it can read nothing else, and change nothing.

        Needs ``segpipe[query]``. Columns that are renamed, read as text or left out are warned of.

        Args:
            version: of the catalog, for ``predictions`` and ``segments``; the newest if None.

        Raises:
            QueryError: if it is not one SELECT, or names what is not there, with what is nearest.
            CatalogError, StorageError: if a view cannot be read.
            SettingsError: if DuckDB is not installed.
        """
        from segpipe.queries import session

        return session.answer(self.query_sources, query, version)

    def export(
        self,
        kind: ExportFormat | str,
        out: str | PathLike[str],
        model_run: str,
        date: DateLike = None,
        *,
        like: str | PathLike[str] | None = None,
        reference_ids: Collection[str] | None = None,
        progress: Progress | None = None,
        left_out: Counter[str] | None = None,
    ) -> int:
        """Write a model run's published predictions in another format; returns how many.

        Args:
            kind: ``coco-panoptic``, ``mask-folder``, ``coco-results``, ``label-studio`` or
                ``yolo-seg``.
            out: a folder that is not there yet, or is empty; it appears whole or not at all.
            date: only what this date's partition published.
            like: for COCO's formats, a COCO JSON file whose numbers for categories (by name) and
                images (by reference id) are used.
            reference_ids: only the predictions for these items.
            left_out: counts what the format cannot hold, by kind.

        Raises:
            SettingsError: if nothing of it is published, or ``like`` cannot be used.
            StorageError: if a file cannot be written, or the folder is not empty.
        """
        return export_published(
            ExportFormat(kind),
            Path(out),
            self.catalog,
            self.settings.dataset,
            model_run,
            None if date is None else str(date),
            consolidation=self.consolidation(model_run, View.GIVEN),
            like=None if like is None else Path(like),
            reference_ids=reference_ids,
            progress=progress,
            left_out=left_out,
        )

    def vacuum(self, retention_hours: int = 168, *, dry_run: bool = True) -> Vacuumed:
        """Delete table files and masks that no version within the retention needs, and temporary
        files of killed runs that are older than a day.

        A mask store configured outside the root is left alone: other roots may use it. Runs may
        publish meanwhile.

        Args:
            dry_run: only report what would be deleted.

        Raises:
            CatalogError, StorageError: if something cannot be read; nothing more is deleted then.
        """
        folder = self.settings.folder
        return vacuum(
            self.catalog,
            folder("validated"),
            views=folder("views"),
            others=[folder("manifests"), folder("sent"), folder("evaluations")],
            masks_too=not self.settings.masks,
            retention_hours=retention_hours,
            dry_run=dry_run,
        )


def _check_rejections(summary: Summary, limit: float) -> None:
    if summary.rejection_rate > limit:
        raise TableError(
            f"{summary.rejected} of {summary.rows} rows were rejected, more than "
            f"max_rejection_rate ({limit:g}) allows: something systematic is wrong; mend it and "
            "materialize again, or raise the limit"
        )
