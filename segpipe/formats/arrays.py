"""NumPy files of class or instance arrays or of scores: ``.npy``, or each array of an ``.npz``."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segpipe.errors import ManifestError
from segpipe.formats.files import Naming, SourceFiles
from segpipe.formats.folder_source import FolderSource, ItemFile
from segpipe.formats.identifiers import Over256
from segpipe.formats.ids import Ids
from segpipe.formats.imported import Imported
from segpipe.formats.labels import Labels
from segpipe.formats.scores import segmented
from segpipe.manifests.rows import ImportFinding
from segpipe.masks.decoding import MAX_PIXELS


@dataclass(frozen=True)
class Arrays(FolderSource):
    """Arrays in files of a folder and its subfolders, each one prediction.

    Attributes:
        scores: they are C x H x W probabilities, with a label for each class.
    """

    labels: Labels
    over: Over256
    scores: bool = False

    @classmethod
    def open(
        cls,
        source: Path,
        labels: Labels,
        naming: Naming,
        over: Over256,
        *,
        scores: bool = False,
        allowed: Sequence[str | PathLike[str]] = (),
    ) -> Arrays:
        """Find the files.

        Raises:
            SettingsError: if there are none.
        """
        files = SourceFiles.find(source, (".npy", ".npz"), allowed=allowed)
        return cls(files, naming, labels, over, scores)

    def read(self, record: ItemFile) -> Iterator[Imported]:
        try:
            for name, array in _arrays(record.path):
                item = record
                if name:
                    item = replace(
                        record,
                        shown=f"{record.shown}[{name}]",
                        reference_id=f"{record.reference_id}/{name}",
                    )
                yield self._imported(array, item)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, KeyError) as error:
            yield record.refused(_unreadable(record.shown, error))

    def _imported(self, array: NDArray[Any], item: ItemFile) -> Imported:
        if self.scores:
            return self._of_scores(array, item)
        unusable = _unusable(array, item.shown)
        if unusable is not None:
            return item.refused(unusable)
        ids = array.astype(np.uint8) if array.dtype == np.bool_ else array
        return self.labels.prediction(Ids.of(ids), item, self.over)

    def _of_scores(self, array: NDArray[Any], item: ItemFile) -> Imported:
        if array.ndim == 3 and array.shape[1] * array.shape[2] > MAX_PIXELS:
            return item.refused(_too_large(array.shape[1] * array.shape[2], item.shown))
        classes = sorted(self.labels.by_index.items())
        names = [entry.label for _, entry in classes]
        extra = [entry.metadata for _, entry in classes]
        try:
            mask, segments = segmented(array, names, item.shown, metadata=extra)
        except ManifestError as error:
            return item.refused(ImportFinding("IMPORT-UNREADABLE", str(error)))
        return item.imported(mask, tuple(segments))


def _too_large(pixels: int, shown: str) -> ImportFinding:
    return ImportFinding(
        "TOO-LARGE", f"{shown} has {pixels:,} pixels, over the limit of {MAX_PIXELS:,}"
    )


def _arrays(path: Path) -> Iterator[tuple[str, NDArray[Any]]]:
    """Name and content of each array; the name is empty where a file holds one array."""
    if path.suffix.lower() == ".npy":
        yield "", np.load(path, mmap_mode="r", allow_pickle=False)
        return
    with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
        names = content.files
        for name in names:
            yield name if len(names) > 1 else "", content[name]


def _unusable(array: NDArray[Any], shown: str) -> ImportFinding | None:
    """Why an array holds no ids; None where it does."""
    if np.issubdtype(array.dtype, np.floating):
        return ImportFinding(
            "PROBABILITY-MAP",
            f"{shown} holds {array.dtype}: scores are not classes; import C x H x W "
            "probabilities with --scores, or apply argmax or a threshold and save whole numbers",
            found=str(array.dtype),
            expected="whole numbers",
        )
    if array.ndim != 2 or 0 in array.shape:
        hint = ": scores per class? apply argmax over the classes" if array.ndim == 3 else ""
        if hint and array.dtype == np.bool_:  # of which argmax would make background an instance
            hint = ": a stack of instances' masks is given to segpipe.ManifestWriter.add_instances"
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
        return _too_large(array.size, shown)
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
    # numpy says the first of a pickle, the second of an array of objects.
    if "allow_pickle" in words or "Python objects" in words:
        words = (
            "it holds Python objects, which are not opened: save an array of whole numbers "
            "(of Cellpose's _seg.npy, the entry 'masks')"
        )
    return ImportFinding("IMPORT-UNREADABLE", f"{shown} cannot be read: {words}", found=words)
