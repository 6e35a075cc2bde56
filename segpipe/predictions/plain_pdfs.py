"""Class PDFs of one size as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segpipe.predictions.json_text import EXACT


class PdfClasses:
    """The classes of a PDF.

    Args:
        names: as a mapping has them.

    Attributes:
        sorted: the names, sorted.
        order: the place in ``names`` of each of these.
        places: name -> place among the sorted.
    """

    __slots__ = ("order", "places", "sorted")

    def __init__(self, names: tuple[str, ...]) -> None:
        self.order = sorted(range(len(names)), key=names.__getitem__)
        self.sorted = tuple(names[place] for place in self.order)
        self.places: dict[str | None, int] = {name: place for place, name in enumerate(self.sorted)}


@dataclass(frozen=True, slots=True)
class PlainPdfs:
    """N metadata that each hold a PDF of C classes, and plain values beside it.

    Attributes:
        places: of the N among those that were given.
        classes: of each.
        numbers: float64 of shape (N, C), in the order of the sorted classes; any numbers.
        confidences: float64 of shape (N,); NaN where there is none.
        texts: each metadata as canonical JSON, if its numbers are from 0 and below 1e15.
    """

    places: Sequence[int]
    classes: Sequence[PdfClasses]
    numbers: NDArray[np.float64]
    confidences: NDArray[np.float64]
    texts: Sequence[str]

    @property
    def are_exact(self) -> NDArray[np.bool_]:
        """Which PDFs hold numbers from 0 to 1 alone, and no confidence whose text may be another's:
        negative zeros, infinities, and integers of too many digits."""
        in_range = ~np.signbit(self.numbers).any(axis=1) & (self.numbers.max(axis=1) <= 1)
        return np.asarray(in_range & ~(self.confidences >= EXACT))

    @property
    def known_confidences(self) -> list[float | None]:
        """The confidences; None where there is none."""
        if np.isnan(self.confidences).all():
            return [None] * len(self.confidences)
        return [None if one != one else one for one in self.confidences.tolist()]

    def probabilities_of(self, labels: Sequence[str | None]) -> NDArray[np.float64]:
        """The probability of each one's label, -1 where it is not among the classes.

        Args:
            labels: N.
        """
        if self.classes.count(self.classes[0]) == len(self.classes):
            places_of = self.classes[0].places
            own = [places_of.get(label) for label in labels]
        else:
            named = zip(self.classes, labels, strict=True)
            own = [classes.places.get(label) for classes, label in named]
        places = np.array([-1 if place is None else place for place in own])
        return np.where(places < 0, -1, self.numbers[np.arange(len(places)), places])
