"""A destination: predictions with their masks in one SQLite file.

In the project this would be a package ``publishing/sqlite/``, with ``SQLITE`` among the entries of
``publishing/destinations.py``.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from segpipe.errors import SettingsError, StorageError
from segpipe.masks.decoding import decode_mask
from segpipe.masks.measures import measure_decoded
from segpipe.predictions.fingerprint import fingerprint_of_parts
from segpipe.publishing.destination import Destination
from segpipe.publishing.destinations import DestinationContext, DestinationEntry
from segpipe.publishing.outcomes import Outcome, Provenance, plan, receipts
from segpipe.publishing.verification import Mismatch, Verification
from segpipe.storage.mask_store import MaskStore
from segpipe.validation.validated import PredictionBatch

_TABLE = """
CREATE TABLE IF NOT EXISTS predictions (
    dataset TEXT, model_run TEXT, reference_id TEXT,
    annotation_id TEXT, fingerprint TEXT, segments TEXT, mask BLOB,
    PRIMARY KEY (dataset, model_run, reference_id)
)
"""
_STORE = "INSERT OR REPLACE INTO predictions VALUES (?, ?, ?, ?, ?, ?, ?)"


class SqliteDestination:
    """A SQLite file, as a :class:`segpipe.publishing.destination.Destination`."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def publish(
        self,
        batch: PredictionBatch,
        masks: MaskStore,
        provenance: Provenance,
        *,
        dry_run: bool = False,
    ) -> pa.Table:
        """See :meth:`segpipe.publishing.destination.Destination.publish`."""
        if dry_run:  # not even the file is made
            planned = plan(batch.rows, self._present(provenance), update=provenance.update)
            return receipts(planned, provenance, {})
        failures: dict[str, str] = {}
        # One transaction reads what is there and writes: two publishers come one after the other,
        # and a crash leaves all of the batch or nothing.
        with self._writing() as database:
            present = _fingerprints(database, provenance)
            planned = plan(batch.rows, present, update=provenance.update)
            stored = planned.where(Outcome.INSERTED, Outcome.REPLACED).to_pylist()
            rows = zip(batch.rows.to_pylist(), batch.segments.to_pylist(), stored, strict=True)
            for row, segments, store in rows:
                if not store:
                    continue
                try:
                    mask = masks.read(row["mask_sha256"])
                except StorageError as error:
                    failures[row["reference_id"]] = str(error)
                    continue
                described = [[one["index"], one["label"], one["metadata"]] for one in segments]
                database.execute(
                    _STORE,
                    (
                        provenance.dataset,
                        provenance.model_run,
                        row["reference_id"],
                        row["annotation_id"],
                        row["fingerprint"],
                        json.dumps(described),
                        mask,
                    ),
                )
        return receipts(planned, provenance, failures)

    def verify(self, receipts: pa.Table, provenance: Provenance, masks: int | None) -> Verification:
        """See :meth:`segpipe.publishing.destination.Destination.verify`."""
        held = {row["reference_id"]: row for row in self.rows(provenance)}
        mismatches, decoded = [], 0
        for claim in receipts.to_pylist():
            if claim["outcome"] == Outcome.FAILED:
                continue
            ignored = claim["outcome"] == Outcome.IGNORED
            expected = claim["previous_fingerprint" if ignored else "fingerprint"]
            row = held.get(claim["reference_id"])
            if row is None or row["fingerprint"] != expected:
                mismatches.append(Mismatch(claim["reference_id"], "another prediction is there"))
            elif masks is None or decoded < masks:
                decoded += 1
                if _fingerprint_of(row) != expected:
                    mismatches.append(Mismatch(claim["reference_id"], "its mask was changed"))
        return Verification(receipts.num_rows, decoded, tuple(mismatches))

    def rows(self, provenance: Provenance) -> list[dict[str, Any]]:
        """What is there of a model run."""
        if not self.file.exists():
            return []
        database = sqlite3.connect(self.file)
        try:
            database.row_factory = sqlite3.Row
            where = "SELECT * FROM predictions WHERE dataset = ? AND model_run = ?"
            return [*map(dict, database.execute(where, _of(provenance)))]
        finally:
            database.close()

    def _present(self, provenance: Provenance) -> pa.Table:
        rows = self.rows(provenance)
        return _table_of([(row["reference_id"], row["fingerprint"]) for row in rows])

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(self.file, isolation_level=None, timeout=60)
        try:
            database.execute(_TABLE)
            database.execute("BEGIN IMMEDIATE")
            yield database
            database.execute("COMMIT")
        except sqlite3.Error as error:
            raise StorageError(f"writing {self.file} failed: {error}") from None
        finally:
            database.close()  # without a COMMIT nothing happened


def _of(provenance: Provenance) -> tuple[str, str]:
    return provenance.dataset, provenance.model_run


def _fingerprints(database: sqlite3.Connection, provenance: Provenance) -> pa.Table:
    columns = "SELECT reference_id, fingerprint FROM predictions"
    where = f"{columns} WHERE dataset = ? AND model_run = ?"
    return _table_of(database.execute(where, _of(provenance)).fetchall())


def _table_of(rows: list[tuple[str, str]]) -> pa.Table:
    return pa.table(
        {
            "reference_id": pa.array([id for id, _ in rows], pa.string()),
            "fingerprint": pa.array([fingerprint for _, fingerprint in rows], pa.string()),
        }
    )


def _fingerprint_of(row: dict[str, Any]) -> str:
    """The fingerprint, computed again from the pixels and Segments that are there."""
    measures = measure_decoded(decode_mask(row["mask"]))
    return fingerprint_of_parts(measures, json.loads(row["segments"]), row["annotation_id"])


def _open(context: DestinationContext) -> Destination:
    if not context.folder.is_local:
        raise SettingsError("the sqlite destination needs a root on a local disk")
    return SqliteDestination(Path(context.folder.path) / "predictions.sqlite")


SQLITE = DestinationEntry("sqlite", "a SQLite file", "sqlite_predictions", "sqlite", _open)
