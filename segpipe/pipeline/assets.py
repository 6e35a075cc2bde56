"""The assets of a partition, from its manifest to its published predictions."""

from __future__ import annotations

from datetime import date

import dagster as dg

from segpipe.pipeline.partitions import day_by_model_run
from segpipe.pipeline.publishing import publishing_assets
from segpipe.pipeline.validating import manifest_asset, validation_assets


def build_assets(first_date: date) -> list[dg.AssetsDefinition]:
    """The assets, partitioned from a first day on."""
    partitions = day_by_model_run(first_date)
    return [
        manifest_asset(partitions),
        validation_assets(partitions),
        publishing_assets(partitions),
    ]
