"""Distributions of labels, confidences and entropies in a partition, and their drift."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from segpipe.storage.files import Folder
from segpipe.validation.summary import SEGMENTS_FILE
from segpipe.validation.validated import pieces

#: Bins of the confidence histogram, from 0 to 1.
BINS = 20
#: Bins of the entropy histogram in a nat.
BINS_OF_A_NAT = 20
_COLUMNS = ["label", "area_px", "confidence", "metadata", "entropy"]
_IGNORED = '"ignore":true'


@dataclass(frozen=True)
class Distribution:
    """Labels, confidences and entropies of a partition's segments, without ignored ones.

    Attributes:
        pixels: label -> pixels of its segments.
        segments: label -> number of its segments.
        confidences: number of segments per bin of confidence; BINS equal bins from 0 to 1.
        without_confidence: number of segments with no confidence, or one outside 0 to 1.
        entropies: number of segments per bin of their class PDF's entropy, from 0 to the highest
            one that occurs; a nat has BINS_OF_A_NAT bins.
        mean_entropy: mean over the segments with a class PDF, in nats; None without PDFs.
    """

    pixels: Mapping[str, int]
    segments: Mapping[str, int]
    confidences: tuple[int, ...]
    without_confidence: int
    entropies: tuple[int, ...] = ()
    mean_entropy: float | None = None

    @property
    def median_confidence(self) -> float | None:
        """The median, interpolated within its bin of the histogram; None without confidences."""
        half, below = sum(self.confidences) / 2, 0
        for place, count in enumerate(self.confidences):
            if count and below + count >= half:
                return (place + (half - below) / count) / len(self.confidences)
            below += count
        return None

    @property
    def shares(self) -> dict[str, float]:
        """Label -> share of all labels' pixels, 0 to 1, largest first."""
        total = sum(self.pixels.values())
        ranked = sorted(self.pixels.items(), key=lambda one: (-one[1], one[0]))
        return {label: pixels / total for label, pixels in ranked} if total else {}


@dataclass(frozen=True)
class Drift:
    """The difference between the distributions of two partitions.

    Attributes:
        distance: total variation distance of the labels' shares of pixels, 0 (equal) to 1 (no
            label in common): the share of pixels that would have to change their label.
        changes: label -> change of its share, -1 to 1, the largest changes first.
        mean_entropies: of the segments' class PDFs before and after, in nats; None without PDFs.
    """

    distance: float
    changes: Mapping[str, float]
    mean_entropies: tuple[float | None, float | None] = (None, None)


def distribution_of(tables: Folder) -> Distribution:
    """Count a partition's segments; memory is bounded by a batch of rows and the labels.

    Args:
        tables: folder of the partition's tables.
    """
    pixels: Counter[str] = Counter()
    segments: Counter[str] = Counter()
    histogram = np.zeros(BINS, np.int64)
    entropies = np.zeros(0, np.int64)
    sums: list[float] = []
    without = 0
    with tables.open_input(SEGMENTS_FILE) as handle:
        # The partition before may be one of an earlier segpipe, without entropies.
        stored = pq.read_schema(handle).names
        there = [name for name in _COLUMNS if name in stored]
        for batch in pieces(f"{tables.shown}/{SEGMENTS_FILE}", handle, 65_536, there):
            rows = pa.Table.from_batches([batch])
            rows = rows.filter(pc.invert(pc.match_substring(rows["metadata"], _IGNORED)))
            grouped = rows.group_by("label").aggregate([("area_px", "sum"), ("area_px", "count")])
            for row in grouped.to_pylist():
                pixels[row["label"]] += row["area_px_sum"]
                segments[row["label"]] += row["area_px_count"]
            values = rows["confidence"].drop_null().to_numpy()
            values = values[(values >= 0) & (values <= 1)]
            histogram += np.histogram(values, BINS, (0.0, 1.0))[0]
            without += rows.num_rows - values.size
            if "entropy" in there:
                found = rows["entropy"].drop_null().to_numpy()
                entropies = _added(entropies, np.bincount((found * BINS_OF_A_NAT).astype(np.int64)))
                sums.append(math.fsum(found))
    number = int(entropies.sum())
    return Distribution(
        dict(pixels),
        dict(segments),
        tuple(histogram.tolist()),
        without,
        tuple(entropies.tolist()),
        math.fsum(sums) / number if number else None,
    )


def _added(one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    """The sum of two histograms, which may have different numbers of bins."""
    longer, shorter = (one, other) if one.size > other.size else (other, one)
    total = longer.copy()
    total[: shorter.size] += shorter
    return total


def drift_between(before: Distribution, after: Distribution) -> Drift:
    """How the labels' shares of pixels, and the mean entropy, changed."""
    old, new = before.shares, after.shares
    changes = {
        label: new.get(label, 0.0) - old.get(label, 0.0)
        for label in sorted(old.keys() | new.keys())
    }
    ranked = dict(sorted(changes.items(), key=lambda one: -abs(one[1])))
    distance = sum(map(abs, ranked.values())) / 2
    return Drift(distance, ranked, (before.mean_entropy, after.mean_entropy))
