"""The partitions of the assets: day x model run."""

from __future__ import annotations

from datetime import date, timedelta

import dagster as dg
from dagster._core.definitions.partitions.context import PartitionLoadingContext

from segpipe.errors import SettingsError, nearest
from segpipe.manifests.partition import Partition
from segpipe.root import Root
from segpipe.settings import Settings
from segpipe.validated_root import DateLike, PartitionLike

DATE, MODEL_RUN = "date", "model_run"
#: Dagster recommends at most as many partitions of an asset.
MOST_PARTITIONS = 100_000
# Where nothing has landed, no model run has a partition; what lands first may be of long ago.
_BEFORE_ANYTHING_LANDED = date(2025, 1, 1)

#: Name of the dynamic partitions of model runs, without key prefix.
MODEL_RUNS = "segpipe_model_runs"


class Grid(dg.MultiPartitionsDefinition):
    """The days from the first to today, or to ``last_date``, for every registered model run.

    A model run that has landed is registered when a command or a run first names it.
    """

    def __init__(
        self, root: Root, first_day: date, model_runs: dg.DynamicPartitionsDefinition
    ) -> None:
        settings = root.settings
        last = settings.last_date
        end = None if last is None else (last + timedelta(days=1)).isoformat()
        days = dg.DailyPartitionsDefinition(
            start_date=first_day.isoformat(),
            end_date=end,
            timezone=settings.time_zone,
            end_offset=1,  # today is a partition: its manifests may land today
        )
        super().__init__({DATE: days, MODEL_RUN: model_runs})
        self._root, self._days, self._model_runs = root, days, model_runs

    def validate_partition_key(self, partition_key: str, context: PartitionLoadingContext) -> None:
        """See Dagster's.

        Raises:
            SettingsError: saying what is wrong with the key.
        """
        try:
            super().validate_partition_key(partition_key, context)
        except dg.DagsterUnknownPartitionError:
            partition = partition_from_key(partition_key)
            if not self._days.has_partition_key(partition.date):
                first, last = self._days.start.date(), last_day(self._root.settings)
                raise SettingsError(
                    f"partition {partition_key!r}: {partition.date} has no partition, they go from "
                    f"{first} to {last}"
                ) from None
            name, store = partition.model_run, context.dynamic_partitions_store
            landed = self._root.landing.model_runs()
            if name not in landed or self._root.settings.policies.retired(name):
                raise SettingsError(
                    f"partition {partition_key!r}: no model run {name!r} has landed that is not "
                    f"retired{nearest(name, sorted(landed))}"
                ) from None
            if not isinstance(store, dg.DagsterInstance):
                raise SettingsError(
                    f"partition {partition_key!r}: the model run {name!r} is not registered yet; "
                    "`segpipe register --root ROOT` does that"
                ) from None
            store.add_dynamic_partitions(str(self._model_runs.name), [name])


def first_day(root: Root) -> date:
    """The first day that has a partition: ``first_date``; else the first day that has landed; else
    2025-01-01, until something has landed when the definitions are loaded.

    Raises:
        StorageError: if the landing folder cannot be listed.
    """
    settings = root.settings
    if settings.first_date is not None:
        return settings.first_date
    landed = root.landing.first_day()
    return _BEFORE_ANYTHING_LANDED if landed is None else date.fromisoformat(landed)


def last_day(settings: Settings) -> date:
    """The last day that has a partition at present."""
    today = settings.today()
    return today if settings.last_date is None else min(today, settings.last_date)


def has_partition(settings: Settings, day: str) -> bool:
    """Whether a day, ``YYYY-MM-DD``, is not before ``first_date`` and not after the last day."""
    first = settings.first_date
    return (first is None or str(first) <= day) and day <= str(last_day(settings))


def days_in_words(settings: Settings) -> str:
    """From when to when days have a partition, and what says so."""
    first = settings.first_date
    begin = "the first that landed" if first is None else f"{first} (first_date in segpipe.toml)"
    end = "today" if settings.last_date is None else "last_date in segpipe.toml"
    return f"from {begin} to {last_day(settings)} ({end})"


def partition_of(context: dg.AssetExecutionContext) -> Partition:
    """The partition a step works on.

    Raises:
        TypeError: if the step has no multi-partition key.
    """
    keys = context.partition_key
    if not isinstance(keys, dg.MultiPartitionKey):
        raise TypeError(f"expected a day x model run partition, found {keys!r}")
    by_dimension = keys.keys_by_dimension
    return Partition(by_dimension[MODEL_RUN], by_dimension[DATE])


def partition_key(partition: PartitionLike, date: DateLike = None) -> dg.MultiPartitionKey:
    """Dagster's key of a partition, ``DATE|MODEL_RUN``.

    Args:
        partition: the model run's name, together with ``date``; or a :class:`segpipe.Partition`.
        date: ``YYYY-MM-DD``, or a date.

    Raises:
        SettingsError: if the name or the date is not valid.
    """
    partition = Partition.of(partition, date)
    return dg.MultiPartitionKey({DATE: partition.date, MODEL_RUN: partition.model_run})


def partition_from_key(key: str) -> Partition:
    """The partition of a key as Dagster stores it: ``DATE|MODEL_RUN``.

    Raises:
        SettingsError: if it is another text; of a reversed key, with the key that was meant.
    """
    first, separator, second = key.partition("|")
    try:
        if separator:
            return Partition(second, first)
    except SettingsError:
        if _is_partition(first, second):
            raise SettingsError(
                f"partition {key!r} is the wrong way round: the date comes first, "
                f"'{second}|{first}'"
            ) from None
    raise SettingsError(
        f"partition {key!r} cannot be used: expected DATE|MODEL_RUN, such as "
        "'2026-01-31|street-unet-v1'"
    )


def _is_partition(model_run: str, day: str) -> bool:
    try:
        Partition(model_run, day)
    except SettingsError:
        return False
    return True
