"""Which columns each table's columns come from: of the manifest, of the tables, of the catalog."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dagster as dg

from segpipe.predictions.view import View
from segpipe.publishing.table_format import PREDICTIONS
from segpipe.tables.schemas import MEASURED, REJECTED, SEGMENTS, VALIDATED

_Sources = Mapping[str, tuple[str, ...]]
#: The assets of a root that hold no table of segpipe's are left out.
_MANIFEST, _VALIDATED, _SEGMENTS = "prediction_manifest", "validated_masks", "segments"

_GIVEN = ("reference_id", "annotation_id", "mask_url", "image_url")
_MASK = ("mask_url", "mask")
_WHOLE_ROW = (*_MASK, "segments", "height", "width", "image_url")
_OF_MASK = ("height", "width", "mask_path", "mask_sha256", "bytes")
#: Columns that are not of the row: they name the partition, or the row's place.
_SAID = ("label", "index", "metadata", "confidence", "class_pdf", "entropy", "margin")


def _of_the_manifest(column: str) -> tuple[str, ...]:
    """Columns of the manifest that a column of a validated table comes from."""
    if column in _GIVEN:
        return (column,)
    if column in _OF_MASK:
        return _MASK
    if column == "fingerprint":
        return (*_MASK, "segments", "annotation_id")
    if column == "n_segments" or column in _SAID:
        return ("segments",)
    if column in {field.name for field in MEASURED}:
        return (*_MASK, "segments")
    if column in ("findings", "rule", "severity", "message", "found", "expected", "remedy"):
        return _WHOLE_ROW
    return ()


def column_lineage(
    asset: str, key: Callable[[str], dg.AssetKey], published: str | None = None
) -> dg.TableColumnLineage | None:
    """Where an asset's columns come from; None for one that has no columns of others.

    Args:
        asset: its name, without key prefix.
        key: prefixes a name.
        published: the view that is published, where that is known; as given otherwise.
    """
    view, _, kind = asset.partition("_")
    if asset in (_VALIDATED, _SEGMENTS, "rejected_predictions"):
        schema = {_VALIDATED: VALIDATED, _SEGMENTS: SEGMENTS}.get(asset, REJECTED)
        found = {
            name: [(_MANIFEST, one) for one in _of_the_manifest(name)] for name in schema.names
        }
    elif view in (View.INSTANCE, View.SEMANTIC):
        made_of, schema = (_VALIDATED, VALIDATED) if kind == "masks" else (_SEGMENTS, SEGMENTS)
        found = {name: [(made_of, name)] for name in schema.names}
    elif asset == "published_predictions":
        of_view = published in (View.INSTANCE, View.SEMANTIC)
        masks = f"{published}_masks" if of_view else _VALIDATED
        segments = f"{published}_segments" if of_view else _SEGMENTS
        found = {name: [(masks, name)] for name in PREDICTIONS.names if name in VALIDATED.names}
        nested = [field.name for field in MEASURED]
        found["segments"] = [(segments, name) for name in nested]
        found |= {f"segments.{name}": [(segments, name)] for name in nested}
    else:
        return None
    return dg.TableColumnLineage(
        {
            name: [dg.TableColumnDep(key(table), column) for table, column in sources]
            for name, sources in found.items()
            if sources
        }
    )


def with_sources(metadata: dict[str, Any]) -> dict[str, Any]:
    """An asset's metadata whose column descriptions say where the columns come from.

    The pages of open-source Dagster keep column lineage to themselves, and show descriptions.
    """
    schema, lineage = (metadata.get(f"dagster/column_{name}") for name in ("schema", "lineage"))
    if schema is None or lineage is None:
        return metadata
    columns = [
        dg.TableColumn(
            column.name,
            column.type,
            _with_sources(column, lineage.deps_by_column),
            column.constraints,
            column.tags,
        )
        for column in schema.columns
    ]
    return {**metadata, "dagster/column_schema": dg.TableSchema(columns)}


def _with_sources(
    column: dg.TableColumn, deps_by_column: Mapping[str, Sequence[dg.TableColumnDep]]
) -> str:
    deps = deps_by_column.get(column.name, ())
    sources = ", ".join(f"{dep.asset_key.to_user_string()}: {dep.column_name}" for dep in deps[:4])
    words = [column.description, f"from {sources}" if sources else None]
    return "; ".join(one for one in words if one)
