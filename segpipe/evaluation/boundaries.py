"""Boundary IoU of classes, and panoptic quality by it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segpipe.evaluation.groups import VALUES, Groups, GroupsOfItems
from segpipe.evaluation.kinds import Kind
from segpipe.evaluation.matching import Overlaps
from segpipe.masks.boundaries import (
    BoundaryPixels,
    Regions,
    boundary_pixels,
    boundary_reach,
)
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
        classes = _boundaries(
            masks, sides, [side.label for side in sides], reach, len(groups.labels)
        )
        return cls(classes, segments, overlaps)

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
        edges = self.segments
        both = edges.both[1:, 1:]
        true = (edges.both + edges.one_only).sum(1)[1:]
        on_boundary = edges.both + edges.other_only
        found, on_void = on_boundary.sum(0)[1:], on_boundary[0, 1:]
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
    size: int = 0,
) -> BoundaryPixels:
    """Pixels on the boundaries of regions: the segments that have the same number.

    Args:
        size: how many numbers there are; 0 for as many as a side has segments.
    """
    regions = []
    for mask, side, number in zip(masks, sides, numbers, strict=True):
        code_of = np.append(number + 1, 0).astype(np.uint16)  # the last one is of void
        regions.append(Regions.of(mask, code_of[side.of_value[:VALUES]]))
    rows, columns = (1 + (size or len(side)) for side in sides)
    return boundary_pixels(regions[0], regions[1], reach, (rows, columns))


def _by_class(segments: BoundaryPixels, groups: GroupsOfItems) -> BoundaryPixels:
    """The counts of segments as those of classes, where each class is one segment."""
    size = len(groups.labels) + 1
    rows = np.append(0, groups.truth.label + 1)
    columns = np.append(0, groups.predicted.label + 1)
    made = []
    for of in (segments.both, segments.one_only, segments.other_only):
        counts = np.zeros((size, size), np.int64)
        counts[np.ix_(rows, columns)] = of
        made.append(counts)
    return BoundaryPixels(*made)
