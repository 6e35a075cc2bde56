"""Counts of classes as columns of tables, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from segpipe.evaluation.class_counts import ClassCounts

# Columns of counts whose names in tables are others.
_COUNTS = {
    "TP": "tp", "FP": "fp", "FN": "fn", "IoU_sum": "iou_sum",
    "boundary_TP": "boundary_tp", "boundary_FP": "boundary_fp", "boundary_FN": "boundary_fn",
    "boundary_IoU_sum": "boundary_iou_sum", "F_sum": "f_sum", "F_items": "f_items",
    **{
        name: name
        for name in (
            "true_pixels", "predicted_pixels", "correct_pixels",
            "boundary_intersection", "boundary_union",
            "true_things", "true_stuff", "predicted_things", "predicted_stuff",
        )
    },
}  # fmt: skip


def nullable(values: NDArray[np.float64]) -> pa.Array:
    """Numbers with null where they are undefined."""
    return pa.array(values, pa.float64(), mask=np.isnan(values))


def class_columns(counts: ClassCounts) -> dict[str, Any]:
    """The columns of a table of classes, but those that say whose the counts are."""
    return {
        "kind": pa.array(np.where(counts.is_thing, "thing", "stuff"), pa.string()),
        **{name: pa.array(getattr(counts, of)) for name, of in _COUNTS.items()},
        **{name: nullable(values) for name, values in counts.values().items()},
    }


def counts_of(table: pa.Table) -> ClassCounts:
    """The counts in a table of classes."""
    columns = {of: table[name].to_numpy() for name, of in _COUNTS.items()}
    return ClassCounts.of_columns(columns, table.num_rows)
