"""Comparing several items at once: pixels of classes, and segments matched with segments.

Everything follows from the pixels of each pair of segments, and is counted in integers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segpipe.evaluation.groups import VALUES, Groups, Pair
from segpipe.evaluation.kinds import Kind

#: No segment, in columns of segments' numbers.
NONE = -1

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Overlaps:
    """Pixels that segments share, of N items with G segments of ground truth and P predicted.

    Attributes:
        truth, predicted: the segments of each of the K pairs that share pixels, K int64; sorted.
        pixels: that they share, K int64; at least 1.
        truth_area, predicted_area: pixels, G and P int64.
        truth_void: those of them that are void in the prediction, G int64.
        predicted_void: those that are void in the ground truth, P int64.
        valid: pixels of each item that are not void in the ground truth, N int64.
    """

    truth: Ints
    predicted: Ints
    pixels: Ints
    truth_area: Ints
    predicted_area: Ints
    truth_void: Ints
    predicted_void: Ints
    valid: Ints

    @classmethod
    def of(cls, pairs: Sequence[Pair], truth: Groups, predicted: Groups) -> Overlaps:
        """Of the items' pairs of pixel values."""
        sizes = np.array([len(pair.pairs.pixels) for pair in pairs], np.int64)
        item = np.repeat(np.arange(len(pairs)), sizes)
        pixels = _joined([pair.pairs.pixels for pair in pairs])
        g = truth.of_value[item * VALUES + _joined([pair.pairs.one for pair in pairs])]
        p = predicted.of_value[item * VALUES + _joined([pair.pairs.other for pair in pairs])]
        in_truth, in_predicted = g >= 0, p >= 0
        both = in_truth & in_predicted
        width = max(1, len(predicted))
        keys, place = np.unique(g[both] * width + p[both], return_inverse=True)
        return cls(
            truth=keys // width,
            predicted=keys % width,
            pixels=added(place, pixels[both], len(keys)),
            truth_area=added(g[in_truth], pixels[in_truth], len(truth)),
            predicted_area=added(p[in_predicted], pixels[in_predicted], len(predicted)),
            truth_void=added(
                g[in_truth & ~in_predicted], pixels[in_truth & ~in_predicted], len(truth)
            ),
            predicted_void=added(
                p[in_predicted & ~in_truth], pixels[in_predicted & ~in_truth], len(predicted)
            ),
            valid=added(item[in_truth], pixels[in_truth], len(pairs)),
        )


@dataclass(frozen=True, slots=True)
class Matches:
    """Which segments match: of one class, with an IoU above one half.

    Attributes:
        truth, predicted: the segments of each of the M matches, M int64.
        intersection, union: pixels, M int64; those on void are not in the union.
        of_truth, of_predicted: the match of each segment, G and P int64; ``NONE`` for none.
        ignored: predicted segments without a match that are mostly on void or on a crowd of their
            class, P bool.
        on_crowd: their pixels on a crowd of their class, P int64.
    """

    truth: Ints
    predicted: Ints
    intersection: Ints
    union: Ints
    of_truth: Ints
    of_predicted: Ints
    ignored: NDArray[np.bool_]
    on_crowd: Ints

    @property
    def iou(self) -> NDArray[np.float64]:
        """Of each match, M float64."""
        return np.asarray(self.intersection / self.union, np.float64)

    @classmethod
    def of(cls, overlaps: Overlaps, truth: Groups, predicted: Groups) -> Matches:
        """Match the segments."""
        g, p, pixels = overlaps.truth, overlaps.predicted, overlaps.pixels
        same = truth.label[g] == predicted.label[p]
        crowd = truth.kind[g] == Kind.CROWD
        union = (
            overlaps.truth_area[g]
            + overlaps.predicted_area[p]
            - pixels
            - overlaps.predicted_void[p]
        )
        matched = np.flatnonzero(same & ~crowd & (2 * pixels > union))
        of_truth, of_predicted = np.full(len(truth), NONE), np.full(len(predicted), NONE)
        of_truth[g[matched]] = of_predicted[p[matched]] = np.arange(len(matched))
        on_crowd = added(p[same & crowd], pixels[same & crowd], len(predicted))
        forgiven = 2 * (overlaps.predicted_void + on_crowd) > overlaps.predicted_area
        return cls(
            truth=g[matched],
            predicted=p[matched],
            intersection=pixels[matched],
            union=union[matched],
            of_truth=of_truth,
            of_predicted=of_predicted,
            ignored=(of_predicted == NONE) & forgiven,
            on_crowd=on_crowd,
        )


def added(places: Ints, amounts: Ints, size: int) -> Ints:
    """Amounts added by place, ``size`` int64."""
    # As float64, which is exact for sums below 2^53 pixels.
    return np.bincount(places, weights=amounts, minlength=size).astype(np.int64)


def _joined(arrays: Sequence[Ints]) -> Ints:
    return np.concatenate(arrays) if arrays else np.zeros(0, np.int64)
