"""COCO panoptic: a PNG of ids (``R + 256 G + 65536 B``) per image, explained by one JSON file.

Id 0 is void: it has pixels in every file and no segment, and becomes a visible ``void`` Segment
that is marked as ignored. What ``segpipe export --as coco-panoptic`` wrote holds, under
``segpipe``, what COCO has no words for, and comes back as the same prediction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from segpipe.errors import SettingsError
from segpipe.formats.coco import CocoCategory, CocoImage, categories_of, images_of, read_json
from segpipe.formats.colour_map import read_colours
from segpipe.formats.files import read
from segpipe.formats.identifiers import Indexed, Over256, Region, areas_of, index_mask
from segpipe.formats.imported import Imported, finding_of, refused
from segpipe.manifest import ImportFinding
from segpipe.mask import MaskRefused
from segpipe.prediction import Segment

VOID = "void"
#: Where a file that segpipe wrote keeps what COCO has no words for.
OWN_KEY = "segpipe"
_TOLD = 10


@dataclass(frozen=True)
class CocoPanoptic:
    """Panoptic PNGs and their annotations."""

    folder: Path
    annotations: tuple[Mapping[str, Any], ...]
    images: Mapping[int | str, CocoImage]
    categories: Mapping[int, CocoCategory]
    over: Over256 = Over256.REFUSE

    @classmethod
    def open(
        cls, folder: Path, annotations: Path, categories: Path | None, over: Over256
    ) -> CocoPanoptic:
        """Read the annotations.

        Args:
            folder: of the PNGs.
            annotations: the JSON file.
            categories: another JSON file for the categories, where the first has none.

        Raises:
            SettingsError: if a file cannot be read or has not what it should.
        """
        if not folder.is_dir():
            raise SettingsError(f"there is no folder {folder}")
        content = read_json(annotations)
        entries = content.get("annotations") if isinstance(content, dict) else None
        if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
            raise SettingsError(f"{annotations} has no list 'annotations' of objects")
        images = images_of(content, annotations) if "images" in content else {}
        where = categories or annotations
        named = categories_of(read_json(where) if categories else content, where)
        return cls(folder, tuple(entries), images, named, over)

    @property
    def carried(self) -> Mapping[str, pa.DataType]:
        """The image's id in COCO."""
        return {"image_id": pa.string()}

    def __len__(self) -> int:
        return len(self.annotations)

    def predictions(self) -> Iterator[Imported]:
        """One per annotation, in the file's order."""
        for annotation in self.annotations:
            yield self._imported(annotation)

    def _imported(self, annotation: Mapping[str, Any]) -> Imported:
        id, name = annotation.get("image_id"), annotation.get("file_name")
        image = self.images.get(id) if isinstance(id, (int, str)) else None
        own = annotation.get(OWN_KEY) or {}
        item = own.get("reference_id") or (
            image.reference_id if image else Path(str(name)).stem if name else str(id)
        )
        other: dict[str, Any] = {"carried": {"image_id": None if id is None else str(id)}}
        if not isinstance(name, str) or not isinstance(annotation.get("segments_info"), list):
            finding = ImportFinding(
                "IMPORT-UNREADABLE",
                f"the annotation of image {id!r} has no file_name, or no list segments_info",
            )
            return refused(item, str(name), finding, **other)
        data = read(self.folder / name, name)
        if isinstance(data, ImportFinding):
            return refused(item, name, data, **other)
        try:
            ids = panoptic_ids(read_colours(data))
            segments = [self._segment(one) for one in annotation["segments_info"]]
        except MaskRefused as refusal:
            return refused(item, name, finding_of(refusal, name), **other)
        except (KeyError, TypeError, ValueError) as error:
            finding = ImportFinding(
                "IMPORT-UNREADABLE", f"{name}: an entry of segments_info has no {error}"
            )
            return refused(item, name, finding, **other)
        areas = areas_of(ids)
        findings = tuple(_checked(segments, areas, name))
        if findings:
            return refused(item, name, *findings, **other)
        indexed = self._indexed(ids, areas, segments, name)
        return Imported(
            item,
            name,
            indexed.mask,
            indexed.segments,
            indexed.findings,
            annotation_id=own.get("annotation_id"),
            height=image.height if image else None,
            width=image.width if image else None,
            image_url=own.get("image_url"),
            **other,
        )

    def _segment(self, entry: Mapping[str, Any]) -> _Declared:
        own = entry.get(OWN_KEY)
        id, area = int(entry["id"]), entry.get("area")
        if own is not None:
            segment = Segment(str(own["label"]), int(own["index"]), dict(own["metadata"]))
            return _Declared(Region(id, segment.label), area, segment)
        category = self.categories.get(entry["category_id"])
        if category is None:
            raise ValueError(f"known category: {entry['category_id']!r} is none of the categories")
        metadata: dict[str, Any] = {"source_id": id, "category_id": category.id}
        if category.isthing is not None:
            metadata["isthing"] = category.isthing
        if entry.get("iscrowd"):
            metadata["iscrowd"] = True
        score = entry.get("score")
        if score is not None and (isinstance(score, bool) or not isinstance(score, (int, float))):
            raise ValueError(f"score that is a number: it is {score!r}")
        confidence = None if score is None else float(score)
        return _Declared(Region(id, category.name, metadata, confidence), area)

    def _indexed(
        self,
        ids: NDArray[np.uint32],
        areas: Mapping[int, int],
        segments: list[_Declared],
        name: str,
    ) -> Indexed:
        own = [one.own for one in segments if one.own is not None]
        if own and len(own) == len(segments):  # the indexes are known: nothing is renumbered
            index_of = {one.region.id: one.own.index for one in segments if one.own is not None}
            mask = np.zeros(ids.shape, np.uint8)
            for id in areas:
                mask[ids == id] = index_of[id]
            return Indexed(mask, tuple(own))
        regions = {one.region.id: one.region for one in segments}
        regions[0] = Region(0, VOID, {"source_id": 0, "ignore": True}, fixed=True)
        return index_mask(ids, areas, regions, self.over, name)


