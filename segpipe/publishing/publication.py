"""Publishing a whole partition: batches to a destination, receipts to a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from segpipe.errors import OtherFormatError, SegpipeError, printable
from segpipe.publishing.destination import Destination, Healing
from segpipe.publishing.outcomes import Outcome, Provenance, counts
from segpipe.publishing.published_content import PublishedContent
from segpipe.publishing.verification import Verification
from segpipe.storage.files import Folder, folder_name
from segpipe.storage.mask_store import MaskStore
from segpipe.tables.schemas import RECEIPTS
from segpipe.tables.text import html_table, text_table
from segpipe.tables.writing import TableWriter, table_writer
from segpipe.validation.materialization import Progress
from segpipe.validation.validated import PredictionBatch, ValidatedPredictions

#: How many masks of each batch are read back and decoded by default.
VERIFIED_MASKS = 20
_MOST_FAILURES = 10
_MOST_TOLD = 3  # reasons in a message
_COLUMNS = ("outcome", "predictions")


@dataclass(frozen=True, repr=False)
class Publication:
    """The result of publishing a partition.

    Attributes:
        outcomes: outcome -> number of predictions; every outcome is a key.
        failures: reference id and the destination's message, of the first ten that failed.
        verification: what reading back found; None for a dry run.
        receipts: URL of the receipts table; None for a dry run.
        content: what the destination holds of the partition now; None for a dry run.
        remarks: what the destination did besides, a sentence each: what a cut of the power had
            left and was set aside, for example.
    """

    outcomes: Mapping[str, int]
    failures: tuple[tuple[str, str], ...]
    verification: Verification | None
    receipts: str | None
    content: PublishedContent | None
    remarks: tuple[str, ...] = ()

    @property
    def failed(self) -> str:
        """How many predictions failed, the first reasons, and where the rest is; empty if none."""
        count = self.outcomes[Outcome.FAILED]
        if not count:
            return ""
        told = [
            printable(f"{reference_id}: {words}")
            for reference_id, words in self.failures[:_MOST_TOLD]
        ]
        more = f"; {count - len(told)} more" if count > len(told) else ""
        where = "" if self.receipts is None else f"; receipts: {self.receipts}"
        return f"{count} predictions failed to be published: {'; '.join(told)}{more}{where}"

    def _rows(self) -> list[tuple[str, int]]:
        return [(outcome, count) for outcome, count in self.outcomes.items() if count]

    def __repr__(self) -> str:
        lines = [text_table(_COLUMNS, self._rows())] if self._rows() else ["nothing to publish"]
        lines += [printable(f"{reference_id}: {words}") for reference_id, words in self.failures]
        lines += map(printable, self.remarks)
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        failed = html_table(("item", "why it failed"), self.failures) if self.failures else ""
        said = html_table(("remarks",), [(one,) for one in self.remarks]) if self.remarks else ""
        return html_table(_COLUMNS, self._rows()) + failed + said


def publish(
    predictions: ValidatedPredictions,
    destination: Destination,
    masks: MaskStore,
    receipts: Folder,
    provenance: Provenance,
    *,
    dry_run: bool = False,
    verify_masks: int | None = VERIFIED_MASKS,
    rows_per_batch: int = 20_000,
    progress: Progress | None = None,
) -> Publication:
    """Publish every validated prediction of a partition, a batch at a time.

    Args:
        masks: where the predictions' mask files are.
        receipts: folder under which this run's receipts table is written.
        dry_run: only determine what would happen; the destination and the receipts are untouched.
        verify_masks: how many masks of each batch to read back and decode. All if None, and the
            destination looks for damage before.
        rows_per_batch: predictions per batch.
        progress: called after each batch.

    Raises:
        TableError: if the partition's tables are missing or do not belong together.
        CatalogError, DestinationError, StorageError: see :class:`Destination`; earlier batches
            stay published, and their receipts are kept. The remarks are notes of the error.
    """
    folder = receipts.folder(
        f"dataset={folder_name(provenance.dataset)}",
        f"model_run={folder_name(provenance.model_run)}",
        f"date={provenance.partition}",
    )
    name = f"{folder_name(provenance.run_id)}.parquet"
    tally = _Tally()
    content = PublishedContent()
    failure: SegpipeError | None = None
    with ExitStack() as stack:
        table: TableWriter | None = None
        if not dry_run:
            table = stack.enter_context(table_writer(folder, name, RECEIPTS))
            if verify_masks is None and isinstance(destination, Healing):
                destination.mend(provenance)
        for batch in predictions.batches(rows_per_batch):
            try:
                batch_receipts = destination.publish(batch, masks, provenance, dry_run=dry_run)
            except OtherFormatError:
                raise  # it happened before anything was published: there is nothing to tell
            except SegpipeError as error:
                failure = error  # the receipts of earlier batches are kept
                break
            tally.add(batch_receipts)
            if table is not None:
                table.write(batch_receipts)
                content.add(batch_receipts)
                try:
                    check = destination.verify(batch_receipts, provenance, verify_masks)
                    tally.checks.append(check)
                    _have_mended(predictions, batch, batch_receipts, check, masks)
                except SegpipeError as error:
                    failure = error  # the batch is published, even if it cannot be read back
                    break
            if progress is not None:
                progress(tally.predictions, len(predictions))
    remarks = destination.take_remarks() if isinstance(destination, Healing) else []
    if failure is not None:
        for remark in remarks:
            failure.add_note(remark)
        raise failure
    return Publication(
        dict(tally.outcomes),
        tuple(tally.failures),
        None if dry_run else tally.verification(),
        None if dry_run else f"{folder.shown}/{name}",
        None if dry_run else content,
        tuple(remarks),
    )


def _have_mended(
    predictions: ValidatedPredictions,
    batch: PredictionBatch,
    receipts: pa.Table,
    check: Verification,
    masks: MaskStore,
) -> None:
    """Where a mask of the partition is lost or damaged, its next run reads the sources again."""
    failed = receipts.filter(pc.equal(receipts["outcome"], Outcome.FAILED.value))
    ids = failed["reference_id"].to_pylist() + [one.reference_id for one in check.mismatches]
    if ids:
        suspects = batch.rows.filter(pc.is_in(batch.rows["reference_id"], pa.array(ids)))
        if not all(map(masks.is_right, suspects["mask_sha256"].to_pylist())):
            predictions.read_anew()


class _Tally:
    """Sums of what was published, batch by batch."""

    def __init__(self) -> None:
        self.predictions = 0
        self.outcomes: Counter[str] = Counter({outcome.value: 0 for outcome in Outcome})
        self.failures: list[tuple[str, str]] = []
        self.checks: list[Verification] = []

    def add(self, receipts: pa.Table) -> None:
        """Add the receipts of a batch."""
        self.predictions += receipts.num_rows
        self.outcomes.update(counts(receipts))
        more = _MOST_FAILURES - len(self.failures)
        if self.outcomes[Outcome.FAILED] and more > 0:
            failed = receipts.filter(pc.equal(receipts["outcome"], Outcome.FAILED.value))
            self.failures += [
                (row["reference_id"], row["message"]) for row in failed.slice(0, more).to_pylist()
            ]

    def verification(self) -> Verification:
        """The verifications of all batches as one."""
        return Verification(
            sum(check.receipts for check in self.checks),
            sum(check.masks for check in self.checks),
            tuple(mismatch for check in self.checks for mismatch in check.mismatches),
        )
