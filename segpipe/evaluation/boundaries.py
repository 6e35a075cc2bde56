"""Boundary IoU of classes, and panoptic quality by it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segpipe.evaluation.groups import VALUES, Groups, GroupsOfItems
from segpipe.evaluation.kinds import Kind
from segpipe.evaluation.matching import Overlaps
from segpipe.masks.boundaries import BoundaryPixels, Regions, boundary_pixels, boundary_reach
from segpipe.masks.decoding import DecodedMask

Ints = NDArray[np.int64]
#: Ground truth and prediction of an item.
Masks = tuple[DecodedMask, DecodedMask]


@dataclass(frozen=True, slots=True)
class BoundaryCounts:
    """Boundaries in N items with G segments of ground truth and P predicted, K pairs of them.

    Attributes:
        keys: of the classes of each item, C int64, ascending: item times number of labels, plus
            label.
        intersection, union: pixels on the boundaries of these classes, C int64.
        truth, predicted: pixels on the boundary of each segment, G and P int64.
        on_void: those of predicted ones that are void in the ground truth, P int64.
        both: those on both boundaries of each pair of ``overlaps``, K int64.
    """

    keys: Ints
    intersection: Ints
    union: Ints
    truth: Ints
    predicted: Ints
    on_void: Ints
    both: Ints

    @classmethod
    def of(
        cls, masks: Sequence[Masks], groups: GroupsOfItems, overlaps: Overlaps
    ) -> BoundaryCounts:
        """Count the pixels of the items' masks."""
        truth, predicted = groups.truth, groups.predicted
        true, both = np.zeros(len(truth), np.int64), np.zeros(len(overlaps.pixels), np.int64)
        found, on_void = np.zeros((2, len(predicted)), np.int64)
        ends = np.arange(len(masks) + 1)
        g_ends, p_ends = np.searchsorted(truth.item, ends), np.searchsorted(predicted.item, ends)
        k_ends = np.searchsorted(truth.item[overlaps.truth], ends)
        classes: list[tuple[Ints, Ints, Ints]] = []
        for item, pair in enumerate(masks):
            g = slice(*g_ends[item : item + 2])
            p = slice(*p_ends[item : item + 2])
            k = slice(*k_ends[item : item + 2])
            own = _Item(item, pair, (truth, predicted), (g, p))
            edges = own.segments
            on_boundary = edges.both + edges.other_only
            true[g] = (edges.both + edges.one_only).sum(1)[1:]
            found[p], on_void[p] = on_boundary.sum(0)[1:], on_boundary[0, 1:]
            both[k] = edges.both[
                overlaps.truth[k] - g.start + 1, overlaps.predicted[k] - p.start + 1
            ]
            labels, intersection, union = own.classes(edges)
            classes.append((item * max(1, len(groups.labels)) + labels, intersection, union))
        keys, intersections, unions = (np.concatenate(of) for of in zip(*classes, strict=True))
        return cls(keys, intersections, unions, true, found, on_void, both)

    def columns(
        self,
        groups: GroupsOfItems,
        overlaps: Overlaps,
        missing: NDArray[np.bool_],
        places: tuple[Ints, Ints],
        size: int,
    ) -> dict[str, NDArray[np.generic]]:
        """Columns of counts of the classes of ``keys``: of boundaries, and of panoptic quality
        where the lower one of both IoUs counts.

        Args:
            missing: segments of ground truth that cannot be missed.
            places: of the class of each segment, of ground truth and predicted.
            size: number of the classes.
        """
        truth, predicted = groups.truth, groups.predicted
        of_truth, of_predicted = places
        same = truth.label[overlaps.truth] == predicted.label[overlaps.predicted]
        crowd = truth.kind[overlaps.truth] == Kind.CROWD
        g, p, pixels, both = (
            of[same & ~crowd]
            for of in (overlaps.truth, overlaps.predicted, overlaps.pixels, self.both)
        )
        union = (
            overlaps.truth_area[g]
            + overlaps.predicted_area[p]
            - pixels
            - overlaps.predicted_void[p]
        )
        edge_union = self.truth[g] + self.predicted[p] - both - self.on_void[p]
        iou = np.minimum(pixels / union, both / np.maximum(edge_union, 1))
        hit = iou > 0.5
        matched, taken = np.zeros(len(truth), bool), np.zeros(len(predicted), bool)
        matched[g[hit]], taken[p[hit]] = True, True
        crowds = np.bincount(
            overlaps.predicted[same & crowd], overlaps.pixels[same & crowd], len(predicted)
        )
        forgiven = 2 * (overlaps.predicted_void + crowds) > overlaps.predicted_area
        wrong = ~taken & ~forgiven & (overlaps.predicted_area > 0)
        return {
            "boundary_intersection": self.intersection,
            "boundary_union": self.union,
            "boundary_tp": np.bincount(of_truth[g[hit]], minlength=size),
            "boundary_fp": np.bincount(of_predicted[wrong], minlength=size),
            "boundary_fn": np.bincount(of_truth[~matched & ~missing], minlength=size),
            "boundary_iou_sum": np.bincount(of_truth[g[hit]], iou[hit], size),
        }


