"""Column schemas and descriptions of segpipe's tables, shown in the Dagster UI."""

from __future__ import annotations

import dagster as dg
import pyarrow as pa

from segpipe.errors import shortened
from segpipe.evaluation.schemas import ITEMS
from segpipe.publishing.table_format import PREDICTIONS
from segpipe.tables.columns import COLUMNS
from segpipe.tables.schemas import MEASURED, REJECTED, SEGMENTS, VALIDATED

# Columns on a page: whatever stands there is kept with every run.
_MOST_COLUMNS = 100


def table_schema(schema: pa.Schema) -> dg.TableSchema:
    """Dagster's table schema of an Arrow schema, with column descriptions."""
    return dg.TableSchema(
        [
            dg.TableColumn(
                field.name,
                "list<struct>" if pa.types.is_list(field.type) else str(field.type),
                COLUMNS[field.name].comment,
            )
            for field in schema
        ]
    )


# Columns of evaluated items that other tables do not have; the numbers are named as in papers.
_EVALUATED = {
    "outcome": "evaluated, no ground truth, or no prediction",
    "reason": "why it was not evaluated, or counts as missed",
    "valid_pixels": "pixels that are not void in the ground truth",
    "correct_pixels": "those of them that have their class in the prediction",
    "TP": "matched segments",
    "FP": "predicted segments that match none",
    "FN": "segments of the ground truth that match none",
    "truth_fingerprint": "of the ground truth's mask and Segments",
}


def _evaluated_items() -> dg.TableSchema:
    """The schema of evaluated items; columns of which nothing more is known have their names."""
    return dg.TableSchema(
        [
            dg.TableColumn(
                field.name,
                str(field.type),
                COLUMNS[field.name].comment
                if field.name in COLUMNS
                else _EVALUATED.get(field.name, "0 to 1; null where undefined, or not asked for"),
            )
            for field in ITEMS
        ]
    )


evaluated_items = _evaluated_items()
_MANIFEST = (
    ("reference_id", "string", "the dataset item; required"),
    ("mask_url", "string", "absolute, or relative to the manifest file; required without mask"),
    ("mask", "PNG bytes, image, run lengths or array", "the mask itself, instead of mask_url"),
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
# The catalog holds Segments within predictions; a nested column has a name of its own.
published_predictions = dg.TableSchema(
    [
        *table_schema(PREDICTIONS).columns,
        *(
            dg.TableColumn(f"segments.{column.name}", column.type, column.description)
            for column in table_schema(pa.schema(MEASURED)).columns
        ),
    ]
)
