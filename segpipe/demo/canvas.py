"""The canvas of a scene: each shape is drawn into an index mask and into a photograph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Colour = tuple[int, int, int]
Point = tuple[float, float]

# Colours are painted at twice the mask's size and averaged: edges are antialiased in the photograph
# and sharp in the mask.
_FINE = 2
_UNSHADED = 255


@dataclass(frozen=True)
class View:
    """A level camera: projects positions in a street, in metres, to pixels.

    Attributes:
        width: of the image, in pixels.
        height: of the image, in pixels.
        horizon: row of the horizon, in pixels.
        vanish: column of the vanishing point, in pixels.
        eye: height of the camera above the ground, in metres.
        focal: focal length, in pixels.
    """

    width: int
    height: int
    horizon: float
    vanish: float
    eye: float
    focal: float

    def at(self, x: float, y: float, z: float) -> Point:
        """Pixel of the point ``x`` m to the right, ``y`` m above the ground and ``z`` m ahead."""
        scale = self.scale(z)
        return self.vanish + scale * x, self.horizon + scale * (self.eye - y)

    def scale(self, z: float) -> float:
        """Pixels per metre at a distance of ``z`` metres."""
        return self.focal / z


@dataclass
class Canvas:
    """An image under construction.

    Attributes:
        height: of mask and photograph, in pixels.
        width: of mask and photograph, in pixels.
        labels: label of each index, in order.
    """

    height: int
    width: int
    labels: list[str] = field(default_factory=lambda: ["Background"])

    def __post_init__(self) -> None:
        size = (self.width, self.height)
        self._mask = Image.new("L", size, 0)
        self._shade = Image.new("L", size, _UNSHADED)
        self._paint = Image.new("RGB", (self.width * _FINE, self.height * _FINE))
        self._on_mask = ImageDraw.Draw(self._mask)
        self._on_shade = ImageDraw.Draw(self._shade)
        self._on_paint = ImageDraw.Draw(self._paint)

    @property
    def mask(self) -> NDArray[np.uint8]:
        """H x W uint8; the index of the topmost segment at every pixel."""
        return np.array(self._mask)

    def add(self, label: str) -> int:
        """Begin a new segment; returns its index."""
        self.labels.append(label)
        return len(self.labels) - 1

    def sky(self, horizon: float, rng: np.random.Generator) -> None:
        """Background: blue above, paler towards the horizon, with soft clouds."""
        # The sky is smooth: a quarter of the size is enough, and much faster.
        height, width = self.height // 4 + 1, self.width // 4 + 1
        share = np.linspace(0, self.height / max(1.0, horizon), height, dtype=np.float32)
        down = np.minimum(share, 1)[:, None, None] ** 0.8
        high = np.array([112, 160, 214], np.float32) + rng.integers(-10, 11)
        low = np.array([214, 226, 234], np.float32) + rng.integers(-6, 7)
        veil = soft_noise(rng, height, width, (4, 7))
        veil += 0.5 * soft_noise(rng, height, width, (9, 19))
        cloud = np.clip(veil - rng.uniform(0.1, 0.7), 0, 1)[..., None] * 0.7
        clear = high + (low - high) * down
        sky = clear + (np.array([246, 246, 244]) - clear) * cloud
        self._paint.paste(Image.fromarray(sky.astype(np.uint8)).resize(self._paint.size))

    def polygon(self, index: int, points: Sequence[Point], colour: Colour) -> None:
        """A filled polygon of a segment."""
        self._on_mask.polygon(points, fill=index)
        self._on_shade.polygon(points, fill=_UNSHADED)
        self._on_paint.polygon(_fine(points), fill=colour)

    def ellipse(self, index: int, centre: Point, radii: Point, colour: Colour) -> None:
        """A filled ellipse of a segment."""
        box = _box(centre, radii)
        self._on_mask.ellipse(box, fill=index)
        self._on_shade.ellipse(box, fill=_UNSHADED)
        self._on_paint.ellipse(_fine(box), fill=colour)

    def detail(self, points: Sequence[Point], colour: Colour) -> None:
        """A detail within a segment, such as a window: in the photograph only."""
        self._on_paint.polygon(_fine(points), fill=colour)

    def dot(self, centre: Point, radii: Point, colour: Colour) -> None:
        """An elliptic detail within a segment: in the photograph only."""
        self._on_paint.ellipse(_fine(_box(centre, radii)), fill=colour)

    def shadow(self, points: Sequence[Point], strength: float = 0.35) -> None:
        """Darken a polygon of what is drawn so far; later shapes are not darkened."""
        self._on_shade.polygon(points, fill=round(_UNSHADED * (1 - strength)))

    def blob_shadow(self, centre: Point, radii: Point, strength: float = 0.4) -> None:
        """An elliptic :meth:`shadow`."""
        self._on_shade.ellipse(_box(centre, radii), fill=round(_UNSHADED * (1 - strength)))

    def photograph(self, rng: np.random.Generator) -> NDArray[np.uint8]:
        """The scene in soft, slightly uneven light with grain, H x W x 3 uint8."""
        colours = np.asarray(self._paint.reduce(_FINE), np.float32)
        light = np.asarray(self._shade.filter(ImageFilter.BoxBlur(1.5)), np.float32) / _UNSHADED
        light *= 1 + 0.03 * soft_noise(rng, self.height, self.width, (24, 18))
        light *= np.linspace(1.04, 0.97, self.width, dtype=np.float32)
        shape = (self.height, self.width)
        grain = rng.standard_normal(shape, np.float32) * np.where(self.mask == 0, 1.2, 3.2)
        lit = colours * light[..., None] + grain[..., None]
        # The upper bound prevents clipped highlights.
        photograph: NDArray[np.uint8] = np.clip(lit, 2, 252).astype(np.uint8)
        return photograph


def soft_noise(
    rng: np.random.Generator, height: int, width: int, cells: tuple[int, int]
) -> NDArray[np.float32]:
    """Smooth noise of about unit variance, H x W float32.

    Args:
        cells: columns and rows of the coarse grid that is interpolated.
    """
    across, down = cells
    coarse = Image.fromarray(rng.standard_normal((down, across), np.float32))
    return np.array(coarse.resize((width, height), Image.Resampling.BICUBIC), np.float32)


def varied(colour: Colour, rng: np.random.Generator, by: int = 14) -> Colour:
    """A colour made slightly lighter or darker, of almost the same hue."""
    lighter = int(rng.integers(-by, by + 1))
    red, green, blue = (
        int(np.clip(c + lighter + rng.integers(-by // 4, by // 4 + 1), 0, 255)) for c in colour
    )
    return red, green, blue


def mixed(colour: Colour, other: Colour, share: float) -> Colour:
    """A colour blended with another, whose share is 0 to 1."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(colour, other, strict=True))
    return red, green, blue


def lit(colour: Colour, factor: float) -> Colour:
    """A colour made lighter (factor above 1) or darker."""
    red, green, blue = (min(255, max(0, round(c * factor))) for c in colour)
    return red, green, blue


def one_of(colours: Sequence[Colour], rng: np.random.Generator) -> Colour:
    """One of the colours, slightly varied."""
    return varied(colours[int(rng.integers(len(colours)))], rng)


def _box(centre: Point, radii: Point) -> list[Point]:
    (x, y), (across, down) = centre, radii
    return [(x - across, y - down), (x + across, y + down)]


def _fine(points: Sequence[Point]) -> list[Point]:
    # A mask pixel's centre lies between the fine pixels it is averaged from.
    return [(x * _FINE + 0.5, y * _FINE + 0.5) for x, y in points]