class _Item:
    """Both masks of an item.

    Args:
        item: its number.
        sides: the segments of all items.
        own: which of them are the item's, of either side.
    """

    def __init__(
        self, item: int, masks: Masks, sides: tuple[Groups, Groups], own: tuple[slice, slice]
    ) -> None:
        self._masks = masks
        values = slice(item * VALUES, (item + 1) * VALUES)
        # Segments count from 1 in the item; 0 is void.
        self._of_value = [
            np.maximum(side.of_value[values] - which.start + 1, 0)
            for side, which in zip(sides, own, strict=True)
        ]
        self._labels = [side.label[which] for side, which in zip(sides, own, strict=True)]

    @property
    def segments(self) -> BoundaryPixels:
        """Pixels on the boundaries of segments, numbered from 1; 0 is void."""
        sizes = [len(labels) for labels in self._labels]
        return self._boundaries([np.arange(1, size + 1) for size in sizes], sizes)

    def classes(self, segments: BoundaryPixels) -> tuple[Ints, Ints, Ints]:
        """The labels of the item, and the intersection and the union of their boundaries.

        Args:
            segments: the same of the segments.
        """
        labels, places = np.unique(np.concatenate(self._labels), return_inverse=True)
        split = len(self._labels[0])
        codes = [places[:split] + 1, places[split:] + 1]
        size = len(labels) + 1
        if all(len(np.unique(of)) == len(of) for of in codes):  # each class is one segment
            rows, columns = (np.append(0, of) for of in codes)
            sums = np.zeros((3, size, size), np.int64)
            given = (segments.both, segments.one_only, segments.other_only)
            for total, counts in zip(sums, given, strict=True):
                total[np.ix_(rows, columns)] = counts
            edges = BoundaryPixels(*sums)
        else:
            edges = self._boundaries(codes, [len(labels)] * 2)
        true = (edges.both + edges.one_only).sum(1)
        found = (edges.both + edges.other_only).sum(0)
        intersection = np.diagonal(edges.both)[1:]
        return labels, intersection, true[1:] + found[1:] - intersection

    def _boundaries(self, codes: Sequence[Ints], sizes: Sequence[int]) -> BoundaryPixels:
        """Pixels on the boundaries of regions: the segments that have the same code.

        Args:
            codes: of the segments of either side, from 1 to the size.
        """
        header = self._masks[0].header
        one, other = (
            Regions.of(mask, np.append(0, code).astype(np.uint16)[of_value])
            for mask, code, of_value in zip(self._masks, codes, self._of_value, strict=True)
        )
        reach = boundary_reach(header.height, header.width)
        return boundary_pixels(one, other, reach, (sizes[0] + 1, sizes[1] + 1))
