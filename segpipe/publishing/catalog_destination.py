"""Publishing a batch to the catalog: plan at a version, store masks, commit, or plan again.

Masks are stored and synced before the commit that refers to them, and the commit is synced before
there are receipts of it (:mod:`segpipe.storage.durability`). A Delta app transaction per model run
is the compare-and-swap: of two concurrent publishers, one commits first and the other plans again.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError

from segpipe.errors import CatalogError, StorageError
from segpipe.publishing.log_entries import TRANSACTIONS_KEY
from segpipe.publishing.outcomes import (
    Outcome,
    Plan,
    Provenance,
    check_distinct_items,
    plan,
    receipts,
)
from segpipe.publishing.rewriting import file_spans, slices
from segpipe.publishing.stored_predictions import StoredPredictions
from segpipe.publishing.table import first_line, is_missing_file
from segpipe.publishing.table_columns import missing_columns, with_segments
from segpipe.publishing.table_format import PREDICTIONS, application_of, of_model_run
from segpipe.publishing.verification import Verification, verify
from segpipe.storage.mask_store import MaskStore
from segpipe.storage.removal import elapsed_clock
from segpipe.tables.writing import column_array
from segpipe.validation.validated import PredictionBatch

# Schema metadata of receipts: the version of the table that holds their predictions.
_VERSION_KEY = b"segpipe.version"
#: Key of the operation, in the metadata of commits that do not publish.
OPERATION_KEY = "segpipe.operation"
_UNDOING = ("unpublish", "withdraw", "restore", "mend")
_ATTEMPTS = 60
_STORAGE_ATTEMPTS = 3
# Seconds: far less than the day for which a mask that was looked at is safe from vacuums.
_LOOK_HOLDS = 12 * 3600.0
_PRESENT = ["reference_id", "fingerprint", "run_id", "previous_fingerprint"]
# Rows of the files that one commit rewrites: this bounds memory, whatever the table's size.
_REWRITTEN_ROWS = 100_000


class CatalogDestination(StoredPredictions):
    """The catalog as a destination; see :class:`segpipe.publishing.destination.Destination`."""

    #: Masks of the last batch, from which reading back mends the catalog's own.
    _given: MaskStore | None = None

    def publish(
        self,
        batch: PredictionBatch,
        masks: MaskStore,
        provenance: Provenance,
        *,
        dry_run: bool = False,
    ) -> pa.Table:
        """See :meth:`segpipe.publishing.destination.Destination.publish`."""
        self._given = masks
        rows = _published_rows(batch, provenance)
        check_distinct_items(rows)
        conflict = None
        of = provenance.model_run, provenance.partition
        for attempt in range(_ATTEMPTS):
            table = self.table.open() if dry_run else self.table.open_to_publish(of)
            if table is not None and dry_run:
                self.table.check_publishable(table)
            if table is None and not dry_run:
                table = self.table.create(batch.segments.type)
                self.table.confirm(table.version())
            try:
                present = self._present(table, column_array(rows, "reference_id"), provenance)
            except CatalogError as error:
                # What is read may have been replaced, and vacuumed: then plan again.
                newer = table is None or self.table.version() != table.version()
                if is_missing_file(error) and newer:
                    continue
                if table is not None and not dry_run and self._take_out(table, provenance):
                    continue
                raise
            if table is not None:
                missing_columns(table, batch.segments.type)  # of another type: refused
            planned = plan(rows, present, update=provenance.update)
            looked = elapsed_clock()
            to_write, failures = self._to_write(rows, planned, masks, dry_run=dry_run)
            if table is not None and not dry_run:
                read_at = table.version()
                try:
                    conflict = self._commit(table, to_write, provenance)
                except StorageError as error:
                    # Over a network a request may fail for a moment, and a file that is replaced
                    # may have been replaced already, and vacuumed: plan again.
                    taken = is_missing_file(error) and self.table.version() != read_at
                    if not taken and self._take_out(table, provenance):
                        continue
                    if not taken and (self.folder.is_local or attempt >= _STORAGE_ATTEMPTS):
                        raise
                    _wait(attempt)
                    continue
                if conflict is not None:
                    if self.table.version() == read_at:
                        raise StorageError(f"publishing to {self!r} failed: {conflict}")
                    _wait(attempt)
                    continue
                if elapsed_clock() - looked > _LOOK_HOLDS:
                    self._look_again(rows, planned, masks)
            by_this_run = present.filter(pc.equal(present["run_id"], provenance.run_id))
            done = receipts(planned.resumed(by_this_run), provenance, failures)
            version = b"" if table is None else str(table.version()).encode()
            return done.replace_schema_metadata({_VERSION_KEY: version})
        raise CatalogError(
            f"{self!r}: other runs kept publishing to {provenance.model_run!r} ({conflict}); "
            "run again"
        )

    def mend(self, provenance: Provenance) -> None:
        """See :meth:`segpipe.publishing.destination.Healing.mend`."""
        of = provenance.model_run, provenance.partition
        for attempt in range(_ATTEMPTS):
            table = self.table.open_to_publish(of)
            if table is None or not self._take_out(table, provenance, needed=False):
                return
            _wait(attempt)

    def _take_out(self, table: DeltaTable, provenance: Provenance, *, needed: bool = True) -> bool:
        """Take the model run's damaged files out of the table if the partition is concerned.

        Args:
            needed: the partition cannot be published beside files that are damaged.

        Returns:
            Whether the table has to be looked at again.

        Raises:
            DamagedFilesError: if damaged files are needed, and hold nothing of the partition.
            StorageError: if it cannot be done.
        """
        damaged = self.table.damaged(table, (provenance.dataset, provenance.model_run))
        if not any(file.may_hold(provenance.partition) for file in damaged):
            if damaged and needed:
                raise self.table.damaged_error(table, damaged)
            return False
        with suppress(CommitFailedError):  # another run of the model run committed first
            self.table.take_out(table, damaged, provenance)
        return True

    def verify(self, receipts: pa.Table, provenance: Provenance, masks: int | None) -> Verification:
        """See :meth:`segpipe.publishing.destination.Destination.verify`."""
        recorded = (receipts.schema.metadata or {}).get(_VERSION_KEY)
        published_at = int(recorded) if recorded else None
        opened: dict[bool, DeltaTable | None] = {}

        def rows_of(ids: pa.Array, columns: list[str], *, now: bool) -> pa.Table:
            if now not in opened:
                opened[now] = self.table.open(None if now else published_at)
            where = of_model_run(provenance.dataset, provenance.model_run)
            return self.read_from(opened[now], columns, where, ids)

        def undone() -> bool:
            newest = opened.get(True)
            if newest is None or published_at is None:
                return False
            since = newest.version() - published_at
            commits = self.table.commits(since) if since > 0 else []
            return any(commit.get(OPERATION_KEY) in _UNDOING for commit in commits)

        return verify(receipts, rows_of, undone, self.masks, masks, self._given)

    def _present(self, table: DeltaTable | None, ids: pa.Array, provenance: Provenance) -> pa.Table:
        """The table's rows (columns ``_PRESENT``) for the batch's items, at the table's version."""
        where = of_model_run(provenance.dataset, provenance.model_run)
        present = self.read_from(table, _PRESENT, where, ids)
        if pc.count_distinct(present["reference_id"]).as_py() != present.num_rows:
            raise CatalogError(
                f"{self!r} holds two predictions for one item of {provenance.model_run!r}: it was "
                "changed by something other than segpipe; restore an earlier version"
            )
        return present

    def _to_write(
        self, rows: pa.Table, planned: Plan, masks: MaskStore, *, dry_run: bool
    ) -> tuple[pa.Table, dict[str, str]]:
        """The rows to commit, masks stored; of the others, reference id -> the reason."""
        rows = rows.set_column(
            rows.schema.get_field_index("previous_fingerprint"),
            PREDICTIONS.field("previous_fingerprint"),
            planned.previous,
        ).filter(planned.where(Outcome.INSERTED, Outcome.REPLACED))
        same_store = masks.folder.url == self.masks.folder.url

        def stored(sha256: str) -> bool:
            if (dry_run or self.masks.keep(sha256)) and self.masks.is_right(sha256):
                return True
            if same_store or not masks.is_right(sha256):
                return False
            if not dry_run:
                self.masks.put(masks.read(sha256))
            return True

        wanted = rows["mask_sha256"].to_pylist()
        exists = (
            self.masks.folder.each(stored, wanted) if dry_run else self.masks.kept(wanted, stored)
        )
        failures = {
            id: f"its mask {MaskStore.name_of(sha256)} is lost or damaged in {masks!r}: "
            "materialize the partition again"
            for id, sha256, mask_exists in zip(
                rows["reference_id"].to_pylist(),
                rows["mask_sha256"].to_pylist(),
                exists,
                strict=True,
            )
            if not mask_exists
        }
        rows = rows.filter(pa.array(exists, pa.bool_()))
        if rows.num_rows and not dry_run:
            self.masks.sync(rows["mask_sha256"].to_pylist())
        return rows, failures

    def _look_again(self, rows: pa.Table, planned: Plan, masks: MaskStore) -> None:
        """Store again the masks that a vacuum took since they were looked at, long before the
        commit: the machine may have slept in between.

        Raises:
            CatalogError: if there are some that cannot be stored again.
        """
        _, lost = self._to_write(rows, planned, masks, dry_run=False)
        if lost:
            raise CatalogError(
                f"{len(lost)} predictions were published to {self!r} without their masks, such as "
                f"{next(iter(lost))!r}: the run stood still for hours, and a vacuum took them. "
                "Materialize the partition again, which stores them"
            )

    def _commit(self, table: DeltaTable, rows: pa.Table, provenance: Provenance) -> str | None:
        """Commit rows: in one commit if nothing is replaced, else in a few.

        Returns:
            The log's message if a commit was refused, as when another publisher committed first;
            earlier commits stay. None if all went in.
        """
        application = application_of(provenance.dataset, provenance.model_run)
        of = of_model_run(provenance.dataset, provenance.model_run, "target.")
        committed = table.transaction_version(application) or 0
        try:
            self.table.widen(table, rows, provenance)
        except CommitFailedError as error:
            return first_line(error)
        for part in self._parts(table, rows, provenance):
            if (table.transaction_version(application) or 0) != committed:
                return "another run published to the model run"
            properties = _properties(part, provenance, application, committed + 1)
            replaced = column_array(part, "reference_id").filter(_replaced(part))
            try:
                if len(replaced):
                    self.table.merge(table, part, of, replaced, properties)
                else:
                    self.table.append(table, part, properties)
            except CommitFailedError as error:
                return first_line(error)
            self.table.confirm(table.version())
            committed += 1
        return None

    @staticmethod
    def _parts(table: DeltaTable, rows: pa.Table, provenance: Provenance) -> Iterator[pa.Table]:
        """The rows of each commit; replaced rows are split to bound how much is rewritten."""
        inserted = rows.filter(pc.invert(_replaced(rows)))
        if inserted.num_rows == rows.num_rows:
            if rows.num_rows:
                yield rows
            return
        files = file_spans(table, provenance.dataset, provenance.model_run)
        for part in slices(rows.filter(_replaced(rows)), files, _REWRITTEN_ROWS):
            yield pa.concat_tables([inserted, part])
            inserted = inserted.slice(0, 0)


