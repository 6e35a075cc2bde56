"""Published predictions, written in formats that other tools read.

What is exported and imported again is the same prediction: what a format has no words for goes
beside it (see ``sidecars``). Names of files come from reference ids, percent-encoded, so that no id
can lead out of the folder. The folder appears whole, or not at all.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segpipe.errors import SettingsError, StorageError
from segpipe.formats.sidecars import Sidecar
from segpipe.masks.decoding import decode_mask
from segpipe.predictions.prediction import Segment
from segpipe.publishing.catalog import Catalog
from segpipe.publishing.table import of_model_run, quoted
from segpipe.storage.failures import storage_errors
from segpipe.storage.files import folder_name

_ITEMS_AT_ONCE = 500
_LONGEST_NAME = 200
_MASKS, _LABELS = "masks", "labels.json"
_COLUMNS = [
    "reference_id", "annotation_id", "mask_sha256", "height", "width", "segments", "image_url",
]  # fmt: skip

#: Told how many of how many predictions are written.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Published:
    """One prediction to export.

    Attributes:
        name: for its files, without extension; no other prediction of the export has it.
        mask: H x W uint8; ``png`` the same as the catalog stores it.
        measured: the segments with their areas and boxes, by index, as the catalog holds them.
    """

    name: str
    reference_id: str
    annotation_id: str | None
    image_url: str | None
    mask: NDArray[np.uint8]
    png: bytes
    measured: tuple[Mapping[str, Any], ...]

    @property
    def segments(self) -> tuple[Segment, ...]:
        """Its Segments."""
        return tuple(
            Segment(one["label"], one["index"], json.loads(one["metadata"]))
            for one in self.measured
        )

    @property
    def sidecar(self) -> Sidecar:
        """All there is to say of it besides its pixels."""
        return Sidecar(self.reference_id, self.segments, self.annotation_id, self.image_url)


def published(
    catalog: Catalog,
    dataset: str,
    model_run: str,
    date: str | None = None,
    progress: Progress | None = None,
) -> Iterator[Published]:
    """The predictions of a model run, by reference id, a bounded number in memory.

    Args:
        date: of one partition; all where None.

    Raises:
        SettingsError: if nothing of it is published.
        CatalogError, StorageError: if the catalog or a mask cannot be read.
    """
    where = of_model_run(dataset, model_run)
    if date is not None:
        where += f" AND partition = {quoted(date)}"
    version = catalog.version()
    ids = sorted(catalog.read(["reference_id"], where, version=version)["reference_id"].to_pylist())
    if not ids:
        known = catalog.read(["model_run"], version=version)["model_run"].unique().to_pylist()
        raise SettingsError(
            f"nothing of model run {model_run!r}{f' of {date}' if date else ''} is published "
            f"(model runs: {', '.join(sorted(known)) or 'none'})"
        )
    names = _Names()
    for start in range(0, len(ids), _ITEMS_AT_ONCE):
        part = ids[start : start + _ITEMS_AT_ONCE]
        rows = catalog.read_items(dataset, model_run, part, _COLUMNS, version=version)
        for done, row in enumerate(rows.sort_by("reference_id").to_pylist(), start + 1):
            png = catalog.masks.read(row["mask_sha256"])
            yield Published(
                names.of(row["reference_id"]),
                row["reference_id"],
                row["annotation_id"],
                row["image_url"],
                decode_mask(png, max_pixels=2**31).pixels,
                png,
                tuple(row["segments"]),
            )
            if progress is not None:
                progress(done, len(ids))


def export_mask_folder(predictions: Iterator[Published], out: Path) -> int:
    """Write ``masks/<id>.png`` with a sidecar each, and ``labels.json``; returns how many.

    ``labels.json`` holds the indexes that stand for one label throughout; it is for other tools,
    the sidecars say all of it.

    Raises:
        StorageError: if a file cannot be written, or the folder is not empty.
    """
    labels: dict[int, set[str]] = {}
    count = 0
    with appearing_whole(out) as folder:
        (folder / _MASKS).mkdir()
        for one in predictions:
            count += 1
            (folder / _MASKS / f"{one.name}.png").write_bytes(one.png)
            (folder / _MASKS / f"{one.name}.json").write_text(one.sidecar.to_json(), "utf-8")
            for segment in one.segments:
                labels.setdefault(segment.index, set()).add(segment.label)
        same = {str(i): min(found) for i, found in sorted(labels.items()) if len(found) == 1}
        (folder / _LABELS).write_text(json.dumps(same, ensure_ascii=False, indent=1), "utf-8")
    return count


@dataclass
class _Names:
    """Names of files; those that differ in case alone are kept apart, as not every disk does."""

    given: set[str] = field(default_factory=set)

    def of(self, reference_id: str) -> str:
        name = folder_name(reference_id)
        if len(name) > _LONGEST_NAME or name.casefold() in self.given:
            name = f"{name[:100]}-{hashlib.sha256(reference_id.encode()).hexdigest()[:16]}"
        self.given.add(name.casefold())
        return name


@contextmanager
def appearing_whole(out: Path) -> Iterator[Path]:
    """A folder to write to, that takes the place of ``out`` at the end of the block.

    Raises:
        StorageError: if something is there already, or a file cannot be written.
    """
    place = out.absolute()
    being_written = place.with_name(f".{place.name}.{os.getpid()}")
    with storage_errors(f"writing to {out}"):
        if place.exists() and (not place.is_dir() or any(place.iterdir())):
            raise StorageError(f"{out} is not an empty folder: choose another")
        being_written.mkdir(parents=True)
        try:
            yield being_written
            if place.exists():
                place.rmdir()
            being_written.rename(place)
        finally:
            shutil.rmtree(being_written, ignore_errors=True)
