"""How far numbers would differ in other samples of items: the bootstrap of two evaluations.

Items are drawn with replacement, the same ones for both sides, and their counts are added before
anything is divided. A resample is a vector of weights, so that many are a few matrix products.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from segpipe.evaluation.class_counts import COUNTED, ClassCounts, summaries
from segpipe.evaluation.numbers import counts_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Samples that are drawn.
RESAMPLES = 1000
_QUANTILES = (0.025, 0.975)
# Weights that are held at once; it bounds memory, however many items there are.
_WEIGHTS_AT_ONCE = 1 << 21


@dataclass(frozen=True, slots=True)
class Intervals:
    """Of differences, other side minus one: in 95 % of the resamples they are between these.

    Attributes:
        numbers: name of a number of the set -> lower and upper bound; NaN where it is undefined.
        classes: name of a number of classes -> bounds of each class, C x 2 float64.
    """

    numbers: Mapping[str, tuple[float, float]]
    classes: Mapping[str, Floats]


def intervals(
    one: pa.Table,
    other: pa.Table,
    reference_ids: Sequence[str],
    labels: Sequence[str],
    of_classes: Sequence[str],
    *,
    seed: int,
    resamples: int = RESAMPLES,
) -> Intervals:
    """Intervals of the differences of two evaluations of the same items.

    Args:
        one, other: the tables ``item_classes`` of both, of these items and labels.
        reference_ids: the N items; their order decides, with the seed, which are drawn.
        labels: of C classes.
        of_classes: names of the numbers of classes that are wanted.
        resamples: number of samples of N items.
    """
    sides = [_Counts.of(table, reference_ids, labels) for table in (one, other)]
    sets: dict[str, list[Floats]] = {}
    classes: dict[str, list[Floats]] = {name: [] for name in of_classes}
    for weights in _weights(len(reference_ids), resamples, seed):
        size = weights.shape[1]
        owners = np.repeat(np.arange(size), len(labels))
        counts = [side.resampled(weights) for side in sides]
        first, second = (summaries(one, owners, size) for one in counts)
        for name in first:
            sets.setdefault(name, []).append(second[name] - first[name])
        before, after = (one.values() for one in counts)
        for name, parts in classes.items():
            parts.append((after[name] - before[name]).reshape(size, len(labels)))
    return Intervals(
        {name: _bounds(np.concatenate(parts)) for name, parts in sets.items()},
        {
            name: np.array([_bounds(column) for column in np.concatenate(parts).T]).reshape(-1, 2)
            for name, parts in classes.items()
        },
    )


def _weights(items: int, resamples: int, seed: int) -> Iterator[Floats]:
    """How often each item is in each resample, N x R float64, some resamples at a time."""
    random = np.random.default_rng(seed)
    at_once = max(1, _WEIGHTS_AT_ONCE // max(1, items))
    for first in range(0, resamples, at_once):
        size = min(at_once, resamples - first)
        drawn = random.integers(items, size=(size, items))
        drawn += items * np.arange(size)[:, None]
        times = np.bincount(drawn.ravel(), minlength=size * items).reshape(size, items)
        yield np.ascontiguousarray(times.T, np.float64)


@dataclass(frozen=True, slots=True)
class _Counts:
    """The counts of C classes in N items.

    Attributes:
        names: of the K counts that are not zero everywhere.
        items: of each class, the items that have it.
        counts: of each class, those of these items, each n x K float64: integers that add up
            without rounding, but for the sums of IoUs.
    """

    names: Sequence[str]
    items: Sequence[Ints]
    counts: Sequence[Floats]

    @classmethod
    def of(cls, table: pa.Table, reference_ids: Sequence[str], labels: Sequence[str]) -> _Counts:
        columns = counts_of(table).columns()
        names = [name for name in COUNTED if columns[name].any()]
        stacked = np.empty((table.num_rows, len(names)))
        for place, name in enumerate(names):
            stacked[:, place] = columns[name]
        item = _places(table["reference_id"], reference_ids)
        label = _places(table["label"], labels)
        order = np.lexsort((item, label))
        ends = np.searchsorted(label[order], np.arange(1, len(labels)))
        return cls(names, np.split(item[order], ends), np.split(stacked[order], ends))

    def resampled(self, weights: Floats) -> ClassCounts:
        """The counts added in each of R resamples; of R x C classes, those of the first first.

        Args:
            weights: N x R float64.
        """
        size = weights.shape[1]
        sums = np.empty((size, len(self.items), len(self.names)))
        for place, (items, counts) in enumerate(zip(self.items, self.counts, strict=True)):
            sums[:, place] = weights[items].T @ counts
        flat = sums.reshape(-1, len(self.names))
        columns = {name: flat[:, place] for place, name in enumerate(self.names)}
        return ClassCounts.of_columns(columns, len(flat))


def _places(values: pa.ChunkedArray, among: Sequence[str]) -> Ints:
    found = values.combine_chunks().dictionary_encode()
    places = {name: place for place, name in enumerate(among)}
    of_found = np.array([places[name] for name in found.dictionary.to_pylist()], np.int64)
    return np.asarray(of_found[found.indices.to_numpy()])


def _bounds(differences: Floats) -> tuple[float, float]:
    """Of those that are defined; NaN if none is."""
    defined = differences[~np.isnan(differences)]
    if not len(defined):
        return np.nan, np.nan
    low, high = np.quantile(defined, _QUANTILES)
    return float(low), float(high)
