"""Sources whose predictions lie in files of a folder: the code their importers share.

An importer adds how a file is decoded, and what its values mean.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from segpipe.formats.files import Naming, SourceFiles, read
from segpipe.formats.folder_scan import LeftOut
from segpipe.formats.ids import Ids
from segpipe.formats.imported import Imported, RecordSource, finding_of, refused
from segpipe.manifests.rows import ImportFinding
from segpipe.masks.refusal import MaskRefused
from segpipe.predictions.prediction import Segment


@dataclass(frozen=True)
class ItemFile:
    """One file of a source, and the dataset item it is for.

    Attributes:
        shown: the path below the source, for messages.
        carried: values of the further columns.
    """

    path: Path
    shown: str
    reference_id: str
    carried: Mapping[str, Any]

    def imported(
        self,
        mask: Ids | NDArray[np.uint8] | None,
        segments: tuple[Segment, ...],
        findings: tuple[ImportFinding, ...] = (),
    ) -> Imported:
        """The file's prediction.

        Args:
            mask: H x W; None where the findings reject it.
        """
        return Imported(
            self.reference_id, self.shown, mask, segments, findings, carried=self.carried
        )

    def refused(self, *findings: ImportFinding) -> Imported:
        """The file as a record that cannot be imported."""
        return refused(self.reference_id, self.shown, *findings, carried=self.carried)


def item_files(files: SourceFiles, naming: Naming) -> Iterator[ItemFile]:
    """The files of a source, in the order of their paths."""
    for path in files:
        reference_id = naming.reference_id(path, files.source)
        carried = files.frame(path, reference_id)
        yield ItemFile(path, files.shown(path), reference_id, carried)


@dataclass(frozen=True)
class FolderSource(RecordSource):
    """Predictions in files of a folder and its subfolders, as a :class:`Format`."""

    files: SourceFiles
    naming: Naming

    @property
    def carried(self) -> Mapping[str, pa.DataType]:
        """``sequence`` and ``frame`` where files lie in subfolders."""
        return self.files.columns

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """What is in the folder and not imported."""
        return self.files.left_out

    def __len__(self) -> int:
        return len(self.files)

    def records(self) -> Iterator[ItemFile]:
        """The files, in the order of their paths."""
        return item_files(self.files, self.naming)

    def without_records(self) -> Self:
        """Without the files."""
        return replace(self, files=replace(self.files, paths=(), left_out=()))

    @abstractmethod
    def read(self, record: ItemFile) -> Iterator[Imported]:
        """The predictions of one file; what cannot be read is refused."""


@dataclass(frozen=True)
class PngFolder(FolderSource):
    """A folder in which each PNG is one prediction."""

    def read(self, record: ItemFile) -> Iterator[Imported]:
        data = read(record.path, record.shown)
        if isinstance(data, ImportFinding):
            yield record.refused(data)
            return
        try:
            imported = self._decoded(record, data)
        except MaskRefused as refusal:
            imported = record.refused(finding_of(refusal, record.shown))
        yield imported

    @abstractmethod
    def _decoded(self, file: ItemFile, data: bytes) -> Imported:
        """The prediction of a file.

        Args:
            data: the file's bytes.

        Raises:
            MaskRefused: if they are not a PNG of the expected kind.
        """
