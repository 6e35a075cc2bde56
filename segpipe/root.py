"""A segpipe root: one dataset's manifests, validated tables, masks and catalog, and work on them.

This is the Python interface to what the command line and the Dagster assets do.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from segpipe.chunks import REMOTE_WORKERS
from segpipe.errors import TableError
from segpipe.items import ItemList
from segpipe.manifest import Manifest
from segpipe.materialization import Progress, Summary, materialize
from segpipe.partition import Landing, Partition
from segpipe.publishing.catalog import Catalog
from segpipe.publishing.outcomes import Provenance
from segpipe.publishing.publication import VERIFIED_MASKS, Publication, publish
from segpipe.report import ValidationReport
from segpipe.report_page import write_page
from segpipe.settings import Settings
from segpipe.storage import Folder, MaskStore
from segpipe.validated import ValidatedPredictions
from segpipe.validation import Validation

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

    @property
    def _is_local(self) -> bool:
        return self.masks.folder.is_local and self.landing.folder.is_local

    @property
    def receipts(self) -> Folder:
        """Where the receipts of publishing are kept."""
        return self.settings.folder("catalog").folder("receipts")

    def tables(self, partition: Partition) -> Folder:
        """Where a partition's tables are."""
        return self.settings.folder("validated").folder(*partition.folders)

    def manifest(self, partition: Partition) -> Manifest:
        """A partition's manifest.

        Raises:
            ManifestError: if there is none, or it cannot be used.
        """
        return self.landing.manifest(partition)

    def materialize(self, partition: Partition, progress: Progress | None = None) -> Summary:
        """Validate a partition's masks and write its tables; see ``materialization``."""
        settings = self.settings
        return materialize(
            self.manifest(partition),
            self.validation(partition.model_run),
            self.tables(partition),
            workers=settings.workers or (0 if self._is_local else REMOTE_WORKERS),
            rows_per_chunk=settings.rows_per_chunk,
            progress=progress,
        )

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
        dry_run: bool = False,
        verify_masks: int | None = VERIFIED_MASKS,
        progress: Progress | None = None,
    ) -> Publication:
        """Publish a partition's validated predictions; see ``publishing.publication``.

        Raises:
            TableError: also when more of the partition was rejected than the policy allows.
        """
        validated = self.validated(partition)
        rate = validated.summary.rejection_rate
        limit = self.settings.policies.of(partition.model_run).max_rejection_rate
        if rate > limit:
            raise TableError(
                f"{validated.summary.rejected} of {validated.summary.rows} rows were rejected, "
                f"more than max_rejection_rate ({limit:g}) allows: something systematic is wrong; "
                "mend it and materialize again, or raise the limit"
            )
        return publish(
            validated,
            self.catalog,
            self.masks,
            self.receipts,
            provenance,
            dry_run=dry_run,
            verify_masks=verify_masks,
            rows_per_batch=self.settings.publish_rows,
            progress=progress,
        )
