"""What one label map cannot say of a mask: a JSON file of the same name beside it.

``{"reference_id": ..., "annotation_id": ..., "image_url": ..., "segments": [{"index": ...,
"label": ..., "metadata": {...}}]}``. ``segpipe export --as mask-folder`` writes one for every
mask, so that what is imported again is the same prediction.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segpipe.manifest import ImportFinding
from segpipe.prediction import Segment


@dataclass(frozen=True)
class Sidecar:
    """One mask's own description."""

    reference_id: str
    segments: tuple[Segment, ...]
    annotation_id: str | None = None
    image_url: str | None = None

    def to_json(self) -> str:
        """As written beside the mask."""
        return json.dumps(
            {
                "reference_id": self.reference_id,
                "annotation_id": self.annotation_id,
                "image_url": self.image_url,
                "segments": [
                    {"index": s.index, "label": s.label, "metadata": dict(s.metadata)}
                    for s in self.segments
                ],
            },
            ensure_ascii=False,
            sort_keys=True,
        )


def sidecar_of(mask: Path, shown: str) -> Sidecar | ImportFinding | None:
    """The description beside a mask; None where there is none, a finding where it is damaged."""
    path = mask.with_suffix(".json")
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text("utf-8"))
        return Sidecar(
            str(content["reference_id"]),
            tuple(_segments(content["segments"])),
            content.get("annotation_id"),
            content.get("image_url"),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return ImportFinding(
            "IMPORT-UNREADABLE",
            f"{shown}: its description {path.name} cannot be read "
            f"({type(error).__name__}: {error}); write it again or remove it",
            found=path.name,
            expected="reference_id and segments",
        )


def _segments(cells: Sequence[Mapping[str, Any]]) -> list[Segment]:
    return [Segment(str(c["label"]), int(c["index"]), dict(c.get("metadata") or {})) for c in cells]
