"""The data classes of a prediction: ``Segment`` and ``SegmentationPrediction``.

``Segment`` and ``SegmentationPrediction`` carry the same fields as the Scale Nucleus SDK's classes
of these names, plus the image's size if the manifest has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from segpipe.predictions.metadata import confidence_of


@dataclass(frozen=True, slots=True)
class Segment:
    """One pixel value of a mask and the class or instance it stands for.

    Args:
        label: name of the class.
        index: the pixel value, 0 to 255.
        metadata: anything JSON can hold. ``confidence`` (0 to 1) is read from here.
    """

    label: str
    index: int
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def confidence(self) -> float | None:
        """``metadata["confidence"]`` as a float; None when absent or not a number."""
        return confidence_of(self.metadata)


@dataclass(frozen=True, slots=True)
class SegmentationPrediction:
    """A model run's prediction for one dataset item: a mask and the Segments that explain it.

    Args:
        reference_id: the dataset item.
        mask_url: where the H x W uint8 PNG is.
        segments: one Segment per pixel value.
        annotation_id: carried and returned, never used to match.
        height: of the item's image, in pixels, where known.
        width: of the item's image, in pixels, where known.
        image_url: the item's image, where known.
    """

    reference_id: str
    mask_url: str
    segments: tuple[Segment, ...]
    annotation_id: str | None = None
    height: int | None = None
    width: int | None = None
    image_url: str | None = None
