"""Rules about the mask's values against the row's Segments."""

from __future__ import annotations

from collections.abc import Iterator

from segpipe.rules.catalogue import Found, Severity, rule
from segpipe.rules.evidence import Evidence
from segpipe.rules.wording import count, listed, percent
from segpipe.segments import Measures


def _unexplained(evidence: Evidence) -> list[int]:
    """Places, in the measures' arrays, of the values no Segment explains."""
    if evidence.measures is None or evidence.declaration.problem is not None:
        return []
    declared = evidence.declaration.indexes
    return [p for p, v in enumerate(evidence.measures.values.tolist()) if v not in declared]


def _described(measures: Measures, place: int) -> str:
    area = int(measures.area[place])
    row, column = divmod(int(measures.first[place]), measures.width)
    return (
        f"value {measures.values[place]}: {count(area)} ({percent(area, measures.pixels)}), "
        f"first at ({row}, {column})"
    )


@rule(
    "VALUE-NO-SEGMENT",
    Severity.REJECT,
    meaning="The mask has pixels of a value no Segment explains.",
    remedy="Add a Segment for the value, or correct the map from classes to values.",
)
def value_no_segment(evidence: Evidence) -> Iterator[Found]:
    places = _unexplained(evidence)
    measures = evidence.measures
    if not places or measures is None:
        return
    places.sort(key=lambda place: -int(measures.area[place]))
    described = listed([_described(measures, place) for place in places])
    yield Found(
        f"{described} (row, column), no segment; add a Segment for it or correct the class map",
        found=listed([str(measures.values[place]) for place in places]),
        expected=listed([str(index) for index in sorted(evidence.declaration.indexes)], 256),
    )


@rule(
    "SEGMENT-NO-PIXELS",
    Severity.WARN,
    meaning="A declared Segment has no pixels; usual for objects hidden by others.",
    remedy="Nothing to do unless the object should be visible.",
)
def segment_no_pixels(evidence: Evidence) -> Iterator[Found]:
    if evidence.measures is None:
        return
    present = frozenset(evidence.measures.values.tolist())
    without = [
        s for s in evidence.declaration.segments if s.index is not None and s.index not in present
    ]
    if without:
        yield Found(
            f"no pixels for Segment {listed([s.name for s in without])}",
            found=listed([str(s.index) for s in without]),
        )
