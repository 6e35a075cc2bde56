"""What an importer makes of one record of another format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from segpipe.manifests.rows import ImportFinding
from segpipe.masks.refusal import MaskRefused
from segpipe.predictions.prediction import Segment


@dataclass(frozen=True)
class Imported:
    """One prediction read from another format, or why it could not be.

    Attributes:
        source: the file or record it came from, fit to be shown.
        mask: H x W uint8; None where the record was refused.
        findings: what was wrong with the record; those that reject leave no mask.
        height, width: of the image in pixels, where the format says so.
        carried: further columns of the manifest.
    """

    reference_id: str
    source: str
    mask: NDArray[np.uint8] | None = None
    segments: tuple[Segment, ...] = ()
    findings: tuple[ImportFinding, ...] = ()
    annotation_id: str | None = None
    height: int | None = None
    width: int | None = None
    image_url: str | None = None
    carried: Mapping[str, Any] = field(default_factory=dict)


class Format(Protocol):
    """A source in another format."""

    @property
    def carried(self) -> Mapping[str, pa.DataType]:
        """Types of the further columns its predictions have."""
        ...

    def __len__(self) -> int:
        """How many predictions there are."""
        ...

    def predictions(self) -> Iterator[Imported]:
        """Read them one by one; what is wrong with one is told with it, and the next follows."""
        ...


def refused(reference_id: str, source: str, *findings: ImportFinding, **other: Any) -> Imported:
    """A record that cannot be imported."""
    return Imported(reference_id, source, findings=findings, **other)


def finding_of(refusal: MaskRefused, source: str) -> ImportFinding:
    """A refused file as a finding that names it."""
    return ImportFinding(
        refusal.rule, f"{source}: {refusal.message}", refusal.found, refusal.expected
    )
