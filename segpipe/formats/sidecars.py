"""Sidecars: what a prediction is besides its pixels, as JSON that other formats carry along.

``{"reference_id": ..., "annotation_id": ..., "image_url": ..., "segments": [{"index": ...,
"label": ..., "metadata": {...}}]}``. ``segpipe export`` writes one for every mask: into a file of
the same name beside it (mask folders), or into the annotation, under ``segpipe`` (COCO). An export
that is imported again is therefore the same prediction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segpipe.errors import SegpipeError
from segpipe.formats.json_values import brief, json_text, kind_of, read_json
from segpipe.manifests.rows import ImportFinding
from segpipe.predictions.metadata import canonical_metadata
from segpipe.predictions.prediction import Segment

#: Of the file beside a mask.
SIDECAR_EXTENSION = ".json"


@dataclass(frozen=True)
class Sidecar:
    """All of a prediction except its pixels."""

    reference_id: str
    segments: tuple[Segment, ...]
    annotation_id: str | None = None
    image_url: str | None = None

    @classmethod
    def of(cls, content: Any) -> Sidecar:
        """From the parsed JSON of :meth:`to_json`.

        Raises:
            ValueError: naming the part that is malformed.
            MetadataError: if the metadata of a Segment cannot be used.
        """
        if not isinstance(content, dict) or not isinstance(content.get("segments"), list):
            raise ValueError(f"it is {kind_of(content)}, expected reference_id and segments")
        item = content.get("reference_id")
        if not isinstance(item, str) or not item:
            raise ValueError(f"reference_id is {brief(item)}, expected text")
        for name in ("annotation_id", "image_url"):
            if not isinstance(content.get(name), (str, type(None))):
                raise ValueError(f"{name} is {brief(content[name])}, expected text")
        segments = tuple(map(_segment, content["segments"]))
        return cls(item, segments, content.get("annotation_id"), content.get("image_url"))

    def to_dict(self) -> dict[str, Any]:
        """The content, for JSON."""
        return {
            "reference_id": self.reference_id,
            "annotation_id": self.annotation_id,
            "image_url": self.image_url,
            "segments": [
                {"index": s.index, "label": s.label, "metadata": dict(s.metadata)}
                for s in self.segments
            ],
        }

    def to_json(self) -> str:
        """JSON text, as written beside the mask."""
        return json_text(self.to_dict())


def sidecar_of(mask: Path, shown: str) -> Sidecar | ImportFinding | None:
    """The sidecar of a mask file; None where there is none, a finding where it is malformed.

    Args:
        mask: the PNG's path.
        shown: the PNG, for messages.
    """
    path = mask.with_suffix(SIDECAR_EXTENSION)
    if not path.is_file():
        return None
    try:
        return Sidecar.of(read_json(path))
    except (SegpipeError, ValueError) as error:
        return ImportFinding(
            "IMPORT-UNREADABLE",
            f"{shown}: its description {path.name} cannot be read ({error}); write it again or "
            "remove it",
            found=path.name,
            expected="reference_id and segments",
        )


def has_sidecars(masks: Iterable[Path]) -> bool:
    """Whether any of several masks has a sidecar; only PNGs have."""
    pngs = (path for path in masks if path.suffix.lower() == ".png")
    return any(path.with_suffix(SIDECAR_EXTENSION).is_file() for path in pngs)


def _segment(cell: Any) -> Segment:
    if not isinstance(cell, Mapping):
        raise ValueError(f"a Segment is {brief(cell)}, expected label, index and metadata")
    label, index, metadata = cell.get("label"), cell.get("index"), cell.get("metadata") or {}
    if not isinstance(label, str):
        raise ValueError(f"a label is {brief(label)}, expected text")
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index <= 255:
        raise ValueError(f"the index of {label!r} is {brief(index)}, expected 0 to 255")
    if not isinstance(metadata, Mapping):
        raise ValueError(f"the metadata of {label!r} is {brief(metadata)}, expected an object")
    canonical_metadata(metadata)
    return Segment(label, index, dict(metadata))
