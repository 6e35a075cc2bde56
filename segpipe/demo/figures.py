"""Moving objects of a street: persons and their bags, cars, birds."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from segpipe.demo.canvas import Canvas, Colour, Point, lit, one_of

_COATS: tuple[Colour, ...] = (
    (164, 62, 54), (58, 82, 132), (202, 162, 72), (74, 104, 84), (120, 76, 112), (214, 206, 192),
    (58, 58, 66),
)  # fmt: skip
_TROUSERS: tuple[Colour, ...] = ((52, 56, 72), (78, 72, 66), (40, 42, 46), (86, 98, 124))
_SKIN: tuple[Colour, ...] = ((226, 186, 158), (188, 140, 108), (134, 94, 70), (96, 68, 54))
_HAIR: tuple[Colour, ...] = ((54, 42, 36), (120, 84, 52), (34, 32, 34), (176, 170, 164))
_PAINTS: tuple[Colour, ...] = (
    (158, 46, 46), (56, 92, 142), (204, 206, 208), (52, 56, 62), (92, 128, 104), (208, 172, 82),
)  # fmt: skip
_TYRE: Colour = (32, 32, 35)
_GLASS: Colour = (70, 88, 102)

# Outline of a car from the side, front to the left: shares of its length and of its height.
_SIDE = (
    (0.0, 0.2), (0.01, 0.44), (0.05, 0.52), (0.25, 0.6), (0.36, 0.93), (0.44, 1.0), (0.7, 1.0),
    (0.8, 0.94), (0.92, 0.64), (0.99, 0.58), (1.0, 0.2), (0.96, 0.14), (0.04, 0.14),
)  # fmt: skip
_SIDE_GLASS = (
    ((0.3, 0.62), (0.385, 0.9), (0.55, 0.92), (0.55, 0.62)),
    ((0.57, 0.62), (0.57, 0.92), (0.74, 0.91), (0.85, 0.65)),
)
# A car from behind: shares of half its width and of its height.
_REAR = (
    (-0.96, 0.16), (-1.0, 0.52), (-0.9, 0.62), (-0.7, 0.95), (-0.58, 1.0), (0.58, 1.0),
    (0.7, 0.95), (0.9, 0.62), (1.0, 0.52), (0.96, 0.16),
)  # fmt: skip
_REAR_GLASS = ((-0.76, 0.64), (-0.62, 0.91), (0.62, 0.91), (0.76, 0.64))


def person(
    canvas: Canvas, index: int, foot: Point, high: float, pose: str, rng: np.random.Generator
) -> None:
    """A person ``high`` pixels tall, standing or walking, with ``foot`` between the feet."""
    x, ground = foot
    coat, trousers, skin = one_of(_COATS, rng), one_of(_TROUSERS, rng), one_of(_SKIN, rng)
    facing = float(rng.choice([-1.0, 1.0]))
    long_coat = rng.random() < 0.35
    canvas.blob_shadow((x + 0.1 * high, ground), (0.24 * high, 0.03 * high))

    def at(across: float, up: float) -> Point:
        return x + facing * across * high, ground - up * high

    walking = pose == "walking"
    legs = ((-0.13, -0.03), (0.14, 0.04)) if walking else ((-0.055, -0.045), (0.055, 0.045))
    arms = ((0.1, 0.06), (-0.11, -0.05)) if walking else ((-0.14, -0.125), (0.14, 0.125))
    _limb(canvas, index, [at(0.09, 0.8), at(arms[1][1], 0.62), at(arms[1][0], 0.46)],
          (0.034 * high, 0.026 * high), lit(coat, 0.78))  # fmt: skip
    for position, (foot_at, knee_at) in enumerate(legs):
        cloth = lit(trousers, 0.8 if position == 0 else 1.0)
        hip = at(0.35 * knee_at, 0.5)
        _limb(canvas, index, [hip, at(knee_at, 0.27), at(foot_at, 0.04)],
              (0.052 * high, 0.036 * high), cloth)  # fmt: skip
        canvas.ellipse(index, at(foot_at + 0.02, 0.018), (0.05 * high, 0.02 * high), (40, 34, 32))
    hem = 0.36 if long_coat else 0.46
    torso = [(-0.07, 0.84), (0.07, 0.84), (0.115, 0.79), (0.095, 0.62), (0.105, hem),
             (-0.105, hem), (-0.095, 0.62), (-0.115, 0.79)]  # fmt: skip
    canvas.polygon(index, [at(*corner) for corner in torso], coat)
    shaded = [(0.03, 0.84), (0.07, 0.84), (0.115, 0.79), (0.095, 0.62), (0.105, hem), (0.05, hem)]
    canvas.detail([(x + across * high, ground - up * high) for across, up in shaded],
                  lit(coat, 0.84))  # fmt: skip
    near = [at(-0.1, 0.8), at(arms[0][1], 0.62), at(arms[0][0], 0.45)]
    _limb(canvas, index, near, (0.036 * high, 0.028 * high), lit(coat, 0.92))
    for arm in arms:
        canvas.ellipse(index, at(arm[0], 0.44), (0.024 * high, 0.026 * high), skin)
    _head(canvas, index, x, ground, high, skin, one_of(_HAIR, rng), facing)


def _head(
    canvas: Canvas,
    index: int,
    x: float,
    ground: float,
    high: float,
    skin: Colour,
    hair: Colour,
    facing: float,
) -> None:
    canvas.ellipse(index, (x, ground - 0.85 * high), (0.03 * high, 0.04 * high), lit(skin, 0.85))
    canvas.ellipse(index, (x, ground - 0.935 * high), (0.056 * high, 0.07 * high), hair)
    face = (x + facing * 0.016 * high, ground - 0.922 * high)
    canvas.dot(face, (0.042 * high, 0.055 * high), skin)


def _limb(
    canvas: Canvas,
    index: int,
    joints: Sequence[Point],
    thickness: tuple[float, float],
    colour: Colour,
) -> None:
    """A bent limb: thicker at its first joint than at its last, round at the joints."""
    radii = np.linspace(*thickness, len(joints))
    for position, (joint, radius) in enumerate(zip(joints, radii, strict=True)):
        canvas.ellipse(index, joint, (radius, radius), colour)
        if position == 0:
            continue
        before, thick = joints[position - 1], radii[position - 1]
        along = math.atan2(joint[1] - before[1], joint[0] - before[0])
        dx, dy = -math.sin(along), math.cos(along)
        canvas.polygon(
            index,
            [
                (before[0] + dx * thick, before[1] + dy * thick),
                (joint[0] + dx * radius, joint[1] + dy * radius),
                (joint[0] - dx * radius, joint[1] - dy * radius),
                (before[0] - dx * thick, before[1] - dy * thick),
            ],
            colour,
        )


def handbag(canvas: Canvas, index: int, hand: Point, size: float, colour: Colour) -> None:
    """A bag hanging from a hand; ``size`` is its width in pixels."""
    x, y = hand
    top, bottom = y + 0.5 * size, y + 1.25 * size
    for side in (-1, 1):
        inner, outer = x + side * 0.2 * size, x + side * 0.34 * size
        canvas.polygon(index, [(x - side, y), (x + side, y), (outer, top + 1), (inner, top + 1)],
                       lit(colour, 0.7))  # fmt: skip
    body = [(x - 0.42 * size, top), (x + 0.42 * size, top), (x + 0.52 * size, bottom),
            (x - 0.52 * size, bottom)]  # fmt: skip
    canvas.polygon(index, body, colour)
    flap = [(x - 0.42 * size, top), (x + 0.42 * size, top), (x, top + 0.4 * size)]
    canvas.detail(flap, lit(colour, 1.25))
    canvas.dot((x, top + 0.4 * size), (0.06 * size, 0.06 * size), (226, 206, 140))


def bird(canvas: Canvas, index: int, centre: Point, span: float, rng: np.random.Generator) -> None:
    """A bird in flight, ``span`` pixels from wing tip to wing tip."""
    dark = (62, 62, 70)
    half, lift, tilt = 0.5 * span, float(rng.uniform(0.16, 0.42)), float(rng.uniform(-0.25, 0.25))

    def at(across: float, up: float) -> Point:
        return centre[0] + half * across, centre[1] - half * (up + tilt * across)

    for side in (-1, 1):
        wing = [(0.0, 0.08), (0.4, lift), (0.72, 0.8 * lift), (1.0, 0.4 * lift), (0.66, 0.5 * lift),
                (0.36, 0.4 * lift), (0.0, -0.12)]  # fmt: skip
        canvas.polygon(index, [at(side * across, up) for across, up in wing], dark)
    canvas.ellipse(index, at(0.0, -0.02), (0.17 * half, 0.1 * half), lit(dark, 0.8))
    canvas.polygon(index, [at(-0.1, 0.02), at(-0.42, -0.12), at(-0.1, -0.1)], dark)


def car_from_side(
    canvas: Canvas, index: int, middle: Point, length: float, rng: np.random.Generator
) -> None:
    """A car driving left or right; ``middle`` is on the ground, ``length`` is in pixels."""
    x, ground = middle
    paint, facing = one_of(_PAINTS, rng), float(rng.choice([-1.0, 1.0]))
    high = length * float(rng.uniform(0.31, 0.36))
    canvas.blob_shadow((x + 0.02 * length, ground), (0.53 * length, 0.035 * length), 0.55)

    def at(along: float, up: float) -> Point:
        return x + facing * (along - 0.5) * length, ground - up * high

    canvas.polygon(index, [at(*corner) for corner in _SIDE], paint)
    canvas.detail([at(0.0, 0.2), at(0.0, 0.3), at(1.0, 0.3), at(1.0, 0.2)], lit(paint, 0.72))
    canvas.detail([at(0.03, 0.5), at(0.25, 0.585), at(0.99, 0.56), at(0.99, 0.52)], lit(paint, 1.2))
    for pane in _SIDE_GLASS:
        canvas.detail([at(*corner) for corner in pane], _GLASS)
        canvas.detail([at(*corner) for corner in pane[1:3]] + [at(pane[0][0] + 0.1, 0.75)],
                      lit(_GLASS, 1.5))  # fmt: skip
    canvas.detail([at(0.563, 0.22), at(0.563, 0.6), at(0.57, 0.6), at(0.57, 0.22)], lit(paint, 0.7))
    canvas.detail([at(0.0, 0.4), at(0.01, 0.48), at(0.07, 0.48), at(0.06, 0.4)], (240, 230, 196))
    canvas.detail([at(1.0, 0.42), at(0.99, 0.54), at(0.94, 0.54), at(0.95, 0.42)], (172, 36, 34))
    for along in (0.19, 0.81):
        wheel = at(along, 0.21)
        canvas.ellipse(index, wheel, (0.078 * length, 0.078 * length), _TYRE)
        canvas.dot(wheel, (0.045 * length, 0.045 * length), (150, 152, 156))
        canvas.dot(wheel, (0.016 * length, 0.016 * length), (70, 72, 76))


def car_from_behind(
    canvas: Canvas, index: int, middle: Point, wide: float, rng: np.random.Generator
) -> None:
    """A car ahead or parked; ``middle`` is on the ground, ``wide`` is in pixels."""
    x, ground = middle
    paint = one_of(_PAINTS, rng)
    high = wide * float(rng.uniform(0.78, 0.9))
    canvas.blob_shadow((x + 0.06 * wide, ground), (0.6 * wide, 0.08 * wide), 0.55)

    def at(across: float, up: float) -> Point:
        return x + 0.5 * across * wide, ground - up * high

    def panel(left: float, right: float, low: float, top: float) -> list[Point]:
        return [at(left, low), at(left, top), at(right, top), at(right, low)]

    for side in (-0.76, 0.76):
        canvas.polygon(index, panel(side - 0.15, side + 0.15, 0.0, 0.3), _TYRE)
    canvas.polygon(index, [at(*corner) for corner in _REAR], paint)
    canvas.detail([at(*corner) for corner in _REAR_GLASS], _GLASS)
    canvas.detail([at(-0.7, 0.75), at(-0.62, 0.91), at(0.3, 0.91)], lit(_GLASS, 1.5))
    canvas.detail(panel(-0.96, 0.96, 0.16, 0.28), lit(paint, 0.6))
    canvas.detail(panel(-0.96, 0.96, 0.57, 0.6), lit(paint, 1.2))
    for side in (-0.82, 0.82):
        canvas.detail(panel(side - 0.13, side + 0.13, 0.42, 0.54), (186, 38, 36))
    canvas.detail(panel(-0.24, 0.24, 0.33, 0.44), (226, 224, 214))
