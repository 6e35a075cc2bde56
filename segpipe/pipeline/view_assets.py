"""The assets of a partition's derived views: consolidated masks and their segment table."""

# No postponed annotations here: Dagster reads the annotations of the functions below.
from collections.abc import Container, Iterator, Mapping
from typing import Any

import dagster as dg

from segpipe.errors import TableError
from segpipe.manifests.partition import Partition
from segpipe.pictures.label_colours import colours_of
from segpipe.pictures.palette import Colour
from segpipe.pipeline import checks, gaps, previews, schemas
from segpipe.pipeline.destinations import destination_assets
from segpipe.pipeline.file_links import file_link
from segpipe.pipeline.partitions import partition_of
from segpipe.pipeline.prefixed_root import Event, PrefixedRoot
from segpipe.pipeline.steps import ASSET_ATTRIBUTES, RETRY_POLICY, dagster_failures
from segpipe.pipeline.validation_assets import table_link
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
#: Name of the step that materializes views.
CONSOLIDATE = "consolidate_masks"
#: Views derived from the validated predictions; ``View.GIVEN`` is those predictions themselves.
DERIVED_VIEWS = (View.INSTANCE, View.SEMANTIC)
_MEANINGS = {
    View.INSTANCE: "stuff and crowds merged into background, things one Segment each",
    View.SEMANTIC: "one Segment per label",
}


def masks_asset(view: View) -> str:
    """Name of the asset of a view's masks, without key prefix."""
    return f"{view}_masks"


def segments_asset(view: View) -> str:
    """Name of the asset of a view's segment table, without key prefix."""
    return f"{view}_segments"


def _specs() -> list[dg.AssetSpec]:
    """Specs of the two assets of each view."""
    labels = {**ASSET_ATTRIBUTES, "code_version": f"{CODE_VERSION}.{views.CODE_VERSION}"}
    return [
        spec
        for view in DERIVED_VIEWS
        for spec in (
            dg.AssetSpec(
                masks_asset(view),
                deps=["validated_masks", "segments"],
                kinds={"parquet", "png"},
                description=f"The {view} view of the validated predictions: {_MEANINGS[view]}. "
                f'Part of a run where the model run\'s policy says publish_as = "{view}", and '
                "where it is picked.",
                metadata={"dagster/column_schema": schemas.validated_masks},
                **labels,
            ),
            dg.AssetSpec(
                segments_asset(view),
                deps=["validated_masks", "segments"],
                kinds={"parquet"},
                description=f"One row per prediction and Segment of the {view} view.",
                metadata={"dagster/column_schema": schemas.segments},
                **labels,
            ),
        )
    ]


def view_assets(prefixed: PrefixedRoot) -> dg.AssetsDefinition:
    """The assets of all derived views; one step materializes those that are selected."""

    @dg.multi_asset(
        name=prefixed.name(CONSOLIDATE),
        specs=prefixed.specs(_specs()),
        retry_policy=RETRY_POLICY,
        check_specs=checks.partitioned(
            [
                one
                for view in DERIVED_VIEWS
                for one in checks.view_checks(masks_asset(view), segments_asset(view))
            ],
            prefixed,
        ),
        can_subset=True,
    )
    def consolidate_masks(
        context: dg.AssetExecutionContext,
    ) -> Iterator[Event | dg.Output[None]]:
        gaps.settle_backfill(context)
        selected = prefixed.asset_names(context.selected_asset_keys)
        unpublished = _unpublished_views(context, prefixed, selected)
        yield from _left_out(context, prefixed, unpublished)
        checked = prefixed.asset_names(key.asset_key for key in context.selected_asset_check_keys)
        partition = partition_of(context)
        with dagster_failures():
            for view in DERIVED_VIEWS:
                names = (selected | checked) & asset_names_of(view)
                if not names or view in unpublished:
                    continue
                made = _materialize(prefixed, partition, view) if selected & names else {}
                yield from prefixed.with_keys(one for name, one in made.items() if name in selected)
                found = _check_results(prefixed.root, partition, view)
                yield from prefixed.with_keys(one for name, one in found.items() if name in checked)

    return consolidate_masks


