"""The assets of a partition, from its manifest to its published predictions."""

from __future__ import annotations

import dagster as dg

from segpipe.pipeline.mount import Mount
from segpipe.pipeline.publishing import publishing_asset
from segpipe.pipeline.uploads import uploads_of
from segpipe.pipeline.validating import manifest_asset, validation_assets
from segpipe.pipeline.views import names_of, views_assets
from segpipe.predictions.view import View


def build_assets(mount: Mount) -> list[dg.AssetsDefinition]:
    """A root's assets as they are mounted."""
    return [
        manifest_asset(mount),
        validation_assets(mount),
        views_assets(mount),
        *(publishing_asset(mount, upload) for upload in uploads_of(mount.root.settings)),
    ]


def assets_of(mount: Mount, view: View) -> list[dg.AssetKey]:
    """What a run of a partition has to make: all but the views that are not published."""
    validated = ("prediction_manifest", "validated_masks", "segments", "rejected_predictions")
    uploads = [upload.asset for upload in uploads_of(mount.root.settings)]
    return [mount.key(name) for name in (*validated, *sorted(names_of(view)), *uploads)]
