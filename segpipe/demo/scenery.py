"""Drawing street scenes: crisp shapes into an index mask, light and texture into an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Point = tuple[float, float]

SKY, ROAD_GREY = (168, 200, 228), (92, 94, 98)


@dataclass
class Canvas:
    """An image under construction: the same shapes go into an index mask and into colours.

    Attributes:
        mask: H x W, mode L, one value per shape.
        paint: H x W, mode RGB.
        labels: label of each index, in order.
    """

    height: int
    width: int
    mask: Image.Image = field(init=False)
    paint: Image.Image = field(init=False)
    labels: list[str] = field(default_factory=lambda: ["Background"])

    def __post_init__(self) -> None:
        self.mask = Image.new("L", (self.width, self.height), 0)
        self.paint = Image.new("RGB", (self.width, self.height), SKY)

    def add(self, label: str) -> int:
        """Begin a new segment; returns its index."""
        self.labels.append(label)
        return len(self.labels) - 1

    def polygon(self, index: int, points: Sequence[Point], colour: Colour) -> None:
        """A filled polygon."""
        ImageDraw.Draw(self.mask).polygon(points, fill=index)
        ImageDraw.Draw(self.paint).polygon(points, fill=colour)

    def ellipse(self, index: int, centre: Point, radii: Point, colour: Colour) -> None:
        """A filled ellipse."""
        box = (
            centre[0] - radii[0],
            centre[1] - radii[1],
            centre[0] + radii[0],
            centre[1] + radii[1],
        )
        ImageDraw.Draw(self.mask).ellipse(box, fill=index)
        ImageDraw.Draw(self.paint).ellipse(box, fill=colour)

    def box(
        self, index: int, left: float, top: float, right: float, bottom: float, colour: Colour
    ) -> None:
        """A filled rectangle."""
        self.polygon(index, [(left, top), (right, top), (right, bottom), (left, bottom)], colour)

    def detail(self, points: Sequence[Point], colour: Colour) -> None:
        """A mark within a segment, such as a window: seen in the image only."""
        ImageDraw.Draw(self.paint).polygon(points, fill=colour)

    def photograph(self, rng: np.random.Generator) -> NDArray[np.uint8]:
        """The painted scene with light from above, soft blotches and grain; H x W x 3 uint8."""
        colours = np.asarray(self.paint, np.float32)
        light = np.linspace(1.08, 0.9, self.height, dtype=np.float32)[:, None, None]
        coarse = rng.normal(0, 1, (self.height // 12 + 1, self.width // 12 + 1)).astype(np.float32)
        blotches = Image.fromarray(coarse).resize(
            (self.width, self.height), Image.Resampling.BICUBIC
        )
        grain = rng.normal(0, 3.5, (self.height, self.width)).astype(np.float32)
        texture = np.asarray(blotches) * 5 + grain
        lit: NDArray[np.uint8] = np.clip(colours * light + texture[..., None], 0, 255).astype(
            np.uint8
        )
        return lit


def varied(colour: Colour, rng: np.random.Generator, by: int = 18) -> Colour:
    """A colour a little lighter or darker."""
    red, green, blue = (int(np.clip(c + rng.integers(-by, by + 1), 0, 255)) for c in colour)
    return red, green, blue


def building(
    canvas: Canvas,
    index: int,
    left: float,
    right: float,
    top: float,
    bottom: float,
    rng: np.random.Generator,
) -> None:
    """A facade with rows of windows and, sometimes, a pitched roof."""
    walls = ((176, 142, 116), (158, 152, 146), (186, 170, 140), (142, 118, 112))
    wall = varied(walls[int(rng.integers(len(walls)))], rng)
    if rng.random() < 0.5:
        peak = ((left + right) / 2, top - 0.18 * (right - left))
        canvas.polygon(index, [(left, top), peak, (right, top)], varied((120, 78, 66), rng))
    canvas.box(index, left, top, right, bottom, wall)
    pane = varied((94, 116, 134), rng)
    step = max(16.0, (right - left) / 5)
    for x in np.arange(left + 0.25 * step, right - 0.5 * step, step):
        for y in np.arange(top + 10, bottom - 26, 26):
            w, h = 0.45 * step, 14
            canvas.detail([(x, y), (x + w, y), (x + w, y + h), (x, y + h)], pane)


def tree(
    canvas: Canvas, index: int, x: float, ground: float, size: float, rng: np.random.Generator
) -> None:
    """A trunk and a crown of overlapping leaves."""
    canvas.box(index, x - 0.05 * size, ground - 0.5 * size, x + 0.05 * size, ground, (96, 72, 52))
    green = varied((74, 122, 62), rng)
    for _ in range(9):
        dx, dy = rng.normal(0, 0.16, 2) * size
        radius = size * rng.uniform(0.14, 0.26)
        centre = (x + dx, ground - 0.72 * size + dy)
        canvas.ellipse(index, centre, (radius, radius), varied(green, rng, 10))


def fence(
    canvas: Canvas, index: int, left: float, right: float, ground: float, height: float
) -> None:
    """Posts and two rails; what is behind shows through."""
    for x in np.arange(left, right, 13):
        canvas.box(index, x, ground - height, x + 4, ground, (132, 104, 74))
    for share in (0.25, 0.7):
        y = ground - share * height
        canvas.box(index, left, y - 2, right, y + 2, (120, 94, 66))


def person(
    canvas: Canvas,
    index: int,
    x: float,
    ground: float,
    size: float,
    walking: bool,
    rng: np.random.Generator,
) -> None:
    """Legs, coat, arms and head."""
    coat = varied(((170, 60, 56), (58, 84, 140), (196, 160, 64))[int(rng.integers(3))], rng)
    stride = 0.12 * size if walking else 0.03 * size
    hip, shoulder = ground - 0.46 * size, ground - 0.82 * size
    for side in (-1, 1):
        foot = x + side * (stride + 0.03 * size)
        canvas.polygon(
            index,
            [
                (x - 0.05 * size, hip),
                (x + 0.05 * size, hip),
                (foot + 4, ground),
                (foot - 4, ground),
            ],
            (52, 54, 66),
        )
    canvas.polygon(
        index,
        [
            (x - 0.11 * size, shoulder), (x + 0.11 * size, shoulder),
            (x + 0.13 * size, hip + 3), (x - 0.13 * size, hip + 3),
        ],
        coat,
    )  # fmt: skip
    canvas.ellipse(index, (x, ground - 0.91 * size), (0.07 * size, 0.085 * size), (214, 172, 146))


def handbag(canvas: Canvas, index: int, x: float, ground: float, size: float) -> None:
    """A bag hanging beside a person of this size."""
    top, bottom = ground - 0.44 * size, ground - 0.3 * size
    canvas.polygon(
        index,
        [(x - 7, top), (x + 7, top), (x + 10, bottom), (x - 10, bottom)],
        (112, 52, 84),
    )
    canvas.polygon(
        index, [(x - 3, top - 6), (x + 3, top - 6), (x + 6, top), (x - 6, top)], (112, 52, 84)
    )


def bird(canvas: Canvas, index: int, x: float, y: float, size: float) -> None:
    """Two wings and a body against the sky."""
    dark = (58, 60, 68)
    canvas.polygon(
        index,
        [(x - size, y - 0.5 * size), (x - 0.2 * size, y - 0.1 * size), (x, y + 0.25 * size)],
        dark,
    )
    canvas.polygon(
        index,
        [(x + size, y - 0.55 * size), (x + 0.2 * size, y - 0.1 * size), (x, y + 0.25 * size)],
        dark,
    )
    canvas.ellipse(index, (x, y), (0.3 * size, 0.2 * size), dark)


def car(
    canvas: Canvas, index: int, x: float, ground: float, size: float, rng: np.random.Generator
) -> None:
    """A body, a cabin with windows, and wheels."""
    colours = ((150, 44, 48), (60, 92, 136), (198, 198, 200), (48, 52, 56), (86, 128, 96))
    paint = varied(colours[int(rng.integers(len(colours)))], rng)
    high = 0.36 * size
    canvas.box(index, x - 0.5 * size, ground - 0.68 * high, x + 0.5 * size, ground - 4, paint)
    cabin = [
        (x - 0.32 * size, ground - 0.68 * high), (x - 0.2 * size, ground - 1.2 * high),
        (x + 0.2 * size, ground - 1.2 * high), (x + 0.34 * size, ground - 0.68 * high),
    ]  # fmt: skip
    canvas.polygon(index, cabin, paint)
    glass = [(x + (px - x) * 0.82, py + (3 if py < ground - high else -1)) for px, py in cabin]
    canvas.detail(glass, (150, 176, 190))
    for side in (-0.3, 0.3):
        canvas.ellipse(index, (x + side * size, ground - 4), (0.1 * size, 0.1 * size), (34, 34, 36))
