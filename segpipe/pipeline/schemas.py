"""Column schemas and descriptions of segpipe's tables, shown in the Dagster UI."""

from __future__ import annotations

import dagster as dg
import pyarrow as pa

from segpipe.errors import shortened
from segpipe.publishing.table_format import PREDICTIONS
from segpipe.tables.schemas import REJECTED, SEGMENTS, VALIDATED

# Columns on a page: whatever stands there is kept with every run.
_MOST_COLUMNS = 100
_MEANINGS = {
    "dataset": "the dataset whose items are predicted",
    "model_run": "the model run that predicted",
    "reference_id": "the dataset item",
    "annotation_id": "carried from the manifest; never used to match",
    "mask_path": "the canonical mask file, relative to the root",
    "mask_sha256": "SHA-256 of the mask file, which is also its name",
    "fingerprint": "SHA-256 of what the prediction means: pixels, Segments, annotation id",
    "height": "pixels",
    "width": "pixels",
    "n_segments": "Segments declared",
    "bytes": "size of the mask file",
    "mask_url": "where the mask was read from",
    "image_url": "the item's image, as the manifest gives it",
    "manifest": "manifest file",
    "manifest_row": "row in that file, counted from 0",
    "findings": "warnings and conversions: rule, severity, message",
    "label": "class name",
    "index": "pixel value in the mask",
    "metadata": "the Segment's metadata as JSON",
    "confidence": "0 to 1, from the metadata",
    "area_px": "pixels",
    "area_fraction": "share of the mask's pixels, 0 to 1",
    "bbox_x": "left edge, pixels",
    "bbox_y": "top edge, pixels",
    "bbox_w": "width, pixels",
    "bbox_h": "height, pixels",
    "centroid_x": "mean column of the pixels",
    "centroid_y": "mean row of the pixels",
    "rule": "id of the rule that was broken",
    "severity": "reject, warn or convert",
    "message": "what was found and what to do",
    "found": "the value found",
    "expected": "the value expected",
    "remedy": "what to do about it",
    "segments": "list of label, index, metadata, confidence, area, box and centroid",
    "partition": "day of the manifest",
    "run_id": "the run that published this prediction",
    "previous_fingerprint": "of the prediction this one replaced",
    "published_at": "when, UTC",
}


def table_schema(schema: pa.Schema) -> dg.TableSchema:
    """Dagster's table schema of an Arrow schema, with column descriptions."""
    return dg.TableSchema(
        [
            dg.TableColumn(
                field.name,
                "list<struct>" if pa.types.is_nested(field.type) else str(field.type),
                _MEANINGS.get(field.name),
            )
            for field in schema
        ]
    )


_MANIFEST = (
    ("reference_id", "string", "the dataset item; required"),
    ("mask_url", "string", "absolute, or relative to the manifest file; required"),
    ("segments", "list<struct> or JSON", "label, index and metadata of each Segment; required"),
    ("annotation_id", "string", "carried, unique per item; never used to match"),
    ("height", "integer", "of the item's image, pixels"),
    ("width", "integer", "of the item's image, pixels"),
    ("image_url", "string", "the item's image, whose size is read where none is given"),
)


def prediction_manifest(carried: pa.Schema) -> dg.TableSchema:
    """The schema of a manifest.

    Args:
        carried: additional columns that are carried through to the tables.
    """
    known = [dg.TableColumn(*column) for column in _MANIFEST]
    others = [
        dg.TableColumn(field.name, shortened(str(field.type)), "carried through to the tables")
        for field in list(carried)[:_MOST_COLUMNS]
    ]
    more = len(carried) - _MOST_COLUMNS
    if more > 0:
        others.append(dg.TableColumn("...", "", f"{more:,} more columns, carried as well"))
    return dg.TableSchema([*known, *others])


validated_masks = table_schema(VALIDATED)
segments = table_schema(SEGMENTS)
rejected_predictions = table_schema(REJECTED)
published_predictions = table_schema(PREDICTIONS)
