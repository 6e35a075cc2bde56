"""A mask's colours over its image: what is background, ignored, tiny or marked looks so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.float32]
Flags = NDArray[np.bool_]
Values = NDArray[np.uint8]

#: Colour of marks; no label has one near it.
MARK = (230.0, 0.0, 60.0)
# How much of a pixel is its label's colour; the rest is its image, without colours of its own.
_OPACITY = 0.62
_WITHOUT_IMAGE = 128.0
# Sides of pictures in pixels: smaller masks are enlarged, and no side is drawn smaller.
_ENLARGED_TO, _LEAST_SIDE = 320, 8
# Segments of no more pixels in a picture are tiny: they are easily overlooked.
_TINY = 12


@dataclass(frozen=True)
class Looks:
    """How pixel values are drawn.

    Attributes:
        colours: 256 x 3 float32, 0 to 255.
        background: values that are drawn without a colour, as the image in grey.
        ignored: values that are drawn without a colour, hatched.
    """

    colours: Pixels
    background: Sequence[int] = ()
    ignored: Sequence[int] = ()


@dataclass(frozen=True)
class Blended:
    """A mask as it is drawn.

    Attributes:
        pixels: H' x W' x 3 float32, 0 to 255.
        values: H' x W' uint8, the mask at that size.
        inner: H' x W', pixels that are not outlines.
        tiny: values that have hardly any pixels there -> row and column of one of them.
        unit: width of a line in pixels; grows with the picture.
        specks: row and column of marks, where they are so few that they are easily overlooked.
    """

    pixels: Pixels
    values: Values
    inner: Flags
    tiny: dict[int, tuple[int, int]]
    unit: int
    specks: Sequence[tuple[int, int]] = ()


def blend(
    mask: Values,
    looks: Looks,
    image: Image.Image | None,
    longest_side: int,
    *,
    outlined: Flags | None = None,
    marked: Flags | None = None,
) -> Blended:
    """The mask's colours over its image, segments outlined.

    Scaled down, no Segment disappears: those that would are drawn over their neighbours. Masks
    smaller than 320 pixels are enlarged.

    Args:
        mask: H x W uint8.
        image: of any size; plain grey where None.
        longest_side: of the result, in pixels.
        outlined: H x W bool; pixels around which a red line is drawn.
        marked: H x W bool; pixels that are drawn in red, also where scaling would hide them.
    """
    width, height = drawn_size(mask.shape[1], mask.shape[0], longest_side)
    values, tiny = _scaled(mask, (width, height))
    unit = max(1, round(max(width, height) / 900))
    grey = np.full(values.shape, _WITHOUT_IMAGE, np.float32)
    if image is not None:
        grey = np.asarray(grey_of(image).resize((width, height)), np.float32)
    pixels = _coloured(values, grey, looks, unit, with_image=image is not None)
    edges = _edges(values, unit)
    pixels[edges] = _ink(values, pixels)[values[edges]][:, None]
    if outlined is not None:
        pixels[_outline(scaled_marks(outlined, values.shape), 2 * unit)] = MARK
    specks: list[tuple[int, int]] = []
    if marked is not None:
        marks = scaled_marks(marked, values.shape)
        pixels[_outline(marks, unit)] = (255, 255, 255)
        pixels[marks] = MARK
        specks = _specks(marks, 8 * unit)
    return Blended(pixels, values, ~edges, tiny, unit, specks)


def as_drawn(colour: Sequence[float]) -> tuple[float, float, float]:
    """A label's colour as it looks over an image of middle grey."""
    red, green, blue = (_OPACITY * part + (1 - _OPACITY) * _WITHOUT_IMAGE for part in colour)
    return red, green, blue


