"""Importing masks of other formats, as ratios to Pillow's decoding of the sources in the same run.

``python -m benchmarks.importing`` prints the table. Everything is counted: reading, decoding,
renumbering, encoding and storing masks, and the manifest.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.masks import SMALL, Shape, mask_of
from segpipe.formats.importing import import_masks
from segpipe.masks.fast_path import load_fast_path

_ROUNDS = 3
_BUSY_SECONDS = 8.0
_STREETS = Shape(2048, 1024)
_INSTANCES = range(24, 34)  # classes of Cityscapes that have instances


@dataclass(frozen=True)
class _Source:
    """Files of a format, and how they are imported."""

    kind: str
    files: list[Path]
    place: Path
    options: Mapping[str, Any]

    def imported(self, root: Path, workers: int) -> None:
        import_masks(
            self.kind, self.place, root=str(root), model_run="m", date="2026-01-05",
            workers=workers, **self.options,
        )  # fmt: skip

    def decoded(self) -> None:
        for path in self.files:
            with Image.open(path) as image:
                np.asarray(image)


def importers_table(masks: int) -> str:
    """Markdown: a row per format, of this many organic masks; Cityscapes' are larger and fewer."""
    load_fast_path()
    lines = ["| format | Pillow decode, ms | one worker, x decode | two workers, times as fast |"]
    lines.append("|---|---|---|---|")
    for name, write in _SOURCES.items():
        with tempfile.TemporaryDirectory(prefix="segpipe-benchmark-") as folder:
            place = Path(folder)
            source = write(place / "source", masks)
            decoding, importing = _processor_seconds(source, place)
            faster = _times_as_fast(source, place, importing)
        count = len(source.files)
        lines.append(
            f"| {name} | {1000 * decoding / count:.2f} | {importing / decoding:.2f} | {faster} |"
        )
    return "\n".join(lines)


def _processor_seconds(source: _Source, place: Path) -> tuple[float, float]:
    """Of decoding and of importing, in turns; the least of each."""
    decoding, importing = [], []
    for number in range(_ROUNDS):
        started = process_time()
        source.decoded()
        decoding.append(process_time() - started)
        started = process_time()
        source.imported(place / f"root-{number}", 1)
        importing.append(process_time() - started)
    return min(decoding), min(importing)


def _times_as_fast(source: _Source, place: Path, seconds: float) -> str:
    """How much faster two workers are, on the clock; empty where there is too little to do."""
    if seconds < _BUSY_SECONDS:
        return "-"
    taken = []
    for workers in (1, 2):
        started = perf_counter()
        source.imported(place / f"of-{workers}", workers)
        taken.append(perf_counter() - started)
    return f"{taken[0] / taken[1]:.2f}"


def _index_pngs(place: Path, count: int, shape: Shape = SMALL) -> _Source:
    place.mkdir()
    files = [place / f"{number:05d}.png" for number in range(count)]
    for number, path in enumerate(files):
        Image.fromarray(mask_of(5, number, shape=shape)).save(path)
    return _Source("mask-folder", files, place, {"objects": "object"})


def _panoptic(place: Path, count: int) -> _Source:
    """Ids as COCO writes them: far beyond 8 bits, in all three channels."""
    place.mkdir()
    entries, files = [], []
    for number in range(count):
        mask = mask_of(5, number)
        areas = np.bincount(mask.ravel(), minlength=256)
        ids = mask.astype(np.uint32) * 50_021 + 1
        colours = np.stack([ids & 255, ids >> 8 & 255, ids >> 16], axis=-1).astype(np.uint8)
        files.append(place / f"{number:05d}.png")
        Image.fromarray(colours).save(files[-1])
        infos = [
            {"id": value * 50_021 + 1, "category_id": 1 + value % 20, "area": int(areas[value])}
            for value in np.flatnonzero(areas).tolist()
        ]
        entries.append({"image_id": number, "file_name": files[-1].name, "segments_info": infos})
    categories = [{"id": 1 + number, "name": f"class {number}"} for number in range(20)]
    said = place.with_suffix(".json")
    said.write_text(json.dumps({"annotations": entries, "categories": categories}))
    return _Source("coco-panoptic", files, place, {"annotations": said})


def _instance_ids(place: Path, count: int) -> _Source:
    """Half of the Segments are instances, as ``class * 1000 + number`` in 16 bits."""
    place.mkdir()
    table = np.arange(256, dtype=np.uint16) % 34
    table[::2] = [_INSTANCES[n % len(_INSTANCES)] * 1000 + n for n in range(128)]
    files = []
    for number in range(max(2, count // 8)):
        files.append(place / f"{number:05d}_instanceIds.png")
        Image.fromarray(table[mask_of(5, number, shape=_STREETS)]).save(files[-1])
    return _Source("cityscapes", files, place, {})


_SOURCES: Mapping[str, Callable[[Path, int], _Source]] = {
    "mask-folder: grey 8-bit, 640 x 480": _index_pngs,
    "coco-panoptic: ids in RGB, 640 x 480": _panoptic,
    "cityscapes: instanceIds, 2048 x 1024": _instance_ids,
}


if __name__ == "__main__":
    print(importers_table(int(sys.argv[1])))
