"""Pictures of items on which two model runs differ: both predictions, the truth, the difference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segpipe.evaluation.validated_items import ValidatedItems
from segpipe.masks.decoding import decode_mask
from segpipe.masks.refusal import MaskRefused
from segpipe.names import shown
from segpipe.pictures.blending import pixels_by_value
from segpipe.pictures.images import image_of
from segpipe.pictures.label_colours import PLAIN_COLOUR, colours_of
from segpipe.pictures.legend import PAPER
from segpipe.pictures.overlay import LegendEntry, encoded, overlay, percent
from segpipe.pictures.palette import Colour
from segpipe.predictions.class_pdf import class_pdf_of
from segpipe.predictions.prediction import Segment
from segpipe.settings import Settings
from segpipe.storage.files import Folder, folder_name
from segpipe.validation.ground_truth import GroundTruth, Truth
from segpipe.validation.rules.labels import is_ignored

Codes = NDArray[np.int64]

_LONGEST_SIDE, _LONGEST_NAME = 420, 80
_ITEMS_AT_ONCE = 8
# What is found at a pixel, and its colour; the first value is that of void.
_BESIDE_TRUTH: Mapping[str, Colour] = {
    "void": PLAIN_COLOUR, "both right": (225, 225, 225), "B alone right": (0, 114, 178),
    "A alone right": (213, 94, 0), "both wrong": (60, 60, 60),
}  # fmt: skip
_ALONE: Mapping[str, Colour] = {
    "void": PLAIN_COLOUR, "the same": (225, 225, 225), "different": (213, 94, 0),
}  # fmt: skip
_VOID = -1
# Differences that are named in words.
_MOST_NAMED = 5


@dataclass(frozen=True)
class Side:
    """A prediction, or the truth, that others are compared with.

    Attributes:
        mask: H x W uint8; every side's has the same size.
        taxonomy: of its model run: the classes, in the order of class PDFs that are lists.
    """

    name: str
    mask: NDArray[np.uint8]
    segments: Sequence[Segment]
    taxonomy: Sequence[str] = ()


def write_comparison_pictures(
    reference_ids: Sequence[str],
    sides: tuple[ValidatedItems, ValidatedItems],
    truth: GroundTruth | None,
    folder: str | PathLike[str],
    settings: Settings,
) -> list[str]:
    """Write a PNG per item, named by its place and its reference id.

    Args:
        sides: the model runs A and B.
        truth: the ground truth; None for a difference between A and B alone.
        folder: where to; it is made if need be.
        settings: of the root, for images and colours.

    Returns:
        A line for people about each item that has no picture: a mask cannot be read any more.

    Raises:
        CatalogError, StorageError: if something cannot be read, or not be written.
    """
    target = Folder(str(Path(folder).absolute()))
    problems: list[str] = []
    for first in range(0, len(reference_ids), _ITEMS_AT_ONCE):
        ids = reference_ids[first : first + _ITEMS_AT_ONCE]
        found = [side.of(ids) for side in (*sides, *([] if truth is None else [truth]))]
        images = sides[1].images(ids)
        for place, id in enumerate(ids, first + 1):
            read = _read(id, [one.get(id) for one in found], settings)
            if isinstance(read, str):
                problems.append(f"no picture of {shown(id)}: {read}")
                continue
            image = image_of(*images[id], settings) if id in images else None
            picture = side_by_side(id, read, image, settings, _LONGEST_SIDE)
            name = folder_name(id)[:_LONGEST_NAME]
            target.write(f"{place:02d} {name}.png", encoded(picture))
    return problems


def _read(
    id: str, found: Sequence[tuple[str, Truth] | None], settings: Settings
) -> list[Side] | str:
    """The sides of an item, or why it has no picture.

    Args:
        found: fingerprint and what there is of A, B and, where there is one, the truth.
    """
    read = []
    for name, one in zip(("A", "B", "truth"), found, strict=False):
        if one is None:
            return f"there is no {name} of it any more: compare again"
        mask = _pixels(one[1])
        if mask is None:
            return (
                f"the mask of {name}, {shown(one[1].model_run)}, is missing from the store or was "
                "changed: run its partition again"
            )
        run = one[1].model_run
        taxonomy = tuple(settings.policies.of(run).taxonomy)
        read.append(Side(f"{name}: {run}", mask, one[1].segments, taxonomy))
    if len({side.mask.shape for side in read}) > 1:
        return "its masks are of several sizes: compare again"
    return read


def side_by_side(
    title: str,
    sides: Sequence[Side],
    image: Image.Image | None,
    settings: Settings,
    longest_side: int,
) -> Image.Image:
    """The panels of an item: A, B, and the truth if there is one, then the difference.

    Args:
        title: of the difference.
        longest_side: of a panel without its legend, in pixels.
    """
    colours = colours_of(settings, (s.label for side in sides for s in side.segments))
    panels = [
        overlay(
            side.mask,
            [*_legend(side)],
            image,
            title=side.name,
            longest_side=longest_side,
            colours=colours,
        )
        for side in sides
    ]
    found, named = _difference([*_codes(sides)])
    legend = [
        LegendEntry(value, name, area_fraction=share)
        for value, name in enumerate(named)
        if (share := float((found == value).mean()))
    ]
    panels.append(
        overlay(found, legend, image, title=title, longest_side=longest_side, colours=named)
    )
    return _in_rows(panels)


def _legend(side: Side) -> Iterator[LegendEntry]:
    shares = pixels_by_value(side.mask) / side.mask.size
    for one in sorted(side.segments, key=lambda s: s.index):
        pdf = class_pdf_of(one.metadata, side.taxonomy)
        top = () if pdf is None else pdf.top(3)
        yield LegendEntry(
            one.index, one.label, one.confidence, float(shares[one.index]), top, is_ignored(one)
        )


def difference_words(one: Side, other: Side) -> Iterator[str]:
    """How much of two predictions differs, and the commonest pairs of labels where they do."""
    a, b = _codes((one, other))
    labels = [*sorted({s.label for side in (one, other) for s in side.segments}), "nothing"]
    apart = a != b
    yield f"{percent(float(apart.mean()))} of the pixels have another label"
    count = np.bincount((a[apart] % len(labels)) * len(labels) + b[apart] % len(labels))
    order = np.argsort(-count, kind="stable")
    for pair in order[: min(_MOST_NAMED, np.count_nonzero(count))].tolist():
        there, here = (labels[place] for place in divmod(pair, len(labels)))
        yield f"  {percent(count[pair] / a.size)}  {there} -> {here}"
    if np.count_nonzero(count) > _MOST_NAMED:
        yield f"  and {np.count_nonzero(count) - _MOST_NAMED} more pairs of labels"


def _pixels(side: Truth) -> NDArray[np.uint8] | None:
    if side.png is None:
        return None
    try:
        return decode_mask(side.png, max_pixels=2**31).pixels
    except MaskRefused:
        return None


def _codes(sides: Sequence[Side]) -> Iterator[Codes]:
    """The label of every pixel as a number that all sides share; ``_VOID`` for none."""
    labels = sorted({s.label for side in sides for s in side.segments})
    places = {label: place for place, label in enumerate(labels)}
    for side in sides:
        table = np.full(256, _VOID, np.int64)
        for one in side.segments:
            table[one.index] = _VOID if is_ignored(one) else places[one.label]
        yield table[side.mask]


def _difference(codes: Sequence[Codes]) -> tuple[NDArray[np.uint8], Mapping[str, Colour]]:
    """What is found at each pixel, as a place in the mapping of names to colours."""
    a, b = codes[:2]
    if len(codes) == 2:
        void = (a == _VOID) & (b == _VOID)
        return np.select([void, a == b], [0, 1], 2).astype(np.uint8), _ALONE
    true = codes[2]
    right = (a == true, b == true)
    found = np.select([true == _VOID, right[0] & right[1], right[1], right[0]], [0, 1, 2, 3], 4)
    return found.astype(np.uint8), _BESIDE_TRUTH


def _in_rows(panels: Sequence[Image.Image]) -> Image.Image:
    """Panels in rows of two; three in one row."""
    columns = 3 if len(panels) == 3 else 2
    width = max(one.width for one in panels)
    height = max(one.height for one in panels)
    sheet = Image.new("RGB", (columns * width, -(-len(panels) // columns) * height), PAPER)
    for place, one in enumerate(panels):
        sheet.paste(one, (place % columns * width, place // columns * height))
    return sheet
