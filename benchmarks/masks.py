"""Synthetic index masks with organic segments, the same for the same seed on every machine."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segpipe.chunks import default_workers

WIDTH, HEIGHT = 640, 480
#: Fewest and most segments of a mask, where nothing else is asked for.
SEGMENTS = (5, 20)
# Smooth noise that bends the borders: grid cells across the mask, and amplitude in pixels.
_OCTAVES = ((5, 55.0), (14, 28.0), (40, 9.0), (110, 3.0))


@dataclass(frozen=True)
class MaskFile:
    """A mask written to disk: its name and the pixel values in it, ascending."""

    name: str
    values: tuple[int, ...]
    bytes: int


def write_masks(
    folder: Path, count: int, seed: int, segments: tuple[int, int] = SEGMENTS
) -> list[MaskFile]:
    """Write ``count`` masks as 8-bit greyscale PNG files."""
    folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(default_workers()) as pool:
        return list(pool.map(partial(_write_mask, folder, seed, segments), range(count)))


def mask_of(seed: int, number: int, within: tuple[int, int] = SEGMENTS) -> NDArray[np.uint8]:
    """The mask of this number: cells around jittered sites, seen through a smooth warp."""
    random = np.random.default_rng([seed, number])
    segments = int(random.integers(within[0], within[1] + 1))
    sites = _sites(random, segments * int(random.integers(1, 4)))
    values = random.choice(256, segments, replace=False).astype(np.uint8)
    # Every value gets a site; the sites left over give some values a second, separate part.
    value_of_site = values[np.arange(len(sites)) % segments]
    x = _warped(np.arange(WIDTH, dtype=np.float32)[None, :], random)
    y = _warped(np.arange(HEIGHT, dtype=np.float32)[:, None], random)
    return value_of_site[_nearest(x, y, sites)]


def _write_mask(folder: Path, seed: int, segments: tuple[int, int], number: int) -> MaskFile:
    mask = mask_of(seed, number, segments)
    path = folder / f"{number:06d}.png"
    Image.fromarray(mask).save(path)
    present = np.flatnonzero(np.bincount(mask.ravel(), minlength=256))
    return MaskFile(path.name, tuple(present.tolist()), path.stat().st_size)


def _sites(random: np.random.Generator, count: int) -> NDArray[np.float32]:
    """``count`` points, one in each of as many cells of a grid, in random order."""
    across = int(np.ceil(np.sqrt(count * WIDTH / HEIGHT)))
    down = -(-count // across)
    cells = random.permutation(across * down)[:count]
    x = (cells % across + random.uniform(0.1, 0.9, count)) * WIDTH / across
    y = (cells // across + random.uniform(0.1, 0.9, count)) * HEIGHT / down
    return np.stack([x, y], axis=1).astype(np.float32)


def _warped(coordinate: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    warped = np.broadcast_to(coordinate, (HEIGHT, WIDTH)).copy()
    for cells, amplitude in _OCTAVES:
        grid = random.uniform(-1.0, 1.0, (cells * HEIGHT // WIDTH + 1, cells))
        noise = Image.fromarray(grid.astype(np.float32))
        smooth = noise.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
        warped += np.float32(amplitude) * np.asarray(smooth)
    return warped


def _nearest(
    x: NDArray[np.float32], y: NDArray[np.float32], sites: NDArray[np.float32]
) -> NDArray[np.intp]:
    """Number of the site nearest to every pixel."""
    nearest = np.zeros(x.shape, dtype=np.intp)
    least = np.full(x.shape, np.inf, dtype=np.float32)
    for number, (site_x, site_y) in enumerate(sites):
        distance = np.square(x - site_x) + np.square(y - site_y)
        closer = distance < least
        np.copyto(least, distance, where=closer)
        np.copyto(nearest, number, where=closer)
    return nearest
