"""Static parts of a street: facades, trees, walls, fences, pavement and road."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from segpipe.demo.canvas import Canvas, Colour, Point, View, lit, mixed, one_of, varied

#: Projects a point of a vertical plane (metres along it, metres above the ground) to pixels.
Plane = Callable[[float, float], Point]

_HAZE: Colour = (206, 216, 224)
_PLASTER: tuple[Colour, ...] = (
    (196, 164, 132), (178, 172, 164), (206, 190, 158), (168, 122, 104), (152, 160, 164),
    (214, 204, 186), (186, 140, 112),
)  # fmt: skip
_TILES: tuple[Colour, ...] = ((128, 82, 66), (96, 92, 96), (112, 74, 64))
_LEAVES: tuple[Colour, ...] = ((66, 110, 52), (84, 124, 58), (58, 98, 60), (128, 122, 54))
_PANE: Colour = (78, 96, 114)
_STOREY = 3.2


def frontal(view: View, left: float, z: float) -> Plane:
    """A plane facing the camera at distance ``z``, which begins at ``left``; metres."""
    return lambda along, up: view.at(left + along, up, z)


def receding(view: View, x: float, near: float) -> Plane:
    """A plane parallel to the view at ``x``, which begins at distance ``near``; metres."""
    return lambda along, up: view.at(x, up, near + along)


def hazed(colour: Colour, z: float) -> Colour:
    """A colour as seen through ``z`` metres of air."""
    return mixed(colour, _HAZE, 0.6 * (1 - math.exp(-z / 90)))


def quad(plane: Plane, left: float, right: float, low: float, high: float) -> list[Point]:
    """Corners, in pixels, of a rectangle on a plane, in metres."""
    return [plane(left, high), plane(right, high), plane(right, low), plane(left, low)]


def wall_colour(rng: np.random.Generator) -> Colour:
    """A colour of plaster, brick or stone."""
    return one_of(_PLASTER, rng)


def facade(
    canvas: Canvas,
    index: int,
    plane: Plane,
    length: float,
    storeys: int,
    wall: Colour,
    rng: np.random.Generator,
    *,
    roof: float = 0.0,
) -> None:
    """A house front of rows of windows over a ground floor; ``roof`` is its height in metres."""
    high = storeys * _STOREY + 0.6
    if roof:
        inset = min(0.3 * length, roof)
        tiles = one_of(_TILES, rng)
        chimney = rng.uniform(0.3, 0.6) * length
        canvas.polygon(
            index, quad(plane, chimney, chimney + 0.8, high, high + roof + 0.7), lit(wall, 0.8)
        )
        corners = [(0, high), (inset, high + roof), (length - inset, high + roof), (length, high)]
        canvas.polygon(index, [plane(*corner) for corner in corners], tiles)
    canvas.polygon(index, quad(plane, 0, length, 0, high), wall)
    canvas.detail(quad(plane, 0, length, high - 0.35, high), lit(wall, 1.12))
    canvas.detail(quad(plane, 0, length, 0, 0.5), lit(wall, 0.72))
    canvas.detail(quad(plane, 0, length, _STOREY, _STOREY + 0.2), lit(wall, 0.86))
    bays = max(1, int(length / 2.2))
    bay = length / bays
    for storey in range(1, storeys):
        for position in range(bays):
            left = position * bay + 0.5 * bay - 0.55
            _window(canvas, plane, left, storey * _STOREY + 0.8, wall, rng)
    _ground_floor(canvas, plane, bays, bay, wall, rng)


def _window(
    canvas: Canvas, plane: Plane, left: float, low: float, wall: Colour, rng: np.random.Generator
) -> None:
    wide, high = 1.1, 1.7
    canvas.detail(quad(plane, left - 0.12, left + wide + 0.12, low - 0.2, low), lit(wall, 1.15))
    seen = rng.random()
    pane = _PANE if seen < 0.7 else (150, 168, 182) if seen < 0.9 else (206, 190, 150)
    canvas.detail(quad(plane, left, left + wide, low, low + high), varied(pane, rng))
    canvas.detail(quad(plane, left, left + wide, low + high - 0.3, low + high), lit(pane, 0.7))
    middle = left + wide / 2
    canvas.detail(quad(plane, middle - 0.05, middle + 0.05, low, low + high), (222, 220, 212))


def _ground_floor(
    canvas: Canvas,
    plane: Plane,
    bays: int,
    bay: float,
    wall: Colour,
    rng: np.random.Generator,
) -> None:
    door = int(rng.integers(bays))
    shop = rng.random() < 0.5
    awning = one_of(((156, 60, 54), (62, 96, 84), (70, 84, 122)), rng)
    for position in range(bays):
        left = position * bay
        if position == door:
            canvas.detail(quad(plane, left + 0.45, left + 1.55, 0, 2.4), (74, 58, 48))
            canvas.detail(quad(plane, left + 0.6, left + 1.4, 1.7, 2.2), lit(_PANE, 1.3))
        elif shop:
            canvas.detail(
                quad(plane, left + 0.15, left + bay - 0.15, 0.6, 2.4), varied((88, 100, 108), rng)
            )
            canvas.detail(quad(plane, left + 0.05, left + bay - 0.05, 2.4, 2.95), awning)
        else:
            _window(canvas, plane, left + 0.5 * bay - 0.55, 1.0, wall, rng)


def tree(
    canvas: Canvas, index: int, foot: Point, high: float, z: float, rng: np.random.Generator
) -> None:
    """A trunk and a crown of leaves, ``high`` pixels tall, at a distance of ``z`` metres."""
    x, ground = foot
    canvas.blob_shadow((x + 0.16 * high, ground), (0.3 * high, 0.035 * high), 0.35)
    bark = hazed((86, 68, 54), z)
    fork = ground - 0.5 * high
    trunk = [(x - 0.035, 0.0), (x - 0.02, 0.5), (x + 0.02, 0.5), (x + 0.035, 0.0)]
    canvas.polygon(index, [(x + (px - x) * high, ground - up * high) for px, up in trunk], bark)
    canvas.detail(
        [(x, ground), (x, fork), (x + 0.02 * high, fork), (x + 0.035 * high, ground)],
        lit(bark, 0.78),
    )
    for side in (-1, 1):
        tip = (x + side * 0.14 * high, ground - 0.66 * high)
        canvas.polygon(
            index, [(x - 0.014 * high, fork + 3), (x + 0.014 * high, fork + 3), tip], bark
        )
    leaves = hazed(one_of(_LEAVES, rng), z)
    centre = (x, ground - 0.69 * high)
    _crown(canvas, index, centre, 0.3 * high, leaves, rng)


def _crown(
    canvas: Canvas,
    index: int,
    centre: Point,
    radius: float,
    leaves: Colour,
    rng: np.random.Generator,
) -> None:
    """Clusters of leaves, dark below and light above, with a ragged outline."""
    around = rng.uniform(0, 2 * math.pi) + np.arange(7) * (2 * math.pi / 7)
    clusters = [(0.0, 0.0, 0.72)]
    clusters += [
        (0.58 * math.cos(a), 0.52 * math.sin(a), float(rng.uniform(0.36, 0.52))) for a in around
    ]
    for dx, dy, share in clusters:
        middle = (centre[0] + dx * radius, centre[1] + dy * radius)
        canvas.ellipse(index, middle, (share * radius, 0.9 * share * radius), lit(leaves, 0.66))
    count = int(np.clip(3.2 * radius, 60, 240))
    angles = rng.uniform(0, 2 * math.pi, count)
    reaches = np.sqrt(rng.uniform(0, 1, count)) * 1.04
    spots = np.stack([np.cos(angles), 0.92 * np.sin(angles)], 1) * reaches[:, None]
    # From the bottom up, so that the lighter upper leaves are drawn over the darker ones.
    for px, py in spots[np.argsort(-spots[:, 1])]:
        light = 0.94 - 0.3 * py - 0.16 * px + float(rng.normal(0, 0.07))
        size = radius * float(rng.uniform(0.055, 0.125))
        spot = (centre[0] + px * radius, centre[1] + py * radius)
        canvas.ellipse(index, spot, (size, 0.8 * size), lit(leaves, light))


def wall(
    canvas: Canvas, index: int, plane: Plane, length: float, high: float, colour: Colour
) -> None:
    """A garden wall with courses of stone and a coping; metres."""
    canvas.polygon(index, quad(plane, 0, length, 0, high), colour)
    course = 0.32
    for row in range(int(high / course)):
        low = row * course
        canvas.detail(quad(plane, 0, length, low, low + 0.05), lit(colour, 0.82))
        for joint in np.arange(0.5 * (row % 2), length - 0.06, 1.0):
            canvas.detail(quad(plane, joint, joint + 0.06, low, low + course), lit(colour, 0.85))
    canvas.detail(quad(plane, 0, length, high - 0.16, high), lit(colour, 1.18))


def fence(
    canvas: Canvas, index: int, plane: Plane, length: float, high: float, colour: Colour
) -> None:
    """Pointed boards on two rails; the background is visible between them. Metres."""
    for low in (0.28 * high, 0.68 * high):
        canvas.polygon(index, quad(plane, 0, length, low, low + 0.11), lit(colour, 0.82))
    for left in np.arange(0, length - 0.14, 0.36):
        board = [
            plane(left, 0), plane(left, high - 0.12), plane(left + 0.08, high),
            plane(left + 0.16, high - 0.12), plane(left + 0.16, 0),
        ]  # fmt: skip
        canvas.polygon(index, board, colour)


def strip(view: View, sides: tuple[float, float], depths: tuple[float, float]) -> list[Point]:
    """Corners, in pixels, of a level strip on the ground.

    Args:
        sides: left and right, in metres.
        depths: nearest and farthest distance from the camera, in metres.
    """
    (left, right), (near, far) = sides, depths
    return [
        view.at(left, 0, far), view.at(right, 0, far), view.at(right, 0, near),
        view.at(left, 0, near),
    ]  # fmt: skip


def slabs(
    canvas: Canvas,
    view: View,
    sides: tuple[float, float],
    depths: tuple[float, float],
    colour: Colour,
) -> None:
    """Joints between paving slabs, up to the distance at which they are still separate pixels."""
    (left, right), (near, far) = sides, depths
    joint = lit(colour, 0.87)
    reach = min(far, 16.0)
    for z in np.arange(near, reach, 0.9):
        canvas.detail(strip(view, sides, (z, z + 0.05)), joint)
    for x in np.arange(left, right, 0.9):
        canvas.detail(strip(view, (x, x + 0.035), (near, reach)), joint)
