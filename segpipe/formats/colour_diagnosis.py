"""What is wrong where a mask has colours that the table does not list, and what helps."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from segpipe.formats.colour_table import ColourTable, pack
from segpipe.formats.identifiers import listed
from segpipe.formats.ids import Ids
from segpipe.formats.label_map import shown
from segpipe.formats.value_diagnosis import unknown_values
from segpipe.manifests.rows import ImportFinding

_MOST_LISTED = 10
# Rules on how the values of an index mask are numbered, which a grey PNG may break.
_NUMBERING = ("BINARY-255", "OFF-BY-ONE", "VALUES-STRETCHED", "IGNORE-255")
# JPEG makes several colours of one, each near it; another palette makes one of each. The distance
# is the largest difference of a channel: quality 75 leaves 9 of 10 pixels within it.
_JPEG_COLOURS, _JPEG_DISTANCE, _JPEG_SHARE = 3, 64, 0.8
_GREY = (
    "Where they are index values, import with segpipe import mask-folder --labels FILE, a CSV with "
    "index,label in place of colours"
)
_SMOOTHED = (
    "No colour is taken for another, and no option brings the classes back: write the mask again, "
    "as PNG from the array and never as JPEG on the way, drawn without anti-aliasing, resized with "
    "nearest neighbour"
)
_MISSING = (
    "No colour is taken for another: add each to the table with the label that it stands for, "
    "which may be that of the nearest"
)
_SWAPPED = (
    "Write the channels in the order R, G, B: array[..., ::-1], or cv2.imwrite of an array that "
    "cv2.cvtColor made BGR"
)


def unlisted_colours(
    colours: NDArray[np.uint8], known: NDArray[np.bool_], table: ColourTable, source: str
) -> ImportFinding:
    """The finding for a mask with colours that its table does not list.

    Args:
        colours: H x W x 3, RGB.
        known: H x W, whether the table lists a pixel's colour; not everywhere.
        source: the file, for messages.
    """
    values, counts = np.unique(pack(colours[~known]), return_counts=True)
    areas = dict(zip(values.tolist(), counts.tolist(), strict=True))
    if table.places(pack(colours[..., ::-1]))[1].all():
        words = "all are colours of the table once red and blue are swapped (BGR)"
        return _finding("MASK-COLOUR", words, _SWAPPED, areas, table, source)
    grey = _numbered(colours, table, source)
    if grey is not None:
        return grey
    if _is_between(colours, known) or _is_scattered(areas, table):
        words = "between or around those of the table, as JPEG, smoothing and resizing leave them"
        return _finding("VALUES-INTERPOLATED", words, _SMOOTHED, areas, table, source)
    return _finding("MASK-COLOUR", "no mixture of those it lists", _MISSING, areas, table, source)


def _finding(
    rule: str, words: str, advice: str, areas: Mapping[int, int], table: ColourTable, source: str
) -> ImportFinding:
    most = sorted(areas, key=lambda value: (-areas[value], -value))[:_MOST_LISTED]
    described = []
    for value in most:
        near = table.nearest(_unpacked(value))
        described.append(
            f"{shown(_unpacked(value))} {areas[value]:,} px "
            f"(nearest: {shown(near.colour or ())} {near.label})"
        )
    more = ", ..." if len(areas) > _MOST_LISTED else ""
    count = f"{len(areas)} colour{'s' * (len(areas) != 1)}"
    return ImportFinding(
        rule,
        f"{source}: {count} that the table does not list ({words}): {', '.join(described)}{more}. "
        f"{advice}",
        found=f"{count}, {sum(areas.values())} px",
        expected="colours of the table",
        remedy=f"{advice}.",
    )


def _numbered(colours: NDArray[np.uint8], table: ColourTable, source: str) -> ImportFinding | None:
    """The finding for a grey PNG of index values, by the rules on their numbering; None for others.

    Only where the table has no greys but black and white, as those of an index mask would be.
    """
    grey = colours[..., 0]
    if not ((grey == colours[..., 1]) & (grey == colours[..., 2])).all():
        return None
    listed_greys = {one.colour[0] for one in table.entries.values()
                    if one.colour is not None and len({*one.colour}) == 1}  # fmt: skip
    if not listed_greys <= {0, 255}:
        return None
    areas = Ids.of(grey).areas
    if areas.keys() <= table.entries.keys():
        return ImportFinding(
            "MASK-COLOUR",
            f"{source}: it is grey, and its values are indexes of the table: "
            f"{listed(list(areas))}. {_GREY}",
            found=f"grey values {listed(list(areas))}",
            expected="colours of the table",
            remedy=f"{_GREY}.",
        )
    declared = {index: table.segment(index) for index in table.entries}
    found = unknown_values(grey, areas, declared, source)
    if found.rule not in _NUMBERING:
        return None
    return ImportFinding(
        found.rule,
        f"{found.message}. {_GREY}; where they are colours, add them to the table",
        found.found,
        found.expected,
        f"{_GREY}. {found.remedy} Where they are colours, add them to the table.",
    )


def _is_between(colours: NDArray[np.uint8], known: NDArray[np.bool_]) -> bool:
    """Whether most unlisted pixels lie between their neighbours, in a row or in a column."""
    between = np.zeros(known.shape, bool)
    for there, turned in ((between, colours), (between.T, colours.transpose(1, 0, 2))):
        one, own, other = turned[:, :-2], turned[:, 1:-1], turned[:, 2:]
        inside = (np.minimum(one, other) <= own) & (own <= np.maximum(one, other))
        differs = (own != one).any(axis=-1) & (own != other).any(axis=-1)
        there[:, 1:-1] |= inside.all(axis=-1) & differs
    unlisted = ~known
    return bool(2 * np.count_nonzero(between & unlisted) > np.count_nonzero(unlisted))


def _is_scattered(areas: Mapping[int, int], table: ColourTable) -> bool:
    """Whether many colours are close to one of the table, in most of the unlisted pixels."""
    own = np.array([_unpacked(value) for value in areas], np.int16)
    listed_colours = np.array([one.colour for one in table.entries.values()], np.int16)
    distances = [abs(own - one).max(axis=-1) for one in listed_colours]
    nearest, distance = np.argmin(distances, axis=0), np.min(distances, axis=0)
    close = distance <= _JPEG_DISTANCE
    pixels = np.array(list(areas.values()))
    return bool(
        np.bincount(nearest[close], minlength=1).max() >= _JPEG_COLOURS
        and pixels[close].sum() > _JPEG_SHARE * pixels.sum()
    )


def _unpacked(colour: int) -> tuple[int, int, int]:
    return colour >> 16, colour >> 8 & 255, colour & 255
