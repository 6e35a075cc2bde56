"""A folder of index masks: grey or palette PNGs of classes, or of objects.

A pixel's value is its sample, or its palette index; palette colours are ignored. Masks of classes
need a label map. Masks of objects (DAVIS, VOC) need one label for all objects: value 0 is
``background``, value k has that label, with ``object`` k in the metadata.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from segpipe.formats.files import Naming, SourceFiles
from segpipe.formats.folder_source import ItemFile, PngFolder
from segpipe.formats.identifiers import areas_of, ellipsis_after, listed, listed_with_areas
from segpipe.formats.imported import Imported
from segpipe.formats.label_map import LabelEntry
from segpipe.formats.sidecars import sidecar_of
from segpipe.manifests.rows import ImportFinding
from segpipe.masks.decoding import decode_mask
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
    """

    by_index: Mapping[int, LabelEntry] = field(default_factory=dict)
    objects: str = ""
    ignored: Mapping[int, str] = field(default_factory=dict)

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

    def segments(
        self, areas: Mapping[int, int], source: str
    ) -> tuple[tuple[Segment, ...], tuple[ImportFinding, ...]]:
        """Segments of the values that occur; a finding instead where one is unknown.

        Args:
            areas: value -> number of its pixels.
            source: the file, for messages.
        """
        found = {value: self.segment(value) for value in areas}
        unknown = [value for value, segment in found.items() if segment is None]
        if not unknown:
            return tuple(segment for segment in found.values() if segment is not None), ()
        finding = ImportFinding(
            "VALUE-NO-SEGMENT",
            f"{source}: the label map does not say what these values mean: "
            f"{listed_with_areas(unknown, areas)}{ellipsis_after(unknown)}. "
            "Add them, or name them with --ignore VALUE=LABEL",
            found=listed(unknown),
            expected="values of the label map",
        )
        return (), (finding,)


@dataclass(frozen=True)
class MaskFolder(PngFolder):
    """Index masks in a folder and its subfolders."""

    labels: Labels

    @classmethod
    def open(cls, source: Path, labels: Labels, naming: Naming) -> MaskFolder:
        """Find the masks.

        Raises:
            SettingsError: if there are none.
        """
        return cls(SourceFiles.find(source, (".png",)), naming, labels)

    def _decoded(self, file: ItemFile, data: bytes) -> Imported:
        mask = decode_mask(data).pixels
        sidecar = sidecar_of(file.path, file.shown)
        if isinstance(sidecar, ImportFinding):
            return file.refused(sidecar)
        if sidecar is not None:
            return replace(
                file.imported(mask, sidecar.segments),
                reference_id=sidecar.reference_id,
                annotation_id=sidecar.annotation_id,
                image_url=sidecar.image_url,
            )
        segments, findings = self.labels.segments(areas_of(mask), file.shown)
        return file.imported(None if findings else mask, segments, findings)
