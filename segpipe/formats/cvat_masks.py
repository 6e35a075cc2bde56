"""CVAT's "Segmentation mask 1.1": colours of classes and of objects, named by ``labelmap.txt``.

``SegmentationClass/NAME.png`` has the colour of each pixel's label, ``SegmentationObject/NAME.png``
that of its object, black where there is none; a Segment is a label and an object. Without the
second folder, labels are the Segments. (CVAT 2, ``dataset_manager/formats/mask.py``.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from segpipe.errors import SettingsError
from segpipe.formats.coco import unreadable
from segpipe.formats.colour_diagnosis import unlisted_colours
from segpipe.formats.colour_map import read_colours
from segpipe.formats.colour_table import ColourTable, pack
from segpipe.formats.files import Naming, SourceFiles, linked_out, read
from segpipe.formats.folder_source import ItemFile, PngFolder
from segpipe.formats.identifiers import Over256, Region, index_mask
from segpipe.formats.ids import Ids
from segpipe.formats.imported import Imported
from segpipe.formats.label_map import read_colour_table
from segpipe.formats.labels import BACKGROUND
from segpipe.manifests.rows import ImportFinding

CLASSES, OBJECTS, LABEL_MAP = "SegmentationClass", "SegmentationObject", "labelmap.txt"
_COLOURS = 2**24


@dataclass(frozen=True)
class CvatMasks(PngFolder):
    """The masks of an unpacked export.

    Attributes:
        objects: the folder of objects; None where there is none.
    """

    table: ColourTable
    objects: Path | None
    over: Over256

    @classmethod
    def open(
        cls,
        source: Path,
        naming: Naming,
        over: Over256,
        *,
        allowed: Sequence[str | PathLike[str]] = (),
    ) -> CvatMasks:
        """Find the masks, and read the label map.

        Raises:
            SettingsError: if there are none, or the label map cannot be used.
        """
        label_map = source / LABEL_MAP
        if not label_map.is_file():
            raise SettingsError(
                f"there is no {label_map}, which names the colours: export from CVAT as "
                "'Segmentation mask 1.1', and unpack the archive as it is"
            )
        files = SourceFiles.find(source / CLASSES, (".png",), allowed=(source, *allowed))
        objects = source / OBJECTS
        table = ColourTable.of(read_colour_table(label_map))
        return cls(files, naming, table, objects if objects.is_dir() else None, over)

    def _decoded(self, file: ItemFile, data: bytes) -> Imported:
        colours = read_colours(data)
        packed = pack(colours)
        places, known = self.table.places(packed)
        if not known.all():
            return file.refused(unlisted_colours(colours, known, self.table, file.shown))
        labels = self.table.indexes[places].astype(np.int64)
        if self.objects is not None:
            shown = f"{OBJECTS}/{file.shown}"
            linked = linked_out(self.objects / file.shown, shown, self.files.boundary)
            beside = linked or read(self.objects / file.shown, shown)
            if isinstance(beside, ImportFinding):
                return file.refused(beside)
            objects = pack(read_colours(beside))
            if objects.shape != labels.shape:
                sizes = f"{objects.shape[0]} x {objects.shape[1]}"
                own = f"{labels.shape[0]} x {labels.shape[1]}"
                return file.refused(
                    unreadable(
                        f"{file.shown}: it has {own} pixels, and {shown} {sizes}", sizes, own
                    )
                )
            labels = labels * _COLOURS + objects
        else:
            labels *= _COLOURS
        ids = Ids.of(labels)
        regions = {id: self._region(id) for id in ids.areas}
        indexed = index_mask(ids, regions, self.over, file.shown)
        return file.imported(indexed.mask, indexed.segments, indexed.findings)

    def _region(self, id: int) -> Region:
        index, colour = divmod(id, _COLOURS)
        segment = self.table.segment(index)
        thing = colour > 0 and segment.label != BACKGROUND
        metadata: dict[str, Any] = dict(segment.metadata)
        if self.objects is not None or segment.label == BACKGROUND:
            metadata["isthing"] = thing
        if colour:
            metadata["object_colour"] = f"#{colour:06x}"
        return Region(id, segment.label, metadata, fixed=not thing)
