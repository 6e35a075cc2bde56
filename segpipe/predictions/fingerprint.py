"""The fingerprint: a digest of what a prediction *means*."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from segpipe.masks.measures import Measures
from segpipe.predictions.metadata import canonical_form
from segpipe.predictions.prediction import Segment

#: Part of every fingerprint; a change of what a fingerprint covers must change it.
FINGERPRINT_VERSION = "segpipe-prediction-2"
_PLAIN_ASCII_JSON = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True).encode


def fingerprint(
    mask: NDArray[np.uint8],
    segments: Sequence[Segment],
    annotation_id: str | None = None,
) -> str:
    """SHA-256 (hex) of what a prediction means.

    Covers height, width, pixel values, the Segments in index order with canonical metadata, and
    ``annotation_id``; not the PNG's compression, the file's name, the row's order or the time.

    Args:
        mask: H x W uint8.
        segments: in any order.

    Raises:
        MetadataError: if a Segment's metadata has no canonical form.
    """
    from segpipe.masks.measures import measure

    return fingerprint_of_parts(measure(mask), described_segments(segments), annotation_id)


def described_segments(segments: Sequence[Segment]) -> list[list[object]]:
    """``[index, label, metadata JSON]`` per Segment, sorted by index: equal for equal meaning.

    Raises:
        MetadataError: if a Segment's metadata has no canonical form.
    """
    return [
        [segment.index, segment.label, canonical_form(segment.metadata)[1]]
        for segment in sorted(segments, key=lambda segment: (segment.index, segment.label))
    ]


def fingerprint_of_parts(
    measures: Measures, described: Sequence[Sequence[object]], annotation_id: str | None
) -> str:
    """:func:`fingerprint` for callers that have measured the mask, and hold the canonical metadata
    JSON already.

    Args:
        described: ``[index, label, metadata JSON]`` per segment, sorted by index.
    """
    mask = [FINGERPRINT_VERSION, measures.height, measures.width, measures.pixels_digest]
    meaning = f"{_PLAIN_ASCII_JSON([*mask, annotation_id])[:-1]},{_described_json(described)}]"
    return hashlib.sha256(meaning.encode("ascii")).hexdigest()


def _described_json(described: Sequence[Sequence[object]]) -> str:
    """``described`` as the encoder writes it, in a third of the time."""
    try:
        members = [
            f"[{int.__repr__(index)},{encode_basestring_ascii(label)},{encode_basestring_ascii(text)}]"  # type: ignore[arg-type]
            for index, label, text in described
        ]
    except TypeError:  # a catalog that somebody changed may hold anything
        return _PLAIN_ASCII_JSON(described)
    return f"[{','.join(members)}]"
