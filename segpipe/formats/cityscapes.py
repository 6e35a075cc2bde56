"""Cityscapes instanceIds: 16-bit grey, ``id = label id * 1000 + instance`` or the label id alone.

An id below 1000 is a region of its class without instances: stuff, or a group of things that were
not told apart (a crowd). The table of labels is that of cityscapesScripts (helpers/labels.py, the
columns name, id, hasInstances, ignoreInEval).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from segpipe.formats.files import FRAME_COLUMNS, Naming, SourceFiles, read
from segpipe.formats.identifiers import Over256, Region, areas_of, index_mask
from segpipe.formats.imported import Imported, finding_of, refused
from segpipe.manifests.rows import ImportFinding
from segpipe.masks import png
from segpipe.masks.decoding import decode_samples
from segpipe.masks.refusal import MaskRefused

_PER_CLASS = 1000


class CityscapesLabel(NamedTuple):
    """One class: what it is called, whether it has instances, and whether evaluation ignores it."""

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
class Cityscapes:
    """instanceIds masks in a folder and the folders in it.

    Attributes:
        ignore_unevaluated: mark the classes that Cityscapes' evaluation leaves out as ignored.
    """

    files: SourceFiles
    naming: Naming = field(default_factory=Naming)
    over: Over256 = Over256.REFUSE
    ignore_unevaluated: bool = False

    @classmethod
    def open(
        cls, source: Path, naming: Naming, over: Over256, *, ignore_unevaluated: bool
    ) -> Cityscapes:
        """Find the masks: files that end in ``instanceIds.png`` where there are any.

        Raises:
            SettingsError: if there are none.
        """
        files = SourceFiles.find(source, (".png",))
        named = tuple(path for path in files if path.stem.endswith("instanceIds"))
        if named:
            files = SourceFiles(files.source, named)
        return cls(files, naming, over, ignore_unevaluated)

    @property
    def carried(self) -> Mapping[str, pa.DataType]:
        """``sequence`` (the city) and ``frame`` where masks lie in folders."""
        return FRAME_COLUMNS if self.files.in_folders else {}

    def __len__(self) -> int:
        return len(self.files)

    def predictions(self) -> Iterator[Imported]:
        """The masks, in the order of their paths."""
        for path in self.files:
            yield self._imported(path)

    def _imported(self, path: Path) -> Imported:
        shown = self.files.shown(path)
        reference_id = self.naming.reference_id(path, self.files.source)
        carried = self.files.frame(path, reference_id)
        data = read(path, shown)
        if isinstance(data, ImportFinding):
            return refused(reference_id, shown, data, carried=carried)
        try:
            samples, file = decode_samples(data)
            if file.header.colour != png.GREY or file.header.depth not in (8, 16):
                name = f"{file.header.depth}-bit {png.COLOUR_NAMES[file.header.colour]}"
                raise MaskRefused(
                    "MASK-COLOUR", f"{name}, expected the 16-bit grey of instanceIds", name
                )
        except MaskRefused as refusal:
            return refused(reference_id, shown, finding_of(refusal, shown), carried=carried)
        ids = np.asarray(samples).astype(np.uint16)
        areas = areas_of(ids)
        unknown = [id for id in areas if _class_of(id) not in LABELS]
        if unknown:
            finding = ImportFinding(
                "IMPORT-UNREADABLE",
                f"{shown}: ids that are of no Cityscapes class: "
                + ", ".join(f"{id} ({areas[id]:,} px)" for id in unknown[:10]),
                found=", ".join(map(str, unknown[:10])),
                expected="class * 1000 + instance, or a class from 0 to 33",
            )
            return refused(reference_id, shown, finding, carried=carried)
        regions = {id: self._region(id) for id in areas}
        indexed = index_mask(ids, areas, regions, self.over, shown)
        return Imported(
            reference_id, shown, indexed.mask, indexed.segments, indexed.findings, carried=carried
        )

    def _region(self, id: int) -> Region:
        label = LABELS[_class_of(id)]
        metadata: dict[str, object] = {"source_id": id, "isthing": label.has_instances}
        if label.has_instances and id < _PER_CLASS:
            metadata["iscrowd"] = True
        ignored = self.ignore_unevaluated and label.ignored
        if ignored:
            metadata["ignore"] = True
        return Region(id, label.name, metadata, fixed=not label.has_instances or ignored)


def _class_of(id: int) -> int:
    return id // _PER_CLASS if id >= _PER_CLASS else id
