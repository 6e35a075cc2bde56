"""A folder of index masks: grey or palette PNGs of classes, or of objects.

The value of a pixel is the sample, or the palette index; colours of a palette mean nothing. Masks
of classes need a label map. Masks of objects (DAVIS, VOC) need a name for what the objects are:
value 0 is ``background``, value k is that label, with ``object`` k in the metadata.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from segpipe.formats.files import FRAME_COLUMNS, Naming, SourceFiles, read
from segpipe.formats.imported import Imported, finding_of, refused
from segpipe.formats.label_map import LabelEntry
from segpipe.formats.sidecars import sidecar_of
from segpipe.manifests.rows import ImportFinding
from segpipe.masks.decoding import decode_mask
from segpipe.masks.refusal import MaskRefused
from segpipe.predictions.prediction import Segment

#: Label of what no object covers.
BACKGROUND = "background"


@dataclass(frozen=True)
class Labels:
    """What the values of a data set's masks mean.

    Attributes:
        by_index: value -> entry of the label map; empty without one.
        objects: label of every object, where values are objects and not classes; "" otherwise.
        ignored: value -> label of what is to be ignored, such as 255 = void.
    """

    by_index: Mapping[int, LabelEntry] = field(default_factory=dict)
    objects: str = ""
    ignored: Mapping[int, str] = field(default_factory=dict)

    def segment(self, value: int) -> Segment | None:
        """The Segment of a value; None where nothing says what it means."""
        if value in self.ignored:
            return Segment(self.ignored[value], value, {"ignore": True})
        entry = self.by_index.get(value)
        if entry is not None:
            kind = {} if entry.isthing is None else {"isthing": entry.isthing}
            return Segment(entry.label, value, kind)
        if self.objects:
            if value == 0:
                return Segment(BACKGROUND, 0, {"isthing": False})
            return Segment(self.objects, value, {"isthing": True, "object": value})
        return None

    def segments(
        self, counts: Mapping[int, int], source: str
    ) -> tuple[tuple[Segment, ...], tuple[ImportFinding, ...]]:
        """Segments of the values that occur, and what is wrong where one means nothing.

        Args:
            counts: value -> its pixels.
        """
        found = {value: self.segment(value) for value in counts}
        unknown = [value for value, segment in found.items() if segment is None]
        if not unknown:
            return tuple(segment for segment in found.values() if segment is not None), ()
        listed = ", ".join(f"{value} ({counts[value]:,} px)" for value in unknown[:10])
        finding = ImportFinding(
            "VALUE-NO-SEGMENT",
            f"{source}: the label map does not say what these values mean: {listed}"
            f"{', ...' * (len(unknown) > 10)}. Add them, or name them with --ignore VALUE=LABEL",
            found=", ".join(map(str, unknown[:10])),
            expected="values of the label map",
        )
        return (), (finding,)


@dataclass(frozen=True)
class MaskFolder:
    """Masks in a folder and the folders in it."""

    files: SourceFiles
    labels: Labels
    naming: Naming = field(default_factory=Naming)

    @classmethod
    def open(cls, source: Path, labels: Labels, naming: Naming) -> MaskFolder:
        """Find the masks.

        Raises:
            SettingsError: if there are none.
        """
        return cls(SourceFiles.find(source, (".png",)), labels, naming)

    @property
    def carried(self) -> Mapping[str, pa.DataType]:
        """``sequence`` and ``frame`` where masks lie in folders."""
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
            mask = decode_mask(data).pixels
        except MaskRefused as refusal:
            return refused(reference_id, shown, finding_of(refusal, shown), carried=carried)
        sidecar = sidecar_of(path, shown)
        if isinstance(sidecar, ImportFinding):
            return refused(reference_id, shown, sidecar, carried=carried)
        if sidecar is not None:
            return Imported(
                sidecar.reference_id,
                shown,
                mask,
                sidecar.segments,
                annotation_id=sidecar.annotation_id,
                image_url=sidecar.image_url,
                carried=carried,
            )
        counted = np.bincount(mask.ravel(), minlength=256)
        counts = {int(value): int(counted[value]) for value in np.flatnonzero(counted)}
        segments, findings = self.labels.segments(counts, shown)
        return Imported(
            reference_id,
            shown,
            None if findings else mask,
            segments,
            findings,
            carried=carried,
        )
