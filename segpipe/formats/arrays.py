"""NumPy files of class or instance arrays: ``.npy``, or every array of an ``.npz``."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segpipe.formats.files import Naming, SourceFiles
from segpipe.formats.folder_source import FolderSource, ItemFile
from segpipe.formats.identifiers import Over256
from segpipe.formats.imported import Imported
from segpipe.formats.labels import Labels
from segpipe.manifests.rows import ImportFinding
from segpipe.masks.decoding import MAX_PIXELS


@dataclass(frozen=True)
class Arrays(FolderSource):
    """Arrays in files of a folder and its subfolders, each one prediction."""

    labels: Labels
    over: Over256

    @classmethod
    def open(
        cls,
        source: Path,
        labels: Labels,
        naming: Naming,
        over: Over256,
        *,
        allowed: Sequence[str | PathLike[str]] = (),
    ) -> Arrays:
        """Find the files.

        Raises:
            SettingsError: if there are none.
        """
        files = SourceFiles.find(source, (".npy", ".npz"), allowed=allowed)
        return cls(files, naming, labels, over)

    def _predictions_in(self, file: ItemFile) -> Iterator[Imported]:
        try:
            for name, array in _arrays(file.path):
                item = file
                if name:
                    item = replace(
                        file,
                        shown=f"{file.shown}[{name}]",
                        reference_id=f"{file.reference_id}/{name}",
                    )
                yield self._imported(array, item)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, KeyError) as error:
            yield file.refused(_unreadable(file.shown, error))

    def _imported(self, array: NDArray[Any], item: ItemFile) -> Imported:
        unusable = _unusable(array, item.shown)
        if unusable is not None:
            return item.refused(unusable)
        ids = array.astype(np.uint8) if array.dtype == np.bool_ else array
        return self.labels.prediction(ids, item, self.over)


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
    # numpy says the first of a pickle, the second of an array of objects.
    if "allow_pickle" in words or "Python objects" in words:
        words = (
            "it holds Python objects, which are not opened: save an array of whole numbers "
            "(of Cellpose's _seg.npy, the entry 'masks')"
        )
    return ImportFinding("IMPORT-UNREADABLE", f"{shown} cannot be read: {words}", found=words)
