"""Rules that compare the mask's size with its image's."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction

from segpipe.validation.rules.catalogue import Found, Severity, rule
from segpipe.validation.rules.evidence import Evidence

_PADDING = (
    "Undo the padding or cropping of the network's input, or resize the output to the image with "
    "nearest neighbour if the input was stretched; then write it."
)


def _sizes(evidence: Evidence) -> tuple[int, int, int, int] | None:
    """Height and width of the mask, then of the image; None without a header or an image size.

    If only one side of the image is known, the mask's stands for the other.
    """
    height, width = evidence.size
    header = evidence.header
    if header is None or (height is None and width is None):
        return None
    return (
        header.height,
        header.width,
        header.height if height is None else height,
        header.width if width is None else width,
    )


#: EXIF orientation -> NumPy code that brings a mask of the rotated image to the stored pixels.
_TURNED_BACK = {
    5: "mask.T",
    6: "numpy.rot90(mask)",
    7: "numpy.rot90(mask, 2).T",
    8: "numpy.rot90(mask, -1)",
}


def _shown(height: int, width: int) -> str:
    return f"{width} x {height}"


@rule(
    "SIZE-MISMATCH",
    Severity.REJECT,
    meaning="The mask is not as large as its image, so its pixels belong to other places.",
    remedy="Resize the network's output to the image with nearest neighbour, then write it.",
    example="a 320 x 240 mask for a 640 x 480 image",
    yields_to=("SIZE-SWAPPED",),
)
def size_mismatch(evidence: Evidence) -> Iterator[Found]:
    sizes = _sizes(evidence)
    if sizes is None or sizes[:2] == sizes[2:]:
        return
    yield _other_size(sizes, *_difference(*sizes))


def _other_size(sizes: tuple[int, int, int, int], explanation: str, remedy: str = "") -> Found:
    mask, image = _shown(*sizes[:2]), _shown(*sizes[2:])
    return Found(
        f"the mask is {mask}, its image {image} (width x height): {explanation}",
        found=mask,
        expected=image,
        remedy=remedy,
    )


def _difference(height: int, width: int, image_height: int, image_width: int) -> tuple[str, str]:
    """How the sizes differ, and a remedy; empty if the rule's own remedy fits."""
    across, down = Fraction(width, image_width), Fraction(height, image_height)
    if across == down:
        simple = across.denominator <= 16 and across.numerator <= 16
        ratio = f"exactly {across}" if simple else f"{float(across):.3f}"
        return f"{ratio} of its size; resize it with nearest neighbour", ""
    off = []
    for found, wanted, smaller, larger in (
        (width, image_width, "narrower", "wider"),
        (height, image_height, "lower", "taller"),
    ):
        if found != wanted:
            off.append(f"{abs(found - wanted)} px {smaller if found < wanted else larger}")
    explanation = f"{' and '.join(off)}; check the padding or cropping of the network's output"
    return explanation, _PADDING


@rule(
    "SIZE-SWAPPED",
    Severity.REJECT,
    meaning="The mask has its image's height as width and the reverse.",
    remedy="If the array's axes are exchanged, transpose it; if the image has an EXIF orientation, "
    "turn the mask back by it: a mask that is only transposed would be mirrored.",
    example="a 480 x 640 mask for a 640 x 480 image",
)
def size_swapped(evidence: Evidence) -> Iterator[Found]:
    sizes = _sizes(evidence)
    if sizes is None or None in evidence.size:
        return
    height, width, image_height, image_width = sizes
    if (height, width) == (image_width, image_height) and height != width:
        explanation, remedy = _orientation(evidence.image_orientation)
        yield _other_size(sizes, f"height and width are swapped; {explanation}", remedy)


def _orientation(orientation: int) -> tuple[str, str]:
    """Why height and width are swapped, and a remedy; empty if the rule's own remedy fits."""
    if orientation not in _TURNED_BACK:
        return "transpose the array, or look for an EXIF orientation in the image", ""
    return (
        f"the image has EXIF orientation {orientation}, which the model's input was rotated by: "
        "predict on the pixels as stored, or store the image rotated",
        f"If the model saw the image rotated by its EXIF orientation {orientation}, write "
        f"{_TURNED_BACK[orientation]}, store the image rotated, or predict on the pixels as "
        "stored.",
    )


@rule(
    "SIZE-INVALID",
    Severity.REJECT,
    meaning="The manifest's height or width is not a size in pixels.",
    remedy="Write positive whole numbers, or leave the columns out.",
    example="height = 0",
)
def size_invalid(evidence: Evidence) -> Iterator[Found]:
    for name, value in (("height", evidence.row.height), ("width", evidence.row.width)):
        if value is not None and not _is_pixels(value):
            yield Found(
                f"{name} is {value!r}: expected a positive whole number of pixels",
                found=f"{name} {value!r}",
                expected="a positive whole number",
            )


def _is_pixels(value: object) -> bool:
    if type(value) is int:  # as nearly all are
        return value >= 1
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        return False
    return value >= 1 and value == int(value)


@rule(
    "SIZE-UNVERIFIED",
    Severity.WARN,
    meaning="Nothing says how large the image is, so the mask's size was not checked.",
    remedy="Add height and width columns, or an image_url that can be read.",
    example="no height, width or image_url",
    yields_to=("SIZE-INVALID",),
)
def size_unverified(evidence: Evidence) -> Iterator[Found]:
    if evidence.header is not None and None in evidence.size:
        if evidence.size_unknown:
            yield Found(
                f"the image's size is unknown: {evidence.size_unknown}. Mend image_url or its "
                "image, or add height and width to the manifest"
            )
        else:
            yield Found(
                "the image's size is unknown: add height and width to the manifest, or an "
                "image_url that can be read"
            )
