"""Rows of the segment table: what a mask's measures say of each of its Segments."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import pyarrow as pa

from segpipe.segments import Measures
from segpipe.tables import SEGMENTS, table_of


class DescribedSegment(Protocol):
    """A Segment with its metadata as canonical JSON."""

    @property
    def label(self) -> str | None: ...
    @property
    def index(self) -> int | None: ...
    @property
    def metadata_text(self) -> str: ...
    @property
    def confidence(self) -> float | None: ...


class SegmentRows:
    """Rows being gathered, a prediction at a time."""

    def __init__(self) -> None:
        self._columns: dict[str, list[Any]] = {name: [] for name in SEGMENTS.names}

    def add(
        self, reference_id: str | None, segments: Iterable[DescribedSegment], measures: Measures
    ) -> None:
        """A row per Segment of a prediction; one without pixels has no box and no centroid."""
        columns = self._columns
        place_of = {value: place for place, value in enumerate(measures.values.tolist())}
        area = measures.area.tolist()
        placed = {
            "bbox_x": measures.left.tolist(),
            "bbox_y": measures.top.tolist(),
            "bbox_w": (measures.right - measures.left + 1).tolist(),
            "bbox_h": (measures.bottom - measures.top + 1).tolist(),
            "centroid_x": measures.centroid_x.tolist(),
            "centroid_y": measures.centroid_y.tolist(),
        }
        for segment in segments:
            columns["reference_id"].append(reference_id)
            columns["label"].append(segment.label)
            columns["index"].append(segment.index)
            columns["metadata"].append(segment.metadata_text)
            columns["confidence"].append(segment.confidence)
            place = place_of.get(segment.index) if segment.index is not None else None
            pixels = 0 if place is None else area[place]
            columns["area_px"].append(pixels)
            columns["area_fraction"].append(pixels / measures.pixels)
            for name, values in placed.items():
                columns[name].append(None if place is None else values[place])

    def table(self, dataset: str | None, model_run: str | None) -> pa.Table:
        """SEGMENTS, in the order of adding."""
        count = len(self._columns["label"])
        whose = {"dataset": [dataset] * count, "model_run": [model_run] * count}
        return table_of({**self._columns, **whose}, SEGMENTS)
