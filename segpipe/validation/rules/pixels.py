"""Rules that compare the mask's values with the row's Segments.

``VALUE-NO-SEGMENT`` is the general rule. Most others recognize a common cause of the same symptom
and report that instead.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from segpipe.masks.measures import Measures
from segpipe.validation.rules.catalogue import Found, Severity, rule
from segpipe.validation.rules.evidence import Evidence, is_pixel_value
from segpipe.validation.rules.wording import count, listed, percent

# Share of edge pixels whose value lies between their neighbours'. Measured on 35 public data sets:
# clean masks have at most 0.17, nearly always under 0.02; masks of many classes that were resized
# with interpolation have 0.2 and more.
_INTERPOLATED_SHARE = 0.2
# Fewer edge pixels are no basis for a share.
_ENOUGH_EDGES = 100
# More values without a Segment than a wrong class map leaves.
_MANY_VALUES = 40
_IGNORE_VALUES = (255, 254, 0)


def _described(measures: Measures, value: int) -> str:
    place = measures.place_of(value)
    if place is None:
        raise ValueError(f"the mask does not hold {value}")
    area = int(measures.area[place])
    row, column = divmod(int(measures.first[place]), measures.width)
    return (
        f"value {value}: {count(area)} ({percent(area, measures.pixels)}), "
        f"first at ({row}, {column})"
    )


def _numbers(values: frozenset[int]) -> str:
    """``1..12`` for a run of numbers, a list otherwise."""
    ordered = sorted(values)
    if len(ordered) > 2 and ordered[-1] - ordered[0] == len(ordered) - 1:
        return f"{ordered[0]}..{ordered[-1]}"
    return listed([str(value) for value in ordered])


def _found(message: str, evidence: Evidence, severity: Severity | None = None) -> Found:
    return Found(
        message,
        found=_numbers(evidence.values),
        expected=_numbers(evidence.declaration.indexes),
        severity=severity,
    )


@rule(
    "VALUE-NO-SEGMENT",
    Severity.REJECT,
    meaning="The mask has pixels of a value no Segment explains.",
    remedy="Add a Segment for the value, or correct the map from classes to values.",
    example="values 0, 1, 7 with Segments for 0 and 1",
    yields_to=(
        "BINARY-255",
        "IGNORE-255",
        "OFF-BY-ONE",
        "VALUES-STRETCHED",
        "PROBABILITY-MAP",
        "VALUES-INTERPOLATED",
    ),
    requires="unexplained",
)
def value_no_segment(evidence: Evidence) -> Iterator[Found]:
    values, measures = evidence.unexplained, evidence.measures
    wrong_indexes = [s for s in evidence.declaration.segments if not is_pixel_value(s.index)]
    # A Segment with an impossible index may be meant for any one value, and has its own finding.
    if measures is None or len(values) <= len(wrong_indexes):
        return
    area = dict(zip(measures.values.tolist(), measures.area.tolist(), strict=True))
    largest_first = sorted(values, key=lambda value: -area[value])
    described = listed([_described(measures, value) for value in largest_first])
    yield Found(
        f"{described} (row, column), no segment; add a Segment for it or correct the class map",
        found=listed([str(value) for value in largest_first], 256),
        expected=_numbers(evidence.declaration.indexes),
    )


@rule(
    "IGNORE-255",
    Severity.REJECT,
    meaning="The only value without a Segment is one that datasets use for ignored pixels.",
    remedy='Declare it: ignore_values = {255 = "void"} in the policy, or add a Segment for it.',
    example="values 0, 1, 2, 255 with Segments for 0, 1, 2",
    yields_to=("BINARY-255", "OFF-BY-ONE"),
    requires="unexplained",
)
def ignore_255(evidence: Evidence) -> Iterator[Found]:
    values = evidence.unexplained
    if len(values) == 1 and evidence.measures is not None and len(evidence.values) > 1:
        (value,) = values
        if value in _IGNORE_VALUES:
            yield _found(
                f"{_described(evidence.measures, value)} (row, column) is the only value without a "
                f'Segment: an ignore label? Set ignore_values = {{{value} = "void"}} in the '
                "policy, or add a Segment for it",
                evidence,
            )


@rule(
    "BINARY-255",
    Severity.REJECT,
    meaning="A 0/255 mask whose Segments say 0 and 1: the object is written as 255.",
    remedy="Give the object's Segment the index 255, or write the mask with 0 and 1.",
    example="values 0, 255 with Segments for 0 and 1",
    requires="unexplained",
)
def binary_255(evidence: Evidence) -> Iterator[Found]:
    indexes = evidence.declaration.indexes
    values = evidence.values
    if 255 in values <= {0, 255} and 1 in indexes <= {0, 1}:
        yield _found(
            "the mask is 0/255 and its Segments say "
            f"{_numbers(indexes)}: give the object's Segment the index 255, or write 1 for it",
            evidence,
        )


@rule(
    "OFF-BY-ONE",
    Severity.REJECT,
    meaning="The values would all have Segments if they were shifted by one.",
    remedy="Check reduce_zero_label and the like: either the mask or the indexes are shifted.",
    example="values 1..12 with Segments for 0..11",
    yields_to=("BINARY-255",),
    requires="unexplained",
)
def off_by_one(evidence: Evidence) -> Iterator[Found]:
    values, indexes = evidence.values, evidence.declaration.indexes
    if len(indexes) < 2 or len(values) < 2:
        return
    lower = frozenset(value - 1 for value in values)
    higher = frozenset(value + 1 for value in values)
    # One value above the Segments' range, and none at its start, is a clear sign. A zero below the
    # range is not: it may be an unlabelled class, so in that case every value has to fit.
    if lower == indexes or (lower <= indexes and max(values) == max(indexes) + 1):
        shift = "one too high"
    elif higher == indexes:
        shift = "one too low"
    else:
        return
    yield _found(
        f"mask has {_numbers(values)}, segments {_numbers(indexes)}: shifted by one? The mask's "
        f"values are {shift}; check reduce_zero_label, or number the Segments as the mask is",
        evidence,
    )


@rule(
    "VALUES-STRETCHED",
    Severity.REJECT,
    meaning="The values are multiples of the Segments' indexes, as made to be seen by eye.",
    remedy="Write the indexes themselves; do not scale a mask to make it visible.",
    example="values 0, 23, 46 with Segments for 0, 1, 2",
    yields_to=("BINARY-255",),
    requires="unexplained",
)
def values_stretched(evidence: Evidence) -> Iterator[Found]:
    values, indexes = evidence.values, evidence.declaration.indexes
    factor = math.gcd(*values)
    if factor < 2:
        return
    divided = frozenset(value // factor for value in values)
    if divided == indexes or (divided <= indexes and len(values - {0}) > 1):
        yield _found(
            f"all values are multiples of {factor}, and divided by {factor} they are the Segments' "
            f"indexes: write {_numbers(divided)} instead of {_numbers(values)}",
            evidence,
        )


def _share_between(evidence: Evidence) -> float:
    """Share of edge pixels whose value lies between their neighbours'; 0 with too few edges."""
    measures = evidence.measures
    if measures is None or measures.edge_pixels < _ENOUGH_EDGES:
        return 0.0
    return measures.between_pixels / measures.edge_pixels


