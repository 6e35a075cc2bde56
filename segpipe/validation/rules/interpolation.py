"""Rules that recognize values no class was written with: scores, interpolation, JPEG."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from segpipe.errors import listed
from segpipe.validation.rules.catalogue import Found, Severity, rule
from segpipe.validation.rules.evidence import Evidence, is_pixel_value
from segpipe.validation.rules.pixels import values_found
from segpipe.validation.rules.wording import percent

# Share of edge pixels whose value lies between their neighbours'. Measured on 35 public data sets:
# clean masks have at most 0.17, nearly always under 0.02; masks of many classes that were resized
# with interpolation have 0.2 and more.
_INTERPOLATED_SHARE = 0.2
# Fewer edge pixels are no basis for a share.
_ENOUGH_EDGES = 100
# More values without a Segment than a wrong class map leaves.
_MANY_VALUES = 40
# More values than that which no interpolation of the Segments' indexes makes.
_VALUES_BEYOND = 8
# Share of the pixels without a Segment that are higher, or lower, than both their neighbours. Real
# masks after JPEG (quality 75 to 95) have 0.08 to 0.7, after bilinear interpolation at most 0.06,
# and with classes that have no Segment 0.00.
_RIPPLING_SHARE = 0.15
# Fewer phantom values may be objects of single pixels.
_PHANTOM_VALUES = 3
# Where stretches of a value that has a Segment are shorter on average, the mask itself is noise.
_CALM_RUN = 2.0


def _share_between(evidence: Evidence) -> float:
    """Share of edge pixels whose value lies between their neighbours'; 0 with too few edges."""
    measures = evidence.measures
    if measures is None or measures.edge_pixels < _ENOUGH_EDGES:
        return 0.0
    return measures.between_pixels / measures.edge_pixels


def _between_are_objects(evidence: Evidence) -> bool:
    """Whether so few pixels lie between their neighbours without the objects of a single pixel.

    Interpolation and JPEG leave their values all along an edge; an object of one pixel, numbered
    between those beside it, is no trace of them.
    """
    measures = evidence.measures
    if measures is None or evidence.unexplained:
        return False
    things = [
        s.index
        for s in evidence.declaration.segments
        if s.index is not None and s.metadata.get("isthing") is True
    ]
    objects = int(np.count_nonzero((measures.area == 1) & np.isin(measures.values, things)))
    return measures.between_pixels - objects <= _INTERPOLATED_SHARE * measures.edge_pixels


def _ripples(evidence: Evidence) -> bool:
    """Whether the values without a Segment are scattered as JPEG scatters them around edges.

    Looks at the pixels, and so only at masks with values that have no Segment.
    """
    mask, measures = evidence.mask, evidence.measures
    if (
        mask is None
        or measures is None
        or len(evidence.unexplained) < _PHANTOM_VALUES
        or measures.edge_pixels < _ENOUGH_EDGES
    ):
        return False
    table = np.zeros(256, bool)
    table[list(evidence.unexplained)] = True
    pixels = mask.pixels
    phantom = table[pixels]
    starts = pixels[:, 1:] != pixels[:, :-1]
    calm = np.count_nonzero(~phantom)
    runs = np.count_nonzero(starts & ~phantom[:, 1:]) + np.count_nonzero(~phantom[:, 0])
    if not calm or calm < _CALM_RUN * runs:
        return False
    left, own, right = pixels[:, :-2], pixels[:, 1:-1], pixels[:, 2:]
    peaks = ((own > left) & (own > right)) | ((own < left) & (own < right))
    inner = phantom[:, 1:-1]
    return bool(np.count_nonzero(peaks & inner) > _RIPPLING_SHARE * np.count_nonzero(inner))


