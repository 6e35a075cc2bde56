"""A rule: masks that alternate from pixel to pixel.

In the project this would be a function in the file of its kind, ``validation/rules/pixels.py``.
Importing the module enters the rule into the catalogue.
"""

from __future__ import annotations

from collections.abc import Iterator

from segpipe.validation.rules.catalogue import Found, Severity, rule
from segpipe.validation.rules.evidence import Evidence


@rule(
    "CHECKERBOARD",
    Severity.REJECT,
    meaning="No pixel has the value of its right neighbour: upsampling that left gaps.",
    remedy="Upsample with nearest neighbour instead of a transposed convolution with gaps.",
    example="0 1 0 1 in every row",
)
def checkerboard(evidence: Evidence) -> Iterator[Found]:
    """Said of a mask at least two pixels wide in which no two neighbours of a row are equal."""
    if evidence.mask is None:  # refused before: another rule says why
        return
    pixels = evidence.mask.pixels  # H x W uint8
    if pixels.shape[1] > 1 and (pixels[:, 1:] != pixels[:, :-1]).all():
        yield Found(
            "no pixel has the value of its right neighbour",
            found="0 equal neighbours",
            expected="regions",
        )
