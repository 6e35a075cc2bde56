"""The segments of a COCO panoptic annotation, and whether they match the PNG."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from segpipe.formats.coco import CocoCategory, unreadable
from segpipe.formats.identifiers import (
    Indexed,
    Region,
    ellipsis_after,
    listed,
    listed_with_areas,
)
from segpipe.formats.ids import Ids
from segpipe.formats.json_values import brief, flag, identity, number
from segpipe.formats.sidecars import Sidecar
from segpipe.manifests.rows import ImportFinding
from segpipe.predictions.prediction import Segment

#: Label of id 0.
VOID = "void"
#: Key of the sidecar in an annotation that segpipe wrote.
SIDECAR_KEY = "segpipe"
_MOST_LISTED = 10


@dataclass(frozen=True)
class PanopticSegment:
    """An entry of ``segments_info``.

    Attributes:
        area: in pixels, as declared; None where the entry has none.
    """

    id: int
    category: CocoCategory
    area: float | None = None
    score: float | None = None
    crowd: bool = False

    @classmethod
    def of(cls, entry: object, categories: Mapping[int, CocoCategory]) -> PanopticSegment:
        """Parse an entry.

        Raises:
            ValueError: naming what is malformed.
        """
        if not isinstance(entry, dict):
            raise ValueError(f"an entry of segments_info is {brief(entry)}, expected an object")
        id, category_id = identity(entry.get("id")), identity(entry.get("category_id"))
        area, score, crowd = entry.get("area"), entry.get("score"), flag(entry.get("iscrowd", 0))
        if not isinstance(id, int):
            raise ValueError(
                f"a segment has the id {brief(entry.get('id'))}, expected a whole number"
            )
        if not isinstance(category_id, int) or category_id not in categories:
            found = entry.get("category_id")
            raise ValueError(f"the category {brief(found)} of id {id} is none of the categories")
        if area is not None and number(area) is None:
            raise ValueError(f"the area of id {id} is {brief(area)}, expected a number")
        if score is not None and number(score) is None:
            raise ValueError(f"the score of id {id} is {brief(score)}, expected a number")
        if crowd is None:
            raise ValueError(f"iscrowd of id {id} is {brief(entry['iscrowd'])}, expected 0 or 1")
        return cls(
            id,
            categories[category_id],
            None if area is None else number(area),
            number(score),
            crowd,
        )

    @property
    def region(self) -> Region:
        """Its region of the PNG."""
        metadata: dict[str, Any] = {"source_id": self.id, "category_id": self.category.id}
        if self.category.isthing is not None:
            metadata["isthing"] = self.category.isthing
        if self.crowd:
            metadata["iscrowd"] = True
        return Region(self.id, self.category.name, metadata, self.score)


@dataclass(frozen=True)
class EmbeddedSidecar:
    """The sidecar in an annotation that segpipe wrote, and the ids of its Segments in the PNG.

    Index i has the id i + 1, because id 0 is void. As COCO requires, two kinds of Segments have no
    entry in ``segments_info``: the void Segment (labelled ``void`` and marked as ignored), which
    has the id 0, and those without pixels.

    Attributes:
        void: index of the void Segment; None where there is none.
    """

    sidecar: Sidecar
    void: int | None

    @classmethod
    def of(cls, annotation: Mapping[str, Any]) -> EmbeddedSidecar | None:
        """Parse an annotation's sidecar; None where it has none.

        Raises:
            ValueError: naming the part that is malformed.
            MetadataError: if the metadata of a Segment cannot be used.
        """
        content = annotation.get(SIDECAR_KEY)
        if content is None:
            return None
        try:
            sidecar = Sidecar.of(content)
        except ValueError as error:
            raise ValueError(f"its part {SIDECAR_KEY!r} cannot be read: {error}") from None
        return cls(sidecar, void_index(sidecar.segments))

    def id_of(self, index: int) -> int:
        """The id of an index in the PNG."""
        return 0 if index == self.void else index + 1

    def indexed(self, ids: Ids) -> Indexed:
        """The prediction; every id must be that of a Segment."""
        index_of = {self.id_of(one.index): one.index for one in self.sidecar.segments}
        return Indexed(ids.becoming(index_of), self.sidecar.segments)

    def disagreements(
        self, segments: Sequence[PanopticSegment], areas: Mapping[int, int], shown: str
    ) -> Iterator[ImportFinding]:
        """Where it and ``segments_info`` differ: one of them was edited since the export."""
        own = {self.id_of(one.index): one for one in self.sidecar.segments}
        for one in segments:
            described = own.get(one.id)
            if described is None or not _same(one, described):
                yield unreadable(
                    f"{shown}: segments_info and the part {SIDECAR_KEY!r} say different things "
                    f"of id {one.id}: remove {SIDECAR_KEY!r} where the file was changed",
                    one.category.name,
                    described.label if described else "",
                )
        missing = sorted(areas.keys() - own.keys())
        if missing:
            yield unreadable(
                f"{shown}: the part {SIDECAR_KEY!r} does not say what the ids {_first(missing)} are"
            )


def void_index(segments: Sequence[Segment]) -> int | None:
    """The index exported as COCO's void: that of the first ignored Segment labelled ``void``."""
    void = [s.index for s in segments if s.label == VOID and flag(s.metadata.get("ignore"))]
    return min(void, default=None)


