"""The outcomes of publishing a prediction, decided by comparing fingerprints.

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
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

import pyarrow as pa
import pyarrow.compute as pc

from segpipe.errors import CatalogError
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
        partition: the manifest's day, ``YYYY-MM-DD``.
        run_id: of the run that publishes; a retry of a run keeps it.
        time: of publishing, in UTC.
        update: whether predictions that differ from the destination's may replace them.
    """

    dataset: str
    model_run: str
    partition: str
    run_id: str
    time: datetime
    update: bool = False


def new_run_id(who: str = "python") -> str:
    """A unique run id, for publishing outside of a Dagster run."""
    return f"{who}-{uuid.uuid4()}"


@dataclass(frozen=True)
class Plan:
    """What publishing a batch does to each prediction.

    Attributes:
        reference_ids, fingerprints: of the batch; string arrays of N.
        outcomes: string array of N, the values of :class:`Outcome`.
        previous: fingerprints in the destination before; string array of N, null if there was none.
    """

    reference_ids: pa.Array
    fingerprints: pa.Array
    outcomes: pa.Array
    previous: pa.Array

    def where(self, *outcomes: Outcome) -> pa.Array:
        """A boolean per prediction: is its outcome one of these?"""
        return pc.is_in(self.outcomes, value_set=pa.array([o.value for o in outcomes]))

    def resumed(self, written: pa.Table) -> Plan:
        """The plan of a run that was interrupted and started again.

        A commit can succeed and its answer be lost, and a step can be retried. A prediction that
        this same run wrote is not unchanged, but inserted or replaced.

        Args:
            written: ``reference_id``, ``fingerprint`` and ``previous_fingerprint`` of what the run
                wrote before; at most one row per item.
        """
        if not written.num_rows:
            return self
        place = pc.index_in(self.reference_ids, value_set=column_array(written, "reference_id"))
        fingerprints = column_array(written, "fingerprint").take(place)
        previous = column_array(written, "previous_fingerprint").take(place)
        same = pc.fill_null(pc.equal(fingerprints, self.fingerprints), False)
        by_this_run = pc.and_(same, self.where(Outcome.UNCHANGED))
        outcomes = pc.if_else(pc.is_null(previous), Outcome.INSERTED.value, Outcome.REPLACED.value)
        return replace(
            self,
            outcomes=pc.if_else(by_this_run, outcomes, self.outcomes),
            previous=pc.if_else(by_this_run, previous, self.previous),
        )


def plan(rows: pa.Table, present: pa.Table, *, update: bool) -> Plan:
    """Compare a batch with what the destination holds.

    Args:
        rows: ``reference_id`` and ``fingerprint`` of the batch; one row per item.
        present: the same of the destination's predictions for (at least) these items; at most one
            row per item.
    """
    reference_ids, fingerprints = (
        column_array(rows, name) for name in ("reference_id", "fingerprint")
    )
    place = pc.index_in(reference_ids, value_set=column_array(present, "reference_id"))
    previous = column_array(present, "fingerprint").take(place)
    changed = Outcome.REPLACED if update else Outcome.IGNORED
    outcomes = pc.if_else(
        pc.is_null(previous),
        Outcome.INSERTED.value,
        pc.if_else(pc.equal(previous, fingerprints), Outcome.UNCHANGED.value, changed.value),
    )
    return Plan(reference_ids, fingerprints, outcomes, previous)


def check_distinct_items(rows: pa.Table) -> None:
    """Check that a batch has one prediction per item.

    Raises:
        CatalogError: if it has two for one.
    """
    if pc.count_distinct(rows["reference_id"]).as_py() != rows.num_rows:
        raise CatalogError("a batch holds two predictions for one item; validate it first")


def receipts(plan: Plan, provenance: Provenance, failures: Mapping[str, str]) -> pa.Table:
    """One receipt per prediction, as RECEIPTS, in the plan's order.

    Args:
        failures: reference id -> the destination's message, for predictions that were refused.
    """
    ids = plan.reference_ids.to_pylist()
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
            "reference_id": plan.reference_ids,
            "outcome": outcomes,
            "fingerprint": plan.fingerprints,
            "previous_fingerprint": plan.previous,
            "message": [failures.get(id) for id in ids],
            "run_id": [provenance.run_id] * count,
            "time": [provenance.time] * count,
        },
        RECEIPTS,
    )


def counts(receipts: pa.Table) -> dict[str, int]:
    """Outcome -> number of receipts; every outcome is a key."""
    counted = {outcome.value: 0 for outcome in Outcome}
    for entry in receipts["outcome"].value_counts().to_pylist():
        counted[entry["values"]] += entry["counts"]
    return counted
