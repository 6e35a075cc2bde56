"""KITTI-STEP and MOTChallenge-STEP: RGB PNGs, class in red, instance in green and blue.

The instance is ``256 * green + blue``; 0 is none, which is a crowd of a class that has instances.
Classes are the 19 of Cityscapes by their training numbers, 255 is void. Those of MOTChallenge-STEP
are others: give them as a label map. (deeplab2, ``g3doc/setup/kitti_step.md``.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from segpipe.formats.cityscapes import LABELS
from segpipe.formats.coco import unreadable
from segpipe.formats.colour_map import read_colours
from segpipe.formats.files import Naming, SourceFiles
from segpipe.formats.folder_source import ItemFile, PngFolder
from segpipe.formats.identifiers import Over256, Region, index_mask, listed
from segpipe.formats.ids import Ids
from segpipe.formats.imported import Imported
from segpipe.formats.label_map import LabelEntry, read_label_map
from segpipe.formats.panoptic_segments import VOID

# Of the classes that Cityscapes evaluates, in their order; KITTI-STEP tracks two of them.
_TRACKED = ("person", "car")
CLASSES: Mapping[int, LabelEntry] = {
    index: LabelEntry(label.name, index, label.name in _TRACKED)
    for index, label in enumerate(one for one in LABELS.values() if not one.ignored)
}
_VOID = 255


@dataclass(frozen=True)
class Step(PngFolder):
    """PNGs in a folder and its subfolders; ``sequence`` and ``frame`` are those of the video."""

    classes: Mapping[int, LabelEntry]
    over: Over256

    @classmethod
    def open(
        cls,
        source: Path,
        labels: Path | None,
        naming: Naming,
        over: Over256,
        *,
        allowed: Sequence[str | PathLike[str]] = (),
    ) -> Step:
        """Find the PNGs.

        Args:
            labels: a label map with ``isthing``, for other classes than those of KITTI-STEP.

        Raises:
            SettingsError: if there are none, or the label map cannot be read.
        """
        files = SourceFiles.find(source, (".png",), allowed=allowed)
        return cls(files, naming, CLASSES if labels is None else read_label_map(labels), over)

    def _decoded(self, file: ItemFile, data: bytes) -> Imported:
        ids = Ids.of_colours(read_colours(data))
        unknown = sorted({id & 255 for id in ids.areas} - self.classes.keys() - {_VOID})
        if unknown:
            return file.refused(
                unreadable(
                    f"{file.shown}: red holds {listed(unknown)}, none of the classes; others than "
                    "those of KITTI-STEP take --labels FILE",
                    listed(unknown),
                    "classes, or 255 for void",
                )
            )
        # Whatever green and blue say of void, it is one region.
        void = {id for id in ids.areas if id & 255 == _VOID}
        merged = ids.becoming({id: _VOID if id in void else id for id in ids.areas})
        regions = {id: self._region(id) for id in merged.areas}
        indexed = index_mask(merged, regions, self.over, file.shown)
        return file.imported(indexed.mask, indexed.segments, indexed.findings)

    def _region(self, id: int) -> Region:
        index, instance = id & 255, (id >> 8 & 255) * 256 + (id >> 16)
        entry = self.classes.get(index)
        if entry is None:
            return Region(id, VOID, {"category_id": index, "ignore": True}, fixed=True)
        metadata: dict[str, Any] = {"category_id": index, **entry.metadata}
        if instance:
            metadata |= {"source_id": instance, "track_id": instance}
        elif entry.isthing:
            metadata["iscrowd"] = True
        return Region(id, entry.label, metadata, fixed=entry.isthing is False)
