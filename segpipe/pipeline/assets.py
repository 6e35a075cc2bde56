"""The assets of a partition, from its manifest to its published predictions."""

from __future__ import annotations

import warnings

import dagster as dg

from segpipe.pipeline.dataset_evaluation import dataset_evaluation_asset
from segpipe.pipeline.destinations import destination_assets
from segpipe.pipeline.evaluation_assets import EVALUATION, evaluation_asset, is_evaluated
from segpipe.pipeline.ground_truth_sensor import ground_truth_spec
from segpipe.pipeline.prefixed_root import PrefixedRoot
from segpipe.pipeline.publishing_assets import publishing_asset
from segpipe.pipeline.validation_assets import manifest_asset, validation_assets
from segpipe.pipeline.view_assets import asset_names_of, view_assets
from segpipe.predictions.view import View


def build_assets(prefixed: PrefixedRoot) -> list[dg.AssetsDefinition]:
    """All assets of a root, under its key prefix."""
    evaluated = []
    if is_evaluated(prefixed.root.settings):
        evaluated = [evaluation_asset(prefixed), dataset_evaluation_asset(prefixed)]
    assets = [
        manifest_asset(prefixed),
        validation_assets(prefixed),
        view_assets(prefixed),
        *evaluated,
        *(
            publishing_asset(prefixed, target)
            for target in destination_assets(prefixed.root.settings)
        ),
    ]
    with warnings.catch_warnings():
        # A beta feature of Dagster; tests cover what is used here.
        warnings.simplefilter("ignore", dg.BetaWarning)
        found = dg.with_source_code_references(assets)
    return [one for one in found if isinstance(one, dg.AssetsDefinition)]


def outside_assets(prefixed: PrefixedRoot) -> list[dg.AssetSpec]:
    """Assets of a root that nothing here makes."""
    return [ground_truth_spec(prefixed)] if is_evaluated(prefixed.root.settings) else []


def run_selection(prefixed: PrefixedRoot, view: View) -> list[dg.AssetKey]:
    """Assets that a partition's run materializes: all but the views that are not published."""
    evaluated = [EVALUATION] if is_evaluated(prefixed.root.settings) else []
    validated = ("prediction_manifest", "validated_masks", "segments", "rejected_predictions")
    views = sorted(asset_names_of(view))
    uploads = [target.asset for target in destination_assets(prefixed.root.settings)]
    return [prefixed.key(name) for name in (*validated, *views, *evaluated, *uploads)]
