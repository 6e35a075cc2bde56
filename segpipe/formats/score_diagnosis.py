"""Why scores are no probabilities, said with the place of the worst pixel and what to do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segpipe.errors import shortened
from segpipe.masks.scores import TOLERANCE, Block, blocks

_SOFTMAX = (
    "apply softmax over the classes first, such as scipy.special.softmax(scores, axis=0) or "
    "torch.softmax(scores, dim=0); segpipe does not, since it cannot know the temperature"
)
_Place = tuple[int, ...]  # class, row, column; or row, column


def why_no_probabilities(scores: NDArray[Any], labels: Sequence[str]) -> str:
    """What is wrong with scores, of which a pixel is no distribution: "holds ...", and what to do.

    Args:
        scores: C x H x W, float16, float32 or float64.
        labels: of the C classes.
    """
    survey = _Survey()
    with np.errstate(invalid="ignore", over="ignore"):
        for block in blocks(scores):
            survey.take(block)
        if survey.nans or survey.infinities:
            return _not_finite(survey, labels)
        if _are_channels_last(scores):
            return (
                f"sums up to 1 along its last axis and not along the classes: shape "
                f"{scores.shape} is H x W x C; give numpy.moveaxis(scores, -1, 0)"
            )
    return _no_distribution(survey, labels)


class _Survey:
    """The extremes of scores."""

    def __init__(self) -> None:
        self.nans = self.infinities = 0
        self.first_odd: _Place = ()
        self.lowest, self.highest = _Extreme(math.inf), _Extreme(-math.inf)
        self.worst = _Extreme(1.0)  # the sum furthest from 1
        self.least_sum, self.largest_sum = math.inf, -math.inf
        self.least_odds, self.largest_odds = math.inf, -math.inf

    def take(self, block: Block) -> None:
        """Look at a block."""
        scores = block.scores.astype(np.float64)
        finite = np.isfinite(scores)
        if not finite.all():
            self.first_odd = self.first_odd or _place(block, int(np.argmin(finite)))
            nans = int(np.isnan(scores).sum())
            self.nans += nans
            self.infinities += int(finite.size - finite.sum()) - nans
            return
        low, high = int(scores.argmin()), int(scores.argmax())
        if scores.flat[low] < self.lowest.value:
            self.lowest = _Extreme(float(scores.flat[low]), _place(block, low))
        if scores.flat[high] > self.highest.value:
            self.highest = _Extreme(float(scores.flat[high]), _place(block, high))
        sums = scores.sum(axis=0)
        worst = int(np.abs(sums - 1).argmax())
        if abs(sums[worst] - 1) > abs(self.worst.value - 1) or not self.worst.place:
            self.worst = _Extreme(float(sums[worst]), _place(block, worst)[1:])
        self.least_sum = min(self.least_sum, float(sums.min()))
        self.largest_sum = max(self.largest_sum, float(sums.max()))
        odds = np.exp(scores).sum(axis=0)
        self.least_odds = min(self.least_odds, float(odds.min()))
        self.largest_odds = max(self.largest_odds, float(odds.max()))

    def sums_to(self, total: float) -> bool:
        """Whether every pixel sums up to about this."""
        near = 0.01 * total
        return abs(self.least_sum - total) <= near and abs(self.largest_sum - total) <= near


@dataclass(frozen=True, slots=True)
class _Extreme:
    value: float
    place: _Place = ()


def _place(block: Block, flat: int) -> _Place:
    one, pixel = divmod(flat, block.scores.shape[1])
    row, column = divmod(pixel, block.width)
    return one, int(block.rows.start) + row, int(block.columns.start) + column


def _at(place: _Place, labels: Sequence[str]) -> str:
    *of, row, column = place
    named = f" for class {shortened(repr(labels[of[0]]))}" if of else ""
    return f"at row {row}, column {column}{named}"


def _not_finite(survey: _Survey, labels: Sequence[str]) -> str:
    counts = [
        f"{count:,} {name}"
        for count, name in ((survey.nans, "NaN"), (survey.infinities, "infinite values"))
        if count
    ]
    return (
        f"holds {' and '.join(counts)}, the first {_at(survey.first_odd, labels)}: no "
        "probabilities; look at the model's output before softmax (overflow in float16 is the "
        "usual cause)"
    )


def _are_channels_last(scores: NDArray[Any]) -> bool:
    if scores.shape[0] != scores.shape[2]:
        return False  # would not have as many labels as classes
    return all(
        bool((np.abs(part.sum(axis=-1, dtype=np.float64) - 1) <= TOLERANCE).all())
        for part in scores
    )


def _no_distribution(survey: _Survey, labels: Sequence[str]) -> str:
    lowest, highest, worst = survey.lowest, survey.highest, survey.worst
    sums = f"the scores of the pixel {_at(worst.place, labels)} sum up to {worst.value:.6g}, not 1"
    negative = f"holds {lowest.value:.6g} {_at(lowest.place, labels)}"
    if lowest.value < 0 and highest.value <= 0 and _near_one(survey):
        return f"{negative}: these are log-probabilities; give numpy.exp(scores)"
    if lowest.value < 0 and abs(worst.value - 1) <= 2 * TOLERANCE and highest.value <= 1:
        return f"{negative}: a probability is 0 or more; set what rounding left below 0 to 0"
    if lowest.value < 0:
        return f"{negative}, and {sums}: these are logits, not probabilities; {_SOFTMAX}"
    if survey.sums_to(100.0):
        return f"holds percent: {sums}; divide by 100"
    if survey.sums_to(255.0):
        return f"holds probabilities times 255: {sums}; divide by 255"
    if highest.value > 1 + TOLERANCE:
        return (
            f"holds {highest.value:.6g} {_at(highest.place, labels)}, and {sums}: these are "
            f"logits, not probabilities; {_SOFTMAX}"
        )
    if len(labels) == 1:
        return (
            f"has one class, and {sums}: for the probability p of one class against the rest give "
            "numpy.stack([1 - p, p]) and two labels"
        )
    return (
        f"holds no distributions: {sums}. Scores of independent classes (sigmoid) have no class "
        "PDF; of softmax, give all classes, in float16 or more"
    )


def _near_one(survey: _Survey) -> bool:
    return abs(survey.least_odds - 1) <= 0.01 and abs(survey.largest_odds - 1) <= 0.01
