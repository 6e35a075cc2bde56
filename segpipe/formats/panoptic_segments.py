"""The segments of a COCO panoptic annotation, and whether they and the PNG belong together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segpipe.formats.coco import CocoCategory, unreadable
from segpipe.formats.identifiers import Indexed, Region
from segpipe.formats.json_values import flag
from segpipe.formats.sidecars import Sidecar
from segpipe.manifests.rows import ImportFinding
from segpipe.predictions.prediction import Segment

#: Label of what id 0 stands for.
VOID = "void"
#: Where an annotation that segpipe wrote keeps the prediction's own description.
DESCRIBED_KEY = "segpipe"
_TOLD = 10


@dataclass(frozen=True)
class PanopticSegment:
    """An entry of ``segments_info``."""

    id: int
    category: CocoCategory
    area: float | None = None
    score: float | None = None
    crowd: bool = False

    @property
    def region(self) -> Region:
        """What its id stands for."""
        metadata: dict[str, Any] = {"source_id": self.id, "category_id": self.category.id}
        if self.category.isthing is not None:
            metadata["isthing"] = self.category.isthing
        if self.crowd:
            metadata["iscrowd"] = True
        return Region(self.id, self.category.name, metadata, self.score)


@dataclass(frozen=True)
class Described:
    """A prediction's own description in an annotation, and the ids its Segments have in the PNG.

    Index i has the id i + 1, because id 0 is void. Two kinds of Segments have no entry in
    ``segments_info``, as COCO wants it: the one that is void (marked as ignored, and called so),
    which has the id 0; and those without pixels.
    """

    sidecar: Sidecar
    void: int | None

    @classmethod
    def of(cls, annotation: Mapping[str, Any]) -> Described | None:
        """From an annotation; None where it has none.

        Raises:
            ValueError, MetadataError: saying what is wrong with it.
        """
        content = annotation.get(DESCRIBED_KEY)
        if content is None:
            return None
        try:
            sidecar = Sidecar.of(content)
        except ValueError as error:
            raise ValueError(f"its part {DESCRIBED_KEY!r} cannot be read: {error}") from None
        return cls(sidecar, void_index(sidecar.segments))

    def id_of(self, index: int) -> int:
        """The id of an index in the PNG."""
        return 0 if index == self.void else index + 1

    def indexed(self, ids: NDArray[np.uint32]) -> Indexed:
        """The prediction. All ids must be those of its Segments."""
        index_of = np.zeros(257, np.uint8)
        for segment in self.sidecar.segments:
            index_of[self.id_of(segment.index)] = segment.index
        return Indexed(index_of[ids], self.sidecar.segments)

    def disagreements(
        self, segments: Sequence[PanopticSegment], areas: Mapping[int, int], shown: str
    ) -> Iterator[ImportFinding]:
        """Where it and ``segments_info`` say different things: one of them was changed since."""
        own = {self.id_of(one.index): one for one in self.sidecar.segments}
        for one in segments:
            said = own.get(one.id)
            if said is None or not _same(one, said):
                yield unreadable(
                    f"{shown}: segments_info and the part {DESCRIBED_KEY!r} say different things "
                    f"of id {one.id}: remove {DESCRIBED_KEY!r} where the file was changed",
                    one.category.name,
                    said.label if said else "",
                )
        unsaid = sorted(areas.keys() - own.keys())
        if unsaid:
            yield unreadable(
                f"{shown}: the part {DESCRIBED_KEY!r} does not say what the ids {_some(unsaid)} are"
            )


def void_index(segments: Sequence[Segment]) -> int | None:
    """The index that is written as COCO's void: that of the first ignored Segment called so."""
    void = [s.index for s in segments if s.label == VOID and flag(s.metadata.get("ignore"))]
    return min(void, default=None)


def is_crowd(segment: Segment) -> bool:
    """Whether a Segment is written as a crowd."""
    return flag(segment.metadata.get("iscrowd")) is True


def disagreements(
    segments: Sequence[PanopticSegment],
    areas: Mapping[int, int],
    shown: str,
    described: Described | None,
) -> Iterator[ImportFinding]:
    """What does not belong together in an annotation and its PNG.

    Args:
        areas: id -> its pixels in the PNG.
    """
    declared = Counter(one.id for one in segments)
    twice = sorted(id for id, count in declared.items() if count > 1)
    if twice:
        yield ImportFinding("INDEX-DUPLICATE", f"{shown}: given twice: the ids {_some(twice)}")
    missing = sorted(declared.keys() - areas.keys())
    if missing:
        swapped = {_swapped(id) for id in declared} <= areas.keys()
        hint = (
            f": all {len(declared)} ids match when channels are swapped; the PNG was written as BGR"
        )
        yield ImportFinding(
            "ID-NOT-IN-PNG",
            f"{shown}: {len(missing)} of {len(declared)} ids have no pixels "
            f"({_some(missing)}){hint if swapped else ''}",
            found=_some(missing),
            expected="ids of the PNG",
        )
        if swapped:
            return
    unknown = sorted(areas.keys() - declared.keys() - {0})
    if unknown:
        told = ", ".join(f"{id} ({areas[id]:,} px)" for id in unknown[:_TOLD])
        yield ImportFinding(
            "VALUE-NO-SEGMENT",
            f"{shown}: {len(unknown)} ids of the PNG have no segment: {told}",
            found=_some(unknown),
            expected="ids of segments_info",
        )
    wrong = [
        f"{one.id}: {one.area:.16g} said, {areas[one.id]} counted"
        for one in segments
        if one.id in areas and one.area is not None and one.area != areas[one.id]
    ]
    if wrong:
        yield ImportFinding(
            "AREA-MISMATCH",
            f"{shown}: {len(wrong)} areas are not the count of pixels ({'; '.join(wrong[:_TOLD])})",
            found=str(len(wrong)),
        )
    if described and not unknown:
        yield from described.disagreements(segments, areas, shown)


def _same(one: PanopticSegment, said: Segment) -> bool:
    return (one.category.name, one.score, one.crowd) == (
        said.label,
        said.confidence,
        is_crowd(said),
    )


def _swapped(id: int) -> int:
    return id >> 16 | (id >> 8 & 255) << 8 | (id & 255) << 16


def _some(ids: Sequence[int]) -> str:
    return ", ".join(map(str, ids[:_TOLD])) + ", ..." * (len(ids) > _TOLD)
