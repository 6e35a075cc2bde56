"""The segments that are compared: Segments of ground truth or predictions, merged where the
conventions say so, for several items at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segpipe.evaluation.kinds import ItemKinds, Kind
from segpipe.masks.co_occurrence import CoOccurrence
from segpipe.predictions.class_pdf import KEYS, class_pdf_of
from segpipe.predictions.prediction import Segment

#: Pixel values of a mask.
VALUES = 256
#: In ``Groups.of_value``: the value is void, or no Segment explains it.
VOID = -1
# Numbers of a group within its item and class: merged stuff, merged crowds, or a value.
_STUFF, _CROWD, _FIRST = 0, 1, 2
_NUMBERS = VALUES + _FIRST


@dataclass(frozen=True, slots=True)
class Pair:
    """The ground truth and the prediction of an item.

    Attributes:
        truth, predicted: their Segments, sorted by index, with distinct indexes from 0 to 255.
        pairs: pixels by value of the ground truth (``one``) and of the prediction (``other``).
        height, width: pixels.
        truth_fingerprint, fingerprint: of the ground truth and of the prediction; None if there
            is no prediction, and its pixels are all void.
        truth_lists_classes: the ground truth lists all classes, in the mask or not, so that a
            Segment without pixels is none.
        reason: why there is no prediction; None if there is one.
    """

    reference_id: str
    truth: Sequence[Segment]
    predicted: Sequence[Segment]
    pairs: CoOccurrence
    height: int
    width: int
    truth_fingerprint: str | None = None
    fingerprint: str | None = None
    truth_lists_classes: bool = False
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Groups:
    """G segments of one side of N items, sorted by item and class.

    Attributes:
        item: number of the item, G int64.
        label: number of the class, G int64.
        kind: G int8, of :class:`Kind`; never void.
        index: the lowest pixel value, G int64.
        of_value: group of each value of each item, N * 256 int64; ``VOID`` where there is none.
        members: Segments, M int64: the group of each, sorted by group.
        member_indexes: their pixel values, M int64.
        member_areas: their pixels, M int64.
        confidence, entropy: of each member, M float64; NaN where there is none.
    """

    item: NDArray[np.int64]
    label: NDArray[np.int64]
    kind: NDArray[np.int8]
    index: NDArray[np.int64]
    of_value: NDArray[np.int64]
    members: NDArray[np.int64]
    member_indexes: NDArray[np.int64]
    member_areas: NDArray[np.int64]
    confidence: NDArray[np.float64]
    entropy: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.item)


class GroupsOfItems:
    """Groups of both sides of items.

    Args:
        pairs: the items.
        taxonomy: label -> ``thing`` or ``stuff``.
        merge_stuff: the stuff Segments of a class are one.

    Attributes:
        labels: number -> label.
        truth, predicted: the groups.
        undecided: item and number of each class of an item that is a thing because nothing says
            thing or stuff, K x 2 int64.
    """

    def __init__(
        self, pairs: Sequence[Pair], taxonomy: Mapping[str, str], *, merge_stuff: bool
    ) -> None:
        self._numbers: dict[str, int] = {}
        undecided: list[tuple[int, str]] = []
        truth, predicted = (
            _Listed(tuple(taxonomy), crowds=True),
            _Listed(tuple(taxonomy), crowds=False),
        )
        for item, pair in enumerate(pairs):
            kinds = ItemKinds(taxonomy, pair.truth, pair.predicted)
            undecided += ((item, label) for label in kinds.undecided)
            truth.add(item, pair.truth, kinds.of(pair.truth), self._numbers)
            predicted.add(item, pair.predicted, kinds.of(pair.predicted), self._numbers)
        self.labels = sorted(self._numbers)
        # In the order of the labels, so that sums do not depend on what else is in the block.
        numbers = np.zeros(max(1, len(self.labels)), np.int64)
        numbers[[self._numbers[label] for label in self.labels]] = np.arange(len(self.labels))
        self.undecided = np.array(
            [(item, numbers[self._numbers[label]]) for item, label in undecided], np.int64
        ).reshape(-1, 2)
        of_truth = _areas(pairs, [pair.pairs.one for pair in pairs])
        of_prediction = _areas(pairs, [pair.pairs.other for pair in pairs])
        self.truth = truth.groups(of_truth, numbers, merge_stuff=merge_stuff)
        self.predicted = predicted.groups(of_prediction, numbers, merge_stuff=merge_stuff)


def _areas(pairs: Sequence[Pair], values: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Pixels of each value of each of N items, N * 256 int64."""
    areas = np.zeros((len(pairs), VALUES), np.int64)
    for own, pair, of in zip(areas, pairs, values, strict=True):
        own += np.bincount(of, pair.pairs.pixels, VALUES).astype(np.int64)
    return areas.reshape(-1)


class _Listed:
    """Segments of one side, as columns.

    Args:
        classes: in the order of class PDFs that are lists.
        crowds: the crowds of a class are one region.
    """

    def __init__(self, classes: Sequence[str], *, crowds: bool) -> None:
        self._classes, self._crowds = classes, crowds
        self._items: list[int] = []
        self._indexes: list[int] = []
        self._labels: list[int] = []
        self._kinds: list[int] = []
        self._confidences: list[float | None] = []
        self._entropies: list[float | None] = []

    def add(
        self,
        item: int,
        segments: Sequence[Segment],
        kinds: Sequence[Kind],
        numbers: dict[str, int],
    ) -> None:
        for segment, kind in zip(segments, kinds, strict=True):
            if kind is not Kind.VOID:
                self._items.append(item)
                self._indexes.append(segment.index)
                self._labels.append(numbers.setdefault(segment.label, len(numbers)))
                self._kinds.append(kind)
                self._confidences.append(segment.confidence)
                self._entropies.append(_entropy(segment, self._classes))

    def groups(
        self, areas: NDArray[np.int64], numbers: NDArray[np.int64], *, merge_stuff: bool
    ) -> Groups:
        """The groups.

        Args:
            areas: pixels of each value of each of N items, N * 256 int64.
            numbers: that of each class, instead of the one it was added with.
        """
        item, index = np.array(self._items, np.int64), np.array(self._indexes, np.int64)
        label = numbers[np.array(self._labels, np.int64)]
        kind = np.array(self._kinds, np.int8)
        number = _FIRST + index
        if merge_stuff:
            number[kind == Kind.STUFF] = _STUFF
        if self._crowds:
            number[kind == Kind.CROWD] = _CROWD
        _, first, group = np.unique(
            (item * len(numbers) + label) * _NUMBERS + number,
            return_index=True,
            return_inverse=True,
        )
        of_value = np.full(len(areas), VOID, np.int64)
        of_value[item * VALUES + index] = group
        order = np.argsort(group, kind="stable")
        return Groups(
            item=item[first],
            label=label[first],
            kind=kind[first],
            index=index[first],
            of_value=of_value,
            members=group[order],
            member_indexes=index[order],
            member_areas=areas[item * VALUES + index][order],
            confidence=np.array(self._confidences, np.float64)[order],
            entropy=np.array(self._entropies, np.float64)[order],
        )


def _entropy(segment: Segment, classes: Sequence[str]) -> float | None:
    if segment.metadata.keys().isdisjoint(KEYS):
        return None
    pdf = class_pdf_of(segment.metadata, classes)
    return None if pdf is None else pdf.entropy
