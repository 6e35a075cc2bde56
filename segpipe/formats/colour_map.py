"""Colour masks, translated to indexes by a table; a colour that it does not list is an error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segpipe.errors import SettingsError
from segpipe.formats.files import Naming, SourceFiles
from segpipe.formats.folder_source import ItemFile, PngFolder
from segpipe.formats.identifiers import areas_of
from segpipe.formats.imported import Imported
from segpipe.formats.label_map import LabelEntry, shown
from segpipe.manifests.rows import ImportFinding
from segpipe.masks import png
from segpipe.masks.decoding import decode_samples
from segpipe.masks.refusal import MaskRefused
from segpipe.predictions.prediction import Segment

_MOST_LISTED = 10


@dataclass(frozen=True)
class ColourTable:
    """Colours, each with its mask index and its label.

    Attributes:
        packed: colours as 0xRRGGBB, ascending, uint32.
        indexes: of the colours, in the same order, uint8.
        entries: index -> entry.
    """

    packed: NDArray[np.uint32]
    indexes: NDArray[np.uint8]
    entries: Mapping[int, LabelEntry]

    @classmethod
    def of(cls, entries: Sequence[LabelEntry]) -> ColourTable:
        """From a table's entries; without indexes they are numbered in the table's order.

        Raises:
            SettingsError: if there are more than 256, an index occurs twice or exceeds 255, or only
                some entries have one.
        """
        given = [entry.index for entry in entries if entry.index is not None]
        if given and len(given) < len(entries):
            raise SettingsError("the colour table gives an index for some colours only")
        indexes = given or list(range(len(entries)))
        if len(set(indexes)) < len(indexes) or max(indexes) > 255:
            raise SettingsError(
                f"the colour table has {len(entries)} colours with indexes up to {max(indexes)}: "
                "each needs one of its own, 0 to 255"
            )
        colours = [_pack(np.array(entry.colour, np.uint32)) for entry in entries]
        order = np.argsort(colours)
        return cls(
            np.array(colours, np.uint32)[order],
            np.array(indexes, np.uint8)[order],
            dict(zip(indexes, entries, strict=True)),
        )

    def segment(self, index: int) -> Segment:
        """The Segment of an index, with its colour in the metadata."""
        entry = self.entries[index]
        metadata = {**entry.metadata, "source_colour": shown(entry.colour or ())}
        return Segment(entry.label, index, metadata)

    def nearest(self, colour: Sequence[int]) -> LabelEntry:
        """The entry whose colour has the smallest Euclidean distance."""
        return min(
            self.entries.values(),
            key=lambda entry: sum(
                (a - b) ** 2 for a, b in zip(colour, entry.colour or (), strict=True)
            ),
        )


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
        packed = _pack(read_colours(data))
        position = np.minimum(
            np.searchsorted(self.table.packed, packed), self.table.packed.size - 1
        )
        known = self.table.packed[position] == packed
        if not known.all():
            return file.refused(self._unlisted(packed[~known], file.shown))
        mask = self.table.indexes[position]
        return file.imported(mask, tuple(map(self.table.segment, areas_of(mask))))

    def _unlisted(self, packed: NDArray[np.uint32], name: str) -> ImportFinding:
        values, counts = np.unique(packed, return_counts=True)
        most = sorted(zip(counts.tolist(), values.tolist(), strict=True), reverse=True)[
            :_MOST_LISTED
        ]
        described = []
        for count, value in most:
            colour = (value >> 16, value >> 8 & 255, value & 255)
            near = self.table.nearest(colour)
            described.append(
                f"{shown(colour)} {count:,} px (nearest: {shown(near.colour or ())} {near.label})"
            )
        more = ", ..." if values.size > _MOST_LISTED else ""
        return ImportFinding(
            "MASK-COLOUR",
            f"{name}: {values.size} colours that the table does not list: "
            f"{', '.join(described)}{more}. "
            "No colour is taken for another: add them, or write the mask without smoothing",
            found=f"{values.size} colours, {int(counts.sum())} px",
            expected="colours of the table",
        )


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
    colours: NDArray[np.uint8] = entries[values]
    return colours


def _palette(image_data: bytes) -> NDArray[np.uint8]:
    """The colours of a PNG's palette, N x 3 uint8; the PNG's structure must have been checked."""
    offset = 8
    while image_data[offset + 4 : offset + 8] != b"PLTE":
        offset += 12 + int.from_bytes(image_data[offset : offset + 4], "big")
    length = int.from_bytes(image_data[offset : offset + 4], "big")
    return np.frombuffer(image_data, np.uint8, length, offset + 8).reshape(-1, 3)


def _pack(colours: NDArray[np.generic]) -> NDArray[np.uint32]:
    """Colours as 0xRRGGBB; the last axis is removed."""
    channels = np.asarray(colours, np.uint32)
    packed: NDArray[np.uint32] = channels @ np.array([65536, 256, 1], np.uint32)
    return packed
