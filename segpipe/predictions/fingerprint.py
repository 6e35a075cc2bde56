"""The fingerprint: a digest of what a prediction *means*."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from segpipe.masks.measures import Measures
from segpipe.predictions.metadata import canonical_form
from segpipe.predictions.prediction import Segment

#: Part of every fingerprint; a change of what a fingerprint covers must change it.
FINGERPRINT_VERSION = "segpipe-prediction-2"
_ASCII_JSON = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True).encode
_PLAIN = frozenset({int, str, type(None)})
_DELETE = b"\x7f"  # Python's json escapes it


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
    mask = (FINGERPRINT_VERSION, measures.height, measures.width, measures.pixels_digest)
    meaning = [*mask, annotation_id, described]
    return hashlib.sha256(_plain_json(meaning) or _ascii_json(meaning)).hexdigest()


def _ascii_json(value: object) -> bytes:
    return _ASCII_JSON(value).encode("ascii")


def _plain_json(meaning: list[Any]) -> bytes | None:
    """What :func:`_ascii_json` writes, in a fifth of the time; None where it may be different."""
    try:
        kinds = {*map(type, meaning[:-1]), *map(type, chain.from_iterable(meaning[-1]))}
        if not _PLAIN.issuperset(kinds):  # a catalog that somebody changed may hold anything
            return None
        text = orjson.dumps(meaning)
    except TypeError:
        return None
    return text if text.isascii() and _DELETE not in text else None
