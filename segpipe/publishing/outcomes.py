"""What publishing a prediction can come to, decided by comparing fingerprints.

================================  ============  ============
in the destination                update=False  update=True
================================  ============  ============
nothing for this item             inserted      inserted
the same fingerprint              unchanged     unchanged
another fingerprint               ignored       replaced
the destination refused it        failed        failed
================================  ============  ============
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import pyarrow as pa
import pyarrow.compute as pc

from segpipe.tables.schemas import RECEIPTS
from segpipe.tables.writing import column_array, table_of


class Outcome(StrEnum):
    """What happened to one prediction."""

    INSERTED = "inserted"
    UNCHANGED = "unchanged"
    IGNORED = "ignored"
    REPLACED = "replaced"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Provenance:
    """Who publishes what: goes into every published row and every receipt.

    Attributes:
        dataset, model_run: of all predictions of the batch.
        partition: the day the manifest is of.
        run_id: of the run that publishes; the same when a run retries.
        time: when, UTC.
        update: whether predictions that are there may be replaced.
    """

    dataset: str
    model_run: str
    partition: str
    run_id: str
    time: datetime
    update: bool = False


def new_run_id(who: str = "python") -> str:
    """A run id nobody else has, for what is not a run of Dagster's."""
    return f"{who}-{uuid.uuid4()}"


@dataclass(frozen=True)
class Plan:
    """Outcome and previous fingerprint of every prediction of a batch, in its order."""

    outcomes: pa.Array
    previous: pa.Array

    def where(self, *outcomes: Outcome) -> pa.Array:
        """A boolean per prediction: is its outcome one of these?"""
        return pc.is_in(self.outcomes, value_set=pa.array([o.value for o in outcomes]))


def plan(
    reference_ids: pa.Array, fingerprints: pa.Array, present: pa.Table, *, update: bool
) -> Plan:
    """Classify a batch against what the destination holds.

    Args:
        reference_ids, fingerprints: of the batch, string arrays.
        present: ``reference_id`` and ``fingerprint`` of the destination's predictions for (at
            least) these items; at most one row per item.
    """
    place = pc.index_in(reference_ids, value_set=column_array(present, "reference_id"))
    previous = column_array(present, "fingerprint").take(place)
    changed = Outcome.REPLACED if update else Outcome.IGNORED
    outcomes = pc.if_else(
        pc.is_null(previous),
        Outcome.INSERTED.value,
        pc.if_else(pc.equal(previous, fingerprints), Outcome.UNCHANGED.value, changed.value),
    )
    return Plan(outcomes, previous)


def receipts(
    reference_ids: pa.Array,
    fingerprints: pa.Array,
    plan: Plan,
    provenance: Provenance,
    failures: Mapping[str, str],
) -> pa.Table:
    """One receipt per prediction.

    Args:
        failures: reference id -> the destination's words, for predictions that were refused.
    """
    ids = reference_ids.to_pylist()
    outcomes = plan.outcomes.to_pylist()
    if failures:
        outcomes = [
            Outcome.FAILED.value if id in failures else outcome
            for id, outcome in zip(ids, outcomes, strict=True)
        ]
    count = len(ids)
    return table_of(
        {
            "dataset": [provenance.dataset] * count,
            "model_run": [provenance.model_run] * count,
            "reference_id": reference_ids,
            "outcome": outcomes,
            "fingerprint": fingerprints,
            "previous_fingerprint": plan.previous,
            "message": [failures.get(id) for id in ids],
            "run_id": [provenance.run_id] * count,
            "time": [provenance.time] * count,
        },
        RECEIPTS,
    )


def counts(receipts: pa.Table) -> dict[str, int]:
    """Outcome -> number of receipts, every outcome named."""
    counted = {outcome.value: 0 for outcome in Outcome}
    for entry in receipts["outcome"].value_counts().to_pylist():
        counted[entry["values"]] += entry["counts"]
    return counted
