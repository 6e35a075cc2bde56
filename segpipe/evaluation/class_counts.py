"""What is counted of each class, and the numbers that follow when it is divided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ClassCounts:
    """Counts of C classes, of one item each or of a set; every array has shape C.

    Attributes:
        true_pixels: of the class in the ground truth, void apart, int64.
        predicted_pixels: of the class in the prediction, where the ground truth is not void, int64.
        correct_pixels: of the class in both, int64.
        tp, fp, fn: segments, int64.
        iou_sum: of the matched segments, float64.
        boundary_intersection, boundary_union: pixels, int64; zeros if not asked for.
        boundary_tp, boundary_fp, boundary_fn, boundary_iou_sum: of panoptic quality by boundaries.
        f_sum, f_items: sum of DAVIS F over items, and their number; zeros if not asked for.
        true_things, true_stuff, predicted_things, predicted_stuff: segments by the kind of their
            class, int64.
    """

    true_pixels: Ints
    predicted_pixels: Ints
    correct_pixels: Ints
    tp: Ints
    fp: Ints
    fn: Ints
    iou_sum: Floats
    boundary_intersection: Ints
    boundary_union: Ints
    boundary_tp: Ints
    boundary_fp: Ints
    boundary_fn: Ints
    boundary_iou_sum: Floats
    f_sum: Floats
    f_items: Ints
    true_things: Ints
    true_stuff: Ints
    predicted_things: Ints
    predicted_stuff: Ints

    def __len__(self) -> int:
        return len(self.tp)

    def columns(self) -> dict[str, NDArray[np.generic]]:
        """The arrays by their names."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def of_columns(cls, given: Mapping[str, NDArray[np.generic]], size: int) -> ClassCounts:
        """Counts of ``size`` classes; columns that are not given are zeros."""
        columns: dict[str, Any] = {
            name: given[name]
            if name in given
            else np.zeros(size, np.float64 if name in FLOATS else np.int64)
            for name in COUNTED
        }
        return cls(**columns)

    def added(self, places: Ints, size: int) -> ClassCounts:
        """The counts added by place.

        Args:
            places: of each class, C int64, below ``size``.
        """
        sums = {}
        for name, values in self.columns().items():
            total = np.zeros(size, values.dtype)
            np.add.at(total, places, values)
            sums[name] = total
        return ClassCounts(**sums)

    @property
    def is_thing(self) -> NDArray[np.bool_]:
        """Whether each class is a thing class: as most of its segments, of ground truth if any."""
        return np.where(
            self.true_things + self.true_stuff > 0,
            self.true_things > self.true_stuff,
            self.predicted_things > self.predicted_stuff,
        )

    @property
    def union(self) -> Ints:
        """TP + FP + FN in pixels."""
        return self.true_pixels + self.predicted_pixels - self.correct_pixels

    @property
    def segments(self) -> Ints:
        """TP + FP + FN in segments."""
        return self.tp + self.fp + self.fn

    def values(self) -> dict[str, Floats]:
        """The numbers of each class; NaN where they are undefined."""
        half = self.tp + (self.fp + self.fn) / 2
        boundary_half = self.boundary_tp + (self.boundary_fp + self.boundary_fn) / 2
        there = self.segments > 0
        return {
            "IoU": _ratio(self.correct_pixels, self.union),
            "Dice": _ratio(2 * self.correct_pixels, self.true_pixels + self.predicted_pixels),
            "precision": _ratio(self.correct_pixels, self.predicted_pixels),
            "recall": _ratio(self.correct_pixels, self.true_pixels),
            "PQ": _ratio(self.iou_sum, half),
            "SQ": np.where(there, _ratio(self.iou_sum, self.tp, none=0.0), np.nan),
            "RQ": _ratio(self.tp, half),
            "boundary_IoU": _ratio(self.boundary_intersection, self.boundary_union),
            "boundary_PQ": _ratio(self.boundary_iou_sum, boundary_half),
            "F": _ratio(self.f_sum, self.f_items),
        }


FLOATS = ("iou_sum", "boundary_iou_sum", "f_sum")
COUNTED = tuple(field.name for field in fields(ClassCounts))


def summaries(counts: ClassCounts, owners: Ints, size: int) -> dict[str, Floats]:
    """The numbers of ``size`` items or sets from those of their classes; NaN where undefined.

    Args:
        owners: the item or set of each class, int64, below ``size``.
    """

    def total(of: NDArray[np.generic]) -> Floats:
        return np.bincount(owners, weights=of, minlength=size).astype(np.float64)

    def mean(of: Floats, over: NDArray[np.bool_] | None = None) -> Floats:
        defined = ~np.isnan(of) if over is None else over & ~np.isnan(of)
        return _ratio(total(np.where(defined, of, 0.0)), total(defined))

    values = counts.values()
    valid = total(counts.true_pixels)
    things = counts.is_thing
    weighted = counts.true_pixels * np.nan_to_num(values["IoU"])
    return {
        "mIoU": mean(values["IoU"]),
        "mDice": mean(values["Dice"]),
        "mean_accuracy": mean(values["recall"]),
        "pixel_accuracy": _ratio(total(counts.correct_pixels), valid),
        "fwIoU": _ratio(total(weighted), valid),
        "PQ": mean(values["PQ"]),
        "SQ": mean(values["SQ"]),
        "RQ": mean(values["RQ"]),
        "PQ_things": mean(values["PQ"], things),
        "SQ_things": mean(values["SQ"], things),
        "RQ_things": mean(values["RQ"], things),
        "PQ_stuff": mean(values["PQ"], ~things),
        "SQ_stuff": mean(values["SQ"], ~things),
        "RQ_stuff": mean(values["RQ"], ~things),
        "boundary_IoU": mean(values["boundary_IoU"]),
        "boundary_PQ": mean(values["boundary_PQ"]),
        "F": mean(values["F"]),
    }


def _ratio(above: NDArray[np.generic], below: NDArray[np.generic], none: float = np.nan) -> Floats:
    """The quotients, float64; ``none`` where something would be divided by 0."""
    quotients = np.full(np.shape(above), none, np.float64)
    np.divide(above, below, out=quotients, where=np.asarray(below != 0))
    return quotients
