"""The data measured on: mask files and roots whose manifests name them."""

from __future__ import annotations

import json
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.masks import SMALL, MaskFile, Recipe, Shape, write_masks
from segpipe.manifests.partition import Partition
from segpipe.root import Root
from segpipe.settings import Settings

#: The one partition of every root made here.
PARTITION = Partition("bench", "2026-01-05")
_INDEX = "_masks.json"
# Part of the kept folder's name: raise it when the same seed gives other masks.
_GENERATION = 1

_SEGMENT = pa.struct(
    [
        pa.field("label", pa.string()),
        pa.field("index", pa.int32()),
        pa.field("metadata", pa.struct([pa.field("confidence", pa.float64())])),
    ]
)
_MANIFEST = pa.schema(
    [
        pa.field("reference_id", pa.string()),
        pa.field("mask_url", pa.string()),
        pa.field("segments", pa.list_(_SEGMENT)),
        pa.field("height", pa.int32()),
        pa.field("width", pa.int32()),
    ]
)


@dataclass(frozen=True)
class Masks:
    """A folder of mask files."""

    folder: Path
    files: tuple[MaskFile, ...]
    shape: Shape = SMALL

    @property
    def paths(self) -> list[Path]:
        """The files, in order."""
        return [self.folder / file.name for file in self.files]

    def facts(self) -> dict[str, float]:
        """Count and means, for the report."""
        count = len(self.files)
        return {
            "masks": count,
            "width": self.shape.width,
            "height": self.shape.height,
            "mean_bytes": round(sum(file.bytes for file in self.files) / count),
            "mean_segments": round(sum(len(file.values) for file in self.files) / count, 1),
        }


@contextmanager
def generated_masks(
    count: int, seed: int, segments: tuple[int, int], *, keep: bool
) -> Iterator[Masks]:
    """Organic masks of 640 x 480; see :func:`made`."""
    with made(count, Recipe(seed, segments=segments), keep=keep) as masks:
        yield masks


@contextmanager
def made(count: int, recipe: Recipe, *, keep: bool) -> Iterator[Masks]:
    """Masks in the system's temporary folder; an earlier run's kept ones are used again.

    Args:
        keep: leave them there for the next run; otherwise they are removed at the end.
    """
    name = f"segpipe-benchmark-masks-{_GENERATION}-{recipe.name}-{count}"
    folder = Path(tempfile.gettempdir()) / name
    if not (folder / _INDEX).exists():
        # Made aside and renamed, so that a folder of this name is always complete.
        making = folder.with_name(f"{name}-{uuid.uuid4().hex}")
        try:
            files = write_masks(making, count, recipe)
            index = [[file.name, file.values, file.bytes] for file in files]
            (making / _INDEX).write_text(json.dumps(index))
            folder = _named(making, folder)
        except BaseException:
            shutil.rmtree(making, ignore_errors=True)
            raise
    try:
        yield read_masks(folder, recipe.shape)
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


def read_masks(folder: Path, shape: Shape) -> Masks:
    """The masks of a folder that :func:`made` made."""
    index = json.loads((folder / _INDEX).read_text())
    files = (MaskFile(name, tuple(values), size) for name, values, size in index)
    return Masks(folder, tuple(files), shape)


def _named(making: Path, folder: Path) -> Path:
    try:
        making.rename(folder)
    except OSError:  # a run beside this one was first; each then works on its own masks
        return making
    return folder


def write_manifest(root: Path, masks: Masks, rows_per_mask: int = 1) -> None:
    """Write the manifest of ``PARTITION`` below a root.

    Args:
        rows_per_mask: rows, each with a reference id of its own, that name the same file.
    """
    rows = [
        {
            "reference_id": f"item-{repetition:03d}-{file.name.removesuffix('.png')}",
            "mask_url": str(masks.folder / file.name),
            "segments": manifest_segments(file.values),
            "height": masks.shape.height,
            "width": masks.shape.width,
        }
        for repetition in range(rows_per_mask)
        for file in masks.files
    ]
    path = root.joinpath("manifests", *PARTITION.folders, "x.parquet")
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=_MANIFEST), path, row_group_size=10_000)


def manifest_segments(values: Sequence[int]) -> list[dict[str, object]]:
    """The cell of Segments of a mask with these pixel values."""
    return [
        {
            "label": f"class {value}",
            "index": value,
            "metadata": {"confidence": round(0.5 + value / 512, 3)},
        }
        for value in values
    ]


def fresh_root(root: Path, masks: Path, aside: Path, workers: int) -> Root:
    """The root with its results elsewhere."""
    settings = Settings(
        str(root),
        dataset="bench",
        validated=str(aside / "validated"),
        masks=str(aside / "masks"),
        allowed_roots=(str(masks),),
        workers=workers,
    )
    return Root(settings)
