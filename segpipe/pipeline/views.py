"""The views of a partition as assets: derived masks, and the segment table that goes with them."""

from __future__ import annotations

from collections.abc import Iterator, Set
from typing import Any

import dagster as dg

from segpipe import views
from segpipe.consolidation import View
from segpipe.materialization import CODE_VERSION, SEGMENTS_FILE, VALIDATED_FILE
from segpipe.partition import Partition
from segpipe.pipeline import previews, schemas
from segpipe.pipeline.mount import Mount
from segpipe.pipeline.steps import LABELS
from segpipe.pipeline.validating import table_path
from segpipe.root import Root
from segpipe.validated import ValidatedPredictions

#: The views that are made; predictions as given are there already.
MADE = (View.INSTANCE, View.SEMANTIC)
_MEANINGS = {
    View.INSTANCE: "stuff and crowds merged into background, things one Segment each",
    View.SEMANTIC: "one Segment per label",
}


def masks_key(view: View) -> str:
    """Name of the asset of a view's masks."""
    return f"{view}_masks"


def segments_key(view: View) -> str:
    """Name of the asset of a view's segment table."""
    return f"{view}_segments"


def specs() -> list[dg.AssetSpec]:
    """Two assets per view. A partition has them only where they are asked for."""
    labels = {**LABELS, "code_version": f"{CODE_VERSION}.{views.CODE_VERSION}"}
    return [
        spec
        for view in MADE
        for spec in (
            dg.AssetSpec(
                masks_key(view),
                deps=["validated_masks", "segments"],
                kinds={"parquet", "png"},
                skippable=True,
                description=f"The {view} view of the validated predictions: {_MEANINGS[view]}. "
                f'Made where the model run\'s policy says publish_as = "{view}".',
                metadata={"dagster/column_schema": schemas.validated_masks},
                **labels,
            ),
            dg.AssetSpec(
                segments_key(view),
                deps=["validated_masks", "segments"],
                kinds={"parquet"},
                skippable=True,
                description=f"One row per prediction and Segment of the {view} view.",
                metadata={"dagster/column_schema": schemas.segments},
                **labels,
            ),
        )
    ]


def materialized(
    mount: Mount, partition: Partition, view: View, selected: Set[str]
) -> Iterator[dg.MaterializeResult[Any]]:
    """Make a view and report those of its two assets that are selected; without any, do nothing.

    Both tables are written in either case: they belong together.

    Raises:
        SegpipeError: if it cannot be made.
    """
    masks, segments = masks_key(view), segments_key(view)
    if selected.isdisjoint({masks, segments}):
        return
    root = mount.root
    summary = root.materialize_view(
        partition, view, lambda *rows: mount.progress(f"consolidating ({view})", *rows)
    )
    predictions = root.view(partition, view)
    if masks in selected:
        yield _masks_result(masks, root, predictions, summary)
    if segments in selected:
        yield _segments_result(segments, predictions, summary)


def _masks_result(
    key: str, root: Root, predictions: ValidatedPredictions, summary: views.ViewSummary
) -> dg.MaterializeResult[Any]:
    undecided: dict[str, Any] = {
        "undecided_segments": summary.undecided,
        "undecided_labels": ", ".join(summary.undecided_labels),
    }
    return dg.MaterializeResult(
        asset_key=key,
        metadata={
            "preview": previews.preview(predictions, root.settings),
            "dagster/row_count": summary.predictions,
            "changed_masks": summary.changed,
            **(undecided if summary.undecided else {}),
            "table": table_path(predictions, VALIDATED_FILE),
            "masks": dg.MetadataValue.path(root.masks.folder.url),
        },
        data_version=dg.DataVersion(summary.digest),
    )


def _segments_result(
    key: str, predictions: ValidatedPredictions, summary: views.ViewSummary
) -> dg.MaterializeResult[Any]:
    return dg.MaterializeResult(
        asset_key=key,
        metadata={
            "dagster/row_count": summary.segments,
            "given_segments": summary.given_segments,
            "table": table_path(predictions, SEGMENTS_FILE),
        },
        data_version=dg.DataVersion(summary.digest),
    )
