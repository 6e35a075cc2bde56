"""The outline of a mask as one polygon, along the edges of its pixels.

Filled even-odd, as pycocotools does, the polygon is the mask again, pixel for pixel: holes and
separate parts are joined by lines that are walked there and back, and so enclose nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def outline(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Corners ``(x, y)`` of a mask's outline, in pixels; empty for an empty mask.

    Args:
        mask: H x W.
    """
    path: list[tuple[int, int]] = []
    starts: list[tuple[int, int]] = []
    for ring in _rings(mask):
        path += [*ring, ring[0]]
        starts.append(ring[0])
    return path + starts[-2::-1]


def _rings(mask: NDArray[np.bool_]) -> list[list[tuple[int, int]]]:
    """Closed lines around the parts and holes of a mask, by their corners.

    Of the corners in a row, the first and second are joined by an edge, the third and fourth, and
    so on; in a column likewise. Where two pixels touch by a corner, that corner counts twice.
    """
    padded = np.pad(mask, 1).astype(np.int8)
    one, right = padded[:-1, :-1], padded[:-1, 1:]
    below, across = padded[1:, :-1], padded[1:, 1:]
    odd = (one ^ right ^ below ^ across).astype(np.bool_)
    touching = (one == across) & (right == below) & (one != right)
    ys, xs = np.nonzero(odd | touching)  # by row, then column
    times = np.where(touching[ys, xs], 2, 1)
    ys, xs = np.repeat(ys, times), np.repeat(xs, times)
    along_row = np.arange(ys.size) ^ 1
    order = np.lexsort((ys, xs))  # by column, then row
    along_column = np.empty_like(along_row)
    along_column[order] = order[np.arange(ys.size) ^ 1]
    points = list(zip(xs.tolist(), ys.tolist(), strict=True))
    rows, columns = along_row.tolist(), along_column.tolist()
    seen = bytearray(len(points))
    rings = []
    for first in range(len(points)):
        if seen[first]:
            continue
        ring, place = [], first
        while not seen[place]:
            beside = rows[place]
            seen[place] = seen[beside] = 1
            ring += [points[place], points[beside]]
            place = columns[beside]
        rings.append(ring)
    return rings
