"""Column schemas and descriptions of segpipe's tables, shown in the Dagster UI."""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg
import pyarrow as pa

from segpipe.errors import shortened
from segpipe.evaluation.schemas import ITEMS
from segpipe.publishing.table_format import PREDICTIONS
from segpipe.tables.columns import COLUMNS, EVALUATION_COLUMNS, Column
from segpipe.tables.schemas import MEASURED, REJECTED, SEGMENTS, VALIDATED

# Columns on a page: whatever stands there is kept with every run.
_MOST_COLUMNS = 100


def table_schema(schema: pa.Schema, columns: Mapping[str, Column] = COLUMNS) -> dg.TableSchema:
    """Dagster's table schema of an Arrow schema, with column descriptions."""
    return dg.TableSchema(
        [
            dg.TableColumn(
                field.name,
                "list<struct>" if pa.types.is_list(field.type) else str(field.type),
                columns[field.name].comment,
            )
            for field in schema
        ]
    )


evaluated_items = table_schema(ITEMS, {**COLUMNS, **EVALUATION_COLUMNS})
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
