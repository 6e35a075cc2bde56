"""Boundary IoU of classes, and panoptic quality by it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segpipe.evaluation.groups import VALUES, Groups, GroupsOfItems
from segpipe.evaluation.kinds import Kind
from segpipe.evaluation.matching import Overlaps
from segpipe.masks.boundaries import BoundaryPixels, boundary_pixels, boundary_reach
from segpipe.masks.decoding import DecodedMask

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class BoundaryCounts:
    """Boundaries in one item.

    Attributes:
        classes, segments: pixels on the boundaries of classes and of segments; a code is the
            number of a class, or of a segment, plus 1.
        overlaps: of the segments.
    """

    classes: BoundaryPixels
    segments: BoundaryPixels
    overlaps: Overlaps

    @classmethod
    def of(
        cls, masks: tuple[DecodedMask, DecodedMask], groups: GroupsOfItems, overlaps: Overlaps
    ) -> BoundaryCounts:
        """Count the pixels.

        Args:
            masks: ground truth and prediction of the item.
            groups, overlaps: of the item alone.
        """
        header = masks[0].header
        reach = boundary_reach(header.height, header.width)
        sides = (groups.truth, groups.predicted)
        segments = _boundaries(masks, sides, [np.arange(len(side)) for side in sides], reach)
        if all(len(np.unique(side.label)) == len(side) for side in sides):
            return cls(_by_class(segments, groups), segments, overlaps)
        classes = _boundaries(masks, sides, [side.label for side in sides], reach)
        return cls(_padded(classes, len(groups.labels)), segments, overlaps)

    def of_classes(
        self, groups: GroupsOfItems, missing: NDArray[np.bool_], labels: Ints
    ) -> dict[str, NDArray[np.generic]]:
        """Columns of counts of classes.

        Args:
            missing: segments of ground truth that cannot be found.
            labels: numbers of the classes that are wanted.
        """
        both = self.classes.both
        true = both.sum(1) + self.classes.one_only.sum(1)
        predicted = both.sum(0) + self.classes.other_only.sum(0)
        intersection = np.diagonal(both)[1:]
        union = true[1:] + predicted[1:] - intersection
        quality = self._quality(groups, missing)
        return {
            "boundary_intersection": intersection[labels],
            "boundary_union": union[labels],
            **{name: of[labels] for name, of in quality.items()},
        }

    def _quality(
        self, groups: GroupsOfItems, missing: NDArray[np.bool_]
    ) -> dict[str, NDArray[np.generic]]:
        """Counts of panoptic quality where the lower one of both IoUs counts, by class."""
        truth, predicted = groups.truth, groups.predicted
        overlaps, size = self.overlaps, len(groups.labels)
        both, true, found, on_void = _padded_segments(self.segments, len(truth), len(predicted))
        g, p = overlaps.truth, overlaps.predicted
        same = truth.label[g] == predicted.label[p]
        crowd = truth.kind[g] == Kind.CROWD
        g, p, pixels = (of[same & ~crowd] for of in (g, p, overlaps.pixels))
        union = (
            overlaps.truth_area[g]
            + overlaps.predicted_area[p]
            - pixels
            - overlaps.predicted_void[p]
        )
        edge_union = true[g] + found[p] - both[g, p] - on_void[p]
        iou = np.minimum(pixels / union, both[g, p] / np.maximum(edge_union, 1))
        hit = iou > 0.5
        matched, taken = np.zeros(len(truth), bool), np.zeros(len(predicted), bool)
        matched[g[hit]], taken[p[hit]] = True, True
        crowds = np.bincount(
            overlaps.predicted[same & crowd], overlaps.pixels[same & crowd], len(predicted)
        )
        forgiven = 2 * (overlaps.predicted_void + crowds) > overlaps.predicted_area
        wrong = ~taken & ~forgiven & (overlaps.predicted_area > 0)
        return {
            "boundary_tp": np.bincount(truth.label[g[hit]], minlength=size),
            "boundary_fp": np.bincount(predicted.label[wrong], minlength=size),
            "boundary_fn": np.bincount(truth.label[~matched & ~missing], minlength=size),
            "boundary_iou_sum": np.bincount(truth.label[g[hit]], iou[hit], size),
        }


def _boundaries(
    masks: tuple[DecodedMask, DecodedMask],
    sides: tuple[Groups, Groups],
    numbers: list[Ints],
    reach: int,
) -> BoundaryPixels:
    """Pixels on the boundaries of regions: the segments that have the same number."""
    codes = []
    for mask, side, number in zip(masks, sides, numbers, strict=True):
        code_of = np.append(number + 1, 0).astype(np.uint16)  # the last one is of void
        codes.append(code_of[side.of_value[:VALUES]].take(mask.pixels))
    return boundary_pixels(codes[0], codes[1], reach)


def _padded(pixels: BoundaryPixels, labels: int) -> BoundaryPixels:
    """The counts for all classes, also those that are in neither mask."""
    rows, columns = pixels.both.shape
    size = ((0, labels + 1 - rows), (0, labels + 1 - columns))
    return BoundaryPixels(
        *(np.pad(of, size) for of in (pixels.both, pixels.one_only, pixels.other_only))
    )


def _by_class(segments: BoundaryPixels, groups: GroupsOfItems) -> BoundaryPixels:
    """The counts of segments as those of classes, where each class is one segment."""
    size = len(groups.labels) + 1
    rows, columns = segments.both.shape
    row = np.append(0, groups.truth.label + 1)[:rows]
    column = np.append(0, groups.predicted.label + 1)[:columns]
    made = []
    for of in (segments.both, segments.one_only, segments.other_only):
        counts = np.zeros((size, size), np.int64)
        counts[np.ix_(row, column)] = of
        made.append(counts)
    return BoundaryPixels(*made)


def _padded_segments(pixels: BoundaryPixels, truth: int, predicted: int) -> tuple[Ints, ...]:
    """Of G segments of ground truth and P predicted: G x P pixels on both boundaries; those on
    each one's, G and P; and those of predicted ones on void, P."""
    rows, columns = pixels.both.shape
    size = ((0, truth + 1 - rows), (0, predicted + 1 - columns))
    both, one_only, other_only = (
        np.pad(of, size) for of in (pixels.both, pixels.one_only, pixels.other_only)
    )
    found = both + other_only
    return both[1:, 1:], (both + one_only).sum(1)[1:], found.sum(0)[1:], found[0, 1:]
