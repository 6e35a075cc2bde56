"""Pictures of predictions: the mask over its image, numbers in its Segments, and a legend."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from segpipe.pictures.blending import MARK, Blended, Looks, as_drawn, blend
from segpipe.pictures.label_colours import PLAIN_COLOUR, is_plain, is_void, label_colours
from segpipe.pictures.legend import INK, PAPER, Legend, Line
from segpipe.pictures.number_places import number_places
from segpipe.pictures.palette import Colour, shaded
from segpipe.pictures.text import Text, line_height, text_size
from segpipe.predictions.class_pdf import ClassPdf

# The instances of a label: its colour, lighter, darker, much lighter, and again.
_INSTANCE_SHADES = (0.0, 0.3, -0.25, 0.5, -0.4)
# A picture may grow for its legend up to this many lines, then the legend up to so many columns.
_LEAST_LINES, _MOST_COLUMNS = 40, 7
_WHITE = (255, 255, 255)
# More tiny segments than these are not ringed: rings upon rings show nothing.
_MOST_RINGS = 24


@dataclass(frozen=True, slots=True)
class LegendEntry:
    """The Segment of one pixel value, as a legend shows it.

    Attributes:
        confidence, area_fraction: 0 to 1; None where they are not shown.
        likeliest: classes of the Segment's PDF with their probabilities, highest first; shown
            instead of the confidence.
        ignored: the Segment's pixels are to be ignored.
    """

    index: int
    label: str
    confidence: float | None = None
    area_fraction: float | None = None
    likeliest: Sequence[tuple[str, float]] = ()
    ignored: bool = False

    @property
    def is_ignored(self) -> bool:
        """Whether its pixels are drawn as ignored."""
        return self.ignored or is_void(self.label)


def likeliest(pdf: Iterable[tuple[str, float]] | None) -> list[tuple[str, float]]:
    """The three classes of the highest probabilities, as legends show them.

    Args:
        pdf: class and probability, as tables have them; None without a PDF.
    """
    if pdf is None:
        return []
    pairs = sorted(pdf)
    return ClassPdf(tuple(name for name, _ in pairs), tuple(one for _, one in pairs)).top(3)


def overlay(
    mask: NDArray[np.uint8],
    legend: Sequence[LegendEntry],
    image: Image.Image | None = None,
    *,
    title: str = "",
    longest_side: int = 420,
    marked: NDArray[np.bool_] | None = None,
    outlined: NDArray[np.bool_] | None = None,
    colours: Mapping[str, Colour] | None = None,
) -> Image.Image:
    """The mask drawn over its image, segments outlined and numbered, with a legend to its right.

    Text grows with the picture. Segments of a few pixels are ringed.

    Args:
        mask: H x W uint8.
        legend: one entry per pixel value to name; labels share a colour, instances a shade.
        image: of any size; plain grey where None.
        title: drawn above the picture.
        longest_side: of the picture without legend, in pixels.
        marked: H x W bool; pixels to show in red, also where scaling would hide them.
        outlined: H x W bool; pixels to draw a red line around.
        colours: label -> colour, the same as in related pictures; None for this picture only.

    Returns:
        RGB; mask and image are scaled down to ``longest_side``, and up to 320 pixels.
    """
    looks = looks_of(legend, colours)
    blended = blend(mask, looks, image, longest_side, marked=marked, outlined=outlined)
    size = text_size(max(blended.values.shape))
    picture = Image.fromarray(blended.pixels.astype(np.uint8))
    _draw_numbers(picture, blended, {entry.index for entry in legend}, size)
    for place in blended.specks[:_MOST_RINGS]:
        ring(ImageDraw.Draw(picture), place, blended, MARK)
    swatch = _swatches(blended, looks)
    if marked is not None:
        unmarked = np.bincount(mask[~marked], minlength=256)
        swatch[(np.bincount(mask[marked], minlength=256) > 0) & (unmarked == 0)] = MARK
    return framed(picture, [*_legend_lines(legend, swatch)], title, size)


def looks_of(legend: Sequence[LegendEntry], colours: Mapping[str, Colour] | None = None) -> Looks:
    """How the pixel values of a legend are drawn; those it does not name are black.

    Args:
        colours: label -> colour; None for a picture with these labels only.
    """
    given = label_colours(entry.label for entry in legend) if colours is None else colours
    table = np.zeros((256, 3), np.float32)
    seen: Counter[str] = Counter()
    for entry in legend:
        shade = _INSTANCE_SHADES[seen[entry.label] % len(_INSTANCE_SHADES)]
        seen[entry.label] += 1
        table[entry.index] = shaded(given.get(entry.label, PLAIN_COLOUR), shade)
    ignored = [entry.index for entry in legend if entry.is_ignored]
    plain = [entry.index for entry in legend if is_plain(entry.label)]
    return Looks(table, [index for index in plain if index not in ignored], ignored)


def encoded(picture: Image.Image, file_format: str = "PNG") -> bytes:
    """The picture as file bytes.

    Args:
        file_format: PNG, or JPEG where size matters more than sharp text.
    """
    buffer = io.BytesIO()
    options = {"quality": 85} if file_format == "JPEG" else {"optimize": True}
    picture.save(buffer, format=file_format, **options)
    return buffer.getvalue()


def _swatches(blended: Blended, looks: Looks) -> NDArray[np.float32]:
    """256 x 3: the mean colour of each value's pixels as they are drawn, without outlines."""
    values, pixels = blended.values[blended.inner], blended.pixels[blended.inner]
    count = np.bincount(values, minlength=256)
    sums = [np.bincount(values, weights=pixels[:, part], minlength=256) for part in range(3)]
    means = np.stack(sums, 1) / np.maximum(1, count)[:, None]
    unseen = np.array([as_drawn(colour) for colour in looks.colours.tolist()])
    return np.where((count > 0)[:, None], means, unseen).astype(np.float32)


