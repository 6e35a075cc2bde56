"""Evaluating a block of items: their tables, and the counts of their classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from segpipe.evaluation.boundaries import BoundaryCounts, Masks
from segpipe.evaluation.class_counts import ClassCounts, summaries
from segpipe.evaluation.contours import contour_columns
from segpipe.evaluation.groups import Groups, GroupsOfItems, Pair
from segpipe.evaluation.kinds import Kind
from segpipe.evaluation.matching import NONE, Matches, Overlaps, added
from segpipe.evaluation.numbers import class_columns, nullable
from segpipe.evaluation.schemas import (
    EVALUATED,
    ITEM_CLASSES,
    ITEM_CONFUSION,
    ITEMS,
    NUMBERS,
    SEGMENTS,
)
from segpipe.evaluation.segment_rows import segment_rows
from segpipe.tables.writing import table_of

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Conventions:
    """How predictions are judged.

    Attributes:
        taxonomy: label -> ``thing`` or ``stuff``.
        merge_stuff: the stuff Segments of a class are one segment.
        boundary: Boundary IoU as well.
        contours: F of DAVIS as well.
    """

    taxonomy: Mapping[str, str] = field(default_factory=dict)
    merge_stuff: bool = True
    boundary: bool = False
    contours: bool = False

    @property
    def needs_masks(self) -> bool:
        """Whether pairs of values do not suffice."""
        return self.boundary or self.contours

    @property
    def masks_worth(self) -> int:
        """Masks whose decoding takes as long as an item without the fast path, about."""
        return 50 if self.needs_masks else 2


@dataclass(frozen=True)
class BlockTables:
    """What was found about the items of a block, in their order.

    Attributes:
        items, item_classes, item_confusion, segments: in the schemas of these names.
    """

    items: pa.Table
    item_classes: pa.Table
    item_confusion: pa.Table
    segments: pa.Table


def evaluate_block(
    pairs: Sequence[Pair],
    conventions: Conventions,
    masks: Sequence[Masks] = (),
) -> BlockTables:
    """Compare the predictions of items with their ground truth.

    Args:
        pairs: N items.
        masks: ground truth and prediction of each item, where they are needed.
    """
    groups = GroupsOfItems(pairs, conventions.taxonomy, merge_stuff=conventions.merge_stuff)
    truth, predicted = groups.truth, groups.predicted
    overlaps = Overlaps.of(pairs, truth, predicted)
    matches = Matches.of(overlaps, truth, predicted)
    boundaries = None
    if conventions.boundary and pairs:
        boundaries = BoundaryCounts.of(masks, groups, overlaps)
    missing = _missing(pairs, overlaps, truth, predicted)
    classes = _Classes.of(groups, overlaps, matches, missing, boundaries)
    if conventions.contours:
        columns = contour_columns(masks, groups, classes.item, classes.label)
        classes = replace(classes, counts=replace(classes.counts, **columns))
    ids = pa.array([pair.reference_id for pair in pairs], pa.string())
    labels = pa.array(groups.labels, pa.string())
    return BlockTables(
        items=_items(pairs, ids, overlaps, classes),
        item_classes=table_of(
            {
                "reference_id": ids.take(pa.array(classes.item)),
                "label": labels.take(pa.array(classes.label)),
                **class_columns(classes.counts),
                "undecided": pa.array(classes.among(groups.undecided)),
            },
            ITEM_CLASSES,
        ),
        item_confusion=_confusion(ids, labels, overlaps, truth, predicted),
        segments=table_of(segment_rows(ids, labels, groups, overlaps, matches, missing), SEGMENTS),
    )


def _missing(
    pairs: Sequence[Pair], overlaps: Overlaps, truth: Groups, predicted: Groups
) -> NDArray[np.bool_]:
    """Segments of ground truth that cannot be missed, G bool: crowds; and those without pixels, if
    their class is only listed, or predicted without pixels as well."""
    lists = np.array([pair.truth_lists_classes for pair in pairs], bool)
    empty = overlaps.predicted_area == 0
    width = 1 + max(truth.label.max(initial=0), predicted.label.max(initial=0))
    both = np.isin(
        truth.item * width + truth.label, (predicted.item * width + predicted.label)[empty]
    )
    excused = (overlaps.truth_area == 0) & (lists[truth.item] | both)
    return np.asarray((truth.kind == Kind.CROWD) | excused)


@dataclass(frozen=True, slots=True)
class _Classes:
    """The classes of N items: C of them, sorted by item.

    Attributes:
        item, label: numbers, C int64.
    """

    item: Ints
    label: Ints
    counts: ClassCounts

    @classmethod
    def of(
        cls,
        groups: GroupsOfItems,
        overlaps: Overlaps,
        matches: Matches,
        missing: NDArray[np.bool_],
        boundaries: BoundaryCounts | None,
    ) -> _Classes:
        truth, predicted = groups.truth, groups.predicted
        width = max(1, len(groups.labels))
        keys = (truth.item * width + truth.label, predicted.item * width + predicted.label)
        present, places = np.unique(np.concatenate(keys), return_inverse=True)
        of_truth, of_predicted = places[: len(truth)], places[len(truth) :]
        size = len(present)
        g, p, pixels = overlaps.truth, overlaps.predicted, overlaps.pixels
        same = truth.label[g] == predicted.label[p]
        lost = (matches.of_truth == NONE) & ~missing
        wrong = (matches.of_predicted == NONE) & ~matches.ignored & (overlaps.predicted_area > 0)
        columns: dict[str, NDArray[np.generic]] = {
            "true_pixels": added(of_truth, overlaps.truth_area, size),
            "predicted_pixels": added(
                of_predicted, overlaps.predicted_area - overlaps.predicted_void, size
            ),
            "correct_pixels": added(of_truth[g[same]], pixels[same], size),
            "tp": np.bincount(of_truth[matches.truth], minlength=size),
            "fp": np.bincount(of_predicted[wrong], minlength=size),
            "fn": np.bincount(of_truth[lost], minlength=size),
            "iou_sum": np.bincount(of_truth[matches.truth], matches.iou, size),
            "true_things": np.bincount(of_truth[truth.kind == Kind.THING], minlength=size),
            "true_stuff": np.bincount(of_truth[truth.kind == Kind.STUFF], minlength=size),
            "predicted_things": np.bincount(
                of_predicted[predicted.kind == Kind.THING], minlength=size
            ),
            "predicted_stuff": np.bincount(
                of_predicted[predicted.kind == Kind.STUFF], minlength=size
            ),
        }
        if boundaries is not None:
            own = (of_truth, of_predicted)
            columns |= boundaries.columns(groups, overlaps, missing, own, size)
        return cls(present // width, present % width, ClassCounts.of_columns(columns, size))

    def among(self, some: Ints) -> NDArray[np.bool_]:
        """Whether each is one of some classes of items, C bool.

        Args:
            some: item and number of each, K x 2 int64.
        """
        width = 1 + max(self.label.max(initial=0), some[:, 1].max(initial=0))
        return np.isin(self.item * width + self.label, some[:, 0] * width + some[:, 1])


def _items(pairs: Sequence[Pair], ids: pa.Array, overlaps: Overlaps, classes: _Classes) -> pa.Table:
    count, counts = len(pairs), classes.counts
    numbers = summaries(counts, classes.item, count)
    return table_of(
        {
            "reference_id": ids,
            "outcome": [EVALUATED] * count,
            "reason": [pair.reason for pair in pairs],
            "height": [pair.height for pair in pairs],
            "width": [pair.width for pair in pairs],
            "valid_pixels": pa.array(overlaps.valid),
            "correct_pixels": pa.array(added(classes.item, counts.correct_pixels, count)),
            "TP": pa.array(added(classes.item, counts.tp, count)),
            "FP": pa.array(added(classes.item, counts.fp, count)),
            "FN": pa.array(added(classes.item, counts.fn, count)),
            **{name: nullable(numbers[name]) for name in NUMBERS},
            "truth_fingerprint": [pair.truth_fingerprint for pair in pairs],
            "fingerprint": [pair.fingerprint for pair in pairs],
        },
        ITEMS,
    )


def _confusion(
    ids: pa.Array, labels: pa.Array, overlaps: Overlaps, truth: Groups, predicted: Groups
) -> pa.Table:
    """ITEM_CONFUSION: pixels of the classes of ground truth by their class in the prediction."""
    width = max(1, len(labels)) + 1
    void = width - 1
    g, p = overlaps.truth, overlaps.predicted
    own = truth.item * width + truth.label
    keys = np.concatenate((own[g] * width + predicted.label[p], own * width + void))
    pixels = np.concatenate((overlaps.pixels, overlaps.truth_void))
    keys, pixels = keys[pixels > 0], pixels[pixels > 0]
    there, places = np.unique(keys, return_inverse=True)
    other = there % width
    return table_of(
        {
            "reference_id": ids.take(pa.array(there // width // width)),
            "label": labels.take(pa.array(there // width % width)),
            "predicted_label": labels.take(pa.array(other, mask=other == void)),
            "pixels": pa.array(added(places, pixels, len(there))),
        },
        ITEM_CONFUSION,
    )
