"""Published predictions, exported to formats that other tools read.

A prediction that is exported and imported again is the same prediction: what a format cannot
express goes into a sidecar (see ``sidecars``). File names come from reference ids, percent-encoded,
so that no id can lead out of the folder. The folder appears complete, or not at all.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segpipe.errors import SettingsError, StorageError
from segpipe.formats.sidecars import Sidecar
from segpipe.masks.decoding import decode_mask
from segpipe.masks.fast_path import expecting
from segpipe.predictions.prediction import Segment
from segpipe.publishing.catalog import Catalog
from segpipe.publishing.table_format import of_model_run, quoted
from segpipe.storage.durability import make_folders, sync_folder, sync_tree
from segpipe.storage.failures import storage_errors
from segpipe.storage.files import folder_name

_ITEMS_AT_ONCE = 500
_LONGEST_NAME = 200
_MASKS, _LABELS = "masks", "labels.json"
_COLUMNS = [
    "reference_id", "annotation_id", "mask_sha256", "height", "width", "segments", "image_url",
]  # fmt: skip

#: Called with the number of predictions written and of all predictions.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Published:
    """One prediction to export.

    Attributes:
        name: of its files, without extension; unique in the export.
        mask: H x W uint8.
        png: the same mask, as the catalog stores it.
        measured: the catalog's cells of the segments with areas and boxes, by index.
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
        """The prediction's Segments, by index."""
        return tuple(
            Segment(one["label"], one["index"], json.loads(one["metadata"]))
            for one in self.measured
        )

    @property
    def sidecar(self) -> Sidecar:
        """The prediction without its pixels."""
        return Sidecar(self.reference_id, self.segments, self.annotation_id, self.image_url)


def published(
    catalog: Catalog,
    dataset: str,
    model_run: str,
    date: str | None = None,
    progress: Progress | None = None,
    reference_ids: Collection[str] | None = None,
) -> Iterator[Published]:
    """The published predictions of a model run, by reference id, a bounded number in memory.

    Args:
        date: of one partition, ``YYYY-MM-DD``; all partitions where None.
        progress: called after each prediction.
        reference_ids: only those of these items; of all where None.

    Raises:
        SettingsError: if the model run has no published prediction there.
        CatalogError, StorageError: if the catalog or a mask cannot be read.
    """
    where = of_model_run(dataset, model_run)
    if date is not None:
        where += f" AND partition = {quoted(date)}"
    version = catalog.version()
    ids = sorted(catalog.read(["reference_id"], where, version=version)["reference_id"].to_pylist())
    if reference_ids is not None and ids:
        wanted = {*reference_ids}
        ids = [one for one in ids if one in wanted]
        if not ids:
            raise SettingsError(
                f"none of the {len(wanted)} items is published by model run {model_run!r}"
            )
    if not ids:
        known = catalog.read(["model_run"], version=version)["model_run"].unique().to_pylist()
        raise SettingsError(
            f"nothing of model run {model_run!r}{f' of {date}' if date else ''} is published "
            f"(model runs: {', '.join(sorted(known)) or 'none'})"
        )
    names = _Names()
    with expecting(len(ids)):
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
    """Write ``masks/<name>.png`` with its sidecar, and ``labels.json``.

    ``labels.json`` is for other tools: index -> label, for the indexes that have the same label in
    all masks. The sidecars are complete.

    Returns:
        The number of predictions.

    Raises:
        StorageError: if a file cannot be written, or the folder is not empty.
    """
    labels: dict[int, set[str]] = {}
    count = 0
    with atomic_folder(out) as folder:
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
    """Unique file names, also on file systems that ignore case.

    Attributes:
        given: the names so far, casefolded.
    """

    given: set[str] = field(default_factory=set)

    def of(self, reference_id: str) -> str:
        name = folder_name(reference_id)
        if len(name) > _LONGEST_NAME or name.casefold() in self.given:
            name = f"{name[:100]}-{hashlib.sha256(reference_id.encode()).hexdigest()[:16]}"
        self.given.add(name.casefold())
        return name


@contextmanager
def atomic_folder(out: Path) -> Iterator[Path]:
    """A temporary folder to write to, renamed to ``out`` when the block ends without an error.

    Raises:
        StorageError: if ``out`` is a file or not empty, or a file cannot be written.
    """
    target = out.absolute()
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    with storage_errors(f"writing to {out}"):
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise StorageError(f"{out} is not an empty folder: choose another")
        make_folders(str(target.parent))
        temporary.mkdir()
        try:
            yield temporary
            sync_tree(str(temporary))
            if target.exists():
                target.rmdir()
            temporary.rename(target)
            sync_folder(str(target.parent))
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
