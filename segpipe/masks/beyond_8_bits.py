"""Why a 16-bit grey PNG is no index mask, and what its values most likely are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from segpipe.masks.refusal import MaskRefused

#: What decoders and editors multiply 8-bit values by, so that 255 becomes 65535.
STRETCH = 257
# Scores change gradually: so many of the pixels whose neighbours differ lie between them. Ids do
# not (see the rules about interpolation).
_GRADUAL_SHARE = 0.2
_ENOUGH_PIXELS = 4_000_000
# Cityscapes' instanceIds: a class from 0 to 33, or class * 1000 + instance for classes of things.
_CITYSCAPES_CLASSES = 34
_CITYSCAPES_INSTANCES = range(24_000, 34_000)


def refusal_of_grey16(values: NDArray[np.uint16]) -> MaskRefused:
    """The refusal of 16-bit values that do not all fit 8 bits: MASK-16BIT, naming what they are.

    Args:
        values: H x W, uint16, the highest of them beyond 255.
    """
    occurs = np.zeros(65_536, bool)  # faster than sorting, which takes seconds for large masks
    occurs[values] = True
    present = np.flatnonzero(occurs)
    cause, remedy = _cause(values, present)
    highest, distinct = int(present[-1]), present.size
    return MaskRefused(
        "MASK-16BIT",
        f"16-bit grey, max {highest}, {distinct} distinct values: {cause}",
        found=f"max {highest}, {distinct} distinct",
        expected="values 0..255",
        remedy=remedy,
    )


def _cause(values: NDArray[np.uint16], present: NDArray[np.int64]) -> tuple[str, str]:
    """What the values most likely are, and what to do about it."""
    if not (present % STRETCH).any():
        some = ", ".join(f"{value // STRETCH}" for value in present[:10])
        more = ", ..." if present.size > 10 else ""
        return (
            f"all are multiples of {STRETCH}, 8-bit values stretched to 16 bits ({some}{more}); "
            f"divide them by {STRETCH}",
            f"Divide the values by {STRETCH} and write them as 8-bit greyscale.",
        )
    if present.size > 256 and _is_gradual(values):
        return (
            "they change gradually, as scores or depths do; apply argmax or a threshold first",
            "Apply argmax over the classes' scores, or a threshold to the score of one class, and "
            "write class numbers as 8-bit greyscale.",
        )
    if _may_be_cityscapes(present):
        return (
            "ids of the form class * 1000 + instance, as Cityscapes' instanceIds: fits after a "
            "remap, which `segpipe import cityscapes` does"
            if present.size <= 256
            else "more ids of the form class * 1000 + instance, as Cityscapes' instanceIds, than "
            "an 8-bit mask has values; see --over-256 of `segpipe import cityscapes`",
            "If they are Cityscapes' instanceIds, import them with `segpipe import cityscapes`, "
            "with --over-256 keep-best or semantic if a mask has more than 256 ids; number other "
            "ids 0..255 and give their Segments the same indexes.",
        )
    if present.size <= 256:
        return (
            "fits after a remap; remap the ids to 0..255",
            "Number the ids 0..255 and give their Segments the same indexes; or save the ids as "
            ".npy and let `segpipe import arrays --labels FILE` number them.",
        )
    return (
        "too many ids for one 8-bit mask, if they are ids; --over-256 of `segpipe import arrays` "
        "keeps the best or merges them per label",
        "Save the ids as .npy and import them with `segpipe import arrays --labels FILE --over-256 "
        "keep-best` (or semantic). If they are scores, apply argmax or a threshold instead.",
    )


def _is_gradual(values: NDArray[np.uint16]) -> bool:
    """Whether many of the pixels whose left and right neighbours differ lie between the two."""
    # A part of a large mask tells as much as the whole.
    values = values[:: max(1, values.size // _ENOUGH_PIXELS)]
    left, own, right = values[:, :-2], values[:, 1:-1], values[:, 2:]
    edges = int(np.count_nonzero(left != right))
    between = (np.minimum(left, right) < own) & (own < np.maximum(left, right))
    return int(np.count_nonzero(between)) > _GRADUAL_SHARE * edges


def _may_be_cityscapes(present: NDArray[np.int64]) -> bool:
    instances = present[present >= _CITYSCAPES_CLASSES]
    return bool(
        (instances >= _CITYSCAPES_INSTANCES.start).all()
        and (instances < _CITYSCAPES_INSTANCES.stop).all()
    )
