"""Arrays of class numbers as a mask, with the classes' names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from segpipe.errors import ManifestError
from segpipe.formats.identifiers import (
    Over256,
    Region,
    ellipsis_after,
    index_mask,
    listed_with_areas,
)
from segpipe.formats.ids import Ids
from segpipe.formats.model_outputs.given import (
    Output,
    check_names,
    name_of,
    pixels_of,
    shown_names,
    whole_numbers,
)
from segpipe.formats.panoptic_segments import VOID

_HIGHEST = 255


def semantic_output(classes: Any, labels: Any, ignore: Any, of: str) -> Output:
    """Class numbers as a mask, with a Segment for each class that has pixels.

    Numbers from 0 to 255 stay as they are; with others all are renumbered.

    Args:
        classes: H x W whole numbers.
        labels: the names of the classes.
        ignore: number -> label of regions to ignore, or such numbers alone.
        of: the item, for messages.

    Raises:
        ManifestError: naming the item, if a number has no name.
    """
    check_names(labels, f"the labels of {of!r}")
    array = whole_numbers(classes, f"the array of classes of {of!r}")
    if array.ndim != 2:
        raise ManifestError(
            f"the array of classes of {of!r} has shape {array.shape}, expected H x W"
        )
    ignored = ignore if isinstance(ignore, Mapping) else dict.fromkeys(ignore, VOID)
    ids = Ids.of(array)
    regions = {}
    for number in ids.areas:
        name = name_of(number, ignored) or name_of(number, labels)
        if name is not None:
            ignoring = {"ignore": True} if number in ignored else {}
            regions[number] = Region(number, name, ignoring, fixed=bool(ignoring))
    unknown = [number for number in ids.areas if number not in regions]
    if unknown:
        told = listed_with_areas(unknown, ids.areas) + ellipsis_after(unknown)
        raise ManifestError(
            f"{len(unknown)} classes of {of!r} have no name: {told} (names: "
            f"{shown_names(labels)}). Pixels to ignore are named "
            f'by ignore={{{unknown[0]}: "{VOID}"}}'
        )
    if min(ids.areas) >= 0 and max(ids.areas) <= _HIGHEST:
        segments = [region.segment(number) for number, region in regions.items()]
        return Output(pixels_of(ids), segments)
    renumbered = {
        number: Region(number, one.label, {**one.metadata, "source_id": number}, fixed=one.fixed)
        for number, one in regions.items()
    }
    indexed = index_mask(ids, renumbered, Over256.SEMANTIC, repr(of))
    if indexed.mask is None:
        raise ManifestError(indexed.findings[-1].message)
    return Output(pixels_of(indexed.mask), indexed.segments, indexed.findings)
