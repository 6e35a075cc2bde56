"""Two streets to look at: along one, between its houses, and across one, at its fronts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from segpipe.demo import figures, scenery
from segpipe.demo.canvas import Canvas, Colour, View, lit, varied

#: What is drawn, and its distance in metres: far things first.
Layers = list[tuple[float, Callable[[], None]]]
#: Index of each person -> pose.
Poses = dict[int, str]

POSES = ("standing", "walking")
_TARMAC: Colour = (96, 97, 102)
_PAVING: Colour = (170, 165, 156)
_MARKING: Colour = (222, 220, 208)
_BRICK: Colour = (154, 136, 122)
_WOOD: Colour = (138, 108, 78)
_KERB, _FRONTS, _END = 3.6, 7.0, 95.0


def along(canvas: Canvas, rng: np.random.Generator) -> Poses:
    """A street leading away between two rows of houses; returns the persons' poses."""
    width, height = canvas.width, canvas.height
    view = View(
        width, height, height * rng.uniform(0.48, 0.56), width * rng.uniform(0.38, 0.62),
        rng.uniform(1.8, 2.4), 0.85 * width,
    )  # fmt: skip
    canvas.sky(view.horizon, rng)
    layers: Layers = []
    for side in (-1.0, 1.0):
        _row_of_houses(canvas, layers, view, side, rng)
    closing = canvas.add("Building")
    layers.append((_END, lambda: _closing_house(canvas, closing, view, rng)))
    _street_ahead(canvas, view, rng)
    for _ in range(int(rng.integers(2, 5))):
        z, x = rng.uniform(11, 42), rng.choice([-1.0, 1.0]) * (_KERB + 0.9)
        _plant(canvas, layers, view, (float(x), float(z)), rng)
    for _ in range(int(rng.integers(1, 5))):
        z = float(rng.uniform(9, 40))
        x = float(rng.choice([-2.6, 1.5, 2.5]))
        _park(canvas, layers, view, (x, z), rng, side_on=False)
    poses: Poses = {}
    for _ in range(int(rng.integers(1, 5))):
        z = float(rng.uniform(8.5, 18))
        x = float(rng.choice([-1.0, 1.0]) * rng.uniform(4.2, 5.8))
        _walk(canvas, layers, view, (x, z), poses, rng)
    _draw(layers)
    _birds(canvas, view, rng)
    return poses


def across(canvas: Canvas, rng: np.random.Generator) -> Poses:
    """House fronts beyond a road, seen from the pavement; returns the persons' poses."""
    width, height = canvas.width, canvas.height
    view = View(
        width, height, height * rng.uniform(0.5, 0.58), 0.5 * width, rng.uniform(2.8, 3.6),
        0.85 * width,
    )  # fmt: skip
    canvas.sky(view.horizon, rng)
    reach = 22.0
    layers: Layers = []
    left = -reach - rng.uniform(0, 6)
    while left < reach:
        length = float(rng.uniform(7, 12))
        _front(canvas, layers, view, left, length, rng)
        left += length + float(rng.choice([0.0, 0.4, 4.5]))
    _garden_edges(canvas, layers, view, reach, rng)
    _road_across(canvas, view, rng)
    for _ in range(int(rng.integers(1, 4))):
        _plant(canvas, layers, view, (rng.uniform(-13, 13), rng.uniform(20.5, 22)), rng)
    for _ in range(int(rng.integers(1, 4))):
        spot = (float(rng.uniform(-9, 9)), float(rng.choice([13.6, 16.6, 17.6])))
        _park(canvas, layers, view, spot, rng, side_on=True)
    poses: Poses = {}
    for _ in range(int(rng.integers(1, 5))):
        z = float(rng.uniform(8.8, 10.8) if rng.random() < 0.6 else rng.uniform(19.5, 21.5))
        _walk(canvas, layers, view, (float(rng.uniform(-0.48, 0.48)) * z, z), poses, rng)
    _draw(layers)
    _birds(canvas, view, rng)
    return poses


def _draw(layers: Layers) -> None:
    for _, draw in sorted(layers, key=lambda layer: -layer[0]):
        draw()


def _row_of_houses(
    canvas: Canvas, layers: Layers, view: View, side: float, rng: np.random.Generator
) -> None:
    near = float(rng.uniform(7, 11))
    light = 0.84 if side < 0 else 1.06
    while near < 0.8 * _END:
        length = float(rng.uniform(9, 17))
        plane = scenery.receding(view, side * _FRONTS, near)
        kind = rng.random()
        if kind < 0.74:
            index = canvas.add("Building")
            colour = scenery.hazed(lit(scenery.wall_colour(rng), light), near)
            storeys = int(rng.integers(2, 5))
            layers.append((near, _house(canvas, index, view, side, near, length, storeys, colour,
                                        rng)))  # fmt: skip
        elif kind < 0.87:
            index, colour = canvas.add("Wall"), lit(varied(_BRICK, rng), light)
            layers.append((near, lambda i=index, p=plane, n=length, c=colour: scenery.wall(
                canvas, i, p, n, 1.7, scenery.hazed(c, 20))))  # type: ignore[misc]  # fmt: skip
            _plant(canvas, layers, view, (side * (_FRONTS + 3), near + 0.6 * length), rng)
        else:
            index, colour = canvas.add("Fence"), lit(varied(_WOOD, rng), light)
            layers.append((near, lambda i=index, p=plane, n=length, c=colour: scenery.fence(
                canvas, i, p, n, 1.3, c)))  # type: ignore[misc]  # fmt: skip
            _plant(canvas, layers, view, (side * (_FRONTS + 3), near + 0.6 * length), rng)
        near += length
