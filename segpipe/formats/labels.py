"""What the values of masks mean, and masks of such values as predictions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from segpipe.formats.folder_source import ItemFile
from segpipe.formats.identifiers import Over256, Region, index_mask
from segpipe.formats.ids import Ids
from segpipe.formats.imported import Imported
from segpipe.formats.label_map import LabelEntry
from segpipe.formats.value_diagnosis import unknown_values
from segpipe.formats.value_map import ValueMap
from segpipe.manifests.rows import ImportFinding
from segpipe.predictions.prediction import Segment

#: Label of pixels that no object covers.
BACKGROUND = "background"


@dataclass(frozen=True)
class Labels:
    """What the values of a data set's masks mean.

    Attributes:
        by_index: value -> entry of the label map; empty without one.
        objects: label of every object, where values are objects and not classes; else empty.
        ignored: value -> label of the regions to ignore, such as 255 = void.
        values: what values become before they are looked up.
    """

    by_index: Mapping[int, LabelEntry] = field(default_factory=dict)
    objects: str = ""
    ignored: Mapping[int, str] = field(default_factory=dict)
    values: ValueMap = field(default_factory=ValueMap)

    def segment(self, value: int) -> Segment | None:
        """The Segment of a value; None for an unknown value."""
        if value in self.ignored:
            return Segment(self.ignored[value], value, {"ignore": True})
        entry = self.by_index.get(value)
        if entry is not None:
            return Segment(entry.label, value, entry.metadata)
        if self.objects:
            if value == 0:
                return Segment(BACKGROUND, 0, {"isthing": False})
            return Segment(self.objects, value, {"isthing": True, "object": value})
        return None

    def _segments(self, values: Iterable[int]) -> dict[int, Segment]:
        found = ((value, self.segment(value)) for value in values)
        return {value: segment for value, segment in found if segment is not None}

    def prediction(self, given: Ids, item: ItemFile, over: Over256) -> Imported:
        """The prediction of a mask's values; refused where one is unknown.

        Values to 255 stay as they are; where there are larger ones, all are renumbered and their
        Segments say what they were (``source_id``).

        Args:
            given: from 0.
            over: what is done with more than 256 ids.
        """
        ids = self.values.applied(given, item.shown)
        if isinstance(ids, ImportFinding):
            return item.refused(ids)
        areas = ids.areas
        known = self._segments(areas)
        if len(known) < len(areas):
            declared = self._segments({*self.by_index, *self.ignored})
            return item.refused(unknown_values(ids.pixels, areas, declared, item.shown))
        if max(areas) <= 255:
            return item.imported(ids, tuple(known.values()))
        regions = {value: _region(segment) for value, segment in known.items()}
        indexed = index_mask(ids, regions, over, item.shown)
        return item.imported(indexed.mask, indexed.segments, indexed.findings)


def _region(segment: Segment) -> Region:
    return Region(
        segment.index,
        segment.label,
        {**segment.metadata, "source_id": segment.index},
        fixed=not segment.metadata.get("isthing", True),
    )