@rule(
    "VALUES-INTERPOLATED",
    Severity.WARN,
    meaning="Pixels at the edges lie between their neighbours' values, as interpolation leaves "
    "them; such values are classes that are not there. Rejected when a value has no Segment.",
    remedy="Resize masks with nearest neighbour, and never store them as JPEG on the way.",
    example="a mask resized with bilinear interpolation",
    yields_to=("PROBABILITY-MAP",),
)
def values_interpolated(evidence: Evidence) -> Iterator[Found]:
    share = _share_between(evidence)
    if share > _INTERPOLATED_SHARE:
        severity = Severity.REJECT if evidence.unexplained else None
        yield _found(
            f"{100 * share:.0f} % of edge pixels lie between their neighbours: resize with nearest "
            "neighbour, not with interpolation",
            evidence,
            severity,
        )


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
    many = len(values)
    if measures is None or many <= _MANY_VALUES:
        return
    # Interpolation leaves values without a Segment only at edges; scores are everywhere.
    pixels = int(measures.area[np.isin(measures.values, list(values))].sum())
    if 2 * pixels > measures.pixels and _share_between(evidence) > _INTERPOLATED_SHARE:
        yield _found(
            f"{many} values without a Segment, changing gradually: these look like scores; apply "
            "argmax or a threshold first",
            evidence,
        )


@rule(
    "SEGMENT-NO-PIXELS",
    Severity.WARN,
    meaning="A declared Segment has no pixels; usual for objects hidden by others.",
    remedy="Nothing to do unless the object should be visible.",
    example="a Segment for 3 and no pixel of value 3",
    yields_to=(
        "EMPTY-MASK",
        "BINARY-255",
        "OFF-BY-ONE",
        "VALUES-STRETCHED",
        "VALUES-INTERPOLATED",
        "PROBABILITY-MAP",
    ),
)
def segment_no_pixels(evidence: Evidence) -> Iterator[Found]:
    # Rows that list the whole taxonomy name classes that are not in every image.
    if evidence.measures is None or evidence.declares_taxonomy:
        return
    present = evidence.values
    without = [
        s
        for s in evidence.declaration.segments
        if s.index not in present and is_pixel_value(s.index)
    ]
    if without:
        yield Found(
            f"no pixels for Segment {listed([s.name for s in without])}",
            found=listed([str(s.index) for s in without], 256),
        )


@rule(
    "EMPTY-MASK",
    Severity.WARN,
    meaning="The whole mask is one value: an empty prediction, or a mask that was not filled.",
    remedy="Nothing to do if the model found nothing.",
    example="every pixel is 0",
)
def empty_mask(evidence: Evidence) -> Iterator[Found]:
    values = evidence.values
    if len(values) == 1 and evidence.measures is not None and evidence.measures.pixels > 1:
        (value,) = values
        yield Found(
            f"every pixel is {value}: an empty prediction? (A 0/1 mask only looks empty; this one "
            "is.)",
            found=str(value),
        )
