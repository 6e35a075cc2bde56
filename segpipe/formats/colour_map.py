"""Colour masks, translated to indexes by a table; a colour that it does not list is an error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segpipe.formats.colour_diagnosis import unlisted_colours
from segpipe.formats.colour_table import ColourTable, pack
from segpipe.formats.files import Naming, SourceFiles
from segpipe.formats.folder_source import ItemFile, PngFolder
from segpipe.formats.ids import Ids
from segpipe.formats.imported import Imported
from segpipe.formats.label_map import LabelEntry
from segpipe.masks import png
from segpipe.masks.decoding import decode_samples
from segpipe.masks.refusal import MaskRefused


@dataclass(frozen=True)
class ColourMasks(PngFolder):
    """Colour masks in a folder and its subfolders."""

    table: ColourTable

    @classmethod
    def open(
        cls,
        source: Path,
        entries: Sequence[LabelEntry],
        naming: Naming,
        *,
        allowed: Sequence[str | PathLike[str]] = (),
    ) -> ColourMasks:
        """Find the masks.

        Raises:
            SettingsError: if there are none, or the table cannot be used.
        """
        files = SourceFiles.find(source, (".png",), allowed=allowed)
        return cls(files, naming, ColourTable.of(entries))

    def _decoded(self, file: ItemFile, data: bytes) -> Imported:
        colours = read_colours(data)
        ids = Ids.of_colours(colours)
        present = np.array(list(ids.areas), np.uint32)
        packed = (present & 0xFF) << 16 | present & 0xFF00 | present >> 16
        position, known = self.table.places(packed.astype(np.uint32))
        if not known.all():
            known = self.table.places(pack(colours))[1]
            return file.refused(unlisted_colours(colours, known, self.table, file.shown))
        indexes = self.table.indexes[position].tolist()
        mask = ids.becoming(dict(zip(ids.areas, indexes, strict=True)))
        return file.imported(mask, tuple(map(self.table.segment, mask.areas)))


def read_colours(data: bytes) -> NDArray[np.uint8]:
    """RGB samples of a PNG, H x W x 3 uint8; palette and grey images are converted to RGB.

    Raises:
        MaskRefused: if it is damaged, has 16 bits per channel, or has a transparent pixel.
    """
    samples, file = decode_samples(data)
    colour, depth = file.header.colour, file.header.depth
    if depth == 16:
        raise MaskRefused("MASK-16BIT", "16 bits per channel: write colours with 8")
    if colour == png.PALETTE:
        return _palette_colours(samples, file)
    channels = np.asarray(samples)
    if colour in (png.RGBA, png.GREY_ALPHA):
        if (channels[..., -1] != 255).any():
            raise MaskRefused("MASK-ALPHA", "a transparent pixel is ambiguous: write without alpha")
        channels = channels[..., :-1]
    if channels.ndim == 2:
        channels = channels[..., None]
    if channels.shape[-1] == 1:
        channels = np.repeat(channels, 3, axis=-1)
    return channels.astype(np.uint8, copy=False)


def _palette_colours(samples: NDArray[np.generic], file: png.PngFile) -> NDArray[np.uint8]:
    entries = _palette(file.image_data)
    values = np.asarray(samples).astype(np.uint8, copy=False)
    if int(values.max()) >= len(entries):
        raise MaskRefused(
            "PNG-UNREADABLE", f"pixels have palette index {values.max()} of {len(entries)} entries"
        )
    return np.take(entries, values, axis=0)


def _palette(image_data: bytes) -> NDArray[np.uint8]:
    """The colours of a PNG's palette, N x 3 uint8; the PNG's structure must have been checked."""
    offset = 8
    while image_data[offset + 4 : offset + 8] != b"PLTE":
        offset += 12 + int.from_bytes(image_data[offset : offset + 4], "big")
    length = int.from_bytes(image_data[offset : offset + 4], "big")
    return np.frombuffer(image_data, np.uint8, length, offset + 8).reshape(-1, 3)
