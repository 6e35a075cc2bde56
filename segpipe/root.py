"""The public entry point: a segpipe root and its operations.

A root holds one dataset's manifests, validated tables, views, masks and catalog. The command line
and the Dagster assets call these methods.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from segpipe.errors import (
    CatalogError,
    EvaluationError,
    NothingLandedError,
    SettingsError,
    TableError,
    listed,
    nearest,
)
from segpipe.evaluation.agreement import Agreement, check_common
from segpipe.evaluation.block import Conventions
from segpipe.evaluation.comparison import METRIC, Comparison, check_metric
from segpipe.evaluation.leaderboard import Leaderboard, leaderboard
from segpipe.evaluation.of_partition import (
    Evaluating,
    check_against,
    evaluate_days,
    evaluate_partition,
    has_any,
)
from segpipe.evaluation.quality import Quality, judge_quality
from segpipe.evaluation.requirements import NoRegression
from segpipe.evaluation.result import Evaluation
from segpipe.evaluation.stored import EvaluationStore
from segpipe.evaluation.validated_items import ValidatedItems
from segpipe.formats.exports import ExportFormat, export_published
from segpipe.manifests.items import ItemList
from segpipe.manifests.landing import Landing
from segpipe.manifests.manifest import Manifest
from segpipe.manifests.partition import Partition
from segpipe.names import shown
from segpipe.pictures.comparison_pictures import write_comparison_pictures
from segpipe.pictures.evaluation_sheet import EvaluationSheets, evaluation_sheets
from segpipe.pictures.item_picture import PublishedItem
from segpipe.pictures.label_colours import Colour
from segpipe.pictures.report_page import write_page
from segpipe.predictions.view import View
from segpipe.publishing.catalog import Catalog
from segpipe.publishing.destination import Destination
from segpipe.publishing.destinations import (
    CATALOG,
    DESTINATIONS,
    DestinationContext,
    destination_entry,
)
from segpipe.publishing.ground_truth import PublishedTruth
from segpipe.publishing.outcomes import Provenance, new_run_id
from segpipe.publishing.publication import VERIFIED_MASKS, Publication, publish
from segpipe.publishing.vacuum import Vacuumed, vacuum
from segpipe.settings import Settings
from segpipe.storage.files import Folder
from segpipe.storage.mask_store import MaskStore
from segpipe.storage.redaction import redacted
from segpipe.validation.chunk import Validation
from segpipe.validation.manifest_of_tables import check_manifest_of, note_manifest
from segpipe.validation.materialization import Progress, materialize
from segpipe.validation.report import ValidationReport
from segpipe.validation.rules.judging import compares_with_truth
from segpipe.validation.summary import Summary
from segpipe.validation.validated import ValidatedPredictions
from segpipe.views.consolidation import Consolidation
from segpipe.views.materialized import materialize_view, open_view
from segpipe.views.summary import ViewSummary
from segpipe.workers.chunks import Workers

if TYPE_CHECKING:
    from segpipe.queries.views import Sources

#: The report page beside a partition's tables.
REPORT_FILE = "report.html"

#: A partition; or a model run's name, together with a date argument.
PartitionLike = Partition | str
#: ``YYYY-MM-DD``, or a date; None together with a :class:`Partition`, which has its own.
DateLike = str | datetime.date | None


@dataclass(frozen=True)
class Root:
    """A root: its settings, its folders and stores, and the operations on its partitions."""

    settings: Settings

    @classmethod
    def open(cls, url: str | PathLike[str], *, must_exist: bool = False) -> Root:
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

    def of_dataset(self, dataset: str | None = None) -> Root:
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
        found = Root(replace(self.settings, dataset=name))
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
        page = write_page(
            ValidationReport.read(tables),
            self.manifest(partition),
            self.validation(partition.model_run),
        )
        tables.write(REPORT_FILE, page)
        return f"{tables.shown}/{REPORT_FILE}"

    def validated(self, partition: PartitionLike, date: DateLike = None) -> ValidatedPredictions:
        """A partition's validated predictions.

        Raises:
            TableError: if it was not materialized completely.
        """
        return ValidatedPredictions(self.tables(Partition.of(partition, date)))

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

    def evaluate(
        self,
        partition: PartitionLike,
        date: DateLike = None,
        *,
        against: str | None = None,
        boundary: bool = False,
        force: bool = False,
        progress: Progress | None = None,
    ) -> Evaluation:
        """Compare a model run's validated predictions with published ground truth.

        Tables are stored below ``evaluations/``; what changed on neither side is not read again.

        Args:
            partition: the model run's name, with ``date`` or for all days; or a :class:`Partition`.
            date: ``YYYY-MM-DD``, or a date; None for every day that has landed. Of an item on
                several days, the last one counts.
            against: the model run that is true; ``[evaluation] ground_truth`` if None.
            boundary: Boundary IoU as well.
            force: read every mask, even if nothing changed since the last time.

        Raises:
            EvaluationError: if there is nothing to compare.
            SettingsError: if no ground truth is named, or it is the model run itself.
            TableError: if a partition was not materialized completely.
            CatalogError, StorageError: if something cannot be read, or not be written.
        """
        if isinstance(partition, Partition) or date is not None:
            return self._evaluate(
                Partition.of(partition, date), against, progress, boundary=boundary, force=force
            )
        return evaluate_days(
            self._landed(partition, None),
            lambda day: self._evaluate(day, against, progress, boundary=boundary, force=force),
        )

    def _evaluate(
        self,
        partition: Partition,
        against: str | None,
        progress: Progress | None,
        *,
        boundary: bool,
        force: bool,
    ) -> Evaluation:
        settings, model_run = self.settings, partition.model_run
        store = self.evaluations(partition, against, boundary=boundary)
        check_against(model_run, store.against)
        version = self.catalog.version()
        truth = PublishedTruth.now(self.catalog, settings.dataset, store.against)
        max_pixels = settings.policies.of(model_run).max_pixels
        result = evaluate_partition(
            self.validated(partition),
            Evaluating(truth, self.masks, store.conventions, max_pixels),
            None if force else store.read(),
            workers=self._workers,
            rows_per_chunk=settings.rows_per_chunk,
            progress=progress,
        )
        store.write(result, version)
        return result

    def compare(
        self,
        a: str,
        b: str,
        date: DateLike = None,
        *,
        against: str | None = None,
        agreement: bool = False,
        metric: str = METRIC,
        seed: int = 0,
        pictures: str | PathLike[str] | None = None,
        force: bool = False,
        progress: Progress | None = None,
    ) -> Comparison | Agreement:
        """Compare the model run ``b`` with ``a``, on the items that both have: beside ground truth;
        or, where none is named, how far they agree.

        Args:
            date: ``YYYY-MM-DD``, or a date; None for every day that has landed.
            against: the model run that is true; ``[evaluation] ground_truth`` if None.
            agreement: leave out the ground truth that ``segpipe.toml`` names.
            metric: the number whose largest changes are listed, such as ``PQ``.
            seed: of the intervals' resamples.
            pictures: a folder for pictures of these changes.
            force: read every mask, even if nothing changed since the last time.

        Raises:
            EvaluationError: if they have nothing in common that can be compared.
            SettingsError: if both are the same, or one is the ground truth.
            NothingLandedError: if nothing has landed of one of them; the nearest name is told.
            TableError: if a partition was not materialized completely.
            CatalogError, StorageError: if something cannot be read, or not be written.
        """
        if a == b:
            raise SettingsError(f"{shown(a)} would be compared with itself: name two model runs")
        if agreement and against is not None:
            raise SettingsError("agreement is without ground truth: leave out against")
        check_metric(metric)
        days = [self._landed(run, date) for run in (a, b)]
        one, other = (
            ValidatedItems(run, [self.tables(day) for day in of], self.masks)
            for run, of in zip((a, b), days, strict=True)
        )
        check_common(one, other)
        names = () if agreement else self.settings.ground_truth if against is None else (against,)
        truth: PublishedTruth | None = None
        result: Comparison | Agreement
        if names:
            truth = PublishedTruth.now(self.catalog, self.settings.dataset, names)
            first, second = (
                evaluate_days(
                    of,
                    lambda day: self._evaluate(day, against, progress, boundary=False, force=force),
                )
                for of in days
            )
            result = Comparison.of((a, first), (b, second), metric=metric, seed=seed)
        else:
            result = Agreement.of(one, other, self._agreeing(one, days[1], progress))
        if pictures is not None:
            ids = result.changes["reference_id"].to_pylist()
            write_comparison_pictures(ids, (one, other), truth, pictures, self.settings)
        return result

    def _landed(self, model_run: str, date: DateLike) -> list[Partition]:
        """The partitions of a model run that have landed, the newest first."""
        landed = self.partitions()
        runs = sorted({one.model_run for one in landed})
        if model_run not in runs:
            hint = nearest(model_run, runs) if runs else "; nothing has landed at all"
            raise NothingLandedError(f"nothing of model run {shown(model_run)} has landed{hint}")
        days = [one for one in reversed(landed) if one.model_run == model_run]
        if date is None:
            return days
        day = Partition.of(model_run, date)
        if day not in days:
            raise NothingLandedError(
                f"nothing of model run {shown(model_run)} has landed for {day.date}; the days are "
                f"{listed([one.date for one in days])}"
            )
        return [day]

    def _agreeing(
        self, one: ValidatedItems, days: Sequence[Partition], progress: Progress | None
    ) -> Evaluation:
        """The evaluation of a model run's days with another model run as the truth; not stored."""
        policy = self.settings.policies.of(days[0].model_run)
        conventions = Conventions(policy.taxonomy)
        evaluating = Evaluating(one, self.masks, conventions, policy.max_pixels)
        return evaluate_days(
            days,
            lambda day: evaluate_partition(
                self.validated(day),
                evaluating,
                workers=self._workers,
                rows_per_chunk=self.settings.rows_per_chunk,
                progress=progress,
            ),
        )

    def evaluations(
        self, partition: Partition, against: str | None = None, *, boundary: bool = False
    ) -> EvaluationStore:
        """Where :meth:`evaluate` stores what it finds, with these arguments."""
        settings, model_run = self.settings, partition.model_run
        return EvaluationStore(
            settings.folder("evaluations").folder(*partition.folders),
            settings.dataset,
            model_run,
            settings.ground_truth if against is None else (against,),
            Conventions(settings.policies.of(model_run).taxonomy, boundary=boundary),
        )

    def leaderboard(self, model_run: str) -> tuple[Evaluation, Leaderboard]:
        """Evaluate all validated days of a model run, and rank it among the dataset's other model
        runs on the items that all of them have. What did not change is not read again.

        Raises:
            SettingsError: if no ground truth is named, or it is the model run itself.
            NothingLandedError, EvaluationError, TableError: if it cannot be evaluated.
            CatalogError, StorageError: if something cannot be read, or not be written.
        """
        own = self._days(model_run)
        evaluations, notes = {model_run: own}, []
        validated = Landing(self.settings.folder("validated")).model_runs()
        for name in sorted(validated.keys() - {model_run, *self.settings.ground_truth}):
            try:
                evaluations[name] = self._days(name)
            except (EvaluationError, NothingLandedError, TableError) as error:
                notes.append(f"{name} is left out: {error}")
        return own, leaderboard(model_run, evaluations, notes)

    def evaluation_before(
        self, partition: Partition, *, boundary: bool = False
    ) -> tuple[Partition, Evaluation] | None:
        """The newest stored evaluation of an earlier day of the model run, by the same conventions;
        None if there is none."""
        stored = Landing(self.settings.folder("evaluations")).days(partition.model_run)
        for day in reversed([day for day in stored if day < partition.date]):
            earlier = Partition(partition.model_run, day)
            found = self.evaluations(earlier, boundary=boundary).read()
            if found is not None:
                return earlier, found
        return None

    def evaluation_sheets(
        self, partition: Partition, evaluation: Evaluation, colours: Mapping[str, Colour]
    ) -> EvaluationSheets:
        """Pictures of what is worst in an evaluation against ``[evaluation] ground_truth``.

        Args:
            colours: label -> colour.

        Raises:
            CatalogError, StorageError, TableError: if something cannot be read.
        """
        settings = self.settings
        truth = PublishedTruth.now(self.catalog, settings.dataset, settings.ground_truth)
        return evaluation_sheets(evaluation, self.validated(partition), truth, settings, colours)

    def gated(self, model_run: str) -> bool:
        """Whether a model run's predictions are published only if they are good enough."""
        settings = self.settings
        return settings.requirements.gate and model_run not in settings.ground_truth

    def quality(
        self,
        partition: PartitionLike,
        date: DateLike = None,
        *,
        force: bool = False,
        progress: Progress | None = None,
    ) -> Quality:
        """Evaluate a partition, and judge whether it is as good as ``[evaluation]`` requires.

        Args:
            partition, date, force, progress: as for :meth:`evaluate`.

        Raises:
            SettingsError: if no ground truth is named, or it is the model run itself.
            TableError: if the partition was not materialized completely.
            CatalogError, StorageError: if something cannot be read, or not be written.
        """
        partition, required = Partition.of(partition, date), self.settings.requirements
        boundary = required.boundary

        def baseline(compared: NoRegression, ids: list[str]) -> Evaluation:
            return self._days(compared.against, ids, boundary=boundary)

        return judge_quality(
            partition.model_run,
            lambda: self._evaluate(partition, None, progress, boundary=boundary, force=force),
            baseline,
            required,
        )

    def _days(
        self, model_run: str, ids: list[str] | None = None, *, boundary: bool = False
    ) -> Evaluation:
        """The evaluation of all validated days of a model run.

        Args:
            ids: leave out days that have none of these items; None for all days.

        Raises:
            NothingLandedError: if there are none.
            EvaluationError, TableError: if none can be evaluated.
        """
        landing = Landing(self.settings.folder("validated"))
        days = [Partition(model_run, day) for day in reversed(landing.days(model_run))]
        if ids is not None:
            days = [day for day in days if self._may_have(day, ids)]
        if not days:
            what = "" if ids is None else " of the same items"
            raise NothingLandedError(f"nothing{what} is validated of model run {model_run!r}")
        return evaluate_days(
            days, lambda day: self._evaluate(day, None, None, boundary=boundary, force=False)
        )

    def _may_have(self, partition: Partition, ids: list[str]) -> bool:
        try:
            return has_any(self.validated(partition), ids)
        except TableError:
            return True  # whoever evaluates it says what is wrong

    def show(self, reference_id: str, model_run: str | None = None) -> PublishedItem:
        """What is published for an item: print it, ``save`` it as a picture, read its ``rows``.

        Raises:
            CatalogError: if nothing is published for it.
        """
        return PublishedItem.find(self.catalog, self.settings, reference_id, model_run)

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
