"""The whole per-mask work, three ways: Pillow's decoding alone, segpipe, and the usual loop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.landing import PARTITION
from segpipe.manifest import Manifest, ManifestChunk
from segpipe.mask import decode_mask
from segpipe.partition import Landing
from segpipe.segments import Measures, measure
from segpipe.sources import AllowedRoots
from segpipe.storage import Folder, MaskStore
from segpipe.validation import Validation, validate_chunk


class Contender(Protocol):
    """Something that works through the masks, a block at a time."""

    def run(self, block: slice) -> None:
        """Do the work for the masks of this block."""


class PillowDecode:
    """Read the file and decode it, nothing else: the floor under every way of validating."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths

    def run(self, block: slice) -> None:
        """Decode every mask of the block."""
        for path in self._paths[block]:
            decoded(path)


class Segpipe:
    """Everything segpipe does for a mask, on one thread; canonical masks go to a fresh store."""

    def __init__(self, root: Path, masks: Path, store: Path, block_rows: int) -> None:
        landing = Landing(Folder(str(root / "manifests")))
        manifest: Manifest = landing.manifest(PARTITION)
        self._chunks: Iterator[ManifestChunk] = manifest.chunks(block_rows)
        self._validation = Validation(
            dataset="bench",
            model_run=PARTITION.model_run,
            sources=AllowedRoots((str(root), str(masks))),
            masks=MaskStore(Folder(str(store))),
        )

    def run(self, block: slice) -> None:
        """Validate the manifest's next chunk, which is this block; reading its rows counts too."""
        judged = validate_chunk(next(self._chunks), self._validation)
        accepted, rows = judged.validated.num_rows, block.stop - block.start
        if accepted != rows:
            raise AssertionError(f"segpipe accepted {accepted} of {rows} generated masks")


class SegpipeMeasures:
    """Only what the naive loops give, by segpipe: read, check and decode, measure."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths

    def run(self, block: slice) -> None:
        """Measure every mask of the block, all its values at once."""
        kept: list[Measures] = []
        for path in self._paths[block]:
            kept.append(measure(decode_mask(path.read_bytes()).pixels))


class NaiveAny:
    """The usual loop, at its best: one comparison per value, boxes from ``any`` over the axes."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths

    def run(self, block: slice) -> None:
        """Measure every mask of the block, one dict per segment."""
        rows: list[dict[str, Any]] = []
        for path in self._paths[block]:
            mask = decoded(path)
            for value in np.unique(mask):
                chosen = mask == value
                columns = np.where(np.any(chosen, axis=0))[0]
                lines = np.where(np.any(chosen, axis=1))[0]
                rows.append(
                    {
                        "mask": path.name,
                        "index": int(value),
                        "area": int(chosen.sum()),
                        "left": int(columns[0]),
                        "top": int(lines[0]),
                        "right": int(columns[-1]),
                        "bottom": int(lines[-1]),
                    }
                )


class NaiveWhere:
    """The usual loop as often seen: positions of all pixels of a value, then their extremes."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths

    def run(self, block: slice) -> None:
        """Measure every mask of the block, one dict per segment."""
        rows: list[dict[str, Any]] = []
        for path in self._paths[block]:
            mask = decoded(path)
            for value in np.unique(mask):
                lines, columns = np.where(mask == value)
                rows.append(
                    {
                        "mask": path.name,
                        "index": int(value),
                        "area": len(lines),
                        "left": int(columns.min()),
                        "top": int(lines.min()),
                        "right": int(columns.max()),
                        "bottom": int(lines.max()),
                    }
                )


def decoded(path: Path) -> NDArray[np.uint8]:
    """A mask as Pillow gives it."""
    with Image.open(path) as image:
        return np.asarray(image)
