"""The tables of an evaluation."""

from __future__ import annotations

import pyarrow as pa

#: What became of an item.
EVALUATED, NO_TRUTH, NO_PREDICTION = "evaluated", "no ground truth", "no prediction"
#: What became of a segment.
TP, FP, FN, IGNORED = "TP", "FP", "FN", "ignored"
TRUTH, PREDICTION = "truth", "prediction"


def _floats(*names: str) -> list[pa.Field]:
    return [pa.field(name, pa.float64()) for name in names]


def _counts(*names: str) -> list[pa.Field]:
    return [pa.field(name, pa.int64()) for name in names]


#: The numbers of an item or a set; null where undefined, or not asked for.
NUMBERS = (
    "mIoU", "fwIoU", "pixel_accuracy", "mean_accuracy", "mDice", "boundary_IoU",
    "PQ", "SQ", "RQ", "PQ_things", "SQ_things", "RQ_things", "PQ_stuff", "SQ_stuff", "RQ_stuff",
    "boundary_PQ", "F",
)  # fmt: skip
#: One row per item, of either side.
ITEMS = pa.schema(
    [
        pa.field("reference_id", pa.string()),
        pa.field("outcome", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("height", pa.int32()),
        pa.field("width", pa.int32()),
        *_counts("valid_pixels", "correct_pixels", "TP", "FP", "FN"),
        *_floats(*NUMBERS),
        pa.field("truth_fingerprint", pa.string()),
        pa.field("fingerprint", pa.string()),
    ]
)
#: Counts of a class, and the numbers that follow.
CLASS_NUMBERS = [
    *_counts("true_pixels", "predicted_pixels", "correct_pixels"),
    *_floats("IoU", "Dice", "precision", "recall"),
    *_counts("TP", "FP", "FN"),
    *_floats("IoU_sum", "PQ", "SQ", "RQ"),
    *_counts("boundary_intersection", "boundary_union"),
    *_floats("boundary_IoU"),
    *_counts("boundary_TP", "boundary_FP", "boundary_FN"),
    *_floats("boundary_IoU_sum", "boundary_PQ", "F_sum"),
    *_counts("F_items"),
    *_floats("F"),
    # Segments by the kind that is known of their class.
    *_counts("true_things", "true_stuff", "predicted_things", "predicted_stuff"),
]
#: One row per class of the set.
CLASSES = pa.schema([pa.field("label", pa.string()), pa.field("kind", pa.string()), *CLASS_NUMBERS])
#: One row per item and class that is in its ground truth or prediction.
ITEM_CLASSES = pa.schema(
    [pa.field("reference_id", pa.string()), *CLASSES, pa.field("undecided", pa.bool_())]
)
#: Pixels of a class of the ground truth that have a class, or void (null), in the prediction.
CONFUSION = pa.schema(
    [
        pa.field("label", pa.string()),
        pa.field("predicted_label", pa.string()),
        pa.field("pixels", pa.int64()),
    ]
)
ITEM_CONFUSION = pa.schema([pa.field("reference_id", pa.string()), *CONFUSION])
#: One row per segment of ground truth or prediction; ``index`` is the lowest of ``indexes``.
SEGMENTS = pa.schema(
    [
        pa.field("reference_id", pa.string()),
        pa.field("side", pa.string()),
        pa.field("label", pa.string()),
        pa.field("kind", pa.string()),
        pa.field("index", pa.int32()),
        pa.field("indexes", pa.list_(pa.int32())),
        *_counts("area_px", "void_px", "crowd_px"),
        pa.field("outcome", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("matched_index", pa.int32()),
        *_floats("IoU", "mask_IoU", "confidence", "entropy"),
    ]
)
#: The numbers and counts of a set, one row.
SUMMARY = pa.schema(
    [
        *_counts("items", "evaluated", "without_ground_truth", "without_prediction"),
        *_floats(*NUMBERS, "calibration_error", "risk_by_confidence", "risk_by_entropy"),
        *_counts("catalog_version"),
    ]
)
