"""What PNGs may be, by their names and the values of a few of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segpipe.formats.cityscapes import is_instance_id
from segpipe.masks import png
from segpipe.masks.decoding import decode_samples
from segpipe.masks.refusal import MaskRefused

_OBJECT = re.compile(r".+_[^_]+_\d+")
_STROKE = re.compile(r"task-\d+-annotation-\d+-by-.*-\d+")
_MOST_COLOURS = 64
_MOTS_CLASSES = frozenset({1, 2, 10})
_STEP_CLASSES = frozenset({*range(19), 255})
_LABELS = {"labels": "--labels FILE (or --objects LABEL): what the values mean"}
_Fit = tuple[str, Mapping[str, Any], str, Mapping[str, str]]


@dataclass(frozen=True)
class Look:
    """The values of a PNG.

    Attributes:
        colour, depth: of its header.
        values: the distinct samples, N x channels, ascending.
    """

    colour: int
    depth: int
    values: np.ndarray[Any, np.dtype[np.int64]]


def looked_at(path: Path) -> Look | None:
    """The values of a PNG; None where it cannot be read."""
    try:
        samples, file = decode_samples(path.read_bytes())
    except (OSError, MaskRefused):
        return None
    pixels = np.asarray(samples).astype(np.int64)
    flat = pixels.reshape(pixels.shape[0] * pixels.shape[1], -1)
    weights = 65536 ** np.arange(flat.shape[1])[::-1] if flat.shape[1] < 4 else (
        256 ** np.arange(flat.shape[1])[::-1]
    )  # fmt: skip
    _, first = np.unique(flat @ weights, return_index=True)
    return Look(file.header.colour, file.header.depth, flat[first])


@dataclass(frozen=True)
class MaskLook:
    """A few PNGs together."""

    files: tuple[Look, ...]

    @classmethod
    def of(cls, files: Sequence[Look]) -> MaskLook:
        """Of those that are like the first."""
        same = [one for one in files if one.values.shape[1] == files[0].values.shape[1]]
        return cls(tuple(same))

    @property
    def values(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """All values, N x channels."""
        return np.concatenate([one.values for one in self.files])

    def fits(self, stems: Sequence[str]) -> Iterator[_Fit]:
        """Formats that fit: name, options, why, and what is needed besides.

        Args:
            stems: names of all PNGs, without extension.
        """
        colours = {one.colour for one in self.files}
        if png.RGBA in colours:
            yield from self._of_alpha()
        elif png.RGB in colours:
            yield from self._of_colours()
        elif colours <= {png.GREY, png.PALETTE}:
            yield from self._of_values(stems)

    def _of_alpha(self) -> Iterator[_Fit]:
        alpha = set(self.values[:, 3].tolist())
        if alpha == {255}:
            yield from self._of_colours()
        else:
            words = "RGBA with many values of alpha, as bitmasks have them"
            yield "bdd100k", {}, words, {"task": "--task ins-seg, seg-track or pan-seg"}

    def _of_colours(self) -> Iterator[_Fit]:
        values = self.values[:, :3]
        red, blue = set(values[:, 0].tolist()), set(values[:, 2].tolist())
        counts = len(np.unique(values, axis=0))
        if red <= _STEP_CLASSES and blue != {0}:
            yield "kitti-step", {}, "red holds classes of KITTI-STEP alone", {}
        if blue == {0}:
            words = f"blue is 0 everywhere, and red has {len(red)} values: categories, instances"
            needs = {"categories": "--categories FILE: names of the categories"}
            yield "coco-panoptic", {"two_channel": True}, words, needs
        if counts <= _MOST_COLOURS:
            needs = {"colours": "--colours FILE: the colours' labels"}
            yield "colour-map", {}, f"{counts} colours", needs
        if len(self.values) > 0 and max(len(one.values) for one in self.files) > 1:
            needs = {"annotations": "--annotations FILE: panoptic JSON"}
            yield "coco-panoptic", {}, "colours may be ids, R + 256 G + 65536 B", needs

    def _of_values(self, stems: Sequence[str]) -> Iterator[_Fit]:
        present = sorted(set(self.values[:, 0].tolist()))
        shown = ", ".join(map(str, present[:8])) + (", ..." if len(present) > 8 else "")
        binary = all(len([v for v in one.values[:, 0].tolist() if v]) <= 1 for one in self.files)
        if all(_STROKE.fullmatch(stem) for stem in stems):
            yield "label-studio", {}, "names as of Label Studio's brush labels to PNG", {}
        elif binary and all(_OBJECT.fullmatch(stem) for stem in stems):
            words = f"names as ITEM_LABEL_K, and one value beside 0 ({shown})"
            yield "mask-folder", {"objects_apart": True}, words, {}
        ids = [value for value in present if value]
        if max(present) > 255:
            if all(value // 1000 in _MOTS_CLASSES for value in ids):
                yield "mots", {}, f"16-bit ids of MOTS ({shown})", {}
            if any(map(is_instance_id, ids)) and all(
                value < 34 or is_instance_id(value) for value in present
            ):
                yield "cityscapes", {}, f"16-bit instanceIds ({shown})", {}
            yield "mask-folder", {"objects": "object"}, f"16-bit ids ({shown})", {}
        elif present in ([0, 255], [255]):
            words = "values 0 and 255 alone, which are 0 and 1 in most label maps"
            yield "mask-folder", {"values": ["255=1"]}, words, _LABELS
        else:
            yield "mask-folder", {}, f"values {shown}", _LABELS
            if present == list(range(len(present))) and present != [0]:
                words = "values from 0 without a gap, should they be objects"
                yield "mask-folder", {"objects": "object"}, words, {}
