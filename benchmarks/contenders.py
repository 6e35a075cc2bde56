"""Work on mask files without segpipe: decoding alone, and what people write to measure masks.

Runs wherever numpy and Pillow are.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


class PillowDecode:
    """Read the file and decode it, nothing else: the floor under every way of validating."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths

    def run(self, block: slice) -> None:
        """Decode every mask of the block."""
        for path in self._paths[block]:
            decoded(path)


class UsualCode:
    """What a pipeline without segpipe does: area, box and centroid by a loop over the values, and
    the mask written anew by Pillow."""

    def __init__(self, paths: Sequence[Path], out: Path) -> None:
        self._paths = paths
        self._out = out
        out.mkdir(parents=True, exist_ok=True)

    def run(self, block: slice) -> None:
        """Measure every mask of the block, one dict per segment, and write it."""
        rows: list[dict[str, Any]] = []
        for path in self._paths[block]:
            mask = decoded(path)
            for value in np.unique(mask):
                chosen = mask == value
                lines, columns = np.where(chosen)
                rows.append(
                    {
                        "mask": path.name,
                        "index": int(value),
                        "area": int(chosen.sum()),
                        "left": int(columns.min()),
                        "top": int(lines.min()),
                        "right": int(columns.max()),
                        "bottom": int(lines.max()),
                        "centroid_x": float(columns.mean()),
                        "centroid_y": float(lines.mean()),
                    }
                )
            Image.fromarray(mask).save(self._out / path.name)


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
