"""The class PDF of a Segment that a view makes of others: the area-weighted mixture of theirs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segpipe.predictions.class_pdf import KEYS, ClassPdf, mixture, read_class_pdf
from segpipe.predictions.prediction import Segment


@dataclass(frozen=True, slots=True)
class MergedPdf:
    """The class PDF of merged Segments.

    Attributes:
        pdf: the mixture; None if none of the Segments has a PDF.
        replaced: keys of their metadata that it takes the place of.
    """

    pdf: ClassPdf | None
    replaced: frozenset[str]

    @classmethod
    def of(
        cls, members: Sequence[Segment], areas: NDArray[np.int64], taxonomy: Sequence[str]
    ) -> MergedPdf:
        """The mixture of the PDFs of those that have one, unweighted if none of them has pixels.

        Args:
            areas: int64 of shape (256,): number of pixels of each value.
            taxonomy: the classes, in the order of PDFs that are lists.
        """
        read = [(member, read_class_pdf(member.metadata, taxonomy)) for member in members]
        there = [(member, one) for member, one in read if one is not None and one.pdf is not None]
        if not there:
            return cls(None, frozenset())
        weighted = [(one.pdf, int(areas[member.index])) for member, one in there if one.pdf]
        return cls(mixture(weighted), frozenset({KEYS[0], *(one.key for _, one in there)}))

    def metadata(self, label: str, grouped: Collection[str]) -> dict[str, Any]:
        """Its entry in the metadata of the Segment that is made; empty without a PDF.

        Args:
            label: of that Segment.
            grouped: classes whose probabilities are summed under that label.
        """
        if self.pdf is None:
            return {}
        return {KEYS[0]: self.pdf.grouped(dict.fromkeys(grouped, label)).as_metadata()}
