"""Segments, segmentation predictions, and what a prediction *means* (its fingerprint).

``Segment`` and ``SegmentationPrediction`` carry the same fields as the Scale Nucleus SDK's classes
of these names, plus the image's size where the manifest knows it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from json.encoder import encode_basestring, encode_basestring_ascii
from typing import TYPE_CHECKING, Any

from segpipe.errors import MetadataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from segpipe.segments import Measures

#: Part of every fingerprint; a change of what a fingerprint covers must change it.
FINGERPRINT_VERSION = "segpipe-prediction-2"

# json.dumps would build such an encoder for every call.
_CANONICAL_JSON = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
).encode
_PLAIN_ASCII_JSON = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True).encode
_MAX_DEPTH = 16
_MAX_EXACT_FLOAT = 2**53


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
    """What a model run says of one dataset item: a mask and the Segments that explain it.

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


def confidence_of(metadata: Mapping[str, Any]) -> float | None:
    """``metadata["confidence"]`` as a float; None when absent or not a number."""
    value = metadata.get("confidence")
    if value is None or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def canonical_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata in the one form in which equal meanings compare equal.

    Parquet structs give every row the keys of all rows, as nulls, and turn ``1`` into ``1.0``;
    so null members are dropped and integral floats become integers (as RFC 8785 writes them).
    Times become ISO 8601 strings; NumPy scalars become Python's.

    Raises:
        MetadataError: naming the key, for NaN, infinities, bytes, keys that are not strings,
            text that is not valid Unicode, and nesting deeper than 16.
    """
    canonical = _canonical(metadata, "metadata", 0)
    if not isinstance(canonical, dict):
        raise MetadataError(f"metadata is {type(metadata).__name__}, expected an object")
    return canonical


def metadata_json(canonical: Mapping[str, Any]) -> str:
    """Canonical metadata as JSON text: keys sorted, no spaces, Unicode as it is."""
    return _CANONICAL_JSON(canonical)


def canonical_form(metadata: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    """:func:`canonical_metadata` of metadata and its :func:`metadata_json`.

    Most metadata is a few plain values, which are as they should be: that is told, and their text
    is made, in a fraction of the time.

    Raises:
        MetadataError: as :func:`canonical_metadata` does.
    """
    if type(metadata) is dict and (len(metadata) < 2 or all(type(key) is str for key in metadata)):
        members = []
        for key, value in metadata.items() if len(metadata) < 2 else sorted(metadata.items()):
            text = _plain_text(value)
            if text is None or type(key) is not str or not key.isascii():
                break
            members.append(f"{encode_basestring(key)}:{text}")
        else:
            return metadata, f"{{{','.join(members)}}}"
    canonical = canonical_metadata(metadata)
    return canonical, metadata_json(canonical)


def _plain_text(value: Any) -> str | None:
    """A plain value as JSON, where canonical metadata holds it as it is; else None."""
    kind = type(value)
    if kind is float:
        # Whole ones become integers, and the others may not be finite.
        return float.__repr__(value) if value % 1 != 0 and value - value == 0 else None
    if kind is str:
        return encode_basestring(value) if value.isascii() else None
    return int.__repr__(value) if kind is int else None


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
    from segpipe.segments import measure

    described = [
        [segment.index, segment.label, canonical_form(segment.metadata)[1]]
        for segment in sorted(segments, key=lambda segment: (segment.index, segment.label))
    ]
    return fingerprint_of_parts(measure(mask), described, annotation_id)


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


def _canonical(value: Any, path: str, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise MetadataError(f"{path} is nested deeper than {_MAX_DEPTH} levels")
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, str):
        return _unicode(value, path)
    if isinstance(value, float):
        return _number(value, path)
    if isinstance(value, Mapping):
        return {
            _key(key, path): _canonical(member, f"{path}.{key}", depth + 1)
            for key, member in value.items()
            if member is not None
        }
    if isinstance(value, (list, tuple)):
        return [
            _canonical(member, f"{path}[{place}]", depth + 1) for place, member in enumerate(value)
        ]
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, Decimal):
        return _number(float(value), path)
    if hasattr(value, "tolist"):  # NumPy scalars and arrays
        return _canonical(value.tolist(), path, depth + 1)
    raise MetadataError(f"{path} is {type(value).__name__}, which JSON cannot hold")


def _number(value: float, path: str) -> float | int:
    if not math.isfinite(value):
        raise MetadataError(f"{path} is {value}, which JSON cannot hold")
    if value.is_integer() and abs(value) <= _MAX_EXACT_FLOAT:
        return int(value)
    return value


def _key(key: object, path: str) -> str:
    if not isinstance(key, str):
        raise MetadataError(f"{path} has the key {key!r}, expected text")
    return _unicode(key, path)


def _unicode(text: str, path: str) -> str:
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise MetadataError(f"{path} is not valid Unicode text") from None
    return text
