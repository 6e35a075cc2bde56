"""Segments as a person gives them to ``ManifestWriter``, as cells of a manifest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from segpipe.errors import ManifestError, MetadataError
from segpipe.manifests.writer import whole_number
from segpipe.predictions.metadata import canonical_form
from segpipe.predictions.prediction import Segment

_MEMBERS = frozenset({"label", "index", "metadata"})

#: A Segment, or ``{"label": ..., "index": ..., "metadata": {...}}``.
SegmentLike = Segment | Mapping[str, Any]


def segment_cells(segments: Sequence[SegmentLike], of: str) -> list[dict[str, Any]]:
    """Segments as cells of a manifest: label, index, and metadata as canonical JSON.

    Args:
        of: the item, for messages.

    Raises:
        ManifestError: naming the item, if a Segment is malformed.
    """
    if isinstance(segments, (str, bytes, Mapping, Segment)) or not isinstance(segments, Iterable):
        raise ManifestError(
            f"the Segments of {of!r} are {str(segments)[:80]!r} ({type(segments).__name__}), "
            "expected a list of segpipe.Segment"
        )
    return [_cell(segment, of) for segment in segments]


def _cell(segment: SegmentLike, of: str) -> dict[str, Any]:
    if isinstance(segment, Segment):
        label, index, metadata = segment.label, segment.index, segment.metadata
    elif isinstance(segment, Mapping):
        for name in ("label", "index"):
            if name not in segment:
                raise ManifestError(f"a Segment of {of!r} has no {name!r}")
        label, index, metadata = segment["label"], segment["index"], _metadata(segment, of)
    else:
        raise ManifestError(
            f"a Segment of {of!r} is {str(segment)[:80]!r} ({type(segment).__name__}), expected "
            "segpipe.Segment(label, index)"
        )
    if not isinstance(label, str):
        raise ManifestError(
            f"the label of a Segment of {of!r} is {label!r} ({type(label).__name__}), expected text"
        )
    try:
        if not label.isascii():
            label.encode("utf-8")
        _, text = canonical_form(metadata)
        cut = _cut_decimal(metadata)
    except UnicodeEncodeError:
        raise ManifestError(f"the label {label!r} of {of!r} is not valid Unicode text") from None
    except (MetadataError, AttributeError, TypeError) as error:
        raise ManifestError(f"a Segment of {of!r} cannot be written: {error}") from None
    if cut is not None:
        raise ManifestError(
            f"a Segment of {of!r} cannot be written: {cut} has more digits than a JSON number "
            "holds: give it as text"
        )
    if type(index) is not int or not 0 <= index < 256:
        index = whole_number(index, f"index of Segment {label!r} of {of!r}")
    return {"label": str.__str__(label), "index": index, "metadata": text}


def _cut_decimal(metadata: Any) -> Decimal | None:
    """A Decimal that a 64-bit float would cut; None where there is none."""
    if isinstance(metadata, Decimal):
        return None if Decimal(repr(float(metadata))) == metadata else metadata
    if isinstance(metadata, Mapping):
        metadata = metadata.values()
    elif not isinstance(metadata, (list, tuple)):
        return None
    return next((cut for one in metadata if (cut := _cut_decimal(one)) is not None), None)


def _metadata(segment: Mapping[str, Any], of: str) -> Mapping[str, Any]:
    """The metadata of a Segment; members beside label and index belong to it, as in manifests."""
    given = segment.get("metadata")
    if given is not None and not isinstance(given, Mapping):
        raise ManifestError(
            f"a Segment of {of!r} cannot be written: its metadata is {given!r}, expected a dict"
        )
    beside = {name: one for name, one in segment.items() if name not in _MEMBERS}
    twice = sorted(str(name) for name in beside if name in (given or {}))
    if twice:
        raise ManifestError(f"a Segment of {of!r} has {twice[0]!r} twice, beside its metadata")
    return {**beside, **(given or {})}
