"""Asset checks: their specs, and their results, reported by the step that has the data."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from segpipe.errors import SegpipeError
from segpipe.manifests.partition import Partition
from segpipe.pipeline.prefixed_root import PrefixedRoot
from segpipe.publishing.publication import Publication
from segpipe.publishing.verification import Verification
from segpipe.storage.files import Folder
from segpipe.tables.digest import TableDigest
from segpipe.validation.coverage import Coverage
from segpipe.validation.distributions import Drift
from segpipe.validation.summary import REJECTED_FILE, SEGMENTS_FILE, VALIDATED_FILE, Summary

_SAME_PREDICTIONS, _SAME_AREAS = "predictions_as_validated", "every_pixel_explained"

MANIFEST_SCHEMA = dg.AssetCheckSpec(
    "manifest_schema",
    asset="prediction_manifest",
    blocking=True,
    description="The manifest's files are readable and have the columns segpipe needs, of the "
    "types it needs.",
)
REJECTION_RATE = dg.AssetCheckSpec(
    "rejection_rate",
    asset="validated_masks",
    blocking=True,
    description="Warns of rejected rows, and blocks publishing when more were rejected than "
    "max_rejection_rate allows: something systematic is wrong then.",
)
NO_DUPLICATES = dg.AssetCheckSpec(
    "no_duplicates",
    asset="validated_masks",
    description="No item is predicted twice in the partition. Equal rows are kept once, rows that "
    "differ are all rejected.",
)
COVERAGE = dg.AssetCheckSpec(
    "coverage",
    asset="validated_masks",
    description="Of the items of the policy's list, at least the share min_coverage has an "
    "accepted prediction.",
)
LABEL_DRIFT = dg.AssetCheckSpec(
    "label_drift",
    asset="segments",
    description="The labels' shares of all pixels are not further than max_drift from those of "
    "the model run's partition before (total variation distance, 0 to 1).",
)
EVERY_PIXEL_EXPLAINED = dg.AssetCheckSpec(
    _SAME_AREAS,
    asset="segments",
    description="Read back: the areas of all segments add up to the pixels of all masks.",
)
EVERY_ROW_ACCOUNTED_FOR = dg.AssetCheckSpec(
    "every_row_accounted_for",
    asset="rejected_predictions",
    description="Read back: every row of the manifest was accepted, rejected or repeats another, "
    "and the table has the findings of all that were rejected.",
)
NOTHING_FAILED, READ_BACK = "nothing_failed", "published_equals_validated"


def view_checks(masks: str, segments: str) -> list[dg.AssetCheckSpec]:
    """Specs of the checks of a view's masks and segments.

    Args:
        masks, segments: names of the view's assets.
    """
    return [
        dg.AssetCheckSpec(
            _SAME_PREDICTIONS,
            asset=masks,
            description="Read back: the view has the predictions that were validated, each with "
            "as many pixels.",
        ),
        dg.AssetCheckSpec(
            _SAME_AREAS,
            asset=segments,
            description="Read back: the areas of all segments add up to the pixels of all masks.",
        ),
    ]


def publishing_checks(asset: str) -> list[dg.AssetCheckSpec]:
    """Specs of the checks of predictions published to a destination.

    Args:
        asset: name of the destination's asset.
    """
    return [
        dg.AssetCheckSpec(
            NOTHING_FAILED,
            asset=asset,
            description="The destination refused none of the predictions.",
        ),
        dg.AssetCheckSpec(
            READ_BACK,
            asset=asset,
            description="Read back: the destination holds what the receipts say; in the catalog, "
            "the masks' pixels and Segments of a sample give the published fingerprint.",
        ),
    ]


def partitioned(
    specs: Sequence[dg.AssetCheckSpec], prefixed: PrefixedRoot
) -> list[dg.AssetCheckSpec]:
    """Specs with prefixed asset keys, evaluated per partition and not per asset."""
    with warnings.catch_warnings():
        # Partitioned checks are a preview feature of Dagster; tests cover what is used here.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return [
            dg.AssetCheckSpec(
                spec.name,
                asset=prefixed.key(spec.asset_key),
                description=spec.description,
                blocking=spec.blocking,
                partitions_def=prefixed.partitions,
            )
            for spec in specs
        ]


_BLOCKING = {MANIFEST_SCHEMA.name, REJECTION_RATE.name}


def blocks(check: dg.AssetCheckResult) -> bool:
    """Whether a check result stops everything downstream."""
    failed = not check.passed and check.severity is dg.AssetCheckSeverity.ERROR
    return failed and check.check_name in _BLOCKING


def _result(
    spec: dg.AssetCheckSpec,
    passed: bool,
    description: str,
    metadata: Mapping[str, Any] | None = None,
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR,
) -> dg.AssetCheckResult:
    """A result of the check with this spec."""
    return dg.AssetCheckResult(
        check_name=spec.name,
        asset_key=spec.asset_key,
        passed=passed,
        severity=severity,
        metadata=metadata,
        description=description,
    )


def nothing_landed(spec: dg.AssetCheckSpec, words: str) -> dg.AssetCheckResult:
    """The result of a check that has nothing to look at."""
    return _result(spec, passed=True, description=f"nothing to check: {words}")


def manifest_schema(error: SegpipeError | None) -> dg.AssetCheckResult:
    """Whether the manifest could be opened; ``error`` is why not."""
    return _result(
        MANIFEST_SCHEMA,
        passed=error is None,
        description="every file can be used" if error is None else str(error),
    )


def rejection_rate(summary: Summary, limit: float) -> dg.AssetCheckResult:
    """Whether no row was rejected: a warning, or an error if the rate exceeds ``limit``."""
    rate = summary.rejection_rate
    severity = dg.AssetCheckSeverity.ERROR if rate > limit else dg.AssetCheckSeverity.WARN
    return _result(
        REJECTION_RATE,
        passed=not summary.rejected,
        severity=severity,
        metadata={"rejection_rate": round(rate, 4), "rejected": summary.rejected},
        description=f"{summary.rejected} of {summary.rows} rows rejected (limit: {limit:g})"
        + ("; see rejected_predictions, mend the cause and run again" if summary.rejected else ""),
    )


def no_duplicates(summary: Summary) -> dg.AssetCheckResult:
    """Whether every item has one row in the manifest."""
    differing = summary.findings.get("REF-DUPLICATE", 0)
    return _result(
        NO_DUPLICATES,
        passed=not (differing or summary.repeated),
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"rows_that_differ": differing, "rows_repeated": summary.repeated},
        description="every item has one row"
        if not (differing or summary.repeated)
        else f"{differing} rows of items with several, different rows were rejected, and "
        f"{summary.repeated} equal ones left out: see that the model writes each item once",
    )


def coverage(covered: Coverage | None, least: float) -> dg.AssetCheckResult:
    """Whether enough of the policy's items have an accepted prediction.

    Args:
        covered: None if the policy has no list of items.
        least: the smallest share that passes, 0 to 1.
    """
    if covered is None:
        return _result(
            COVERAGE,
            passed=True,
            description="the policy names no list of items",
        )
    passed = covered.share >= least
    missing = covered.items - covered.predicted
    return _result(
        COVERAGE,
        passed=passed,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"coverage": covered.share, "missing": missing, "min_coverage": least},
        description=f"{covered.predicted} of {covered.items} items have a prediction"
        + ("" if passed else ": run the model on the others, or lower min_coverage"),
    )


def label_drift(before: Partition | None, drift: Drift | None, most: float) -> dg.AssetCheckResult:
    """Whether the label distribution stays close to that of the previous partition.

    Args:
        before: the previous partition; None, like ``drift``, if there is none.
        most: the largest total variation distance that passes, 0 to 1.
    """
    if drift is None:
        return _result(
            LABEL_DRIFT,
            passed=True,
            description="there is no earlier partition of the model run to compare with",
        )
    passed = drift.distance <= most
    changes = ", ".join(
        f"{label} {100 * change:+.1f} points" for label, change in list(drift.changes.items())[:5]
    )
    return _result(
        LABEL_DRIFT,
        passed=passed,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "drift": drift.distance,
            "max_drift": most,
            "compared_with": str(before),
            **_entropies(drift),
        },
        description=f"{100 * drift.distance:.1f} % of the pixels would have to change their label "
        f"({changes}; against {before}){_entropy_words(drift)}"
        + ("" if passed else ": is it the data or the model? Raise max_drift if it is meant"),
    )


def _entropies(drift: Drift) -> dict[str, float]:
    """Mean entropies of class PDFs in nats, and their difference; only those there are."""
    before, after = drift.mean_entropies
    named = {"mean_entropy": after, "mean_entropy_before": before}
    found = {name: value for name, value in named.items() if value is not None}
    if before is not None and after is not None:
        found["entropy_drift"] = after - before
    return found


def _entropy_words(drift: Drift) -> str:
    before, after = drift.mean_entropies
    if after is None:
        return "" if before is None else ". There are no class PDFs any more"
    changed = "there were no class PDFs" if before is None else f"{after - before:+.2f}"
    return f". Mean entropy of the class PDFs: {after:.2f} nats ({changed})"


def every_row_accounted_for(tables: Folder, summary: Summary) -> dg.AssetCheckResult:
    """Whether accepted, rejected (read back) and repeated rows add up to the manifest's rows."""
    with tables.open_input(REJECTED_FILE) as handle:
        rows = pq.read_table(handle, columns=["manifest", "manifest_row"])
    found = rows.group_by(["manifest", "manifest_row"]).aggregate([]).num_rows
    whole = summary.accepted + found + summary.repeated == summary.rows
    words = f"{summary.accepted} accepted, {found} rejected and {summary.repeated} repeated are "
    return _result(
        EVERY_ROW_ACCOUNTED_FOR,
        passed=whole and found == summary.rejected,
        metadata={"rejected_rows": found, "rows": summary.rows},
        description=words
        + ("" if whole else "not ")
        + f"the {summary.rows} rows of the manifest"
        + ("" if whole else ": materialize the partition again, with force"),
    )


