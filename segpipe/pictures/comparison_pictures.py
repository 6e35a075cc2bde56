"""Pictures of items on which two model runs differ: both predictions, the truth, the difference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segpipe.evaluation.validated_items import ValidatedItems
from segpipe.masks.decoding import decode_mask
from segpipe.masks.refusal import MaskRefused
from segpipe.pictures.images import image_of
from segpipe.pictures.label_colours import PLAIN_COLOUR, colours_of
from segpipe.pictures.legend import PAPER
from segpipe.pictures.overlay import LegendEntry, encoded, overlay
from segpipe.pictures.palette import Colour
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


def write_comparison_pictures(
    reference_ids: Sequence[str],
    sides: tuple[ValidatedItems, ValidatedItems],
    truth: GroundTruth | None,
    folder: str | PathLike[str],
    settings: Settings,
) -> int:
    """Write a PNG per item, named by its place and its reference id; returns how many.

    An item of which a mask cannot be read any more gets no picture, and is not counted.

    Args:
        sides: the model runs A and B.
        truth: the ground truth; None for a difference between A and B alone.
        folder: where to; it is made if need be.
        settings: of the root, for images and colours.

    Raises:
        CatalogError, StorageError: if something cannot be read, or not be written.
    """
    target = Folder(str(Path(folder).absolute()))
    written = 0
    for first in range(0, len(reference_ids), _ITEMS_AT_ONCE):
        ids = reference_ids[first : first + _ITEMS_AT_ONCE]
        found = [side.of(ids) for side in (*sides, *([] if truth is None else [truth]))]
        images = sides[1].images(ids)
        for place, id in enumerate(ids, first + 1):
            image = image_of(*images[id], settings) if id in images else None
            picture = _picture(
                id, [one[id][1] for one in found if id in one], image, len(found), settings
            )
            if picture is not None:
                name = folder_name(id)[:_LONGEST_NAME]
                target.write(f"{place:02d} {name}.png", encoded(picture))
                written += 1
    return written


def _picture(
    id: str, sides: Sequence[Truth], image: Image.Image | None, expected: int, settings: Settings
) -> Image.Image | None:
    """The panels of an item: A, B, and the truth if there is one, then the difference."""
    masks = [mask for side in sides if (mask := _pixels(side)) is not None]
    if len(masks) < expected or len({mask.shape for mask in masks}) > 1:
        return None
    colours = colours_of(settings, (s.label for side in sides for s in side.segments))
    panels = [
        overlay(
            mask,
            [LegendEntry(s.index, s.label) for s in sorted(side.segments, key=lambda s: s.index)],
            image,
            title=f"{name}: {side.model_run}",
            longest_side=_LONGEST_SIDE,
            colours=colours,
        )
        for name, side, mask in zip(("A", "B", "truth"), sides, masks, strict=False)
    ]
    found, named = _difference([*_codes(sides, masks)])
    legend = [
        LegendEntry(value, name, area_fraction=share)
        for value, name in enumerate(named)
        if (share := float((found == value).mean()))
    ]
    panels.append(
        overlay(found, legend, image, title=id, longest_side=_LONGEST_SIDE, colours=named)
    )
    return _in_rows(panels)


def _pixels(side: Truth) -> NDArray[np.uint8] | None:
    if side.png is None:
        return None
    try:
        return decode_mask(side.png, max_pixels=2**31).pixels
    except MaskRefused:
        return None


def _codes(sides: Sequence[Truth], masks: Sequence[NDArray[np.uint8]]) -> Iterator[Codes]:
    """The label of every pixel as a number that all sides share; ``_VOID`` for none."""
    labels = sorted({s.label for side in sides for s in side.segments})
    places = {label: place for place, label in enumerate(labels)}
    for side, mask in zip(sides, masks, strict=True):
        table = np.full(256, _VOID, np.int64)
        for one in side.segments:
            table[one.index] = _VOID if is_ignored(one) else places[one.label]
        yield table[mask]


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
    """Panels in rows of two."""
    width = max(one.width for one in panels)
    height = max(one.height for one in panels)
    sheet = Image.new("RGB", (2 * width, -(-len(panels) // 2) * height), PAPER)
    for place, one in enumerate(panels):
        sheet.paste(one, (place % 2 * width, place // 2 * height))
    return sheet
