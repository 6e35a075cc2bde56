"""The pixels of a mask that violate a rule."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segpipe.predictions.declarations import Declaration
from segpipe.validation.rules import CATALOGUE, Evidence

Marks = NDArray[np.bool_]

# Rules about values without a Segment: the pixels with these values offend.
_ABOUT_VALUES = frozenset(
    {
        "VALUE-NO-SEGMENT",
        "IGNORE-255",
        "BINARY-255",
        "OFF-BY-ONE",
        "VALUES-STRETCHED",
        "PROBABILITY-MAP",
    }
)
#: Rules about each Segment by itself: the pixels of those that violate them offend.
ABOUT_SEGMENTS = frozenset(
    {
        "LABEL-EMPTY",
        "LABEL-UNKNOWN",
        "METADATA-INVALID",
        "METADATA-TYPE",
        "CONFIDENCE-RANGE",
        "PDF-RANGE",
        "PDF-SUM",
        "PDF-LABEL-UNKNOWN",
        "PDF-ARGMAX",
        "PDF-CONFIDENCE",
    }
)
# What is given for a mask by mistake; other decoders are not tried on data of others.
_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF")
#: Rules whose findings can be marked in a picture, whether a mask could be decoded or not.
MARKED = (
    _ABOUT_VALUES
    | ABOUT_SEGMENTS
    | {"INDEX-DUPLICATE", "VALUES-INTERPOLATED", "MASK-COLOUR", "MASK-ALPHA", "MASK-16BIT"}
)


def offending_pixels(rule: str, evidence: Evidence, data: bytes = b"") -> Marks | None:
    """The pixels of a row's mask that violate a rule.

    Args:
        rule: id in the catalogue.
        evidence: of the row, as :func:`segpipe.validation.chunk.read_evidence` returns it.
        data: bytes of the mask's file, which that returns too; for masks that were refused.

    Returns:
        H x W bool; None where the rule is not about pixels, or they cannot be seen. Nothing is
        marked where the rule finds nothing.
    """
    if rule not in MARKED:
        return None
    if evidence.mask is None:
        return _of_refused(rule, data, evidence.policy.max_pixels)
    pixels = evidence.mask.pixels
    if rule == "VALUES-INTERPOLATED":
        between = _between(pixels) | _between(pixels.T).T
        return between | _table(set(evidence.unexplained))[pixels]
    return _table(_values(rule, evidence))[pixels]


def _values(rule: str, evidence: Evidence) -> set[int | None]:
    """The pixel values that violate a rule."""
    segments = evidence.declaration.segments
    if rule in _ABOUT_VALUES:
        return set(evidence.unexplained)
    if rule == "INDEX-DUPLICATE":
        indexes = [one.index for one in segments]
        return {one for one in indexes if indexes.count(one) > 1}
    check = CATALOGUE[rule].check
    if rule not in ABOUT_SEGMENTS or check is None:
        return set()
    return {
        one.index
        for one in segments
        if any(check(replace(evidence, declaration=Declaration((one,)))))
    }


def _table(values: set[int | None]) -> Marks:
    table = np.zeros(256, bool)
    table[[one for one in values if one is not None and 0 <= one <= 255]] = True
    return table


def _between(pixels: NDArray[np.uint8]) -> Marks:
    """Pixels whose value lies between those of their left and right neighbours."""
    left, own, right = pixels[:, :-2], pixels[:, 1:-1], pixels[:, 2:]
    between = np.zeros(pixels.shape, bool)
    between[:, 1:-1] = (np.minimum(left, right) < own) & (own < np.maximum(left, right))
    return between


def _of_refused(rule: str, data: bytes, max_pixels: int) -> Marks | None:
    image = undecoded(data, max_pixels)
    if image is None:
        return None
    samples = np.asarray(image.convert("RGBA") if image.mode == "P" else image)
    if rule == "MASK-16BIT":
        return samples > 255 if samples.ndim == 2 else None
    if samples.ndim < 3:
        return None
    if rule == "MASK-COLOUR" and samples.shape[2] >= 3:
        colours = samples[..., :3]
        return np.asarray((colours != colours[..., :1]).any(axis=2))
    if rule == "MASK-ALPHA" and samples.shape[2] in (2, 4):
        alpha = samples[..., -1]
        return np.asarray(alpha != np.bincount(alpha.ravel(), minlength=256).argmax())
    return None


def undecoded(data: bytes, max_pixels: int) -> Image.Image | None:
    """The picture in a file that is no index mask; None where it is not a picture, or too large."""
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
        if image.width * image.height > max_pixels:
            return None
        image.load()
        return image
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
