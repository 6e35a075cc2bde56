"""How good what is in a root is: evaluation, comparison, quality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike

from segpipe.errors import (
    EvaluationError,
    NothingLandedError,
    SettingsError,
    listed,
    nearest,
)
from segpipe.evaluation.agreement import Agreement, check_common
from segpipe.evaluation.block import Conventions
from segpipe.evaluation.comparison import BOUNDARY, METRIC, Comparison, check_metric
from segpipe.evaluation.of_partition import (
    Evaluating,
    check_against,
    evaluate_days,
    evaluate_partition,
    inputs_of,
    is_settled,
)
from segpipe.evaluation.out_of_date import is_current
from segpipe.evaluation.result import Evaluation
from segpipe.evaluation.schemas import EVALUATED
from segpipe.evaluation.stored import EvaluationStore
from segpipe.evaluation.truth_ahead import TruthAhead
from segpipe.evaluation.validated_items import ValidatedItems
from segpipe.manifests.landing import Landing
from segpipe.manifests.partition import Partition
from segpipe.names import shown
from segpipe.pictures.comparison_pictures import write_comparison_pictures
from segpipe.pictures.evaluation_sheet import EvaluationSheets, evaluation_sheets
from segpipe.pictures.palette import Colour
from segpipe.publishing.ground_truth import PublishedTruth
from segpipe.validated_root import DateLike, PartitionLike, ValidatedRoot
from segpipe.validation.materialization import Progress


class EvaluatedRoot(ValidatedRoot):
    """A root whose partitions are compared with ground truth; see :class:`segpipe.root.Root`."""

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
        days, named = self._landed(partition, None), self._ground_truth(against)
        check_against(partition, named)
        truth = PublishedTruth.now(self.catalog, self.settings.dataset, named)
        return self._evaluate_days(days, truth, progress, boundary=boundary, force=force)

    def _evaluate_days(
        self,
        days: Sequence[Partition],
        truth: PublishedTruth,
        progress: Progress | None,
        *,
        boundary: bool,
        force: bool,
    ) -> Evaluation:
        ahead = TruthAhead(truth, days, self.tables)
        return evaluate_days(
            days,
            lambda day: self._evaluate_with(
                ahead.of(day), day, progress, boundary=boundary, force=force
            ),
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
        named = self._ground_truth(against)
        check_against(partition.model_run, named)
        truth = PublishedTruth.now(self.catalog, self.settings.dataset, named)
        return self._evaluate_with(truth, partition, progress, boundary=boundary, force=force)

    def _evaluate_with(
        self,
        truth: PublishedTruth,
        partition: Partition,
        progress: Progress | None = None,
        *,
        boundary: bool,
        force: bool = False,
    ) -> Evaluation:
        settings, model_run = self.settings, partition.model_run
        check_against(model_run, truth.model_runs)
        store = self._store(partition, truth.model_runs, boundary=boundary)
        predictions = self.validated(partition)
        inputs = inputs_of(predictions.summary, truth.state)
        stored = None if force else store.stored()
        known = None if stored is None else stored.whole()
        if known is not None and is_current(store, stored, inputs, truth, predictions.folder):
            return replace(known, reused=known.outcomes[EVALUATED])
        max_pixels = settings.policies.of(model_run).max_pixels
        try:
            result = evaluate_partition(
                predictions,
                Evaluating(truth, self.masks, store.conventions, max_pixels),
                known,
                workers=self._workers,
                rows_per_chunk=settings.rows_per_chunk,
                progress=progress,
            )
        except EvaluationError as error:  # what is stored is of ground truth that is gone
            store.forget()
            raise EvaluationError(f"{error}{_unpublished(truth)}") from None
        settled = inputs if is_settled(result) else None
        store.write(result, truth.version, settled, anew=known is None)
        return result

    def compare(
        self,
        a: str,
        b: str,
        date: DateLike = None,
        *,
        against: str | None = None,
        agreement: bool = False,
        boundary: bool = False,
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
            boundary: Boundary IoU as well, as a number of sets, classes and items.
            metric: the number whose largest changes are listed, such as ``PQ``; ``boundary_IoU``
                asks for boundaries.
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
        boundary = boundary or metric == BOUNDARY
        days = [self._landed(run, date) for run in (a, b)]
        one, other = (
            ValidatedItems(run, [self.tables(day) for day in of], self.masks)
            for run, of in zip((a, b), days, strict=True)
        )
        check_common(one, other)
        names = () if agreement else self._ground_truth(against)
        truth: PublishedTruth | None = None
        result: Comparison | Agreement
        if names:
            truth = PublishedTruth.now(self.catalog, self.settings.dataset, names)
            for run in (a, b):
                check_against(run, names)
            first, second = (
                self._evaluate_days(of, truth, progress, boundary=boundary, force=force)
                for of in days
            )
            result = Comparison.of((a, first), (b, second), metric=metric, seed=seed)
        else:
            found = self._agreeing(one, days[1], progress, boundary=boundary)
            result = Agreement.of(one, other, found)
        if pictures is not None:
            ids = result.changes["reference_id"].to_pylist()
            without = write_comparison_pictures(ids, (one, other), truth, pictures, self.settings)
            result = replace(result, without_picture=without)
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
        self,
        one: ValidatedItems,
        days: Sequence[Partition],
        progress: Progress | None,
        *,
        boundary: bool,
    ) -> Evaluation:
        """The evaluation of a model run's days with another model run as the truth; not stored."""
        policy = self.settings.policies.of(days[0].model_run)
        conventions = Conventions(policy.taxonomy, boundary=boundary)
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
        return self._store(partition, self._ground_truth(against), boundary=boundary)

    def _store(
        self, partition: Partition, against: Sequence[str], *, boundary: bool
    ) -> EvaluationStore:
        settings, model_run = self.settings, partition.model_run
        return EvaluationStore(
            settings.folder("evaluations").folder(*partition.folders),
            settings.dataset,
            model_run,
            against,
            Conventions(settings.policies.of(model_run).taxonomy, boundary=boundary),
        )

    def _ground_truth(self, against: str | None) -> Sequence[str]:
        """Model runs that are true."""
        return self.settings.ground_truth if against is None else (against,)

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


def _unpublished(truth: PublishedTruth) -> str:
    """What to say of ground truth of which nothing is published at all; empty if something is."""
    there = truth.published_model_runs
    if not set(truth.model_runs).isdisjoint(there):
        return ""
    named = listed([shown(run) for run in truth.model_runs])
    hint = nearest(truth.model_runs[0], there) if there else "; nothing is published at all"
    end = "" if hint.endswith("?") else "."
    return (
        f" Nothing is published of {named}{hint}{end} Publish the ground truth, or name another "
        "model run"
    )