@rule(
    "VALUES-INTERPOLATED",
    Severity.WARN,
    meaning="Pixels at the edges have values between or around those of their neighbours, as "
    "interpolation and JPEG leave them; such values are classes that are not there. Rejected when "
    "a value has no Segment.",
    remedy="Resize masks with nearest neighbour, and never store them as JPEG on the way.",
    example="a mask resized with bilinear interpolation, or stored as JPEG and then as PNG",
    yields_to=("PROBABILITY-MAP",),
)
def values_interpolated(evidence: Evidence) -> Iterator[Found]:
    share = _share_between(evidence)
    severity = Severity.REJECT if evidence.unexplained else None
    if _ripples(evidence):
        phantoms = sorted(evidence.unexplained)
        yield values_found(
            f"{len(phantoms)} values without a Segment ({listed([str(v) for v in phantoms])}), "
            f"{_share_of(evidence, evidence.unexplained)} of the pixels, ripple around edges: JPEG "
            "leaves such phantom values; write the mask as PNG from the array, never as JPEG on "
            "the way",
            evidence,
            severity,
            "Write the model's array as PNG: what JPEG changed cannot be recovered. Find the step "
            "that stores the mask as JPEG (also a video, or an upload that recompresses).",
        )
    elif share > _INTERPOLATED_SHARE and not _between_are_objects(evidence):
        yield values_found(
            f"{100 * share:.0f} % of edge pixels lie between their neighbours: resize with nearest "
            "neighbour, not with interpolation, and do not store the mask as JPEG on the way",
            evidence,
            severity,
        )


def _share_of(evidence: Evidence, values: frozenset[int]) -> str:
    """The share of the mask's pixels that have one of the values, as text."""
    measures = evidence.measures
    if measures is None:
        return "0 %"
    return percent(_pixels_of(evidence, values), measures.pixels)


def _pixels_of(evidence: Evidence, values: frozenset[int]) -> int:
    measures = evidence.measures
    if measures is None:
        return 0
    return int(measures.area[np.isin(measures.values, list(values))].sum())


@rule(
    "PROBABILITY-MAP",
    Severity.REJECT,
    meaning="The values are scores, not classes: they change gradually and hardly any has a "
    "Segment.",
    remedy="Apply argmax or a threshold first, and write class numbers.",
    example="a sigmoid's output times 255",
    requires="unexplained",
)
def probability_map(evidence: Evidence) -> Iterator[Found]:
    values, measures = evidence.unexplained, evidence.measures
    beyond = _beyond(evidence)
    if measures is None or (len(values) <= _MANY_VALUES and len(beyond) <= _VALUES_BEYOND):
        return
    # Interpolation of the declared values leaves values without a Segment only at edges, and none
    # beyond the declared ones; scores are everywhere.
    everywhere = 2 * _pixels_of(evidence, values) > measures.pixels and len(values) > _MANY_VALUES
    if not (everywhere or len(beyond) > _VALUES_BEYOND):
        return
    if _share_between(evidence) <= _INTERPOLATED_SHARE:
        return
    remedy = ""
    if evidence.declaration.indexes <= {0, 1}:
        remedy = (
            "Apply a threshold to the scores first and write 1 where the value is above it and 0 "
            "elsewhere, with a Segment for each: above 127 if 0..255 stands for 0.0..1.0 (or for a "
            "0/255 mask that was resized). Apply argmax where there are scores per class."
        )
    yield values_found(
        f"{len(values)} values without a Segment, changing gradually: these look like scores; "
        "apply argmax or a threshold first",
        evidence,
        remedy=remedy,
    )


def _beyond(evidence: Evidence) -> frozenset[int]:
    """Values without a Segment that no interpolation of the Segments' indexes can make.

    Sharp filters and JPEG overshoot; half the indexes' range beyond them is allowed for that.
    """
    indexes = [index for index in evidence.declaration.indexes if is_pixel_value(index)]
    if not indexes:
        return frozenset()
    lowest, highest = min(indexes), max(indexes)
    slack = (highest - lowest) // 2
    return frozenset(
        value for value in evidence.unexplained if not lowest - slack <= value <= highest + slack
    )
