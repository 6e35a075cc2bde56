"""Pictures of predictions: the mask over its image, with a legend."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from segpipe.pictures.label_colours import PLAIN_COLOUR, is_plain, label_colours
from segpipe.pictures.legend import INK, LINE, PAPER, Font, draw_legend, text_font
from segpipe.pictures.palette import Colour, shaded
from segpipe.predictions.class_pdf import ClassPdf

_MARK = (230, 0, 60)
# The instances of a label: its colour, lighter, darker, much lighter, and again.
_INSTANCE_SHADES = (0.0, 0.35, -0.25, 0.55)
_LEGEND_WIDTH = 190
# A picture may grow for its legend, up to this many lines.
_MOST_LINES = 40


@dataclass(frozen=True, slots=True)
class LegendEntry:
    """The Segment of one pixel value, as a legend shows it.

    Attributes:
        confidence, area_fraction: 0 to 1; None where they are not shown.
        likeliest: classes of the Segment's PDF with their probabilities, highest first.
    """

    index: int
    label: str
    confidence: float | None = None
    area_fraction: float | None = None
    likeliest: Sequence[tuple[str, float]] = ()


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
    colours: Mapping[str, Colour] | None = None,
) -> Image.Image:
    """The mask drawn over its image, segments outlined, with a legend to its right.

    Args:
        mask: H x W uint8.
        legend: one entry per pixel value to name; labels share a colour, instances a shade.
        image: of any size; plain grey where None.
        title: drawn above the picture.
        longest_side: of the picture without legend, in pixels.
        marked: H x W bool; pixels to show in red, also where scaling would hide them.
        colours: label -> colour, the same as in related pictures; None for this picture only.

    Returns:
        RGB; mask and image are scaled down to ``longest_side``, never up.
    """
    table = colour_table(legend, colours)
    plain = [entry.index for entry in legend if is_plain(entry.label)]
    blended = blend(mask, table, plain, image, longest_side)
    if marked is not None:
        blended[_scaled_marks(marked, blended.shape[:2])] = _MARK
        unmarked = np.bincount(mask[~marked], minlength=256)
        table[(np.bincount(mask[marked], minlength=256) > 0) & (unmarked == 0)] = _MARK
    picture = Image.fromarray(blended.astype(np.uint8))
    return _with_legend(picture, legend, table, title)


def blend(
    mask: NDArray[np.uint8],
    table: NDArray[np.float32],
    plain: Sequence[int],
    image: Image.Image | None,
    longest_side: int,
    outlined: int | None = None,
) -> NDArray[np.float32]:
    """The mask's colours over its image, segments outlined in white.

    Args:
        mask: H x W uint8.
        table: 256 x 3 float32, the colour of each value, 0 to 255.
        plain: values that are drawn faintly.
        image: of any size; plain grey where None.
        longest_side: of the result, in pixels.
        outlined: a value whose pixels are outlined in red.

    Returns:
        H' x W' x 3 float32, 0 to 255.
    """
    height, width = mask.shape
    scale = min(1.0, longest_side / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
    opacity = np.full((256, 1), 0.62, np.float32)
    opacity[list(plain)] = 0.15
    blended: NDArray[np.float32]
    if image is None:  # a colour for each value
        blended = (np.float32(128) * (1 - opacity) + table * opacity)[small]
    else:
        under = np.asarray(image.convert("RGB").resize(size), np.float32)
        blended = under * (1 - opacity)[small] + (table * opacity)[small]
    blended[_edges(small)] = (255, 255, 255)
    if outlined is not None:
        blended[_outline(small == outlined)] = _MARK
    return blended


def _scaled_marks(marked: NDArray[np.bool_], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Marks in a smaller picture: a pixel is marked where any pixel scaled to it is."""
    rows, columns = np.nonzero(marked)
    scaled = np.zeros(shape, bool)
    scaled[rows * shape[0] // marked.shape[0], columns * shape[1] // marked.shape[1]] = True
    return scaled


def colour_table(
    legend: Sequence[LegendEntry], colours: Mapping[str, Colour] | None = None
) -> NDArray[np.float32]:
    """256 x 3 float32 colours, 0 to 255, for the pixel values of a legend; black elsewhere.

    Args:
        colours: label -> colour; None for a picture with these labels only.
    """
    given = label_colours(entry.label for entry in legend) if colours is None else colours
    table = np.zeros((256, 3), np.float32)
    seen: Counter[str] = Counter()
    for entry in legend:
        colour = given.get(entry.label, PLAIN_COLOUR)
        shade = 0.0 if is_plain(entry.label) else _INSTANCE_SHADES[seen[entry.label] % 4]
        seen[entry.label] += 1
        table[entry.index] = shaded(colour, shade)
    return table


def encoded(picture: Image.Image, file_format: str = "PNG") -> bytes:
    """The picture as file bytes.

    Args:
        file_format: PNG, or JPEG where size matters more than sharp text.
    """
    buffer = io.BytesIO()
    options = {"quality": 85} if file_format == "JPEG" else {"optimize": True}
    picture.save(buffer, format=file_format, **options)
    return buffer.getvalue()


def _edges(mask: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """H x W: pixels that differ from their left or upper neighbour."""
    edges = np.zeros(mask.shape, bool)
    edges[:, 1:] |= mask[:, 1:] != mask[:, :-1]
    edges[1:, :] |= mask[1:, :] != mask[:-1, :]
    return edges


def _outline(region: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels around a region, two wide, so that small regions are visible."""
    grown = np.pad(region, 2)
    for _ in range(2):
        wider = grown.copy()
        wider[1:] |= grown[:-1]
        wider[:-1] |= grown[1:]
        wider[:, 1:] |= grown[:, :-1]
        wider[:, :-1] |= grown[:, 1:]
        grown = wider
    return grown[2:-2, 2:-2] & ~region


def _with_legend(
    picture: Image.Image,
    legend: Sequence[LegendEntry],
    table: NDArray[np.float32],
    title: str,
) -> Image.Image:
    top = LINE + 6 if title else 0
    font = text_font()
    entries = list(_legend_lines(legend, table))
    lines = max(_MOST_LINES, (picture.height - 8) // LINE)
    height = max(picture.height, min(len(entries), lines) * LINE + 8)
    width = picture.width + _legend_width(entries, font)
    sheet = Image.new("RGB", (width, height + top), PAPER)
    sheet.paste(picture, (0, top))
    draw = ImageDraw.Draw(sheet)
    if title:
        draw.text((4, 4), title, fill=INK, font=font)
    draw_legend(draw, font, entries, (picture.width + 8, top + 4), lines)
    return sheet


def _legend_lines(
    legend: Sequence[LegendEntry], table: NDArray[np.float32]
) -> Iterator[tuple[list[float] | None, str]]:
    for entry in legend:
        yield table[entry.index].tolist(), _legend_text(entry)
        if entry.likeliest:
            yield None, "  ".join(f"{_cut(name)} {one:.2f}" for name, one in entry.likeliest)


def _legend_width(entries: Sequence[tuple[list[float] | None, str]], font: Font) -> int:
    """As wide as the lines of PDFs need it; the others fit in ``_LEGEND_WIDTH``."""
    pdfs = [font.getlength(text) for colour, text in entries if colour is None]
    return max(_LEGEND_WIDTH, *(int(length) + 33 for length in pdfs), 0)


def _legend_text(entry: LegendEntry) -> str:
    parts = [f"{entry.index} {_cut(entry.label)}"]
    if entry.confidence is not None:
        parts.append(f"{entry.confidence:.2f}")
    if entry.area_fraction is not None:
        parts.append(f"{100 * entry.area_fraction:.0f}%")
    return "  ".join(parts)


def _cut(label: str) -> str:
    label = " ".join(label.split())
    return label if len(label) <= 16 else label[:15] + "…"