def _unpublished_views(
    context: dg.AssetExecutionContext, prefixed: PrefixedRoot, selected: Container[str]
) -> list[View]:
    """Views of the selection that a run leaves out because it publishes others, as "Materialize
    all" does. A run that does not publish makes whatever was picked.
    """
    run, settings = context.run, prefixed.root.settings
    published = [
        target.asset
        for target in destination_assets(settings)
        if run.asset_selection is None or prefixed.key(target.asset) in run.asset_selection
    ]
    if not published:
        return []
    policy = settings.policies.of(partition_of(context).model_run)
    steps: dict[str, Any] = dict(run.run_config).get("ops", {})  # type: ignore[assignment]
    asked = [
        steps.get(prefixed.name(name), {}).get("config", {}).get("publish_as") for name in published
    ]
    wanted = {View[one] if one else policy.publish_as for one in asked}
    # A view and its checks may be selected by the name of either asset.
    return [
        view
        for view in DERIVED_VIEWS
        if view not in wanted and any(name in selected for name in asset_names_of(view))
    ]


def _left_out(
    context: dg.AssetExecutionContext, prefixed: PrefixedRoot, views: list[View]
) -> Iterator[dg.AssetObservation | dg.Output[None]]:
    """Say that views are left out, and let the steps below run all the same."""
    if not views:
        return
    gaps.leave_out(context, ",".join(views))
    names = context.assets_def.keys_by_output_name
    for view in views:
        yield dg.AssetObservation(
            prefixed.key(masks_asset(view)),
            f"left out: the run publishes another view. Select {masks_asset(view)} and "
            f"{segments_asset(view)} alone to make them",
            partition=context.partition_key,
        )
        for output, key in names.items():
            if key in context.selected_asset_keys and key.path[-1] in asset_names_of(view):
                # An output that is no materialization: without one the upload would be skipped.
                yield dg.Output(None, output, metadata=gaps.NOT_MATERIALIZED)


def asset_names_of(view: View) -> set[str]:
    """Names of a view's assets, without key prefix; empty for predictions as given."""
    return {masks_asset(view), segments_asset(view)} if view in DERIVED_VIEWS else set()


def ensure_view(
    context: dg.AssetExecutionContext, prefixed: PrefixedRoot, partition: Partition, view: View
) -> None:
    """Materialize a view that is missing or out of date, before it is published.

    The materialization is recorded as if the view's assets had been part of the run.

    Raises:
        SegpipeError: if the view cannot be materialized.
    """
    if view not in DERIVED_VIEWS:
        return
    try:
        prefixed.root.view(partition, view)
    except TableError:
        for made in prefixed.with_keys(_materialize(prefixed, partition, view).values()):
            if isinstance(made, dg.MaterializeResult) and made.data_version is not None:
                context.log_event(
                    dg.AssetMaterialization(
                        made.asset_key or "",
                        metadata=made.metadata,
                        partition=context.partition_key,
                        tags={_DATA_VERSION: made.data_version.value},
                    )
                )


def _materialize(
    prefixed: PrefixedRoot, partition: Partition, view: View
) -> dict[str, dg.MaterializeResult[Any]]:
    """Materialize a view: always both assets, because their tables belong together."""
    root, masks, segments = prefixed.root, masks_asset(view), segments_asset(view)
    summary = root.materialize_view(
        partition,
        view=view,
        progress=lambda *rows: prefixed.progress(f"consolidating ({view})", *rows),
    )
    predictions = root.view(partition, view)
    # A view spells labels as the taxonomy does.
    taxonomy = root.settings.policies.of(partition.model_run).taxonomy
    labels = [*taxonomy, *distribution_of(root.tables(partition)).pixels]
    colours = colours_of(root.settings, labels)
    return {
        masks: _masks_result(masks, root, predictions, summary, colours),
        segments: _segments_result(segments, root, predictions, summary),
    }


def _check_results(root: Root, partition: Partition, view: View) -> dict[str, dg.AssetCheckResult]:
    """Result of the check of each of a view's two assets, by asset name."""
    validated, tables = root.tables(partition), root.view_tables(partition, view)
    masks, segments = masks_asset(view), segments_asset(view)
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
            "table": table_link(root, predictions, VALIDATED_FILE),
            "dagster/uri": table_link(root, predictions, VALIDATED_FILE),
            "masks": file_link(root.settings, root.masks.folder.url),
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
            "table": table_link(root, predictions, SEGMENTS_FILE),
            "dagster/uri": table_link(root, predictions, SEGMENTS_FILE),
        },
        data_version=dg.DataVersion(summary.digest),
    )
