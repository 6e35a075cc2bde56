"""Class PDFs of many Segments, read together.

Nearly all are plain: a mapping of class to probability, beside a few plain values, that sums to 1.
Their numbers are checked and written as arrays; whatever is not plain is told so, to be read by
:func:`segpipe.predictions.class_pdf.read_class_pdf` on its own.
"""

from __future__ import annotations

from typing import Any

from segpipe.predictions.class_pdf import KEYS, ClassPdf
from segpipe.predictions.pdf_mappings import read_mappings
from segpipe.predictions.pdf_texts import read_texts
from segpipe.predictions.plain_pdfs import PlainPdfs

# Half of what the rules PDF-SUM and PDF-CONFIDENCE tolerate, and more than rounding takes.
_SUM, _CONFIDENCE = 5e-4, 5e-3


#: Of metadata with a plain class PDF: itself as canonical JSON, its confidence, the PDF, and
#: whether this agrees with the Segment: its highest class is the label, and that one's probability
#: the confidence, if there is one, well within what the rules tolerate.
PlainMetadata = tuple[str, float | None, ClassPdf, bool]


class PdfColumn:
    """Collects metadata of Segments, and reads their class PDFs at once."""

    def __init__(self) -> None:
        self._given: list[str | dict[str, Any]] = []
        self._labels: list[str | None] = []

    def add(self, given: object, label: str | None) -> bool:
        """Add metadata, if its class PDF may be plain; returns whether it was added.

        Args:
            given: the metadata, a mapping or JSON.
            label: of the Segment.
        """
        if type(given) is str:
            if 'pdf"' not in given:
                return False
        elif type(given) is not dict or not (KEYS[0] in given or KEYS[1] in given):
            return False
        self._given.append(given)
        self._labels.append(label)
        return True

    def read(self) -> list[PlainMetadata | None]:
        """What was added, in that order; None for what has to be read on its own after all."""
        made: list[PlainMetadata | None] = [None] * len(self._given)
        taken: set[int] = set()
        texts = [one for one in self._given if isinstance(one, str)]
        if len(texts) == len(made) and (pdfs := read_texts(texts)) is not None:
            self._take(pdfs, made)
            taken.update(pdfs.places)
        if len(taken) < len(made):
            left = [place for place in range(len(made)) if place not in taken]
            for others in read_mappings([(place, self._given[place]) for place in left]):
                self._take(others, made)
        return made

    def _take(self, pdfs: PlainPdfs, made: list[PlainMetadata | None]) -> None:
        highest = pdfs.numbers.max(axis=1)
        sums_to_1 = abs(pdfs.numbers.sum(axis=1) - 1) < _SUM
        own = pdfs.probabilities_of([self._labels[place] for place in pdfs.places])
        differs = abs(pdfs.confidences - own) > _CONFIDENCE  # not where there is none
        named = [classes.sorted for classes in pdfs.classes]
        read = zip(
            pdfs.texts,
            pdfs.known_confidences,
            map(ClassPdf, named, pdfs.numbers),
            ((own >= highest) & ~differs).tolist(),
            strict=True,
        )
        fits = pdfs.are_exact & sums_to_1
        for place, fitting, one in zip(pdfs.places, fits.tolist(), read, strict=True):
            if fitting:
                made[place] = one