@dataclass(frozen=True)
class _Declared:
    """An entry of segments_info; ``own`` is the Segment segpipe wrote it from."""

    region: Region
    area: object
    own: Segment | None = None


def panoptic_ids(colours: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Ids of an H x W x 3 panoptic picture."""
    ids: NDArray[np.uint32] = colours.astype(np.uint32) @ np.array([1, 256, 65536], np.uint32)
    return ids


def _checked(
    segments: list[_Declared], areas: Mapping[int, int], name: str
) -> Iterator[ImportFinding]:
    """What does not belong together in a PNG and its segments."""
    visible = {one.region.id for one in segments if one.own is None or one.area}
    declared = {one.region.id for one in segments}
    if len(declared) < len(segments):
        twice = sorted(id for id in declared if sum(s.region.id == id for s in segments) > 1)
        yield ImportFinding("INDEX-DUPLICATE", f"{name}: the ids {twice[:_TOLD]} are given twice")
    missing = sorted(visible - areas.keys())
    if missing:
        swapped = {_swapped(id) for id in visible}
        hint = (
            f": all {len(visible)} ids match when channels are swapped; the PNG was written as BGR"
            if swapped <= areas.keys()
            else ""
        )
        yield ImportFinding(
            "ID-NOT-IN-PNG",
            f"{name}: {len(missing)} of {len(visible)} ids have no pixels ({_some(missing)}){hint}",
            found=_some(missing),
            expected="ids of the PNG",
        )
        if hint:
            return
    unknown = sorted(areas.keys() - declared - {0})
    if unknown:
        told = [f"{id} ({areas[id]:,} px)" for id in unknown[:_TOLD]]
        yield ImportFinding(
            "VALUE-NO-SEGMENT",
            f"{name}: {len(unknown)} ids of the PNG have no segment: {', '.join(told)}",
            found=_some(unknown),
            expected="ids of segments_info",
        )
    wrong = [
        f"{one.region.id}: {one.area} said, {areas[one.region.id]} counted"
        for one in segments
        if one.region.id in areas and one.area is not None and one.area != areas[one.region.id]
    ]
    if wrong:
        yield ImportFinding(
            "AREA-MISMATCH",
            f"{name}: {len(wrong)} areas are not the count of pixels ({'; '.join(wrong[:_TOLD])})",
            found=str(len(wrong)),
        )


def _swapped(id: int) -> int:
    return id >> 16 | (id >> 8 & 255) << 8 | (id & 255) << 16


def _some(ids: list[int]) -> str:
    return ", ".join(map(str, ids[:_TOLD])) + ", ..." * (len(ids) > _TOLD)
