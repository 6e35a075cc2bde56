"""Publishing a whole partition: batches to a destination, receipts to a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from segpipe.errors import SegpipeError
from segpipe.publishing.destination import Destination
from segpipe.publishing.outcomes import Outcome, Provenance, counts
from segpipe.publishing.published_content import PublishedContent
from segpipe.publishing.verification import Verification
from segpipe.storage.files import Folder, folder_name
from segpipe.storage.mask_store import MaskStore
from segpipe.tables.schemas import RECEIPTS
from segpipe.tables.text import html_table, text_table
from segpipe.tables.writing import TableWriter, table_writer
from segpipe.validation.materialization import Progress
from segpipe.validation.validated import ValidatedPredictions

#: Masks of each batch that are read back and decoded, where nothing else is asked for.
VERIFIED_MASKS = 20


_COLUMNS = ("outcome", "predictions")


@dataclass(frozen=True, repr=False)
class Publication:
    """What publishing a partition came to.

    Attributes:
        outcomes: outcome -> number of predictions; every outcome is named.
        failures: reference id and the destination's words, of the first ten that failed.
        verification: what reading back found; None for a dry run.
        receipts: URL of the receipts table; None for a dry run.
        content: what the destination holds of the partition now; None for a dry run.
    """

    outcomes: Mapping[str, int]
    failures: tuple[tuple[str, str], ...]
    verification: Verification | None
    receipts: str | None
    content: PublishedContent | None

    def _rows(self) -> list[tuple[str, int]]:
        return [(outcome, count) for outcome, count in self.outcomes.items() if count]

    def __repr__(self) -> str:
        lines = [text_table(_COLUMNS, self._rows())] if self._rows() else ["nothing to publish"]
        lines += [f"{reference_id}: {words}" for reference_id, words in self.failures]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        failed = html_table(("item", "why it failed"), self.failures) if self.failures else ""
        return html_table(_COLUMNS, self._rows()) + failed


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
        dry_run: say what would happen; neither the destination nor the receipts are touched.
        verify_masks: masks of each batch to read back and decode; all where None.

    Raises:
        TableError: if the partition's tables are missing or do not belong together.
        CatalogError, DestinationError, StorageError: see the destination; batches published
            before stay, and so do their receipts.
    """
    folder = receipts.folder(
        f"dataset={folder_name(provenance.dataset)}",
        f"model_run={folder_name(provenance.model_run)}",
        f"date={provenance.partition}",
    )
    name = f"{folder_name(provenance.run_id)}.parquet"
    outcomes: Counter[str] = Counter({outcome.value: 0 for outcome in Outcome})
    failures: list[tuple[str, str]] = []
    checks: list[Verification] = []
    failure: SegpipeError | None = None
    content = PublishedContent()
    done = 0
    with ExitStack() as stack:
        table: TableWriter | None = None
        if not dry_run:
            table = stack.enter_context(table_writer(folder, name, RECEIPTS))
        for batch in predictions.batches(rows_per_batch):
            try:
                batch_receipts = destination.publish(batch, masks, provenance, dry_run=dry_run)
            except SegpipeError as error:
                failure = error  # the receipts of what was published before are kept
                break
            if table is not None:
                table.write(batch_receipts)
                content.add(batch_receipts)
                try:
                    checks.append(destination.verify(batch_receipts, provenance, verify_masks))
                except SegpipeError as error:
                    failure = error  # what was published is so, whether or not it can be read back
                    break
            outcomes.update(counts(batch_receipts))
            if outcomes[Outcome.FAILED] and len(failures) < 10:
                failures += [
                    (row["reference_id"], row["message"])
                    for row in batch_receipts.to_pylist()
                    if row["outcome"] == Outcome.FAILED
                ]
            done += batch_receipts.num_rows
            if progress is not None:
                progress(done, len(predictions))
    if failure is not None:
        raise failure
    return Publication(
        dict(outcomes),
        tuple(failures[:10]),
        None if dry_run else _together(checks),
        None if dry_run else f"{folder.shown}/{name}",
        None if dry_run else content,
    )


def _together(checks: list[Verification]) -> Verification:
    return Verification(
        sum(check.receipts for check in checks),
        sum(check.masks for check in checks),
        tuple(mismatch for check in checks for mismatch in check.mismatches),
    )
