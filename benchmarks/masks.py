"""Synthetic index masks of three kinds and any size, the same for the same seed on every machine.

``organic``: segments with bent borders, as models find them. ``noise``: every pixel a number of its
own, the worst there is. ``constant``: one value, the least there is.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segpipe.workers.chunks import default_workers


class Shape(NamedTuple):
    """Columns and rows of a mask."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width} x {self.height}"


WIDTH, HEIGHT = 640, 480
SMALL = Shape(WIDTH, HEIGHT)
SHAPES = (SMALL, Shape(2048, 1024), Shape(3840, 2160))
ORGANIC, NOISE, CONSTANT = KINDS = ("organic", "noise", "constant")
#: Fewest and most segments of a mask, where nothing else is asked for.
SEGMENTS = (5, 20)
# Smooth noise that bends the borders: grid cells across the mask, and amplitude in pixels of one
# that is 640 wide; larger masks are the same thing seen more closely.
_OCTAVES = ((5, 55.0), (14, 28.0), (40, 9.0), (110, 3.0))


@dataclass(frozen=True)
class MaskFile:
    """A mask written to disk: its name and the pixel values in it, ascending."""

    name: str
    values: tuple[int, ...]
    bytes: int


@dataclass(frozen=True)
class Recipe:
    """What makes a set of masks: number n of a recipe is the same mask everywhere.

    Attributes:
        segments: fewest and most per mask, where they are organic.
    """

    seed: int = 1
    shape: Shape = SMALL
    kind: str = ORGANIC
    segments: tuple[int, int] = SEGMENTS

    @property
    def name(self) -> str:
        """For folders: differs where the masks do."""
        segments = "-".join(map(str, self.segments))
        return f"{self.kind}-{self.shape.width}x{self.shape.height}-{self.seed}-{segments}"

    def mask(self, number: int) -> NDArray[np.uint8]:
        """The mask of this number."""
        size = (self.shape.height, self.shape.width)
        if self.kind == NOISE:
            random = np.random.default_rng([self.seed, number])
            return random.integers(0, 256, size, dtype=np.uint8)
        if self.kind == CONSTANT:
            return np.full(size, (self.seed + number) % 256, np.uint8)
        return mask_of(self.seed, number, self.segments, self.shape)


def write_masks(folder: Path, count: int, recipe: Recipe) -> list[MaskFile]:
    """Write the first ``count`` masks of a recipe as 8-bit greyscale PNG files."""
    folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(default_workers()) as pool:
        return list(pool.map(partial(_write_mask, folder, recipe), range(count)))


def mask_of(
    seed: int, number: int, within: tuple[int, int] = SEGMENTS, shape: Shape = SMALL
) -> NDArray[np.uint8]:
    """The organic mask of this number: cells around jittered sites, seen through a smooth warp."""
    random = np.random.default_rng([seed, number])
    segments = int(random.integers(within[0], within[1] + 1))
    sites = _sites(random, segments * int(random.integers(1, 4)), shape)
    values = random.choice(256, segments, replace=False).astype(np.uint8)
    # Every value gets a site; the sites left over give some values a second, separate part.
    value_of_site = values[np.arange(len(sites)) % segments]
    x = _warped(np.arange(shape.width, dtype=np.float32)[None, :], random, shape)
    y = _warped(np.arange(shape.height, dtype=np.float32)[:, None], random, shape)
    return value_of_site[_nearest(x, y, sites)]


def _write_mask(folder: Path, recipe: Recipe, number: int) -> MaskFile:
    mask = recipe.mask(number)
    path = folder / f"{number:06d}.png"
    Image.fromarray(mask).save(path)
    present = np.flatnonzero(np.bincount(mask.ravel(), minlength=256))
    return MaskFile(path.name, tuple(present.tolist()), path.stat().st_size)


def _sites(random: np.random.Generator, count: int, shape: Shape) -> NDArray[np.float32]:
    """``count`` points, one in each of as many cells of a grid, in random order."""
    width, height = shape
    across = int(np.ceil(np.sqrt(count * width / height)))
    down = -(-count // across)
    cells = random.permutation(across * down)[:count]
    x = (cells % across + random.uniform(0.1, 0.9, count)) * width / across
    y = (cells // across + random.uniform(0.1, 0.9, count)) * height / down
    return np.stack([x, y], axis=1).astype(np.float32)


def _warped(
    coordinate: NDArray[np.float32], random: np.random.Generator, shape: Shape
) -> NDArray[np.float32]:
    warped = np.broadcast_to(coordinate, (shape.height, shape.width)).copy()
    for cells, amplitude in _OCTAVES:
        grid = random.uniform(-1.0, 1.0, (cells * shape.height // shape.width + 1, cells))
        noise = Image.fromarray(grid.astype(np.float32))
        smooth = noise.resize(shape, Image.Resampling.BICUBIC)
        warped += np.float32(amplitude * shape.width / WIDTH) * np.asarray(smooth)
    return warped


def _nearest(
    x: NDArray[np.float32], y: NDArray[np.float32], sites: NDArray[np.float32]
) -> NDArray[np.uint16]:
    """Number of the site nearest to every pixel."""
    nearest = np.zeros(x.shape, dtype=np.uint16)
    least = np.full(x.shape, np.inf, dtype=np.float32)
    for number, (site_x, site_y) in enumerate(sites):
        distance = np.square(x - site_x) + np.square(y - site_y)
        closer = distance < least
        np.copyto(least, distance, where=closer)
        np.copyto(nearest, number, where=closer)
    return nearest
