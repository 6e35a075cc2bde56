"""Whether what is in a root is good enough: over all days, beside other model runs, for a gate."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import replace

from segpipe.errors import EvaluationError, NothingLandedError, StorageError, TableError, nearest
from segpipe.evaluated_root import EvaluatedRoot
from segpipe.evaluation.days import DatasetEvaluation, EvaluatedDays
from segpipe.evaluation.leaderboard import Leaderboard, leaderboard
from segpipe.evaluation.of_partition import check_against, inputs_of, validated_ids
from segpipe.evaluation.out_of_date import changed_truth, is_current, truth_version
from segpipe.evaluation.quality import Quality, judge_quality
from segpipe.evaluation.requirements import NoRegression
from segpipe.evaluation.stored import ALL_DAYS, EvaluationStore, StoredEvaluation, once_more
from segpipe.evaluation.truth_ahead import TruthAhead
from segpipe.manifests.landing import Landing
from segpipe.manifests.partition import Partition
from segpipe.publishing.ground_truth import PublishedTruth
from segpipe.validated_root import DateLike, PartitionLike
from segpipe.validation.materialization import Progress
from segpipe.validation.summary import Summary


class JudgedRoot(EvaluatedRoot):
    """A root whose model runs are judged; see :class:`segpipe.root.Root`."""

    def evaluation_of_dataset(self, model_run: str) -> EvaluationStore:
        """Where :meth:`leaderboard` stores the evaluation of all days of a model run."""
        of_a_day = Partition(model_run, "2000-01-01")
        folder = self.settings.folder("evaluations").folder(of_a_day.folders[0], ALL_DAYS)
        boundary = self.settings.requirements.boundary
        return replace(self.evaluations(of_a_day, boundary=boundary), folder=folder)

    def leaderboard(self, model_run: str) -> tuple[DatasetEvaluation, Leaderboard]:
        """Evaluate all validated days of a model run, store that, and rank it among the dataset's
        other model runs on the items that all of them have. Of days that did not change, summaries
        and counts are read.

        Raises:
            SettingsError: if no ground truth is named, or it is the model run itself.
            NothingLandedError, EvaluationError, TableError: if it cannot be evaluated.
            CatalogError, StorageError: if something cannot be read, or not be written.
        """
        return once_more(lambda: self._leaderboard(model_run))

    def _leaderboard(self, model_run: str) -> tuple[DatasetEvaluation, Leaderboard]:
        truth = self._truth_beside(model_run)
        boundary = self.settings.requirements.boundary  # as the days are evaluated for their checks
        own = self._days(model_run, truth, boundary=boundary)
        whole = DatasetEvaluation(own, boundary=boundary)
        self.evaluation_of_dataset(model_run).write_dataset(whole, truth.version, whole.segments)
        evaluations, notes = {model_run: own}, []
        validated = Landing(self.settings.folder("validated")).model_runs()
        for name in sorted(validated.keys() - {model_run, *self.settings.ground_truth}):
            try:
                evaluations[name] = self._days(name, truth, boundary=boundary)
            except (EvaluationError, NothingLandedError, TableError) as error:
                notes.append(f"{name} is left out: {error}")
        return whole, leaderboard(model_run, evaluations, notes)

    def is_evaluated(self, model_run: str) -> bool:
        """Whether ground truth is named that a model run can be compared with."""
        truth = self.settings.ground_truth
        return bool(truth) and model_run not in truth

    def gated(self, model_run: str) -> bool:
        """Whether a model run's predictions are published only if they are good enough."""
        return self.settings.requirements.gate and self.is_evaluated(model_run)

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

        def baseline(compared: NoRegression, ids: Set[str]) -> EvaluatedDays:
            truth = self._truth_beside(compared.against)
            return self._days(compared.against, truth, ids, boundary=boundary)

        return judge_quality(
            partition.model_run,
            lambda: self._evaluate(partition, None, progress, boundary=boundary, force=force),
            baseline,
            required,
        )

    def published_truth(self) -> PublishedTruth:
        """What is published as ground truth at this moment.

        Raises:
            CatalogError: if the catalog cannot be opened.
        """
        return PublishedTruth.now(self.catalog, self.settings.dataset, self.settings.ground_truth)

    def changed_truth(self, partition: Partition, truth: PublishedTruth) -> str | None:
        """A digest of the ground truth of a validated partition's items, if it is not what
        :meth:`quality` evaluated the partition with; None if it is, or there is none.

        Args:
            truth: as it is now.

        Raises:
            CatalogError, StorageError, TableError: if something cannot be read.
        """
        store = self.evaluations(partition, boundary=self.settings.requirements.boundary)
        return changed_truth(store, self.tables(partition), truth)

    def truth_version(self, partition: Partition) -> str:
        """A digest of the ground truth of a validated partition's items, as it is now.

        Raises:
            CatalogError, StorageError: if something cannot be read.
        """
        return truth_version(self.tables(partition), self.published_truth())

    def _truth_beside(self, model_run: str) -> PublishedTruth:
        check_against(model_run, self.settings.ground_truth)
        return self.published_truth()

    def _days(
        self,
        model_run: str,
        truth: PublishedTruth,
        ids: Set[str] | None = None,
        *,
        boundary: bool = False,
    ) -> EvaluatedDays:
        """All validated days of a model run, each evaluated, or as it is stored.

        Args:
            truth: as it is now.
            ids: look only for these items; None for all.

        Raises:
            NothingLandedError: if there are none.
            EvaluationError, TableError: if none can be evaluated.
        """

        landing = Landing(self.settings.folder("validated"))
        days = [Partition(model_run, day) for day in reversed(landing.days(model_run))]
        ahead = TruthAhead(truth, days, self.tables)

        def stored(day: Partition, again: bool) -> StoredEvaluation:
            store = self.evaluations(day, boundary=boundary)
            found = store.stored()
            own = truth if ids is not None else ahead.of(day)  # few of the days matter then
            inputs = inputs_of(Summary.read(self.tables(day)), own.state)
            if again or not is_current(store, found, inputs, own, self.tables(day)):
                self._evaluate_with(own, day, boundary=boundary)
                found = store.stored()
            if found is None:
                raise TableError(f"the evaluation of {day} was removed meanwhile")
            return found

        def may_have(day: Partition, missing: Set[str]) -> bool:
            try:
                return not missing.isdisjoint(validated_ids(self.tables(day)))
            except (StorageError, TableError):
                return True  # whoever evaluates it says what is wrong

        found = EvaluatedDays.of(days, stored, ids, may_have)
        if not found.days:
            raise NothingLandedError(self._nothing_validated(model_run, of_items=ids is not None))
        return found

    def _nothing_validated(self, model_run: str, *, of_items: bool) -> str:
        """What to say where no validated day of a model run has what is looked for."""
        landing = Landing(self.settings.folder("validated"))
        validated, landed = landing.days(model_run), self.landing.days(model_run)
        words = f"nothing{' of the same items' * of_items} is validated of model run {model_run!r}"
        if {*landed} - {*validated}:
            return f"{words}: run its partitions first"
        if validated:
            return (
                f"{words}: none of its {len(validated)} validated days has them. Land its "
                "predictions of these items and run them, or name another model run as "
                "no_regression's against"
            )
        known = sorted({*landing.model_runs(), *self.landing.model_runs()})
        return f"{words}{nearest(model_run, known)}"
