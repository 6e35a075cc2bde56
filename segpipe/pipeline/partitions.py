"""The partitions of the assets: day x model run."""

from __future__ import annotations

from datetime import date, timedelta

import dagster as dg

from segpipe.manifests.partition import Partition
from segpipe.root import Root
from segpipe.settings import Settings

DATE, MODEL_RUN = "date", "model_run"
#: Dagster recommends at most as many partitions of an asset.
MOST_PARTITIONS = 100_000
# Where nothing has landed, no model run has a partition; what lands first may be of long ago.
_BEFORE_ANYTHING_LANDED = date(2025, 1, 1)

#: Name of the dynamic partitions of model runs, without key prefix.
MODEL_RUNS = "segpipe_model_runs"


def day_by_model_run(
    settings: Settings, first_day: date, model_runs: dg.DynamicPartitionsDefinition
) -> dg.MultiPartitionsDefinition:
    """The days from the first to today, or to ``last_date``, for every registered model run."""
    end = settings.last_date and settings.last_date + timedelta(days=1)
    days = dg.DailyPartitionsDefinition(
        start_date=first_day.isoformat(),
        end_date=end and end.isoformat(),
        timezone=settings.time_zone,
        end_offset=1,  # today is a partition: its manifests may land today
    )
    return dg.MultiPartitionsDefinition({DATE: days, MODEL_RUN: model_runs})


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


def partition_key(partition: Partition) -> dg.MultiPartitionKey:
    """Dagster's key of a partition."""
    return dg.MultiPartitionKey({DATE: partition.date, MODEL_RUN: partition.model_run})


def partition_from_key(key: str) -> Partition:
    """The partition of a key as Dagster stores it: ``DATE|MODEL_RUN``."""
    day, _, model_run = key.partition("|")
    return Partition(model_run, day)
