"""Colours, and the mask index and label that each stands for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segpipe.errors import SettingsError
from segpipe.formats.label_map import LabelEntry, shown
from segpipe.predictions.prediction import Segment


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
        colours = [pack(np.array(entry.colour, np.uint32)) for entry in entries]
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

    def places(self, packed: NDArray[np.uint32]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Where each colour stands in the table, and whether it does stand there."""
        position = np.minimum(np.searchsorted(self.packed, packed), self.packed.size - 1)
        return position, self.packed[position] == packed


def pack(colours: NDArray[np.generic]) -> NDArray[np.uint32]:
    """Colours as 0xRRGGBB; the last axis is removed."""
    channels = np.asarray(colours, np.uint32)
    packed: NDArray[np.uint32] = channels @ np.array([65536, 256, 1], np.uint32)
    return packed
