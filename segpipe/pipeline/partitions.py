"""The partitions of the assets: day x model run."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import dagster as dg

from segpipe.manifests.partition import Partition

DATE, MODEL_RUN = "date", "model_run"
#: Days with a partition, counted from today (UTC): time zones east of UTC are a day ahead.
DAYS_AHEAD = 2

#: Name of the dynamic partitions of model runs, without key prefix.
MODEL_RUNS = "segpipe_model_runs"


def day_by_model_run(
    first_date: date, model_runs: dg.DynamicPartitionsDefinition
) -> dg.MultiPartitionsDefinition:
    """All days from the first to tomorrow, for every registered model run."""
    days = dg.DailyPartitionsDefinition(start_date=first_date.isoformat(), end_offset=DAYS_AHEAD)
    return dg.MultiPartitionsDefinition({DATE: days, MODEL_RUN: model_runs})


def partition_days(first_date: date) -> tuple[date, date]:
    """The first and the last day that have a partition at present, inclusive."""
    return first_date, datetime.now(UTC).date() + timedelta(days=DAYS_AHEAD - 1)


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
