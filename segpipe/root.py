"""A segpipe root: one dataset's manifests, validated tables, masks and catalog, and work on them.

This is the Python interface to what the command line and the Dagster assets do.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from segpipe.chunks import Workers
from segpipe.consolidation import Consolidation, View
from segpipe.coverage import Coverage, coverage_of
from segpipe.distributions import Distribution, distribution_of
from segpipe.errors import SettingsError, TableError
from segpipe.items import ItemList
from segpipe.label_colours import Colour, label_colours
from segpipe.manifest import Manifest
from segpipe.materialization import SUMMARY_FILE, Progress, Summary, materialize
from segpipe.partition import Landing, Partition
from segpipe.publishing.catalog import Catalog
from segpipe.publishing.destination import Destination
from segpipe.publishing.outcomes import Provenance
from segpipe.publishing.publication import VERIFIED_MASKS, Publication, publish
from segpipe.report import ValidationReport
from segpipe.report_page import write_page
from segpipe.settings import CATALOG, NUCLEUS, Settings
from segpipe.storage import Folder, MaskStore
from segpipe.validated import ValidatedPredictions
from segpipe.validation import Validation
from segpipe.views import ViewSummary, materialize_view, open_view

#: The report page beside a partition's tables.
REPORT_FILE = "report.html"


@dataclass(frozen=True)
class Root:
    """The places of a root, opened."""

    settings: Settings

    @classmethod
    def open(cls, url: str) -> Root:
        """The root at a path or fsspec URL, with its ``segpipe.toml``.

        Raises:
            SettingsError: if the settings file cannot be used.
        """
        return cls(Settings.load(url))

    @cached_property
    def landing(self) -> Landing:
        """Where manifests arrive."""
        return Landing(self.settings.folder("manifests"))

    @cached_property
    def masks(self) -> MaskStore:
        """Where canonical masks are kept."""
        return self.settings.mask_store()

    @cached_property
    def catalog(self) -> Catalog:
        """The embedded catalog."""
        return Catalog(self.settings.folder("catalog"), self.masks)

    def destination(self, name: str) -> Destination:
        """A place predictions are published to: ``catalog`` or ``nucleus``.

        Raises:
            SettingsError: if there is no such destination, it is not set up, or cannot be used.
        """
        if name == CATALOG:
            return self.catalog
        if name != NUCLEUS:
            raise SettingsError(f"there is no destination {name!r}; there are: catalog, nucleus")
        if self.settings.nucleus is None:
            raise SettingsError(
                "publishing to Nucleus needs a table [nucleus] with its dataset_id in segpipe.toml"
            )
        from segpipe.publishing.nucleus.destination import NucleusDestination

        return NucleusDestination(self.settings.nucleus, self._sent("ledger"))

    def receipts(self, destination: str = CATALOG) -> Folder:
        """Where the receipts of publishing are kept: a folder for each destination."""
        if destination == CATALOG:
            return self.settings.folder("catalog").folder("receipts")
        return self._sent("receipts")

    def _sent(self, kind: str) -> Folder:
        """Where it is kept what was sent to Nucleus."""
        return self.settings.folder("sent").folder("nucleus", kind)

    def tables(self, partition: Partition) -> Folder:
        """Where a partition's tables are."""
        return self.settings.folder("validated").folder(*partition.folders)

    def manifest(self, partition: Partition) -> Manifest:
        """A partition's manifest.

        Raises:
            ManifestError: if there is none, or it cannot be used.
        """
        return self.landing.manifest(partition)

    def materialize(
        self, partition: Partition, progress: Progress | None = None, *, force: bool = False
    ) -> Summary:
        """Validate a partition's masks and write its tables; see ``materialization``."""
        settings = self.settings
        return materialize(
            self.manifest(partition),
            self.validation(partition.model_run),
            self.tables(partition),
            workers=self._workers,
            rows_per_chunk=settings.rows_per_chunk,
            force=force,
            progress=progress,
        )

    @property
    def _workers(self) -> Workers:
        return Workers(self.settings.workers, self.settings.scheduler)

    def consolidation(self, model_run: str, view: View) -> Consolidation:
        """How a model run's predictions are consolidated to a view.

        Raises:
            SettingsError: if the model run's taxonomy cannot serve the view.
        """
        return Consolidation(view, self.settings.policies.of(model_run).taxonomy)

    def view_tables(self, partition: Partition, view: View) -> Folder:
        """Where the tables of a partition's view are."""
        if view is View.GIVEN:
            return self.tables(partition)
        return self.settings.folder("views").folder(view, *partition.folders)

    def materialize_view(
        self,
        partition: Partition,
        view: View,
        progress: Progress | None = None,
        *,
        force: bool = False,
    ) -> ViewSummary:
        """Consolidate a partition's validated predictions to a view; see ``views``.

        Raises:
            SettingsError: if the model run's taxonomy cannot serve the view.
            TableError: if the partition was not materialized completely.
        """
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
            url = policy.items
            if "://" not in url:
                url = f"{settings.root.rstrip('/')}/{url}" if not url.startswith("/") else url
            items = ItemList.read(url, settings.storage_options)
        return Validation(
            settings.dataset, model_run, settings.sources(), self.masks, policy, items
        )

    def report_page(self, partition: Partition, *, anew: bool) -> str:
        """URL of the report page; written where there is none, or ``anew``.

        Raises:
            TableError: if the partition was not materialized.
        """
        tables = self.tables(partition)
        if anew or not tables.exists(REPORT_FILE):
            return self.write_report_page(partition)
        return f"{tables.shown}/{REPORT_FILE}"

    def coverage(self, partition: Partition) -> Coverage | None:
        """How much of the policy's list of items is predicted; None where there is no list."""
        items = self.validation(partition.model_run).items
        return None if items is None else coverage_of(self.tables(partition), items)

    def partition_before(self, partition: Partition) -> Partition | None:
        """The model run's materialized partition of the last day before; None without one."""
        days = Landing(self.settings.folder("validated")).days(partition.model_run)
        for day in reversed([day for day in days if day < partition.date]):
            before = Partition(partition.model_run, day)
            if self.tables(before).exists(SUMMARY_FILE):
                return before
        return None

    def distribution(self, partition: Partition) -> Distribution:
        """A materialized partition's labels and confidences."""
        return distribution_of(self.tables(partition))

    def label_colours(self, model_run: str, labels: Iterable[str]) -> dict[str, Colour]:
        """Label -> colour in pictures of a model run: of its taxonomy and of what is shown."""
        taxonomy = self.settings.policies.of(model_run).taxonomy
        return label_colours({*labels, *taxonomy})

    def write_report_page(self, partition: Partition) -> str:
        """Write the report on a materialized partition as an HTML page; returns its URL.

        Raises:
            TableError: if the partition was not materialized.
        """
        tables = self.tables(partition)
        page = write_page(
            ValidationReport.read(tables),
            self.manifest(partition),
            self.validation(partition.model_run),
        )
        tables.write(REPORT_FILE, page)
        return f"{tables.shown}/{REPORT_FILE}"

    def validated(self, partition: Partition) -> ValidatedPredictions:
        """A partition's validated predictions.

        Raises:
            TableError: if it was not materialized completely.
        """
        return ValidatedPredictions(self.tables(partition))

    def publish(
        self,
        partition: Partition,
        provenance: Provenance,
        *,
        destination: str = CATALOG,
        view: View | None = None,
        dry_run: bool = False,
        verify_masks: int | None = VERIFIED_MASKS,
        progress: Progress | None = None,
    ) -> Publication:
        """Publish a partition's validated predictions; see ``publishing.publication``.

        Args:
            destination: where to, ``catalog`` or ``nucleus``.
            view: what is published; where None, as the model run's policy says. A view other than
                given has to be materialized before.

        Raises:
            TableError: also when more of the partition was rejected than the policy allows.
            SettingsError: if the destination is not set up.
        """
        validated = self.validated(partition)
        rate = validated.summary.rejection_rate
        policy = self.settings.policies.of(partition.model_run)
        limit = policy.max_rejection_rate
        if rate > limit:
            raise TableError(
                f"{validated.summary.rejected} of {validated.summary.rows} rows were rejected, "
                f"more than max_rejection_rate ({limit:g}) allows: something systematic is wrong; "
                "mend it and materialize again, or raise the limit"
            )
        return publish(
            self.view(partition, policy.publish_as if view is None else view),
            self.destination(destination),
            self.masks,
            self.receipts(destination),
            provenance,
            dry_run=dry_run,
            verify_masks=verify_masks,
            rows_per_batch=self.settings.publish_rows,
            progress=progress,
        )