def drawn_size(width: int, height: int, longest_side: int) -> tuple[int, int]:
    """Width and height in pixels of a picture of something of a width and height."""
    longest = max(width, height)
    scale: float = longest_side / longest
    if scale > 1:
        scale = max(1, min(longest_side, _ENLARGED_TO) // longest)
    return max(_LEAST_SIDE, round(width * scale)), max(_LEAST_SIDE, round(height * scale))


def grey_of(image: Image.Image) -> Image.Image:
    """An image in grey, 8-bit, also one of 16 bits or floats, whose range is stretched."""
    if image.mode[:1] not in "IF":
        return image.convert("L")
    samples = np.asarray(image, np.float32)
    low, high = float(np.nanmin(samples)), float(np.nanmax(samples))
    stretched = np.nan_to_num((samples - low) * (255 / ((high - low) or 1)))
    return Image.fromarray(stretched.astype(np.uint8))


def hatched(shape: tuple[int, ...], unit: int) -> Flags:
    """H x W: diagonal lines."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return np.asarray((rows + columns) % (7 * unit) < 2 * unit)


def pixels_by_value(values: Values) -> NDArray[np.intp]:
    """256: how many pixels have each value; Pillow counts bytes without copying them first."""
    return np.array(Image.fromarray(values).histogram(), np.intp)


def _coloured(values: Values, grey: Pixels, looks: Looks, unit: int, *, with_image: bool) -> Pixels:
    """Colours over grey; extremes of the grey are softened, so that colours show on them."""
    soft = 40 + np.float32(0.69) * grey
    pixels: Pixels = (looks.colours * np.float32(_OPACITY))[values]
    pixels += ((1 - _OPACITY) * soft)[..., None]
    plain = np.zeros(256, bool)
    plain[[*looks.background, *looks.ignored]] = True
    if plain.any():
        where = plain[values]
        pixels[where] = (soft if with_image else np.full_like(soft, 205))[where][:, None]
        ignored = np.zeros(256, bool)
        ignored[list(looks.ignored)] = True
        lines = ignored[values] & hatched(values.shape, unit)
        pixels[lines] = np.where(pixels[lines] > 120, np.float32(50), np.float32(225))
    return pixels


def _scaled(mask: Values, size: tuple[int, int]) -> tuple[Values, dict[int, tuple[int, int]]]:
    """The mask at a size, all of its values in it; and where those are that have few pixels."""
    values = np.array(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
    count, there = pixels_by_value(values), pixels_by_value(mask)
    lost = (there > 0) & (count == 0)
    if lost.any():
        rows, columns = np.nonzero(lost[mask])
        own = mask[rows, columns]
        down = rows * values.shape[0] // mask.shape[0]
        right = columns * values.shape[1] // mask.shape[1]
        values[down, right] = own
        # Of several in one pixel each has its place in turn, the smallest last.
        order = np.argsort(-there[own], kind="stable")
        values[down[order], right[order]] = own[order]
        count = pixels_by_value(values)
    tiny = {}
    for value in np.flatnonzero((there > 0) & (count <= _TINY)).tolist():
        rows, columns = np.nonzero(values == value)
        if not rows.size:  # covered by another
            rows, columns = (axis[:1] for axis in np.nonzero(mask == value))
            rows = rows * values.shape[0] // mask.shape[0]
            columns = columns * values.shape[1] // mask.shape[1]
        tiny[value] = int(rows[rows.size // 2]), int(columns[rows.size // 2])
    return values, tiny


def scaled_marks(marked: Flags, shape: tuple[int, ...]) -> Flags:
    """Marks at another size: a pixel is marked where any pixel scaled to it is."""
    grown = [-(-shape[axis] // marked.shape[axis]) for axis in (0, 1)]
    if max(grown) > 1:
        marked = np.kron(marked, np.ones(grown, bool))
    for axis in (0, 1):
        first = -(-np.arange(shape[axis]) * marked.shape[axis] // shape[axis])
        marked = np.logical_or.reduceat(marked, first, axis)
    return marked


def _specks(marks: Flags, apart: int) -> list[tuple[int, int]]:
    """Places of marks, one of those near each other, where there are few."""
    if np.count_nonzero(marks) > 10 * _TINY:
        return []
    found = {(row // apart, column // apart): (row, column) for row, column in _places(marks)}
    return list(found.values())


def _places(flags: Flags) -> list[tuple[int, int]]:
    return [(int(row), int(column)) for row, column in np.argwhere(flags)]


def _ink(values: Values, pixels: Pixels) -> Pixels:
    """256: the grey of a value's outlines, dark where its pixels are bright."""
    count = np.maximum(1, pixels_by_value(values))
    # Three sums, not one along the last axis: of three numbers each that takes five times as long.
    sums = pixels[..., 0] + pixels[..., 1] + pixels[..., 2]
    light = np.bincount(values.ravel(), weights=sums.ravel(), minlength=256) / 3
    return np.where(light / count > 170, 45, 255).astype(np.float32)


def _edges(values: Values, unit: int) -> Flags:
    """H x W: outlines, so many pixels wide, drawn on the larger of two neighbours.

    So small segments keep the pixels they have.
    """
    size = pixels_by_value(values)
    # Of equal ones the higher value.
    rank = np.argsort(np.argsort(size, kind="stable")).astype(np.int16)[values]
    edges = np.zeros(values.shape, bool)
    for near, far in (
        (np.s_[:, 1:], np.s_[:, :-1]),
        (np.s_[:, :-1], np.s_[:, 1:]),
        (np.s_[1:], np.s_[:-1]),
        (np.s_[:-1], np.s_[1:]),
    ):
        edges[near] |= rank[near] > rank[far]
    for _ in range(unit - 1):
        wider = edges.copy()
        for near, far in ((np.s_[:, 1:], np.s_[:, :-1]), (np.s_[1:], np.s_[:-1])):
            wider[near] |= edges[far] & (rank[near] == rank[far])
            wider[far] |= edges[near] & (rank[near] == rank[far])
        edges = wider
    return edges


def _outline(region: Flags, wide: int) -> Flags:
    """The pixels around a region, so that small regions are visible."""
    grown = np.pad(region, wide)
    for _ in range(wide):
        wider = grown.copy()
        wider[1:] |= grown[:-1]
        wider[:-1] |= grown[1:]
        wider[:, 1:] |= grown[:, :-1]
        wider[:, :-1] |= grown[:, 1:]
        grown = wider
    return grown[wide:-wide, wide:-wide] & ~region
