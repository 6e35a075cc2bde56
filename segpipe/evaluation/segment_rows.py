"""The table of segments: what became of each, and why."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from segpipe.evaluation.groups import Groups, GroupsOfItems
from segpipe.evaluation.kinds import Kind
from segpipe.evaluation.matching import NONE, Matches, Overlaps
from segpipe.evaluation.schemas import FN, FP, IGNORED, PREDICTION, TP, TRUTH

_KINDS = pa.array([kind.name.lower() for kind in Kind])
# Outcomes with their reasons; columns hold their places here.
_ENDS = (
    (TP, None),
    (FN, "no prediction of its class has an IoU above 0.5"),
    (FN, "it has no pixels"),
    (IGNORED, "a crowd"),
    (IGNORED, "it has no pixels: its class is only listed, or predicted without pixels as well"),
    (FP, "no ground truth of its class has an IoU above 0.5"),
    (IGNORED, "more than half of it is void, or a crowd of its class, in the ground truth"),
    (IGNORED, "it has no pixels"),
)
_MATCHED, _LOST, _EMPTY, _CROWD, _LISTED, _WRONG, _FORGIVEN, _NOTHING = range(len(_ENDS))


def segment_rows(
    ids: pa.Array,
    labels: pa.Array,
    groups: GroupsOfItems,
    overlaps: Overlaps,
    matches: Matches,
    missing: NDArray[np.bool_],
) -> dict[str, Any]:
    """The columns of SEGMENTS: those of the ground truth, then those of the prediction, by item.

    Args:
        ids, labels: text of the numbers of items and classes.
        missing: segments of ground truth that cannot be found.
    """
    truth, predicted = groups.truth, groups.predicted
    ends = (_ends_of_truth(truth, overlaps, matches, missing), _ends_of(overlaps, matches))
    sides = (
        _Side(truth, matches.of_truth, predicted.index[matches.predicted], ends[0]),
        _Side(predicted, matches.of_predicted, truth.index[matches.truth], ends[1]),
    )
    item = np.concatenate([truth.item, predicted.item])
    order = np.argsort(item, kind="stable")  # by item, and the ground truth before the prediction
    plain = overlaps.truth_area[matches.truth] + overlaps.predicted_area[matches.predicted]
    plain_iou = matches.intersection / (plain - matches.intersection)
    end = np.concatenate([side.end for side in sides])[order]
    match = np.concatenate([side.match for side in sides])[order]
    unmatched = match == NONE
    is_predicted = (np.arange(len(item)) >= len(truth))[order]
    index = np.concatenate([side.groups.index for side in sides])[order]
    other = np.concatenate([_taken(side.other_index, side.match, 0) for side in sides])[order]
    areas = (overlaps.truth_area, overlaps.predicted_area)
    crowds = np.concatenate([np.zeros(len(truth), np.int64), matches.on_crowd])[order]
    return {
        "reference_id": ids.take(pa.array(item[order])),
        "side": pa.array(np.where(is_predicted, PREDICTION, TRUTH), pa.string()),
        "label": labels.take(pa.array(np.concatenate([truth.label, predicted.label])[order])),
        "kind": _KINDS.take(pa.array(np.concatenate([truth.kind, predicted.kind])[order])),
        "index": pa.array(index.astype(np.int32)),
        "indexes": pa.concat_arrays([side.indexes for side in sides]).take(pa.array(order)),
        "area_px": pa.array(np.concatenate(areas)[order]),
        "void_px": pa.array(np.concatenate([overlaps.truth_void, overlaps.predicted_void])[order]),
        "crowd_px": pa.array(crowds),
        "outcome": pa.array([one for one, _ in _ENDS]).take(pa.array(end)),
        "reason": pa.array([why for _, why in _ENDS], pa.string()).take(pa.array(end)),
        "matched_index": pa.array(other.astype(np.int32), mask=unmatched),
        "IoU": pa.array(_taken(matches.iou, match, np.nan), mask=unmatched),
        "mask_IoU": pa.array(_taken(plain_iou, match, np.nan), mask=unmatched),
        **_uncertainties(sides, areas, order),
    }


class _Side:
    """One side's segments.

    Args:
        match: of each segment, or ``NONE``.
        other_index: of each match, the index of the other side's segment.
        end: place in ``_ENDS`` of each segment.
    """

    def __init__(
        self,
        groups: Groups,
        match: NDArray[np.int64],
        other_index: NDArray[np.int64],
        end: NDArray[np.int64],
    ) -> None:
        self.groups, self.match, self.other_index, self.end = groups, match, other_index, end

    @property
    def indexes(self) -> pa.Array:
        """The pixel values of each segment."""
        offsets = np.searchsorted(self.groups.members, np.arange(len(self.groups) + 1))
        values = pa.array(self.groups.member_indexes.astype(np.int32))
        return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), values)


def _ends_of_truth(
    truth: Groups, overlaps: Overlaps, matches: Matches, missing: NDArray[np.bool_]
) -> NDArray[np.int64]:
    empty = overlaps.truth_area == 0
    return np.select(
        [matches.of_truth != NONE, truth.kind == Kind.CROWD, missing, empty],
        [_MATCHED, _CROWD, _LISTED, _EMPTY],
        _LOST,
    )


def _ends_of(overlaps: Overlaps, matches: Matches) -> NDArray[np.int64]:
    return np.select(
        [matches.of_predicted != NONE, overlaps.predicted_area == 0, matches.ignored],
        [_MATCHED, _NOTHING, _FORGIVEN],
        _WRONG,
    )


def _taken(values: NDArray[Any], places: NDArray[np.int64], otherwise: float) -> NDArray[Any]:
    """Values by place; another where the place is ``NONE``."""
    if len(values) == 0:
        return np.full(len(places), otherwise, values.dtype)
    return np.where(places == NONE, otherwise, values[np.maximum(places, 0)])


def _uncertainties(
    sides: tuple[_Side, _Side],
    areas: tuple[NDArray[np.int64], NDArray[np.int64]],
    order: NDArray[np.int64],
) -> dict[str, pa.Array]:
    """Confidence and entropy of each segment; of merged Segments the mean, as views have it for
    confidence: weighted with their areas."""
    columns = {}
    for name in ("confidence", "entropy"):
        values = np.concatenate(
            [_means(side.groups, getattr(side.groups, name)) for side in sides]
        )[order]
        columns[name] = pa.array(values, mask=np.isnan(values))
    return columns


def _means(groups: Groups, values: NDArray[np.float64]) -> NDArray[np.float64]:
    known = ~np.isnan(values)
    if not known.any():
        return np.full(len(groups), np.nan)
    weights = groups.member_areas[known].astype(np.float64)
    members = groups.members[known]
    # Of Segments that have no pixels at all, each counts alike.
    none = np.bincount(members, weights, len(groups))[members] == 0
    weights = np.where(none, 1.0, weights)
    total = np.bincount(members, weights, len(groups))
    sums = np.bincount(members, weights * values[known], len(groups))
    means = np.full(len(groups), np.nan)
    np.divide(sums, total, out=means, where=total > 0)
    return means
