"""Records of other formats, read: the interface between importers and ``importing``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from segpipe.formats.folder_scan import LeftOut
from segpipe.formats.ids import Ids
from segpipe.manifests.rows import ImportFinding
from segpipe.masks.refusal import MaskRefused
from segpipe.predictions.prediction import Segment


@dataclass(frozen=True)
class Imported:
    """One prediction read from another format, or the findings for which it was refused.

    Attributes:
        source: the file or record it came from, for messages.
        mask: of index values, or H x W uint8; None where the record was refused.
        findings: problems of the record; where one rejects, there is no mask.
        height, width: of the image in pixels, where the format has them.
        carried: values of the manifest's further columns.
    """

    reference_id: str
    source: str
    mask: Ids | NDArray[np.uint8] | None = None
    segments: tuple[Segment, ...] = ()
    findings: tuple[ImportFinding, ...] = ()
    annotation_id: str | None = None
    height: int | None = None
    width: int | None = None
    image_url: str | None = None
    carried: Mapping[str, Any] = field(default_factory=dict)

    @property
    def pixels(self) -> NDArray[np.uint8] | None:
        """The mask as H x W uint8; None where the record was refused."""
        if not isinstance(self.mask, Ids):
            return self.mask
        return np.ascontiguousarray(self.mask.pixels, np.uint8)


class Format(Protocol):
    """A source in another format."""

    @property
    def carried(self) -> Mapping[str, pa.DataType]:
        """Name -> type of the further columns of its predictions."""
        ...

    def __len__(self) -> int:
        """Number of records."""
        ...

    def predictions(self) -> Iterator[Imported]:
        """Read the records one by one; a malformed one is yielded with its findings."""
        ...


class RecordSource(ABC):
    """A source whose records are read independently of each other, and so by several processes."""

    @abstractmethod
    def records(self) -> Iterator[Any]:
        """What is needed to read each record, in order; picklable."""

    @abstractmethod
    def without_records(self) -> Self:
        """The source without its records, which reads any of them; small and picklable."""

    @abstractmethod
    def read(self, record: Any) -> Iterator[Imported]:
        """The predictions of a record; a malformed one is yielded with its findings."""

    def predictions(self) -> Iterator[Imported]:
        """Read all records, one by one."""
        for record in self.records():
            yield from self.read(record)


@runtime_checkable
class ScannedFolder(Protocol):
    """A source that scans a folder, and says what of it is not imported."""

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """What is in the folder and not imported, with the reason."""
        ...


def refused(reference_id: str, source: str, *findings: ImportFinding, **other: Any) -> Imported:
    """A record that cannot be imported."""
    return Imported(reference_id, source, findings=findings, **other)


def finding_of(refusal: MaskRefused, source: str) -> ImportFinding:
    """The finding for a refused mask; its message names the source."""
    return ImportFinding(
        refusal.rule,
        f"{source}: {refusal.message}",
        refusal.found,
        refusal.expected,
        refusal.remedy,
    )
