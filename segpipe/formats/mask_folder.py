"""A folder of index masks: grey or palette PNGs of classes, or of objects.

A pixel's value is its sample, or its palette index; palette colours are ignored. Masks of classes
need a label map. Masks of objects (DAVIS, VOC) need one label for all objects: value 0 is
``background``, value k has that label, with ``object`` k in the metadata. 16-bit grey PNGs of ids
(Cellpose, StarDist) are renumbered. Where there is no PNG, grey TIFFs are read likewise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

import numpy as np

from segpipe.formats import tiff
from segpipe.formats.files import Naming, SourceFiles, linked_out
from segpipe.formats.folder_source import ItemFile, PngFolder
from segpipe.formats.identifiers import Over256
from segpipe.formats.ids import Ids
from segpipe.formats.imported import Imported
from segpipe.formats.labels import Labels
from segpipe.formats.sidecars import SIDECAR_EXTENSION, sidecar_of
from segpipe.manifests.rows import ImportFinding
from segpipe.masks import png
from segpipe.masks.decoding import decode_mask, decode_samples
from segpipe.masks.refusal import MaskRefused


@dataclass(frozen=True)
class MaskFolder(PngFolder):
    """Index masks in a folder and its subfolders."""

    labels: Labels
    over: Over256 = Over256.REFUSE

    @classmethod
    def open(
        cls,
        source: Path,
        labels: Labels,
        naming: Naming,
        over: Over256 = Over256.REFUSE,
        *,
        allowed: Sequence[str | PathLike[str]] = (),
    ) -> MaskFolder:
        """Find the masks.

        Raises:
            SettingsError: if there are none.
        """
        files = SourceFiles.find(
            source,
            (".png",),
            companions=(SIDECAR_EXTENSION,),
            otherwise=tiff.EXTENSIONS,
            allowed=allowed,
        )
        return cls(files, naming, labels, over)

    def _decoded(self, file: ItemFile, data: bytes) -> Imported:
        if file.path.suffix.lower() in tiff.EXTENSIONS:
            return self.labels.prediction(Ids.of(tiff.tiff_values(data)), file, self.over)
        beside = file.path.with_suffix(SIDECAR_EXTENSION)
        if beside.is_symlink():
            linked = linked_out(beside, f"{file.shown}: {beside.name}", self.files.boundary)
            if linked is not None:
                return file.refused(linked)
        sidecar = sidecar_of(file.path, file.shown)
        if isinstance(sidecar, ImportFinding):
            return file.refused(sidecar)
        if sidecar is not None:
            return replace(
                file.imported(Ids.of_mask(decode_mask(data)), sidecar.segments),
                reference_id=sidecar.reference_id,
                annotation_id=sidecar.annotation_id,
                image_url=sidecar.image_url,
            )
        return self.labels.prediction(_values(data), file, self.over)


def _values(data: bytes) -> Ids:
    """The values of a PNG: uint8, or uint16 where a 16-bit grey one has larger ones.

    Raises:
        MaskRefused: as :func:`decode_mask`, except for such ids.
    """
    try:
        return Ids.of_mask(decode_mask(data))
    except MaskRefused as refusal:
        if refusal.rule != "MASK-16BIT":
            raise
        samples, file = decode_samples(data)
        if file.header.colour != png.GREY:
            raise
        return Ids.of(np.asarray(samples).astype(np.uint16, copy=False))
