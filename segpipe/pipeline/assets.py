"""The assets of a partition, from its manifest to its published predictions."""

from __future__ import annotations

import dagster as dg

from segpipe.pipeline.mount import Mount
from segpipe.pipeline.publishing import publishing_assets
from segpipe.pipeline.validating import manifest_asset, validation_assets


def build_assets(mount: Mount) -> list[dg.AssetsDefinition]:
    """A root's assets as they are mounted."""
    return [manifest_asset(mount), validation_assets(mount), publishing_assets(mount)]
