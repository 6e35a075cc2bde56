"""Work on mask files without segpipe: decoding alone, and what people write to measure masks.

Runs wherever numpy and Pillow are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

#: The pixels of a segment (H x W), to its measures.
Measured = Callable[[NDArray[np.bool_]], dict[str, Any]]


class PillowDecode:
    """Read the file and decode it, nothing else: the floor under every way of validating."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths

    def run(self, block: slice) -> None:
        """Decode every mask of the block."""
        for path in self._paths[block]:
            decoded(path)


class NaiveLoop:
    """The usual loop over masks and their values, measuring each segment by itself."""

    def __init__(self, paths: Sequence[Path], measured: Measured) -> None:
        self._paths = paths
        self._measured = measured

    def run(self, block: slice) -> None:
        """Measure every mask of the block, one dict per segment."""
        rows: list[dict[str, Any]] = []
        for path in self._paths[block]:
            rows += segments(path, decoded(path), self._measured)


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
            rows += segments(path, mask, with_centroid)
            Image.fromarray(mask).save(self._out / path.name)


def segments(path: Path, mask: NDArray[np.uint8], measured: Measured) -> list[dict[str, Any]]:
    """One dict per value of a mask, of what is measured of its pixels."""
    return [
        {"mask": path.name, "index": int(value), **measured(mask == value)}
        for value in np.unique(mask)
    ]


def by_any(chosen: NDArray[np.bool_]) -> dict[str, Any]:
    """Area and box at their best: one comparison, and the box from ``any`` over the axes."""
    columns = np.where(np.any(chosen, axis=0))[0]
    lines = np.where(np.any(chosen, axis=1))[0]
    return {
        "area": int(chosen.sum()),
        "left": int(columns[0]),
        "top": int(lines[0]),
        "right": int(columns[-1]),
        "bottom": int(lines[-1]),
    }


def by_where(chosen: NDArray[np.bool_]) -> dict[str, Any]:
    """The same as often seen: positions of all pixels, then their extremes."""
    lines, columns = np.where(chosen)
    return {"area": len(lines), **extremes(lines, columns)}


def with_centroid(chosen: NDArray[np.bool_]) -> dict[str, Any]:
    """Area, box and centroid of a segment."""
    lines, columns = np.where(chosen)
    return {
        "area": int(chosen.sum()),
        **extremes(lines, columns),
        "centroid_x": float(columns.mean()),
        "centroid_y": float(lines.mean()),
    }


def extremes(lines: NDArray[np.intp], columns: NDArray[np.intp]) -> dict[str, int]:
    """The box of pixels at these positions."""
    return {
        "left": int(columns.min()),
        "top": int(lines.min()),
        "right": int(columns.max()),
        "bottom": int(lines.max()),
    }


def decoded(path: Path) -> NDArray[np.uint8]:
    """A mask as Pillow gives it."""
    with Image.open(path) as image:
        return np.asarray(image)
