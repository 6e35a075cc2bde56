"""Everything that rules may use to judge one row."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeGuard

from segpipe.manifests.rows import ManifestRow
from segpipe.masks.decoding import DecodedMask
from segpipe.masks.measures import Measures
from segpipe.masks.png import PngHeader
from segpipe.masks.refusal import MaskRefused
from segpipe.predictions.class_pdf import PdfReading
from segpipe.predictions.declarations import Declaration, DeclaredSegment
from segpipe.predictions.declared_metadata import mistyped
from segpipe.validation.ground_truth import AgainstTruth
from segpipe.validation.rules.policy import Policy


@dataclass(frozen=True)
class Evidence:
    """One row of a manifest, and what was read for it.

    Attributes:
        row: as it stands in the manifest.
        declaration: its Segments.
        policy: of the model run.
        size: height and width of the item's image in pixels; None where not known.
        refusal: why the mask could not be decoded; None if it was.
        mask, measures: the decoded mask and the measures of its values; None if refused.
        declares_taxonomy: the row lists all classes there are, not only those in its mask.
        known_item: whether the item is in the dataset's list of items; None without a list.
        near_item: the item in that list that an unknown id was meant for, if one looks like it.
        image_orientation: EXIF orientation of the image, 1 to 8; 1 if its header was not read.
        size_unknown: why the image does not tell its size; empty if it does, or was not asked.
        truth: the mask beside the published ground truth of its item; None if there is none.
    """

    row: ManifestRow
    declaration: Declaration
    policy: Policy
    size: tuple[int | None, int | None] = (None, None)
    refusal: MaskRefused | None = None
    mask: DecodedMask | None = None
    measures: Measures | None = None
    declares_taxonomy: bool = False
    known_item: bool | None = None
    near_item: str | None = None
    image_orientation: int = 1
    size_unknown: str = ""
    truth: AgainstTruth | None = None

    @property
    def header(self) -> PngHeader | None:
        """The header of the mask's PNG, also of one whose pixels were refused; None if unread."""
        if self.mask is not None:
            return self.mask.header
        return None if self.refusal is None else self.refusal.header

    @cached_property
    def reported(self) -> frozenset[str]:
        """Ids of the rules whose violation was reported while the mask was read and decoded."""
        rules = {remark.rule for remark in self.mask.remarks} if self.mask is not None else set()
        return frozenset(rules if self.refusal is None else {*rules, self.refusal.rule})

    @cached_property
    def values(self) -> frozenset[int]:
        """The pixel values that occur in the mask; empty without a mask."""
        return frozenset() if self.measures is None else frozenset(self.measures.values.tolist())

    @cached_property
    def unexplained(self) -> frozenset[int]:
        """The mask's values without a Segment; empty if the declaration cannot be read."""
        if self.declaration.problem is not None:
            return frozenset()
        return self.values - self.declaration.indexes

    @cached_property
    def unusual_segments(self) -> tuple[DeclaredSegment, ...]:
        """Segments that some rule may object to.

        The others have a label, an index from 0 to 255 written as an integer, valid metadata that
        is not too large, and either no confidence or one from 0 to 1.
        """
        limit = self.policy.max_metadata_bytes
        return tuple(
            s
            for s in self.declaration.segments
            if s.label is None
            or not s.label.strip()
            or type(s.raw_index) is not int
            or not 0 <= s.raw_index <= 255
            or s.metadata_error is not None
            or 4 * len(s.metadata_text) > limit  # UTF-8 has at most four bytes per character
            or s.odd_confidence
            or (s.confidence is not None and not 0 <= s.confidence <= 1)
        )

    @cached_property
    def mistyped_metadata(self) -> tuple[tuple[DeclaredSegment, list[str]], ...]:
        """Segments with declared keys of the metadata whose value is of another type."""
        declared = self.policy.metadata
        if not declared:
            return ()
        found = ((one, mistyped(one.metadata, declared)) for one in self.declaration.segments)
        return tuple((one, keys) for one, keys in found if keys)

    @cached_property
    def has_pdfs(self) -> bool:
        """Whether a Segment's metadata has something under a key of class PDFs."""
        return any(s.has_pdf for s in self.declaration.segments)

    @cached_property
    def pdf_classes(self) -> frozenset[tuple[str, ...]]:
        """The classes of the Segments' PDFs, as far as these can be used."""
        pdfs = (s.class_pdf for s in self.declaration.segments)
        return frozenset(pdf.classes for pdf in pdfs if pdf is not None)

    @cached_property
    def unusual_pdfs(self) -> tuple[tuple[DeclaredSegment, PdfReading], ...]:
        """Segments whose metadata has something under a key of class PDFs that some rule may object
        to, and what that is: all that are not known to agree with their Segment."""
        unusual = [(s, s.pdf) for s in self.declaration.segments if s.has_pdf and not s.agrees]
        return tuple((s, pdf) for s, pdf in unusual if pdf is not None)


def is_pixel_value(index: int | None) -> TypeGuard[int]:
    """Whether an 8-bit mask can hold a Segment's index."""
    return index is not None and 0 <= index <= 255
