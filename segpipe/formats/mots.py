"""MOTS (KITTI MOTS, MOTSChallenge): 16-bit PNGs of ids, or text files of run lengths.

An id is ``class * 1000 + instance`` (1 car, 2 pedestrian), 0 is background and 10000 is ignored.
Trackers write a text file per sequence instead, ``frame id class height width rle`` in each line
with COCO's run lengths; a frame is then an item ``SEQUENCE/000000``, as its PNG would be.
(mots_tools, ``mots_common/io.py``.)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from segpipe.formats.coco import unreadable
from segpipe.formats.files import FRAME_COLUMNS, Naming, SourceFiles
from segpipe.formats.folder_scan import LeftOut
from segpipe.formats.folder_source import ItemFile, PngFolder
from segpipe.formats.identifiers import (
    Over256,
    Region,
    index_mask,
    listed,
    listed_with_areas,
)
from segpipe.formats.ids import Ids
from segpipe.formats.imported import Format, Imported, RecordSource, refused
from segpipe.formats.json_values import brief
from segpipe.formats.labels import BACKGROUND
from segpipe.formats.overlaps import Instance, Overlaps, paint
from segpipe.formats.run_lengths import RunLengthError, read_segmentation
from segpipe.manifests.rows import ImportFinding
from segpipe.masks import png
from segpipe.masks.decoding import decode_samples
from segpipe.masks.refusal import MaskRefused

_PER_CLASS = 1000
_IGNORED = 10
_NAMES = {1: "car", 2: "pedestrian", _IGNORED: "ignored"}
_FIELDS = 6
_NUMBER = re.compile(r"[0-9]{1,9}")


def open_mots(
    source: Path,
    naming: Naming,
    over: Over256,
    *,
    allowed: Sequence[str | PathLike[str]] = (),
) -> Format:
    """Open PNGs, or text files where there is no PNG.

    Raises:
        SettingsError: if there are neither.
    """
    files = SourceFiles.find(source, (".png",), otherwise=(".txt",), allowed=allowed)
    if files.paths[0].suffix.lower() == ".png":
        return MotsMasks(files, naming, over)
    return MotsTexts.of(files, over)


@dataclass(frozen=True)
class MotsMasks(PngFolder):
    """PNGs of ids in a folder and its subfolders."""

    over: Over256

    def _decoded(self, file: ItemFile, data: bytes) -> Imported:
        samples, header = decode_samples(data)
        if header.header.colour != png.GREY or header.header.depth not in (8, 16):
            name = f"{header.header.depth}-bit {png.COLOUR_NAMES[header.header.colour]}"
            raise MaskRefused("MASK-COLOUR", f"{name}, expected the 16-bit grey of MOTS", name)
        ids = Ids.of(np.asarray(samples).astype(np.uint16, copy=False))
        unknown = [id for id in ids.areas if id and id // _PER_CLASS not in _NAMES]
        if unknown:
            return file.refused(
                unreadable(
                    f"{file.shown}: ids that are of no class of MOTS: "
                    + listed_with_areas(unknown, ids.areas),
                    listed(unknown),
                    "class * 1000 + instance: 1 car, 2 pedestrian, 10 ignored",
                )
            )
        regions = {id: _region(id, id // _PER_CLASS, id) for id in ids.areas}
        indexed = index_mask(ids, regions, self.over, file.shown)
        return file.imported(indexed.mask, indexed.segments, indexed.findings)


@dataclass(frozen=True)
class Frame:
    """The lines of a frame.

    Attributes:
        lines: each with its number in the file.
    """

    sequence: str
    number: int
    shown: str
    lines: tuple[tuple[int, str], ...]

    @property
    def item(self) -> str:
        """Its reference id."""
        return f"{self.sequence}/{self.number:06}"


@dataclass(frozen=True)
class MotsTexts(RecordSource):
    """Text files, one for each sequence.

    Attributes:
        count: how many records they hold.
    """

    files: SourceFiles
    over: Over256
    count: int

    @classmethod
    def of(cls, files: SourceFiles, over: Over256) -> MotsTexts:
        """Count the frames of the files."""
        return cls(files, over, sum(1 for path in files for _ in _frames(path, files)))

    @property
    def carried(self) -> Mapping[str, pa.DataType]:
        """``sequence`` and ``frame``."""
        return FRAME_COLUMNS

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """What is in the folder and not imported."""
        return self.files.left_out

    def __len__(self) -> int:
        return self.count

    def records(self) -> Iterator[Frame | tuple[str, str]]:
        """The frames; and for a line without one, where it is and what is wrong."""
        for path in self.files:
            yield from _frames(path, self.files)

    def without_records(self) -> MotsTexts:
        """Without the files."""
        return replace(self, files=replace(self.files, paths=(), left_out=()))

    def read(self, record: Frame | tuple[str, str]) -> Iterator[Imported]:
        """The prediction of a frame."""
        if not isinstance(record, Frame):
            where, words = record
            yield refused("", where, unreadable(f"{where}: {words}", words))
            return
        carried = {"sequence": record.sequence, "frame": record.number}
        given: dict[str, Any] = {"carried": carried}
        try:
            yield self._imported(record, given)
        except RunLengthError as error:
            finding = unreadable(f"{record.shown}, {error}", str(error))
            yield refused(record.item, record.shown, finding, **given)

    def _imported(self, frame: Frame, given: Mapping[str, Any]) -> Imported:
        shown = f"{frame.shown}, frame {frame.number}"
        objects = [_object(place, line) for place, line in frame.lines]
        sizes = {size for *_, size in objects}
        ids = [id for id, *_ in objects]
        if len(sizes) > 1 or len(set(ids)) < len(ids):
            raise RunLengthError(
                f"frame {frame.number}: "
                + ("an id occurs twice" if len(sizes) == 1 else f"several sizes: {sorted(sizes)}")
            )
        ((height, width),) = sizes
        instances = [instance for _, _, instance, _ in objects]
        painted = paint(instances, height, width, Overlaps.ERROR)
        if painted.overlapping:
            words = (
                f"{shown}: objects overlap in {painted.overlapping:,} pixels, which MOTS forbids"
            )
            finding = ImportFinding("OVERLAP-REFUSED", words, expected="no overlap")
            return refused(frame.item, frame.shown, finding, **given)
        regions = {0: _region(0, 0, 0)}
        for place, (id, kind, _, _) in enumerate(objects, 1):
            regions[place] = _region(place, kind, id)
        indexed = index_mask(Ids.of(painted.instance_ids), regions, self.over, shown)
        return Imported(
            frame.item, shown, indexed.mask, indexed.segments, indexed.findings, **given
        )


def _region(place: int, kind: int, id: int) -> Region:
    if id == 0:
        return Region(place, BACKGROUND, {"isthing": False}, fixed=True)
    metadata: dict[str, Any] = {"source_id": id, "isthing": kind != _IGNORED}
    if kind == _IGNORED:
        metadata["ignore"] = True
    else:
        metadata["track_id"] = id
    return Region(place, _NAMES[kind], metadata, fixed=kind == _IGNORED)


def _frames(path: Path, files: SourceFiles) -> Iterator[Frame | tuple[str, str]]:
    """The frames of a file, in order; its lines may be in any order."""
    shown = files.shown(path)
    sequence = path.relative_to(files.source).with_suffix("").as_posix()
    lines: dict[int, list[tuple[int, str]]] = {}
    try:
        text = path.read_text("ascii")
    except (OSError, UnicodeDecodeError) as error:
        yield shown, f"it cannot be read as text: {error}"
        return
    for number, line in enumerate(text.splitlines(), 1):
        first = line.split(" ", 1)[0]
        if not line.strip():
            continue
        if not _NUMBER.fullmatch(first):
            yield f"{shown}, line {number}", f"it begins with {brief(first)}, expected a frame"
            continue
        lines.setdefault(int(first), []).append((number, line))
    for frame in sorted(lines):
        yield Frame(sequence, frame, shown, tuple(lines[frame]))


def _object(place: int, line: str) -> tuple[int, int, Instance, tuple[int, int]]:
    """Id, class, mask and size of a line.

    Raises:
        RunLengthError: naming the line and what is wrong with it.
    """
    words = line.split()
    if len(words) != _FIELDS or not all(map(_NUMBER.fullmatch, words[:-1])):
        raise RunLengthError(
            f"line {place} is {brief(line)}, expected frame, id, class, height, width and rle"
        )
    _, id, kind, height, width = (int(word) for word in words[:-1])
    if kind not in _NAMES:
        raise RunLengthError(f"line {place}: the class is {kind}, expected 1, 2 or 10")
    try:
        runs = read_segmentation({"size": [height, width], "counts": words[-1]}, height, width)
    except RunLengthError as error:
        raise RunLengthError(f"line {place}: {error}") from None
    return id, kind, Instance(runs.area, None, runs.decode), (height, width)
