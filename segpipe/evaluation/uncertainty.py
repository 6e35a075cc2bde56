"""Whether a model knows when it is wrong: calibration of confidence, and risk by coverage.

Both look at the predicted segments that count, those that are TP or FP; right is TP.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from segpipe.evaluation.schemas import FP, PREDICTION, TP

BINS = 10
#: One row per bin of confidence that has segments; a bin holds its upper border, the first also 0.
CALIBRATION = pa.schema(
    [
        pa.field("from", pa.float64()),
        pa.field("to", pa.float64()),
        pa.field("segments", pa.int64()),
        pa.field("matched", pa.int64()),
        pa.field("confidence", pa.float64()),
        pa.field("accuracy", pa.float64()),
    ]
)


@dataclass(frozen=True, slots=True)
class Judged:
    """Predicted segments that are right or wrong.

    Attributes:
        right: K bool.
        confidence, entropy: K float64; NaN where there is none.
    """

    right: NDArray[np.bool_]
    confidence: NDArray[np.float64]
    entropy: NDArray[np.float64]

    @classmethod
    def of(cls, segments: pa.Table) -> Judged:
        """Of rows of SEGMENTS."""
        counted = pc.and_(
            pc.equal(segments["side"], PREDICTION),
            pc.is_in(segments["outcome"], pa.array([TP, FP])),
        )
        rows = segments.filter(counted)
        return cls(
            pc.equal(rows["outcome"], TP).to_numpy(),
            *(rows[name].to_numpy() for name in ("confidence", "entropy")),
        )

    @classmethod
    def together(cls, parts: Iterable[Judged]) -> Judged:
        """Of several sets."""
        kept = [cls(np.zeros(0, bool), np.zeros(0), np.zeros(0)), *parts]
        return cls(
            *(
                np.concatenate([getattr(one, name) for one in kept])
                for name in ("right", "confidence", "entropy")
            )
        )

    @property
    def certain(self) -> Judged:
        """Those that say how certain they are: the others change no number."""
        known = self._known(self.confidence) | self._known(self.entropy)
        return Judged(self.right[known], self.confidence[known], self.entropy[known])

    @property
    def calibration(self) -> pa.Table:
        """CALIBRATION: confidence beside the share that is right."""
        bins, counts, right, confidence = self._binned
        return pa.table(
            [
                bins / BINS,
                (bins + 1) / BINS,
                counts,
                right.astype(np.int64),
                confidence / counts,
                right / counts,
            ],
            schema=CALIBRATION,
        )

    @property
    def calibration_error(self) -> float | None:
        """The expected calibration error: mean distance of confidence and accuracy of the bins,
        weighted with their segments; None without confidences."""
        _, counts, right, confidence = self._binned
        if not len(counts):
            return None
        return float(np.abs(right - confidence).sum() / counts.sum())

    @property
    def _binned(self) -> tuple[NDArray[np.int64], ...]:
        known = self._known(self.confidence)
        confidence, right = self.confidence[known], self.right[known]
        place = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
        counts = np.bincount(place, minlength=BINS)
        bins = np.flatnonzero(counts)
        return (
            bins,
            counts[bins],
            np.bincount(place, right, BINS)[bins],
            np.bincount(place, confidence, BINS)[bins],
        )

    @property
    def risk_by_confidence(self) -> float | None:
        """Area under the risk-coverage curve, most confident first; None without confidences."""
        return self._risk(-self.confidence)

    @property
    def risk_by_entropy(self) -> float | None:
        """The same, lowest entropy first; None without class PDFs."""
        return self._risk(self.entropy)

    def _risk(self, order_by: NDArray[np.float64]) -> float | None:
        known = self._known(order_by)
        if not known.any():
            return None
        wrong = ~self.right[known]
        _, level = np.unique(order_by[known], return_inverse=True)
        # Segments that are equally certain come in no order: each is as wrong as their mean.
        sizes = np.bincount(level)
        means = np.repeat(np.bincount(level, wrong) / sizes, sizes)
        return float((np.cumsum(means) / np.arange(1, len(means) + 1)).mean())

    @staticmethod
    def _known(values: NDArray[np.float64]) -> NDArray[np.bool_]:
        return np.isfinite(values)