def is_crowd(segment: Segment) -> bool:
    """Whether a Segment is exported as a crowd."""
    return flag(segment.metadata.get("iscrowd")) is True


def disagreements(
    segments: Sequence[PanopticSegment],
    areas: Mapping[int, int],
    shown: str,
    embedded: EmbeddedSidecar | None,
    mask: str = "PNG",
) -> Iterator[ImportFinding]:
    """Contradictions between an annotation and its PNG.

    Args:
        segments: the annotation's.
        areas: id -> number of its pixels in the PNG.
        shown: the annotation, for messages.
        embedded: the annotation's sidecar, where it has one.
        mask: what holds the ids, for messages.
    """
    declared = Counter(one.id for one in segments)
    repeated = sorted(id for id, count in declared.items() if count > 1)
    if repeated:
        yield ImportFinding("INDEX-DUPLICATE", f"{shown}: given twice: the ids {_first(repeated)}")
    missing = sorted(declared.keys() - areas.keys())
    channels_swapped = bool(missing) and {_swapped(id) for id in declared} <= areas.keys()
    if missing:
        yield _missing_ids(missing, len(declared), channels_swapped, shown)
    if channels_swapped:
        return  # every further finding would follow from this one
    unknown = sorted(areas.keys() - declared.keys() - {0})
    if unknown:
        yield ImportFinding(
            "VALUE-NO-SEGMENT",
            f"{shown}: {len(unknown)} ids of the {mask} have no segment: "
            f"{listed_with_areas(unknown, areas)}",
            found=_first(unknown),
            expected="ids of segments_info",
        )
    yield from _wrong_areas(segments, areas, shown)
    if embedded and not unknown:
        yield from embedded.disagreements(segments, areas, shown)


def _missing_ids(
    missing: Sequence[int], declared: int, channels_swapped: bool, shown: str
) -> ImportFinding:
    hint = f": all {declared} ids match when channels are swapped; the PNG was written as BGR"
    return ImportFinding(
        "ID-NOT-IN-PNG",
        f"{shown}: {len(missing)} of {declared} ids have no pixels "
        f"({_first(missing)}){hint if channels_swapped else ''}",
        found=_first(missing),
        expected="ids of the PNG",
    )


def _wrong_areas(
    segments: Sequence[PanopticSegment], areas: Mapping[int, int], shown: str
) -> Iterator[ImportFinding]:
    wrong = [
        f"{one.id}: {one.area:.16g} said, {areas[one.id]} counted"
        for one in segments
        if one.id in areas and one.area is not None and one.area != areas[one.id]
    ]
    if wrong:
        first = "; ".join(wrong[:_MOST_LISTED])
        yield ImportFinding(
            "AREA-MISMATCH",
            f"{shown}: {len(wrong)} areas are not the count of pixels ({first})",
            found=str(len(wrong)),
        )


def _same(one: PanopticSegment, other: Segment) -> bool:
    return (one.category.name, one.score, one.crowd) == (
        other.label,
        other.confidence,
        is_crowd(other),
    )


def _swapped(id: int) -> int:
    """The id that is read where red and blue are swapped."""
    return id >> 16 | (id >> 8 & 255) << 8 | (id & 255) << 16


def _first(ids: Sequence[int]) -> str:
    return listed(ids) + ellipsis_after(ids)