def _draw_numbers(picture: Image.Image, blended: Blended, known: set[int], size: int) -> None:
    """Numbers where they have room, and beside rings around what would be overlooked."""
    draw, stroke = ImageDraw.Draw(picture), max(1, size // 8)
    tiny = [(value, *place) for value, place in blended.tiny.items() if value in known]
    taken = np.zeros(blended.values.shape, bool)
    for value, row, column in tiny[:_MOST_RINGS]:
        place = ring(draw, (row, column), blended)
        text = Text.of(str(value), size)
        right = place[1] + 8 * blended.unit + text.width < picture.width
        beside = place[1] + (8 if right else -8) * blended.unit
        text.draw(draw, (beside, place[0]), _WHITE, anchor="lm" if right else "rm", stroke=stroke)
        wide, half = int(text.width) + 9 * blended.unit, size // 2 + 8 * blended.unit
        taken[max(0, row - half) : row + half, max(0, column - wide) : column + wide] = True
    for digits in (1, 2, 3):
        half_width = Text.of("0" * digits, size).width / 2 + stroke
        places = number_places(blended.values, half_width, 0.45 * size + stroke, taken)
        for value, (row, column) in places.items():
            if value in known and len(str(value)) == digits:
                text = Text.of(str(value), size)
                text.draw(draw, (column, row), _WHITE, anchor="mm", stroke=stroke)


def ring(
    draw: ImageDraw.ImageDraw,
    place: tuple[int, int],
    blended: Blended,
    colour: Colour | None = None,
) -> tuple[int, int]:
    """Draw a ring, in white where no colour is given, around a place; returns its centre.

    Args:
        place: row and column.
    """
    unit = blended.unit
    radius = 6 * unit
    row, column = (
        min(max(at, radius + unit), max(radius + unit, side - 2 - radius - unit))
        for at, side in zip(place, blended.values.shape, strict=True)
    )
    # What is ringed is drawn as a dot: a pixel is not seen.
    dot = tuple(int(part) for part in blended.pixels[place])
    at_row, at_column = place
    draw.rectangle((at_column - unit, at_row - unit, at_column + unit, at_row + unit), fill=dot)
    inner = _WHITE if colour is None else tuple(int(part) for part in colour)
    for grown, ink in ((unit, (0, 0, 0)), (0, inner)):
        r = radius + grown
        draw.ellipse((column - r, row - r, column + r, row + r), outline=ink, width=unit)
    return row, column


def framed(picture: Image.Image, lines: Sequence[Line], title: str, size: int) -> Image.Image:
    """A picture with a title above it and a legend to its right.

    Args:
        size: of the text, in pixels.
    """
    tall = line_height(size)
    top = round(1.35 * tall) if title else 0
    rows = max(_LEAST_LINES, (picture.height - size) // tall)
    legend = Legend(lines, size, rows, 34 * size, _MOST_COLUMNS)
    beside = legend.columns * legend.column_width + size if lines else 0
    width = max(picture.width + beside, 16 * size)
    sheet = Image.new("RGB", (width, max(picture.height, legend.height) + top), PAPER)
    sheet.paste(picture, (0, top))
    if title:
        text = Text.of(title, size, width - size)
        text.draw(ImageDraw.Draw(sheet), (size // 3, size // 4), INK)
    legend.draw(sheet, (picture.width + size * 2 // 3, top + size // 4))
    return sheet


def _legend_lines(legend: Sequence[LegendEntry], swatch: NDArray[np.float32]) -> Iterator[Line]:
    for entry in legend:
        parts = []
        if entry.confidence is not None:
            parts.append(f"{entry.confidence:.2f}")
        if entry.area_fraction is not None:
            parts.append(percent(entry.area_fraction))
        yield Line(
            swatch[entry.index].tolist(),
            f"{entry.index} {entry.label}",
            ", ".join(parts),
            entry.is_ignored,
        )
        if entry.likeliest:
            yield Line(None, "  ".join(f"{_cut(name)} {one:.2f}" for name, one in entry.likeliest))


def percent(share: float) -> str:
    """A share of pixels in words that are never 0% for a pixel or more."""
    if 0 < share < 0.001:
        return "<0.1%"
    return f"{100 * share:.1f}%" if share < 0.1 else f"{100 * share:.0f}%"


def _cut(label: str) -> str:
    return Text.of(label, 12, 110).words
