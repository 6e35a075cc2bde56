"""The two-channel form of COCO panoptic: a PNG per image, category in red and instance in green.

As in panopticapi's ``converters/2channels2panoptic_coco_format.py``: a category and an instance
number are a segment, stuff has the instance 0, and the category 0 is void. Blue is 0; ids of the
ordinary form, ``R + 256 G + 65536 B``, are told by it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from segpipe.errors import SettingsError
from segpipe.formats.coco import CocoCategory, categories_of, unreadable
from segpipe.formats.colour_map import read_colours
from segpipe.formats.files import Naming, SourceFiles
from segpipe.formats.folder_source import ItemFile, PngFolder
from segpipe.formats.identifiers import Over256, Region, index_mask, listed
from segpipe.formats.ids import Ids
from segpipe.formats.imported import Imported
from segpipe.formats.json_values import read_json
from segpipe.formats.panoptic_segments import VOID

_BEYOND_TWO_CHANNELS = 65536


@dataclass(frozen=True)
class TwoChannelPanoptic(PngFolder):
    """Two-channel PNGs in a folder and its subfolders."""

    categories: Mapping[int, CocoCategory]
    over: Over256 = Over256.REFUSE

    @classmethod
    def open(
        cls,
        source: Path,
        categories: Path,
        naming: Naming,
        over: Over256,
        *,
        allowed: Sequence[str | PathLike[str]] = (),
    ) -> TwoChannelPanoptic:
        """Find the PNGs, and read the categories.

        Raises:
            SettingsError: if there are no PNGs, or no categories.
        """
        files = SourceFiles.find(source, (".png",), allowed=allowed)
        named = categories_of(read_json(categories), categories)
        if not named:
            raise SettingsError(f"{categories} holds no categories")
        return cls(files, naming, named, over)

    def _decoded(self, file: ItemFile, data: bytes) -> Imported:
        ids = Ids.of_colours(read_colours(data))
        areas = ids.areas
        beyond = [id for id in areas if id >= _BEYOND_TWO_CHANNELS]
        if beyond:
            return file.refused(
                unreadable(
                    f"{file.shown}: blue is not 0 in {sum(areas[id] for id in beyond):,} pixels. "
                    "If these are ids, R + 256 G + 65536 B, leave --two-channel out and give "
                    "--annotations",
                    f"{len(beyond)} colours with blue",
                    "category in red, instance in green",
                )
            )
        unknown = sorted({id & 255 for id in areas} - self.categories.keys() - {0})
        if unknown:
            return file.refused(
                unreadable(
                    f"{file.shown}: red holds {listed(unknown)}, none of the categories; was the "
                    "PNG written as BGR?",
                    listed(unknown),
                    "ids of categories, or 0 for void",
                )
            )
        # Whatever green says of void, it is one region.
        void = {id: 0 for id in areas if id & 255 == 0}
        merged = ids.becoming({id: void.get(id, id) for id in areas}) if len(void) > 1 else ids
        indexed = index_mask(merged, {id: self._region(id) for id in areas}, self.over, file.shown)
        return file.imported(indexed.mask, indexed.segments, indexed.findings)

    def _region(self, id: int) -> Region:
        instance, category_id = divmod(id, 256)
        if category_id == 0:
            return Region(0, VOID, {"source_id": 0, "ignore": True}, fixed=True)
        category = self.categories[category_id]
        metadata: dict[str, Any] = {"category_id": category_id, "instance": instance}
        if category.isthing is not None:
            metadata["isthing"] = category.isthing
        return Region(id, category.name, metadata, fixed=category.isthing is False)
