"""Checks of the assets, run by the step that has the data."""

from __future__ import annotations

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from segpipe.materialization import SEGMENTS_FILE, VALIDATED_FILE, Summary
from segpipe.publishing.publication import Publication
from segpipe.publishing.verification import Verification
from segpipe.storage import Folder

REJECTION_RATE = dg.AssetCheckSpec(
    "rejection_rate",
    asset="validated_masks",
    blocking=True,
    description="Blocks publishing when more of the partition's rows were rejected than "
    "max_rejection_rate allows: something systematic is wrong then.",
)
EVERY_PIXEL_EXPLAINED = dg.AssetCheckSpec(
    "every_pixel_explained",
    asset="segments",
    description="Read back: the areas of all segments add up to the pixels of all masks.",
)
NOTHING_FAILED = dg.AssetCheckSpec(
    "nothing_failed",
    asset="published_predictions",
    description="The destination refused none of the predictions.",
)
READ_BACK = dg.AssetCheckSpec(
    "published_equals_validated",
    asset="published_predictions",
    description="Read back: the catalog holds what the receipts say, and of a sample the masks' "
    "pixels and Segments give the published fingerprint.",
)


def rejection_rate(summary: Summary, limit: float) -> dg.AssetCheckResult:
    """Compare the share of rejected rows with the limit."""
    rate = summary.rejection_rate
    passed = rate <= limit
    return dg.AssetCheckResult(
        check_name=REJECTION_RATE.name,
        asset_key="validated_masks",
        passed=passed,
        severity=dg.AssetCheckSeverity.ERROR,
        metadata={"rejection_rate": rate, "limit": limit, "rejected": summary.rejected},
        description=f"{summary.rejected} of {summary.rows} rows rejected"
        + ("" if passed else "; see rejected_predictions, mend the cause and run again"),
    )


def every_pixel_explained(tables: Folder) -> dg.AssetCheckResult:
    """Add up what the tables on storage say."""
    segment_pixels = _total(tables, SEGMENTS_FILE, ["area_px"])
    mask_pixels = _total(tables, VALIDATED_FILE, ["height", "width"])
    return dg.AssetCheckResult(
        check_name=EVERY_PIXEL_EXPLAINED.name,
        asset_key="segments",
        passed=segment_pixels == mask_pixels,
        metadata={"segment_pixels": segment_pixels, "mask_pixels": mask_pixels},
        description="areas and masks agree"
        if segment_pixels == mask_pixels
        else "areas and masks differ: the tables were changed; materialize the partition again",
    )


def _total(tables: Folder, name: str, factors: list[str]) -> int:
    total = 0
    with tables.open_input(name) as handle:
        for batch in pq.ParquetFile(handle).iter_batches(columns=factors):
            product = batch.column(0).cast(pa.int64())
            for column in batch.columns[1:]:
                product = pc.multiply(product, column.cast(pa.int64()))
            total += pc.sum(product).as_py() or 0
    return total


def nothing_failed(publication: Publication) -> dg.AssetCheckResult:
    """Report predictions the destination refused, with its words."""
    failed = publication.outcomes["failed"]
    words = "; ".join(f"{id}: {message}" for id, message in publication.failures)
    return dg.AssetCheckResult(
        check_name=NOTHING_FAILED.name,
        asset_key="published_predictions",
        passed=not failed,
        metadata={"failed": failed},
        description=f"{failed} predictions failed ({words})" if failed else "none failed",
    )


def published_equals_validated(verification: Verification) -> dg.AssetCheckResult:
    """Report receipts that reading back did not confirm."""
    mismatches = verification.mismatches
    first = "; ".join(f"{m.reference_id}: {m.words}" for m in mismatches[:5])
    return dg.AssetCheckResult(
        check_name=READ_BACK.name,
        asset_key="published_predictions",
        passed=not mismatches,
        metadata={
            "receipts": verification.receipts,
            "masks_decoded": verification.masks,
            "mismatches": len(mismatches),
        },
        description=f"{len(mismatches)} receipts not confirmed ({first}): publish again with "
        "update, or restore an earlier version"
        if mismatches
        else "what the receipts say is what the catalog holds",
    )
