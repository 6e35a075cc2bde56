"""A root up to its validated partitions: settings, folders, stores, and what makes their tables."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Self
from urllib.parse import urlencode

from segpipe import __version__
from segpipe.errors import (
    CatalogError,
    ManifestError,
    SettingsError,
    TableError,
    listed,
)
from segpipe.manifests.chosen_rows import chosen_rows
from segpipe.manifests.items import ItemList
from segpipe.manifests.landing import Landing
from segpipe.manifests.manifest import Manifest
from segpipe.manifests.partition import Partition
from segpipe.pictures.label_colours import colours_of
from segpipe.pictures.palette import hex_colour
from segpipe.pictures.report_page import PageHead, write_page
from segpipe.predictions.view import View
from segpipe.publishing.catalog import Catalog
from segpipe.publishing.destination import Destination
from segpipe.publishing.destinations import (
    CATALOG,
    DestinationContext,
    destination_entry,
)
from segpipe.publishing.ground_truth import PublishedTruth
from segpipe.settings import Settings
from segpipe.storage.files import Folder
from segpipe.storage.mask_store import MaskStore
from segpipe.storage.redaction import redacted
from segpipe.validation.chunk import Validation, read_evidence
from segpipe.validation.manifest_of_tables import check_manifest_of, note_manifest
from segpipe.validation.materialization import Progress, materialize
from segpipe.validation.report import ValidationReport
from segpipe.validation.rules import Evidence
from segpipe.validation.rules.judging import compares_with_truth
from segpipe.validation.summary import SUMMARY_FILE, Summary
from segpipe.validation.validated import ValidatedPredictions
from segpipe.views.consolidation import Consolidation
from segpipe.views.materialized import materialize_view, open_view
from segpipe.views.summary import ViewSummary
from segpipe.workers.chunks import Workers

#: The report page beside a partition's tables.
REPORT_FILE = "report.html"

#: A partition; or a model run's name, together with a date argument.
PartitionLike = Partition | str
#: ``YYYY-MM-DD``, or a date; None together with a :class:`Partition`, which has its own.
DateLike = str | datetime.date | None


@dataclass(frozen=True)
class ValidatedRoot:
    """A root up to its validated partitions; see :class:`segpipe.root.Root`."""

    settings: Settings

    @classmethod
    def open(cls, url: str | PathLike[str], *, must_exist: bool = False) -> Self:
        """The root at a path or fsspec URL, with its ``segpipe.toml``.

        Args:
            must_exist: raise for a local path that is not a folder, instead of opening an empty
                root.

        Raises:
            SettingsError: if the settings file cannot be used.
        """
        settings = Settings.load(str(url))
        if must_exist and "://" not in settings.root and not Path(settings.root).is_dir():
            raise SettingsError(f"there is no folder {settings.root}")
        return cls(settings)

    def of_dataset(self, dataset: str | None = None) -> Self:
        """The root as if ``segpipe.toml`` had this dataset, which the catalog holds something of.

        Args:
            dataset: its name; None for that of ``segpipe.toml`` or, where that names none, for the
                only one the catalog has.

        Raises:
            CatalogError: if the catalog has nothing of it, with what it has.
        """
        known, own = self.catalog.datasets(), self.settings.dataset
        name = own if dataset is None else dataset
        unnamed = dataset is None and own == Settings.dataset
        if unnamed and own not in known and len(known) == 1:
            (name,) = known
        if name not in known and (known or dataset is not None):
            there = f"there are: {listed(known)}" if known else "it is empty"
            raise CatalogError(
                f"the catalog holds nothing of dataset {name!r}; {there}. Name one with --dataset, "
                "or Root.of_dataset in Python"
            )
        found = type(self)(replace(self.settings, dataset=name))
        found.catalog.table.remarks += self.catalog.take_remarks()
        return found

    def __repr__(self) -> str:
        return f"Root({redacted(self.settings.root)!r})"

    @cached_property
    def landing(self) -> Landing:
        """Where manifests arrive."""
        return Landing(self.settings.folder("manifests"), self.settings.sources())

    @cached_property
    def masks(self) -> MaskStore:
        """Where canonical masks are kept."""
        return self.settings.mask_store()

    @cached_property
    def catalog(self) -> Catalog:
        """The embedded catalog: predictions, history, diff, restore, unpublish, optimize."""
        settings = self.settings
        return Catalog(
            settings.folder("catalog"),
            self.masks,
            settings.dataset,
            settings.root,
            single_publisher=settings.single_publisher,
        )

    def colours(self, labels: Iterable[str] | None = None) -> dict[str, str]:
        """Label -> ``#rrggbb``, as in every picture of the root.

        Args:
            labels: that are to have colours; None for all that are known.
        """
        return {one: hex_colour(rgb) for one, rgb in colours_of(self.settings, labels).items()}

    def partitions(self) -> list[Partition]:
        """The partitions that have landed, sorted by model run and day.

        Raises:
            StorageError: if the landing folder cannot be listed.
        """
        return list(self.landing.partitions())

    def destination(self, name: str) -> Destination:
        """A place predictions are published to: ``catalog``, ``nucleus``, or another entry of
        :data:`segpipe.publishing.destinations.DESTINATIONS`.

        Raises:
            SettingsError: if there is no such destination, it is not set up, or cannot be used.
        """
        entry = destination_entry(name)
        context = DestinationContext(
            self._sent(name), self.settings.of_destination(entry), lambda: self.catalog
        )
        return entry.open(context)

    def receipts(self, destination: str = CATALOG) -> Folder:
        """Where the receipts of publishing are kept: a folder for each destination."""
        if destination == CATALOG:
            return self.settings.folder("catalog").folder("receipts")
        return self._sent(destination).folder("receipts")

    def _sent(self, destination: str) -> Folder:
        """Folder of the records of what was sent to a destination other than the catalog."""
        return self.settings.folder("sent").folder(destination)

    def tables(self, partition: Partition) -> Folder:
        """Where a partition's tables are."""
        return self.settings.folder("validated").folder(*partition.folders)

    def manifest(self, partition: PartitionLike, date: DateLike = None) -> Manifest:
        """A partition's manifest.

        Raises:
            ManifestError: if there is none, or it cannot be used.
        """
        partition = Partition.of(partition, date)
        limits = self.settings.policies.of(partition.model_run).limits
        return self.landing.manifest(partition, limits)

    def materialize(
        self,
        partition: PartitionLike,
        date: DateLike = None,
        *,
        force: bool = False,
        progress: Progress | None = None,
    ) -> Summary:
        """Validate a partition's masks and write its tables: validated, segments, rejected.

        Args:
            partition: the model run's name, together with ``date``; or a :class:`Partition`.
            date: ``YYYY-MM-DD``, or a date.
            force: read every mask again, even if nothing changed since the last pass.
            progress: called with the number of rows done and of all rows.

        Raises:
            SettingsError: if the model run's name or the date is not valid.
            ManifestError: if there is no manifest, or it cannot be used.
            StorageError: if storage fails; the tables of an earlier pass are then untouched.
        """
        partition, settings = Partition.of(partition, date), self.settings
        manifest, tables = self.manifest(partition), self.tables(partition)
        digest = manifest.content_sha256()  # before it is read: one that changes later is another
        summary = materialize(
            manifest,
            replace(self.validation(partition.model_run), truth=self._truth(partition.model_run)),
            tables,
            workers=self._workers,
            rows_per_chunk=settings.rows_per_chunk,
            force=force,
            progress=progress,
        )
        note_manifest(tables, digest, summary.outcome)
        return summary

    def _truth(self, model_run: str) -> PublishedTruth | None:
        """The ground truth that a model run's predictions are compared with; None for no
        comparison: none is named, it is the model run itself, or the rules are switched off."""
        named, policy = self.settings.ground_truth, self.settings.policies.of(model_run)
        if not named or model_run in named or not compares_with_truth(policy):
            return None
        return PublishedTruth.now(self.catalog, self.settings.dataset, named)

    def report(self, partition: PartitionLike, date: DateLike = None) -> ValidationReport:
        """What the validation of a materialized partition found, rule by rule.

        Raises:
            TableError: if the partition was not materialized.
        """
        return ValidationReport.read(self.tables(Partition.of(partition, date)))

    @property
    def _workers(self) -> Workers:
        return Workers(self.settings.workers, self.settings.scheduler)

    def consolidation(self, model_run: str, view: View) -> Consolidation:
        """How a model run's predictions are consolidated to a view.

        Raises:
            SettingsError: if the model run's taxonomy cannot serve the view.
        """
        policy = self.settings.policies.of(model_run)
        return Consolidation(view, policy.taxonomy, policy.metadata)

    def view_tables(self, partition: Partition, view: View) -> Folder:
        """Where the tables of a partition's view are."""
        if view is View.GIVEN:
            return self.tables(partition)
        return self.settings.folder("views").folder(view, *partition.folders)

    def materialize_view(
        self,
        partition: PartitionLike,
        date: DateLike = None,
        *,
        view: View | str,
        force: bool = False,
        progress: Progress | None = None,
    ) -> ViewSummary:
        """Consolidate a partition's validated predictions to a view, masks and tables.

        Args:
            view: ``instance`` or ``semantic``.
            force: materialize it again, even if nothing changed since the last time.

        Raises:
            SettingsError: if the model run's taxonomy cannot serve the view.
            TableError: if the partition was not materialized completely.
        """
        partition, view = Partition.of(partition, date), View(view)
        if view is View.GIVEN:
            raise TableError("predictions as given need no view: they are the validated ones")
        return materialize_view(
            self.validated(partition),
            self.consolidation(partition.model_run, view),
            self.masks,
            self.view_tables(partition, view),
            workers=self._workers,
            rows_per_chunk=self.settings.rows_per_chunk,
            force=force,
            progress=progress,
        )

    def view(self, partition: Partition, view: View) -> ValidatedPredictions:
        """A partition's predictions in a view.

        Raises:
            TableError: if it was not materialized completely, or is out of date.
        """
        validated = self.validated(partition)
        if view is View.GIVEN:
            return validated
        consolidation = self.consolidation(partition.model_run, view)
        return open_view(self.view_tables(partition, view), validated, consolidation)

    def validation(self, model_run: str) -> Validation:
        """What the predictions of a model run are validated with."""
        settings = self.settings
        policy = settings.policies.of(model_run)
        items = None
        if policy.items is not None:
            items = ItemList.read(settings.below_root(policy.items), settings.storage_options)
        return Validation(
            settings.dataset, model_run, settings.sources(), self.masks, policy, items
        )

    def evidence(
        self, partition: PartitionLike, date: DateLike = None, *, manifest: str, row: int
    ) -> tuple[Evidence, bytes]:
        """A row of a partition's manifest as the rules see it, its files read again.

        With :func:`segpipe.pictures.offending.offending_pixels` it tells which pixels violate a
        rule.

        Args:
            manifest: name of the manifest file, as tables have it.
            row: its number in the file, from 0 (``manifest_row``).

        Returns:
            The evidence, and the bytes of the mask's file.

        Raises:
            ManifestError: if the manifest is not there any more, cannot be read, or has no such
                row.
            StorageError: if storage fails.
        """
        partition = Partition.of(partition, date)
        rows = chosen_rows(self.manifest(partition), {manifest: [row]})
        for folder, found in rows:
            return read_evidence(found, folder, self.validation(partition.model_run))
        raise ManifestError(f"there is no row {row} in a manifest {manifest!r} of {partition}")

    def check_current(self, partition: PartitionLike, date: DateLike = None) -> None:
        """Raise an error unless a partition's tables are of its manifest as it is now.

        Raises:
            NothingLandedError: if there is no manifest any more, or never was.
            ManifestError: if it cannot be read.
            TableError: if they are of another one, or it is not known of which.
        """
        partition = Partition.of(partition, date)
        check_manifest_of(self.tables(partition), self.manifest(partition), str(partition))

    def write_report_page(self, partition: PartitionLike, date: DateLike = None) -> str:
        """Write the report on a materialized partition as an HTML page; returns its URL.

        Raises:
            TableError: if the partition was not materialized.
        """
        partition = Partition.of(partition, date)
        tables = self.tables(partition)
        manifest, stored = self.manifest(partition), tables.stored(SUMMARY_FILE)
        head = PageHead(
            f"Validation of {partition.model_run}, {partition.date}",
            (
                ("root", redacted(self.settings.root)),
                ("dataset", self.settings.dataset),
                ("model run", partition.model_run),
                ("day", partition.date),
                ("manifest", listed([file.shown for file in manifest.files])),
                ("validated", "" if stored is None else f"{stored.modified:%Y-%m-%d %H:%M} UTC"),
                ("segpipe", __version__),
            ),
        )
        page = write_page(
            ValidationReport.read(tables),
            manifest,
            self.validation(partition.model_run),
            tables,
            head,
            lambda labels: colours_of(self.settings, labels),
            lambda row: self._item_address(partition, row["reference_id"]),
        )
        tables.write(REPORT_FILE, page)
        return f"{tables.shown}/{REPORT_FILE}"

    def _item_address(self, partition: Partition, reference_id: str | None) -> str | None:
        """Where ``segpipe browse`` shows an item, if ``browse_url`` says where it runs."""
        if not self.settings.browse_url or reference_id is None:
            return None
        query = {
            "dataset": self.settings.dataset,
            "id": reference_id,
            "run": partition.model_run,
            "date": partition.date,
        }
        encoded = urlencode(query, errors="backslashreplace")
        return f"{self.settings.browse_url.rstrip('/')}/item?{encoded}"

    def validated(self, partition: PartitionLike, date: DateLike = None) -> ValidatedPredictions:
        """A partition's validated predictions.

        Raises:
            TableError: if it was not materialized completely.
        """
        return ValidatedPredictions(self.tables(Partition.of(partition, date)))
