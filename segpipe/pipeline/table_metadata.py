"""What Dagster's pages know of an asset's table: name, place, kind of storage, column lineage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dagster as dg

from segpipe.pipeline.column_lineage import column_lineage
from segpipe.pipeline.file_links import file_link
from segpipe.settings import Settings

# Folder and name of each asset's table; views are below theirs. Queries use the same names.
_TABLES = {
    "prediction_manifest": ("manifests", "manifest"),
    "validated_masks": ("validated", "validated"),
    "segments": ("validated", "segments"),
    "rejected_predictions": ("validated", "rejected"),
    "published_predictions": ("catalog", "predictions"),
    "evaluation": ("evaluations", "evaluation_items"),
    "evaluation_of_dataset": ("evaluations", "evaluation_of_dataset_items"),
}


def table_metadata(
    asset: str, settings: Settings, key: Callable[[str], dg.AssetKey]
) -> dict[str, Any]:
    """Metadata of an asset's definition; empty for a destination that is no table.

    Args:
        asset: its name, without key prefix.
        key: prefixes a name.
    """
    view, _, kind = asset.partition("_")
    place = _TABLES.get(asset) or (f"views/{view}", f"{view}_{kind}")
    if asset not in _TABLES and view not in ("instance", "semantic"):
        return {}
    folder = settings.folder(place[0].partition("/")[0]).url
    if place[0] == "catalog":
        folder += "/predictions"
    elif "/" in place[0]:
        folder += f"/{view}"
    lineage = column_lineage(asset, key)
    return {
        "dagster/table_name": f"{settings.dataset}.{place[1]}",
        "dagster/uri": file_link(settings, folder),
        "dagster/storage_kind": "deltalake" if place[0] == "catalog" else "parquet",
        **({} if lineage is None else {"dagster/column_lineage": lineage}),
    }
