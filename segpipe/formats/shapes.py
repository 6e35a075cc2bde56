"""Shapes drawn as masks: by Pillow, as labelme itself draws them (``labelme/utils/shape.py``)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from segpipe.errors import SegpipeError
from segpipe.formats.json_values import brief, number

#: Kinds that have an area, and how many points each takes; None for three or more.
AREAS: dict[str, int | None] = {
    "polygon": None, "rectangle": 2, "circle": 2, "oriented_rectangle": 4, "rotation": 4,
}  # fmt: skip
# Points further out than this many times the image were made for another one.
_FURTHEST = 2

Point = tuple[float, float]


class ShapeError(SegpipeError, ValueError):
    """A shape that cannot be drawn; the message says why."""


def points_of(given: object, height: int, width: int) -> list[Point]:
    """Parse a list of ``[x, y]`` in pixels.

    Args:
        height, width: of the image, in pixels.

    Raises:
        ShapeError: if it is malformed, or far beyond the image.
    """
    if not isinstance(given, list) or not given:
        raise ShapeError(f"points are {brief(given)}, expected a list of [x, y]")
    points = []
    for one in given:
        pair = [number(value) for value in one] if isinstance(one, (list, tuple)) else []
        if len(pair) != 2 or pair[0] is None or pair[1] is None:
            raise ShapeError(f"a point is {brief(one)}, expected [x, y]")
        points.append((pair[0], pair[1]))
    for x, y in points:
        if abs(x) > _FURTHEST * width or abs(y) > _FURTHEST * height:
            raise ShapeError(
                f"a point is at ({x:g}, {y:g}), far beyond the image of {height} x {width}: made "
                "for another size?"
            )
    return points


def draw(kind: str, points: Sequence[Point], height: int, width: int) -> NDArray[np.bool_]:
    """A shape's mask, H x W.

    Args:
        kind: one of ``AREAS``.

    Raises:
        ShapeError: if it has not as many points as its kind takes.
    """
    expected = AREAS[kind]
    if len(points) != expected and (expected is not None or len(points) < 3):
        raise ShapeError(
            f"a {kind} has {len(points)} points, expected {expected or 'three or more'}"
        )
    canvas = Image.new("L", (width, height))
    drawing = ImageDraw.Draw(canvas)
    if kind == "circle":
        (x, y), edge = points
        radius = math.dist((x, y), edge)
        drawing.ellipse((x - radius, y - radius, x + radius, y + radius), outline=1, fill=1)
    elif kind == "rectangle":
        (x0, y0), (x1, y1) = points
        box = (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
        drawing.rectangle(box, outline=1, fill=1)
    else:
        drawing.polygon(list(points), outline=1, fill=1)
    return np.asarray(canvas).astype(np.bool_)
