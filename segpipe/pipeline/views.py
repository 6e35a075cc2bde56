"""The views of a partition as assets: derived masks, and the segment table that goes with them."""

# No postponed annotations here: Dagster reads the annotations of the functions below.
from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from segpipe.errors import TableError
from segpipe.manifests.partition import Partition
from segpipe.pictures.label_colours import Colour, colours_of
from segpipe.pipeline import checks, previews, schemas
from segpipe.pipeline.mount import Event, Mount
from segpipe.pipeline.partitions import partition_of
from segpipe.pipeline.places import place
from segpipe.pipeline.steps import LABELS, RETRIES, plain_failures
from segpipe.pipeline.validating import table_place
from segpipe.predictions.view import View
from segpipe.root import Root
from segpipe.validation.distributions import distribution_of
from segpipe.validation.pass_tables import CODE_VERSION
from segpipe.validation.summary import SEGMENTS_FILE, VALIDATED_FILE
from segpipe.validation.validated import ValidatedPredictions
from segpipe.views import materialized as views
from segpipe.views.summary import ViewSummary

# The tag under which Dagster keeps an asset's data version.
_DATA_VERSION = "dagster/data_version"
#: The step that makes views.
CONSOLIDATE = "consolidate_masks"
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


def _specs() -> list[dg.AssetSpec]:
    """Two assets per view."""
    labels = {**LABELS, "code_version": f"{CODE_VERSION}.{views.CODE_VERSION}"}
    return [
        spec
        for view in MADE
        for spec in (
            dg.AssetSpec(
                masks_key(view),
                deps=["validated_masks", "segments"],
                kinds={"parquet", "png"},
                description=f"The {view} view of the validated predictions: {_MEANINGS[view]}. "
                f'Part of a run where the model run\'s policy says publish_as = "{view}", and '
                "where it is picked.",
                metadata={"dagster/column_schema": schemas.validated_masks},
                **labels,
            ),
            dg.AssetSpec(
                segments_key(view),
                deps=["validated_masks", "segments"],
                kinds={"parquet"},
                description=f"One row per prediction and Segment of the {view} view.",
                metadata={"dagster/column_schema": schemas.segments},
                **labels,
            ),
        )
    ]


def views_assets(mount: Mount) -> dg.AssetsDefinition:
    """The views of a partition: those that are picked, in one step."""

    @dg.multi_asset(
        name=mount.name(CONSOLIDATE),
        specs=mount.specs(_specs()),
        retry_policy=RETRIES,
        check_specs=checks.partitioned(
            [one for view in MADE for one in checks.of_view(masks_key(view), segments_key(view))],
            mount,
        ),
        can_subset=True,
    )
    def consolidate_masks(context: dg.AssetExecutionContext) -> Iterator[Event]:
        picked = mount.selected(context.selected_asset_keys)
        checked = mount.selected(key.asset_key for key in context.selected_asset_check_keys)
        partition = partition_of(context)
        with plain_failures():
            for view in MADE:
                names = (picked | checked) & names_of(view)
                if not names:
                    continue
                made = _materialized(mount, partition, view) if picked & names else {}
                yield from mount.placed(one for name, one in made.items() if name in picked)
                found = _checked(mount.root, partition, view)
                yield from mount.placed(one for name, one in found.items() if name in checked)

    return consolidate_masks


def names_of(view: View) -> set[str]:
    """The assets of a view; none for predictions as given."""
    return {masks_key(view), segments_key(view)} if view in MADE else set()


def ensure(
    context: dg.AssetExecutionContext, mount: Mount, partition: Partition, view: View
) -> None:
    """Make a view that is to be published, where it is not there or is out of date.

    That it was made is recorded as if its assets had been part of the run.

    Raises:
        SegpipeError: if it cannot be made.
    """
    if view not in MADE:
        return
    try:
        mount.root.view(partition, view)
    except TableError:
        for made in mount.placed(_materialized(mount, partition, view).values()):
            if isinstance(made, dg.MaterializeResult) and made.data_version is not None:
                context.log_event(
                    dg.AssetMaterialization(
                        made.asset_key or "",
                        metadata=made.metadata,
                        partition=context.partition_key,
                        tags={_DATA_VERSION: made.data_version.value},
                    )
                )


def _materialized(
    mount: Mount, partition: Partition, view: View
) -> dict[str, dg.MaterializeResult[Any]]:
    """Make a view, both its tables: they belong together."""
    root, masks, segments = mount.root, masks_key(view), segments_key(view)
    summary = root.materialize_view(
        partition,
        view=view,
        progress=lambda *rows: mount.progress(f"consolidating ({view})", *rows),
    )
    predictions = root.view(partition, view)
    colours = colours_of(
        root.settings, partition.model_run, distribution_of(root.tables(partition)).pixels
    )
    return {
        masks: _masks_result(masks, root, predictions, summary, colours),
        segments: _segments_result(segments, root, predictions, summary),
    }


def _checked(root: Root, partition: Partition, view: View) -> dict[str, dg.AssetCheckResult]:
    """The check of each of a view's two assets."""
    validated, tables = root.tables(partition), root.view_tables(partition, view)
    masks, segments = masks_key(view), segments_key(view)
    return {
        masks: checks.predictions_as_validated(validated, tables, masks),
        segments: checks.every_pixel_explained(tables, segments),
    }


def _masks_result(
    key: str,
    root: Root,
    predictions: ValidatedPredictions,
    summary: ViewSummary,
    colours: Mapping[str, Colour],
) -> dg.MaterializeResult[Any]:
    undecided: dict[str, Any] = {
        "undecided_segments": summary.undecided,
        "undecided_labels": ", ".join(summary.undecided_labels),
    }
    return dg.MaterializeResult(
        asset_key=key,
        metadata={
            "preview": previews.preview(predictions, root.settings, colours),
            "dagster/row_count": summary.predictions,
            "changed_masks": summary.changed,
            **(undecided if summary.undecided else {}),
            "table": table_place(root, predictions, VALIDATED_FILE),
            "masks": place(root.settings, root.masks.folder.url),
        },
        data_version=dg.DataVersion(summary.digest),
    )


def _segments_result(
    key: str, root: Root, predictions: ValidatedPredictions, summary: ViewSummary
) -> dg.MaterializeResult[Any]:
    return dg.MaterializeResult(
        asset_key=key,
        metadata={
            "dagster/row_count": summary.segments,
            "given_segments": summary.given_segments,
            "table": table_place(root, predictions, SEGMENTS_FILE),
        },
        data_version=dg.DataVersion(summary.digest),
    )
