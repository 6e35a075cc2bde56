"""NumPy files of class or instance arrays: ``.npy``, or every array of an ``.npz``."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from segpipe.formats.files import FRAME_COLUMNS, Naming, SourceFiles
from segpipe.formats.identifiers import Over256, Region, areas_of, index_mask
from segpipe.formats.imported import Imported, refused
from segpipe.formats.mask_folder import Labels
from segpipe.manifests.rows import ImportFinding
from segpipe.masks.decoding import MAX_PIXELS


@dataclass(frozen=True)
class Arrays:
    """Arrays in files of a folder and the folders in it."""

    files: SourceFiles
    labels: Labels
    naming: Naming = field(default_factory=Naming)
    over: Over256 = Over256.REFUSE

    @classmethod
    def open(cls, source: Path, labels: Labels, naming: Naming, over: Over256) -> Arrays:
        """Find the files.

        Raises:
            SettingsError: if there are none.
        """
        return cls(SourceFiles.find(source, (".npy", ".npz")), labels, naming, over)

    @property
    def carried(self) -> Mapping[str, pa.DataType]:
        """``sequence`` and ``frame`` where files lie in folders."""
        return FRAME_COLUMNS if self.files.in_folders else {}

    def __len__(self) -> int:
        return len(self.files)

    def predictions(self) -> Iterator[Imported]:
        """The arrays, in the order of the files' paths."""
        for path in self.files:
            shown = self.files.shown(path)
            item = self.naming.reference_id(path, self.files.source)
            carried = self.files.frame(path, item)
            try:
                for name, array in _arrays(path):
                    own, where = (f"{item}/{name}", f"{shown}[{name}]") if name else (item, shown)
                    yield self._imported(array, own, where, carried)
            except (OSError, ValueError, EOFError, zipfile.BadZipFile, KeyError) as error:
                yield refused(item, shown, _unreadable(shown, error), carried=carried)

    def _imported(
        self, array: NDArray[Any], reference_id: str, shown: str, carried: Mapping[str, Any]
    ) -> Imported:
        wrong = _wrong(array, shown)
        if wrong is not None:
            return refused(reference_id, shown, wrong, carried=carried)
        ids = array.astype(np.uint8) if array.dtype == np.bool_ else array
        areas = areas_of(ids)
        segments, findings = self.labels.segments(areas, shown)
        if findings:
            return refused(reference_id, shown, *findings, carried=carried)
        if max(areas) > 255:
            regions = {
                segment.index: Region(
                    segment.index,
                    segment.label,
                    {**segment.metadata, "source_id": segment.index},
                    fixed=not segment.metadata.get("isthing", True),
                )
                for segment in segments
            }
            indexed = index_mask(ids, areas, regions, self.over, shown)
            return Imported(
                reference_id, shown, indexed.mask, indexed.segments, indexed.findings,
                carried=carried,
            )  # fmt: skip
        mask = np.ascontiguousarray(ids, np.uint8)
        return Imported(reference_id, shown, mask, segments, carried=carried)


def _arrays(path: Path) -> Iterator[tuple[str, NDArray[Any]]]:
    if path.suffix.lower() == ".npy":
        yield "", np.load(path, mmap_mode="r", allow_pickle=False)
        return
    with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
        names = content.files
        for name in names:
            yield name if len(names) > 1 else "", content[name]


def _wrong(array: NDArray[Any], shown: str) -> ImportFinding | None:
    if np.issubdtype(array.dtype, np.floating):
        return ImportFinding(
            "PROBABILITY-MAP",
            f"{shown} holds {array.dtype}: scores are not classes; apply argmax or a threshold "
            "and save whole numbers",
            found=str(array.dtype),
            expected="whole numbers",
        )
    if array.ndim != 2 or 0 in array.shape:
        hint = ": scores per class? apply argmax over the classes" if array.ndim == 3 else ""
        return ImportFinding(
            "IMPORT-UNREADABLE",
            f"{shown} has shape {array.shape}, expected H x W{hint}",
            found=str(array.shape),
            expected="H x W",
        )
    if not (np.issubdtype(array.dtype, np.integer) or array.dtype == np.bool_):
        return ImportFinding(
            "IMPORT-UNREADABLE",
            f"{shown} holds {array.dtype}, expected whole numbers",
            found=str(array.dtype),
            expected="whole numbers",
        )
    if array.size > MAX_PIXELS:
        return ImportFinding(
            "TOO-LARGE", f"{shown} has {array.size:,} pixels, over the limit of {MAX_PIXELS:,}"
        )
    lowest = int(array.min())
    if lowest < 0:
        return ImportFinding(
            "IMPORT-UNREADABLE",
            f"{shown} holds {lowest}: a value below 0 has no index; give it one before importing",
            found=str(lowest),
            expected="0 or more",
        )
    return None


def _unreadable(shown: str, error: Exception) -> ImportFinding:
    words = str(error).splitlines()[0] if str(error) else type(error).__name__
    if "allow_pickle" in words:
        words = "it holds Python objects, which are not opened: save an array of whole numbers"
    return ImportFinding("IMPORT-UNREADABLE", f"{shown} cannot be read: {words}", found=words)
