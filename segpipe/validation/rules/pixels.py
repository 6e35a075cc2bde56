"""Rules that compare the mask's values with the row's Segments.

``VALUE-NO-SEGMENT`` is the general rule. Those of ``numbering`` and ``interpolation`` recognize a
common cause of the same symptom and report that instead.
"""

from __future__ import annotations

from collections.abc import Iterator

from segpipe.errors import listed
from segpipe.masks.measures import Measures
from segpipe.validation.rules.catalogue import Found, Severity, rule
from segpipe.validation.rules.evidence import Evidence, is_pixel_value
from segpipe.validation.rules.wording import count, percent


def described(measures: Measures, value: int) -> str:
    """A value with its area and its first pixel, for a message."""
    place = measures.place_of(value)
    if place is None:
        raise ValueError(f"the mask does not hold {value}")
    area = int(measures.area[place])
    row, column = divmod(int(measures.first[place]), measures.width)
    return (
        f"value {value}: {count(area)} ({percent(area, measures.pixels)}), "
        f"first at ({row}, {column})"
    )


def numbers(values: frozenset[int]) -> str:
    """``1..12`` for a run of numbers, a list otherwise."""
    ordered = sorted(values)
    if len(ordered) > 2 and ordered[-1] - ordered[0] == len(ordered) - 1:
        return f"{ordered[0]}..{ordered[-1]}"
    return listed([str(value) for value in ordered])


def values_found(
    message: str, evidence: Evidence, severity: Severity | None = None, remedy: str = ""
) -> Found:
    """What a rule found, with the mask's values and the Segments' indexes for programs."""
    return Found(
        message,
        found=numbers(evidence.values),
        expected=numbers(evidence.declaration.indexes),
        severity=severity,
        remedy=remedy,
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
    places = listed([described(measures, value) for value in largest_first])
    yield Found(
        f"{places} (row, column), no segment; add a Segment for it or correct the class map",
        found=listed([str(value) for value in largest_first], 256),
        expected=numbers(evidence.declaration.indexes),
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
