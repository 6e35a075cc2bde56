"""Pictures of predictions: the mask over its image, with a legend."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

# Okabe and Ito, "Color Universal Design" (2008): distinct for every common colour vision.
_COLOURS = np.array(
    [
        (0, 114, 178),
        (230, 159, 0),
        (0, 158, 115),
        (204, 121, 167),
        (86, 180, 233),
        (213, 94, 0),
        (240, 228, 66),
        (120, 94, 240),
        (148, 103, 60),
        (110, 110, 110),
    ],
    np.float32,
)
_MARK = (230, 0, 60)
_PLAIN = frozenset({"background", "void", "unlabelled", "unlabeled", "ignore"})
_PAPER, _INK = (250, 250, 248), (30, 30, 30)
_LEGEND_WIDTH = 190
_LINE = 17


@dataclass(frozen=True, slots=True)
class LegendEntry:
    """What one pixel value stands for in a picture."""

    index: int
    label: str
    confidence: float | None = None
    area_fraction: float | None = None


def overlay(
    mask: NDArray[np.uint8],
    legend: Sequence[LegendEntry],
    image: Image.Image | None = None,
    *,
    title: str = "",
    longest_side: int = 420,
    marked: NDArray[np.bool_] | None = None,
) -> Image.Image:
    """The mask drawn over its image, segments outlined, with a legend to its right.

    Args:
        mask: H x W uint8.
        legend: one entry per pixel value to name; labels share a colour, instances a shade.
        image: of any size; grey paper where there is none.
        longest_side: of the picture without legend, in pixels.
        marked: H x W; pixels to show in red, kept visible however far the picture is scaled.
    """
    table = colour_table(legend)
    plain = [entry.index for entry in legend if is_plain(entry.label)]
    blended = blend(mask, table, plain, image, longest_side)
    if marked is not None:
        blended[_scaled_marks(marked, blended.shape[:2])] = _MARK
        unmarked = np.bincount(mask[~marked], minlength=256)
        table[(np.bincount(mask[marked], minlength=256) > 0) & (unmarked == 0)] = _MARK
    picture = Image.fromarray(blended.astype(np.uint8))
    return _with_legend(picture, legend, table, title)


def is_plain(label: str) -> bool:
    """Whether a label stands for nothing in particular, and is drawn as such."""
    return label.lower() in _PLAIN


def blend(
    mask: NDArray[np.uint8],
    table: NDArray[np.float32],
    plain: Sequence[int],
    image: Image.Image | None,
    longest_side: int,
) -> NDArray[np.float32]:
    """The mask's colours over its image, H' x W' x 3, segments outlined in white.

    Args:
        table: 256 x 3 colours.
        plain: values that are drawn faintly.
        longest_side: of the result, in pixels.
    """
    height, width = mask.shape
    scale = min(1.0, longest_side / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
    if image is None:
        under = np.full((*small.shape, 3), 128, np.float32)
    else:
        under = np.asarray(image.convert("RGB").resize(size), np.float32)
    opacity = np.full(256, 0.62, np.float32)
    opacity[list(plain)] = 0.15
    share = opacity[small][..., None]
    blended: NDArray[np.float32] = under * (1 - share) + table[small] * share
    blended[_edges(small)] = (255, 255, 255)
    return blended


def _scaled_marks(marked: NDArray[np.bool_], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Marks in a smaller picture: a pixel is marked if any of those it stands for is."""
    rows, columns = np.nonzero(marked)
    scaled = np.zeros(shape, bool)
    scaled[rows * shape[0] // marked.shape[0], columns * shape[1] // marked.shape[1]] = True
    return scaled


def colour_table(legend: Sequence[LegendEntry]) -> NDArray[np.float32]:
    """256 x 3 float32 colours, 0 to 255, for the pixel values of a legend; black elsewhere."""
    table = np.zeros((256, 3), np.float32)
    labels = list(dict.fromkeys(e.label for e in legend if e.label.lower() not in _PLAIN))
    seen: dict[str, int] = {}
    for entry in legend:
        if entry.label.lower() in _PLAIN:
            table[entry.index] = (160, 160, 160)
            continue
        cycle, place = divmod(labels.index(entry.label), len(_COLOURS))
        colour = _COLOURS[place] * 0.55**cycle  # beyond ten labels the same colours, darker
        nth = seen[entry.label] = seen.get(entry.label, -1) + 1
        shade = (0.0, 0.35, -0.25, 0.55)[nth % 4]
        towards = 255.0 if shade > 0 else 0.0
        table[entry.index] = colour + (towards - colour) * abs(shade)
    return table


def encoded(picture: Image.Image, file_format: str = "PNG") -> bytes:
    """The picture as file bytes: PNG, or JPEG where size matters more than crisp text."""
    buffer = io.BytesIO()
    options = {"quality": 85} if file_format == "JPEG" else {"optimize": True}
    picture.save(buffer, format=file_format, **options)
    return buffer.getvalue()


def _edges(mask: NDArray[np.uint8]) -> NDArray[np.bool_]:
    edges = np.zeros(mask.shape, bool)
    edges[:, 1:] |= mask[:, 1:] != mask[:, :-1]
    edges[1:, :] |= mask[1:, :] != mask[:-1, :]
    return edges


def _with_legend(
    picture: Image.Image,
    legend: Sequence[LegendEntry],
    table: NDArray[np.float32],
    title: str,
) -> Image.Image:
    top = _LINE + 6 if title else 0
    lines = max(1, (picture.height - 8) // _LINE)
    shown = list(legend[:lines]) if len(legend) <= lines else list(legend[: lines - 1])
    sheet = Image.new("RGB", (picture.width + _LEGEND_WIDTH, picture.height + top), _PAPER)
    sheet.paste(picture, (0, top))
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=12)
    if title:
        draw.text((4, 4), title, fill=_INK, font=font)
    x, y = picture.width + 8, top + 4
    for entry in shown:
        red, green, blue = (int(value) for value in table[entry.index])
        draw.rectangle((x, y + 2, x + 11, y + 13), fill=(red, green, blue), outline=_INK)
        draw.text((x + 17, y), _legend_text(entry), fill=_INK, font=font)
        y += _LINE
    if len(shown) < len(legend):
        draw.text((x, y), f"and {len(legend) - len(shown)} more", fill=_INK, font=font)
    return sheet


def _legend_text(entry: LegendEntry) -> str:
    label = entry.label if len(entry.label) <= 16 else entry.label[:15] + "…"
    parts = [f"{entry.index} {label}"]
    if entry.confidence is not None:
        parts.append(f"{entry.confidence:.2f}")
    if entry.area_fraction is not None:
        parts.append(f"{100 * entry.area_fraction:.0f}%")
    return "  ".join(parts)
