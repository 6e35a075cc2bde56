"""COCO panoptic: a PNG of ids (``R + 256 G + 65536 B``) per image, explained by one JSON file.

Id 0 is void: it has pixels in every file and no segment, and becomes a visible ``void`` Segment
that is marked as ignored. Annotations from ``segpipe export --as coco-panoptic`` hold the
prediction's sidecar as well (see ``EmbeddedSidecar``), and become the same prediction again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa

from segpipe.errors import MetadataError, SettingsError
from segpipe.formats.coco import (
    IMAGE_COLUMNS,
    CocoCategory,
    CocoImages,
    categories_of,
    unreadable,
)
from segpipe.formats.colour_map import read_colours
from segpipe.formats.files import linked_out, read
from segpipe.formats.folder_scan import Boundary, FolderScan, LeftOut
from segpipe.formats.identifiers import Indexed, Over256, Region, index_mask
from segpipe.formats.ids import Ids
from segpipe.formats.imported import Imported, RecordSource, finding_of, refused
from segpipe.formats.json_values import brief, identity, kind_of, read_json
from segpipe.formats.panoptic_segments import VOID, EmbeddedSidecar, PanopticSegment, disagreements
from segpipe.manifests.rows import ImportFinding
from segpipe.masks.refusal import MaskRefused


@dataclass(frozen=True)
class CocoPanoptic(RecordSource):
    """Panoptic PNGs and their annotations."""

    folder: Path
    annotations: tuple[Mapping[str, Any], ...]
    images: CocoImages
    categories: Mapping[int, CocoCategory]
    over: Over256 = Over256.REFUSE
    boundary: Boundary | None = None

    @classmethod
    def open(
        cls,
        folder: Path,
        annotations: Path,
        categories: Path | None,
        over: Over256,
        *,
        allowed: Sequence[str | PathLike[str]] = (),
    ) -> CocoPanoptic:
        """Read the annotations.

        Args:
            folder: of the PNGs.
            annotations: the JSON file.
            categories: another JSON file with the categories, where the first has none.
            over: what is done with more than 256 ids.
            allowed: folders that links may lead into, besides the folder of PNGs.

        Raises:
            SettingsError: if a file cannot be read, or lacks what the format requires.
        """
        if not folder.is_dir():
            raise SettingsError(f"there is no folder {folder}")
        content = read_json(annotations)
        entries = content.get("annotations") if isinstance(content, dict) else None
        if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
            hint = "; for a list of results: coco-results" if isinstance(content, list) else ""
            raise SettingsError(
                f"{annotations} has no list 'annotations' of objects "
                f"(found: {kind_of(content)}{hint})"
            )
        if entries and not any("segments_info" in entry for entry in entries):
            raise SettingsError(
                f"{annotations}: no annotation has segments_info (found: {', '.join(entries[0])}); "
                "these are not panoptic annotations"
            )
        images = CocoImages.of(content, annotations) if "images" in content else CocoImages()
        where = categories or annotations
        named = categories_of(read_json(categories) if categories else content, where)
        if not named and any(entry.get("segments_info") for entry in entries):
            raise SettingsError(f"{where} holds no categories")
        return cls(folder, tuple(entries), images, named, over, Boundary.of(folder, allowed))

    @property
    def carried(self) -> Mapping[str, pa.DataType]:
        """The image's id in COCO."""
        return IMAGE_COLUMNS

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """The PNGs of the folder that no annotation names."""
        named = {self.folder / str(one.get("file_name")) for one in self.annotations}
        return tuple(
            LeftOut(path.relative_to(self.folder).as_posix(), "without an annotation")
            for path in sorted(FolderScan.of(self.folder).files)
            if path.suffix.lower() == ".png" and path not in named
        )

    def __len__(self) -> int:
        return len(self.annotations)

    def records(self) -> Iterator[Mapping[str, Any]]:
        """The annotations, in the file's order."""
        return iter(self.annotations)

    def without_records(self) -> CocoPanoptic:
        """Without the annotations."""
        return replace(self, annotations=())

    def read(self, record: Mapping[str, Any]) -> Iterator[Imported]:
        """The prediction of an annotation."""
        yield self._imported(record)

    def _imported(self, annotation: Mapping[str, Any]) -> Imported:
        id, name = identity(annotation.get("image_id")), annotation.get("file_name")
        carried = {"image_id": None if id is None else str(id)}
        shown = name if isinstance(name, str) else f"the annotation of image {id!r}"
        image = self.images.image(id) if id is not None else None
        item = str(id)
        if image is not None and not isinstance(image, ImportFinding) and image.file_name:
            item = image.reference_id
        elif isinstance(name, str) and PurePosixPath(name).stem:
            item = PurePosixPath(name).stem
        if id is None:
            image = unreadable(f"{shown}: image_id is {brief(annotation.get('image_id'))}")
        if isinstance(image, ImportFinding):
            return refused(item, shown, image, carried=carried)
        try:
            embedded = EmbeddedSidecar.of(annotation)
            segments = _segments(annotation.get("segments_info"), self.categories)
        except (ValueError, MetadataError) as error:
            return refused(item, shown, unreadable(f"{shown}: {error}"), carried=carried)
        item = embedded.sidecar.reference_id if embedded else item
        ids = self._ids(name)
        if isinstance(ids, ImportFinding):
            return refused(item, shown, ids, carried=carried)
        findings = tuple(disagreements(segments, ids.areas, shown, embedded))
        if findings:
            return refused(item, shown, *findings, carried=carried)
        indexed = embedded.indexed(ids) if embedded else self._indexed(ids, segments, shown)
        return Imported(
            item,
            shown,
            indexed.mask,
            indexed.segments,
            indexed.findings,
            annotation_id=embedded.sidecar.annotation_id if embedded else None,
            height=image.height if image else None,
            width=image.width if image else None,
            image_url=embedded.sidecar.image_url if embedded else None,
            carried=carried,
        )

    def _ids(self, name: object) -> Ids | ImportFinding:
        if not isinstance(name, str) or not name:
            return unreadable(
                f"an annotation has the file_name {brief(name)}, expected a PNG's name"
            )
        path = PurePosixPath(name)
        too_long = any(len(part.encode()) > 255 for part in path.parts)
        if path.is_absolute() or ".." in path.parts or "\0" in name or too_long:
            return ImportFinding(
                "URL-REFUSED", f"{brief(name)} is no name of a file in the folder of PNGs", name
            )
        linked = linked_out(self.folder / path, name, self.boundary)
        if linked is not None:
            return linked
        data = read(self.folder / path, name)
        if isinstance(data, ImportFinding):
            return data
        try:
            return Ids.of_colours(read_colours(data))
        except MaskRefused as refusal:
            return finding_of(refusal, name)

    def _indexed(
        self,
        ids: Ids,
        segments: Sequence[PanopticSegment],
        shown: str,
    ) -> Indexed:
        void = Region(0, VOID, {"source_id": 0, "ignore": True}, fixed=True)
        regions = {0: void, **{one.id: one.region for one in segments}}
        return index_mask(ids, regions, self.over, shown)


def _segments(
    entries: object, categories: Mapping[int, CocoCategory]
) -> tuple[PanopticSegment, ...]:
    """Parse ``segments_info``.

    Raises:
        ValueError: naming the malformed entry.
    """
    if not isinstance(entries, list):
        raise ValueError(f"segments_info is {brief(entries)}, expected a list")
    return tuple(PanopticSegment.of(entry, categories) for entry in entries)
