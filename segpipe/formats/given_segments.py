"""Segments as a person gives them to ``ManifestWriter``, as cells of a manifest."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from segpipe.errors import ManifestError, MetadataError, nearest, shortened
from segpipe.manifests.writer import whole_number
from segpipe.predictions.metadata import canonical_form
from segpipe.predictions.prediction import Segment

_MEMBERS = frozenset({"label", "index", "metadata"})
# What segpipe itself reads in the metadata may stand beside label and index.
_BESIDE = ("confidence", "class_pdf", "pdf", "isthing", "iscrowd", "ignore", "track_id")
#: What confidence is called elsewhere.
_SYNONYMS = ("score", "scores", "probability", "prob", "conf")

#: A Segment, or ``{"label": ..., "index": ..., "metadata": {...}}``; ``confidence`` and others that
#: segpipe reads may stand beside label and index.
SegmentLike = Segment | Mapping[str, Any]


def segment_cells(
    segments: Sequence[SegmentLike], of: str, declared: Collection[str] = ()
) -> list[dict[str, Any]]:
    """Segments as cells of a manifest: label, index, and metadata as canonical JSON.

    Args:
        of: the item, for messages.
        declared: further keys of the metadata that may stand beside label and index.

    Raises:
        ManifestError: naming the item, if a Segment is malformed.
    """
    if isinstance(segments, (str, bytes, Mapping, Segment)) or not isinstance(segments, Iterable):
        raise ManifestError(
            f"the Segments of {of!r} are {str(segments)[:80]!r} ({type(segments).__name__}), "
            "expected a list of segpipe.Segment"
        )
    return [_cell(segment, of, declared) for segment in segments]


def _cell(segment: SegmentLike, of: str, declared: Collection[str]) -> dict[str, Any]:
    if isinstance(segment, Segment):
        label, index, metadata = segment.label, segment.index, segment.metadata
    elif isinstance(segment, Mapping):
        for name in ("label", "index"):
            if name not in segment:
                others = [str(key) for key in segment if key not in _MEMBERS]
                close = difflib.get_close_matches(name, others, n=1)
                hint = f"; is it {close[0]!r}?" if close else ""
                raise ManifestError(f"a Segment of {of!r} has no {name!r}{hint}")
        label, index = segment["label"], segment["index"]
        metadata = _metadata(segment, of, declared)
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


def _metadata(segment: Mapping[str, Any], of: str, declared: Collection[str]) -> Mapping[str, Any]:
    """The metadata of a Segment, with what stands beside label and index."""
    given = segment.get("metadata")
    if given is not None and not isinstance(given, Mapping):
        raise ManifestError(
            f"a Segment of {of!r} cannot be written: its metadata is {given!r}, expected a dict"
        )
    beside = {name: one for name, one in segment.items() if name not in _MEMBERS}
    twice = sorted(str(name) for name in beside if name in (given or {}))
    if twice:
        raise ManifestError(f"a Segment of {of!r} has {twice[0]!r} twice, beside its metadata")
    for name in beside:
        if name not in _BESIDE and name not in declared:
            known = [*sorted(_MEMBERS), *_BESIDE, *declared]
            hint = (
                "; did you mean 'confidence'?" if name in _SYNONYMS else nearest(str(name), known)
            )
            raise ManifestError(
                f"a Segment of {of!r} has the key {shortened(repr(name), 80)}, which none "
                f"has{hint}. What is your own goes under 'metadata'"
            )
    return {**beside, **(given or {})}


def unread_confidence(segments: Iterable[SegmentLike]) -> str | None:
    """A key of the metadata that may be meant as the confidence of a Segment that has none."""
    for segment in segments:
        metadata = segment.metadata if isinstance(segment, Segment) else segment.get("metadata")
        if metadata and "confidence" not in metadata:
            beside = segment if isinstance(segment, Mapping) else {}
            found = next((name for name in _SYNONYMS if name in metadata), None)
            if found is not None and "confidence" not in beside:
                return found
    return None
