"""Importing masks of other formats, as ratios to Pillow's decoding of the sources in the same run.

``python -m benchmarks.importing`` prints the table; with ``--two-workers MASKS`` it prints how much
faster two are than one. Everything is counted: reading, decoding, renumbering, encoding and storing
masks, and the manifest.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.goals import Goal
from benchmarks.masks import SMALL, Shape, mask_of
from segpipe.formats.importing import import_masks
from segpipe.formats.manifest_writer import ManifestWriter
from segpipe.masks.fast_path import load_fast_path
from segpipe.predictions.prediction import Segment

_ROUNDS = 3
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


@dataclass(frozen=True)
class Import:
    """A way in, and what it takes of one mask: processor seconds, and Pillow's to decode it.

    Attributes:
        limit: the most that was set out for, as a ratio; None where nothing was.
    """

    name: str
    decoding: float
    seconds: float
    limit: float | None

    @property
    def ratio(self) -> float:
        """To decoding."""
        return self.seconds / self.decoding


def measure_imports(masks: int) -> list[Import]:
    """Of this many organic masks in each format, one worker; Cityscapes' are larger and fewer."""
    load_fast_path()
    found = []
    with tempfile.TemporaryDirectory(prefix="segpipe-benchmark-") as folder:
        for number, (name, (write, limit)) in enumerate(_SOURCES.items()):
            place = Path(folder) / str(number)
            place.mkdir()
            source = write(place / "source", masks)
            decoding, importing = _processor_seconds(source, place)
            count = len(source.files)
            found.append(Import(name, decoding / count, importing / count, limit))
        found.append(_writer(Path(folder), masks))
    return found


def imports_table(found: Sequence[Import]) -> str:
    """Markdown: a row per way in."""
    lines = ["| way in | Pillow decode, ms | x decode |", "|---|---|---|"]
    lines += [f"| {one.name} | {1000 * one.decoding:.2f} | {one.ratio:.2f} |" for one in found]
    return "\n".join(lines)


def import_goals(found: Sequence[Import]) -> list[Goal]:
    """Those that a limit was set for."""
    return [
        Goal(f"{one.name}, import / decoding", one.limit, one.ratio)
        for one in found
        if one.limit is not None
    ]


def _writer(place: Path, masks: int) -> Import:
    """Arrays added by a script; decoding is that of the files it wrote."""
    arrays = [mask_of(5, number) for number in range(masks)]
    segments = [[Segment("object", value) for value in np.unique(a).tolist()] for a in arrays]
    taken, decoding = [], []
    for number in range(_ROUNDS):
        root = place / f"written-{number}"
        started = process_time()
        with ManifestWriter(str(root), "m", "2026-01-05") as writer:
            for item, (array, described) in enumerate(zip(arrays, segments, strict=True)):
                writer.add(f"{item}", array, described, check=False)
        taken.append(process_time() - started)
        started = process_time()
        for path in sorted(root.rglob("*.png")):
            _decoded(path)
        decoding.append(process_time() - started)
    return Import(
        "ManifestWriter.add(array), 640 x 480", min(decoding) / masks, min(taken) / masks, None
    )


def _processor_seconds(source: _Source, place: Path) -> tuple[float, float]:
    """Of decoding and of importing, in turns; the least of each."""
    decoding, importing = [], []
    for number in range(_ROUNDS):
        started = process_time()
        for path in source.files:
            _decoded(path)
        decoding.append(process_time() - started)
        started = process_time()
        source.imported(place / f"root-{number}", 1)
        importing.append(process_time() - started)
    return min(decoding), min(importing)


def _decoded(path: Path) -> None:
    with Image.open(path) as image:
        np.asarray(image)


def _two_workers(masks: int) -> str:
    """How much faster two workers import Cityscapes' masks, on the clock."""
    with tempfile.TemporaryDirectory(prefix="segpipe-benchmark-") as folder:
        source = _instance_ids(Path(folder) / "source", 8 * masks)
        taken = []
        for workers in (1, 2):
            started = perf_counter()
            source.imported(Path(folder) / f"of-{workers}", workers)
            taken.append(perf_counter() - started)
    return f"{masks} masks of {_STREETS}: {taken[0]:.1f} and {taken[1]:.1f} s with 1 and 2 workers"


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


_SOURCES: Mapping[str, tuple[Callable[[Path, int], _Source], float]] = {
    "mask-folder: grey 8-bit, 640 x 480": (_index_pngs, 1.5),
    "coco-panoptic: ids in RGB, 640 x 480": (_panoptic, 2),
    "cityscapes: instanceIds, 2048 x 1024": (_instance_ids, 2),
}


if __name__ == "__main__":
    if sys.argv[1:2] == ["--two-workers"]:
        print(_two_workers(int(sys.argv[2])))
    else:
        print(imports_table(measure_imports(320)))