def _replaced(rows: pa.Table) -> pa.ChunkedArray:
    """A boolean per row: does it replace a prediction?"""
    return pc.is_valid(rows["previous_fingerprint"])


def _properties(
    rows: pa.Table, provenance: Provenance, application: str, version: int
) -> CommitProperties:
    replaced = pc.sum(_replaced(rows)).as_py()
    return CommitProperties(
        app_transactions=[Transaction(application, version)],
        custom_metadata={
            TRANSACTIONS_KEY: "1",
            "segpipe.dataset": provenance.dataset,
            "segpipe.model_run": provenance.model_run,
            "segpipe.partition": provenance.partition,
            "segpipe.run_id": provenance.run_id,
            "segpipe.update": str(provenance.update).lower(),
            "segpipe.inserted": str(rows.num_rows - replaced),
            "segpipe.replaced": str(replaced),
        },
    )


def _published_rows(batch: PredictionBatch, provenance: Provenance) -> pa.Table:
    """The batch as rows of the table: PREDICTIONS, with the columns of the batch's Segments."""
    schema = with_segments(batch.segments.type)
    count = batch.rows.num_rows
    given: dict[str, Any] = {
        "dataset": provenance.dataset,
        "model_run": provenance.model_run,
        "partition": provenance.partition,
        "run_id": provenance.run_id,
        "previous_fingerprint": None,
        "published_at": provenance.time,
    }
    columns = [
        batch.segments
        if field.name == "segments"
        else pa.array([given[field.name]] * count, field.type)
        if field.name in given
        else batch.rows[field.name]
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _wait(attempt: int) -> None:
    time.sleep(random.uniform(0, min(1.0, 0.02 * 2**attempt)))