def predictions_as_validated(validated: Folder, view: Folder, asset: str) -> dg.AssetCheckResult:
    """Whether a view has the validated predictions, with the same mask sizes."""
    before, after = (_identities_and_sizes(tables) for tables in (validated, view))
    same = before.hexdigest() == after.hexdigest()
    return dg.AssetCheckResult(
        check_name=_SAME_PREDICTIONS,
        asset_key=asset,
        passed=same,
        metadata={"validated": before.rows, "in_the_view": after.rows},
        description=f"all {after.rows} predictions are there, of the same size"
        if same
        else "the view has other predictions than were validated: the tables were changed; "
        "materialize the partition again",
    )


def _identities_and_sizes(tables: Folder) -> TableDigest:
    digest = TableDigest(VALIDATED_FILE)
    with tables.open_input(VALIDATED_FILE) as handle:
        columns = ["reference_id", "height", "width"]
        for batch in pq.ParquetFile(handle).iter_batches(columns=columns):
            digest.add(pa.Table.from_batches([batch]))
    return digest


def every_pixel_explained(tables: Folder, asset: str = "segments") -> dg.AssetCheckResult:
    """Whether the areas of all segments add up to the pixels of all masks, in the stored tables."""
    segment_pixels = _total(tables, SEGMENTS_FILE, ["area_px"])
    mask_pixels = _total(tables, VALIDATED_FILE, ["height", "width"])
    return dg.AssetCheckResult(
        check_name=_SAME_AREAS,
        asset_key=asset,
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


def nothing_failed(publication: Publication, asset: str) -> dg.AssetCheckResult:
    """Whether the destination accepted all predictions; otherwise its words."""
    failed = publication.outcomes["failed"]
    return dg.AssetCheckResult(
        check_name=NOTHING_FAILED,
        asset_key=asset,
        passed=not failed,
        metadata={"failed": failed},
        description=publication.failed or "none failed",
    )


def published_equals_validated(verification: Verification, asset: str) -> dg.AssetCheckResult:
    """Whether reading back confirmed all receipts."""
    mismatches = verification.mismatches
    first = "; ".join(f"{m.reference_id}: {m.words}" for m in mismatches[:5])
    return dg.AssetCheckResult(
        check_name=READ_BACK,
        asset_key=asset,
        passed=not mismatches,
        metadata={
            "receipts": verification.receipts,
            "masks_decoded": verification.masks,
            "mismatches": len(mismatches),
        },
        description=f"{len(mismatches)} receipts not confirmed ({first}): publish again with "
        "update, or restore an earlier version"
        if mismatches
        else "what the receipts say is what the destination holds",
    )
