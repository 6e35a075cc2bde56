"""Cityscapes instanceIds: 16-bit grey, ``id = label id * 1000 + instance`` or the label id alone.

An id below 1000 is a region of its class without instances: stuff, or a group of things that were
not separated (a crowd). The table of labels is that of cityscapesScripts (helpers/labels.py, the
columns name, id, hasInstances, ignoreInEval; MIT License, Copyright (c) 2022 The Cityscapes
Authors, whose text is in examples/policies/LICENCES.txt of the checkout).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np

from segpipe.formats.files import Naming, SourceFiles
from segpipe.formats.folder_source import ItemFile, PngFolder
from segpipe.formats.identifiers import (
    Over256,
    Region,
    index_mask,
    listed,
    listed_with_areas,
)
from segpipe.formats.ids import Ids
from segpipe.formats.imported import Imported
from segpipe.manifests.rows import ImportFinding
from segpipe.masks import png
from segpipe.masks.decoding import decode_samples
from segpipe.masks.refusal import MaskRefused

_PER_CLASS = 1000


class CityscapesLabel(NamedTuple):
    """One class: its name, whether it has instances, and whether evaluation ignores it."""

    name: str
    has_instances: bool
    ignored: bool


def _label(name: str, *, instances: bool = False, ignored: bool = False) -> CityscapesLabel:
    return CityscapesLabel(name, instances, ignored)


LABELS: Mapping[int, CityscapesLabel] = {
    0: _label("unlabeled", ignored=True),
    1: _label("ego vehicle", ignored=True),
    2: _label("rectification border", ignored=True),
    3: _label("out of roi", ignored=True),
    4: _label("static", ignored=True),
    5: _label("dynamic", ignored=True),
    6: _label("ground", ignored=True),
    7: _label("road"),
    8: _label("sidewalk"),
    9: _label("parking", ignored=True),
    10: _label("rail track", ignored=True),
    11: _label("building"),
    12: _label("wall"),
    13: _label("fence"),
    14: _label("guard rail", ignored=True),
    15: _label("bridge", ignored=True),
    16: _label("tunnel", ignored=True),
    17: _label("pole"),
    18: _label("polegroup", ignored=True),
    19: _label("traffic light"),
    20: _label("traffic sign"),
    21: _label("vegetation"),
    22: _label("terrain"),
    23: _label("sky"),
    24: _label("person", instances=True),
    25: _label("rider", instances=True),
    26: _label("car", instances=True),
    27: _label("truck", instances=True),
    28: _label("bus", instances=True),
    29: _label("caravan", instances=True, ignored=True),
    30: _label("trailer", instances=True, ignored=True),
    31: _label("train", instances=True),
    32: _label("motorcycle", instances=True),
    33: _label("bicycle", instances=True),
}


@dataclass(frozen=True)
class Cityscapes(PngFolder):
    """instanceIds masks in a folder and its subfolders; ``sequence`` is the city.

    Attributes:
        ignore_unevaluated: mark the classes that Cityscapes' evaluation leaves out as ignored.
    """

    over: Over256
    ignore_unevaluated: bool

    @classmethod
    def open(
        cls,
        source: Path,
        naming: Naming,
        over: Over256,
        *,
        ignore_unevaluated: bool,
        allowed: Sequence[str | PathLike[str]] = (),
    ) -> Cityscapes:
        """Find the masks: files that end in ``instanceIds.png`` where there are any.

        Raises:
            SettingsError: if there are none.
        """
        files = SourceFiles.find(source, (".png",), allowed=allowed)
        named = tuple(path for path in files if path.stem.endswith("instanceIds"))
        if named:
            files = files.keeping(named, "not instanceIds")
        return cls(files, naming, over, ignore_unevaluated)

    def _decoded(self, file: ItemFile, data: bytes) -> Imported:
        ids = _instance_ids(data)
        areas = ids.areas
        unknown = [id for id in areas if _class_of(id) not in LABELS]
        if unknown:
            return file.refused(
                ImportFinding(
                    "IMPORT-UNREADABLE",
                    f"{file.shown}: ids that are of no Cityscapes class: "
                    + listed_with_areas(unknown, areas),
                    found=listed(unknown),
                    expected="class * 1000 + instance, or a class from 0 to 33",
                )
            )
        regions = {id: self._region(id) for id in areas}
        indexed = index_mask(ids, regions, self.over, file.shown)
        return file.imported(indexed.mask, indexed.segments, indexed.findings)

    def _region(self, id: int) -> Region:
        label = LABELS[_class_of(id)]
        metadata: dict[str, object] = {"source_id": id, "isthing": label.has_instances}
        if label.has_instances and id < _PER_CLASS:
            metadata["iscrowd"] = True
        ignored = self.ignore_unevaluated and label.ignored
        if ignored:
            metadata["ignore"] = True
        return Region(id, label.name, metadata, fixed=not label.has_instances or ignored)


def _instance_ids(data: bytes) -> Ids:
    """Ids of an instanceIds PNG.

    Raises:
        MaskRefused: if it is not a complete PNG of 8- or 16-bit grey.
    """
    samples, file = decode_samples(data)
    if file.header.colour != png.GREY or file.header.depth not in (8, 16):
        name = f"{file.header.depth}-bit {png.COLOUR_NAMES[file.header.colour]}"
        raise MaskRefused("MASK-COLOUR", f"{name}, expected the 16-bit grey of instanceIds", name)
    return Ids.of(np.asarray(samples).astype(np.uint16, copy=False))


def is_instance_id(id: int) -> bool:
    """Whether an id names a class and an instance of it, as only instanceIds do."""
    return id >= _PER_CLASS and _class_of(id) in LABELS


def _class_of(id: int) -> int:
    return id // _PER_CLASS if id >= _PER_CLASS else id
