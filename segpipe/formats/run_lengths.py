"""The segmentations of COCO records: run lengths and polygons.

Polygons are rasterized by pycocotools, because its rounding defines COCO polygons.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from segpipe.extras import require
from segpipe.formats.json_values import brief, number
from segpipe.masks.run_lengths import RunLengthError, RunLengths, read_run_lengths

__all__ = ["RunLengthError", "RunLengths", "read_segmentation"]

_LONGEST_OUTLINE = 1_000_000  # pixels; real ones have thousands


def read_segmentation(cell: object, height: int | None, width: int | None) -> RunLengths:
    """Parse the ``segmentation`` of a COCO record: RLE, compressed or not, or polygons.

    Args:
        height, width: of the image in pixels, where known; polygons need them.

    Raises:
        RunLengthError: if it is malformed, or does not fit its size.
        NotInstalledError: if there are polygons, and the extra ``coco`` is not installed.
    """
    if isinstance(cell, Mapping):
        return read_run_lengths(cell)
    if isinstance(cell, list):
        if height is None or width is None:
            raise RunLengthError(
                "polygons do not say the image's size: give the image list with --images"
            )
        return _from_polygons(cell, height, width)
    raise RunLengthError(f"the segmentation is {brief(cell)}, expected RLE or polygons")


def _from_polygons(cell: Sequence[object], height: int, width: int) -> RunLengths:
    outline = sum(_outline_length(polygon, 2 * height, 2 * width) for polygon in cell)
    if outline > _LONGEST_OUTLINE:
        raise RunLengthError(f"the outline of the polygons is {outline:,.0f} pixels long")
    if not cell:
        raise RunLengthError("there are no polygons")
    require("coco", "polygons need")
    from pycocotools import mask as coco

    merged = coco.merge(coco.frPyObjects(list(cell), height, width))
    return read_run_lengths({"size": [height, width], "counts": merged["counts"].decode("ascii")})


def _outline_length(polygon: object, height: int, width: int) -> float:
    """Length of a polygon's outline in pixels; pycocotools needs memory in proportion to it."""
    if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
        raise RunLengthError("a polygon is not a list of three or more x, y pairs")
    values = [number(value) for value in polygon]
    for value, given in zip(values, polygon, strict=True):
        if value is None:
            raise RunLengthError(f"a polygon has the coordinate {brief(given)}, expected numbers")
    points = np.array(values, np.float64).reshape(-1, 2)
    most = np.abs(points).max(axis=0)
    if most[0] > width or most[1] > height:
        raise RunLengthError(
            f"a polygon goes to ({most[0]:g}, {most[1]:g}), far beyond the image of "
            f"{height // 2} x {width // 2}: made for another size?"
        )
    steps = np.abs(points - np.roll(points, 1, axis=0)).max(axis=1)
    return float(steps.sum())
