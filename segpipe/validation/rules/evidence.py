"""Everything the rules may look at for one row."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from segpipe.manifests.rows import ManifestRow
from segpipe.masks.decoding import DecodedMask
from segpipe.masks.measures import Measures
from segpipe.masks.refusal import MaskRefused
from segpipe.predictions.declarations import Declaration, DeclaredSegment
from segpipe.validation.rules.policy import Policy


@dataclass(frozen=True)
class Evidence:
    """One row and what came of it.

    Attributes:
        row: as it stands in the manifest.
        declaration: its Segments.
        size: height and width the item's image is known to have; either may be None.
        image_orientation: EXIF orientation of the image, where its header was read; 1 otherwise.
        refusal: why there is no mask to look at; None when there is one.
        policy: of the model run.
        known_item: whether the item is in the dataset's list of items; None without a list.
        declares_taxonomy: the row lists all classes there are, not those it found.
        mask, measures: the decoded mask and what is true of its values; None when refused.
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
    image_orientation: int = 1

    @cached_property
    def told(self) -> frozenset[str]:
        """The rules that reading the mask had something to say about."""
        said = {remark.rule for remark in self.mask.remarks} if self.mask is not None else set()
        return frozenset(said if self.refusal is None else {*said, self.refusal.rule})

    @cached_property
    def values(self) -> frozenset[int]:
        """The values the mask holds; none where there is no mask."""
        return frozenset() if self.measures is None else frozenset(self.measures.values.tolist())

    @cached_property
    def unexplained(self) -> frozenset[int]:
        """The mask's values that no Segment of a readable declaration explains."""
        if self.declaration.problem is not None:
            return frozenset()
        return self.values - self.declaration.indexes

    @cached_property
    def unusual_segments(self) -> tuple[DeclaredSegment, ...]:
        """Segments of which more is to be said than that they have a label, an index that a mask
        can hold, metadata, and a confidence from 0 to 1 or none."""
        limit = self.policy.max_metadata_bytes
        return tuple(
            s
            for s in self.declaration.segments
            if s.label is None
            or not s.label.strip()
            or type(s.raw_index) is not int
            or not 0 <= s.raw_index <= 255
            or s.metadata_error is not None
            or 4 * len(s.metadata_text) > limit  # at most four bytes a character
            or (
                not 0 <= s.confidence <= 1
                if s.confidence is not None
                else "confidence" in s.metadata
            )
        )
