"""BDD100K bitmasks: RGBA PNGs with category, attributes and instance, and a JSON file of scores.

Red is the category, green the attributes (8 truncated, 4 occluded, 2 crowd, 1 ignored), and the
instance is ``256 * blue + alpha``: alpha is data here, not transparency. Category 0 is background,
or ``void`` in panoptic masks. Scores are a list of ``{"name", "labels": [{"id", "score"}]}``, also
under ``frames``. (bdd100k 1.0: ``label/to_mask.py``, ``label/label.py``, ``eval/ins_seg.py``.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from os import PathLike
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from segpipe.errors import SettingsError
from segpipe.formats.annotated_instances import left_out
from segpipe.formats.coco import unreadable
from segpipe.formats.files import Naming, SourceFiles
from segpipe.formats.folder_source import ItemFile, PngFolder
from segpipe.formats.identifiers import Over256, Region, index_mask, listed
from segpipe.formats.ids import Ids
from segpipe.formats.imported import Imported
from segpipe.formats.json_values import brief, identity, kind_of, number, read_json
from segpipe.formats.labels import BACKGROUND
from segpipe.formats.panoptic_segments import VOID
from segpipe.masks import png
from segpipe.masks.decoding import decode_samples
from segpipe.masks.refusal import MaskRefused

_INSTANCES = ("pedestrian", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle")
_PANOPTIC = (
    "dynamic", "ego vehicle", "ground", "static", "parking", "rail track", "road", "sidewalk",
    "bridge", "building", "fence", "garage", "guard rail", "tunnel", "wall", "banner", "billboard",
    "lane divider", "parking sign", "pole", "polegroup", "street light", "traffic cone",
    "traffic device", "traffic light", "traffic sign", "traffic sign frame", "terrain",
    "vegetation", "sky", "person", "rider", "bicycle", "bus", "car", "caravan", "motorcycle",
    "trailer", "train", "truck",
)  # fmt: skip
_FIRST_PANOPTIC_THING = 31
_TRUNCATED, _OCCLUDED, _CROWD, _IGNORED = 8, 4, 2, 1


class Task(StrEnum):
    """Which of BDD100K's tasks masks are of: categories are numbered differently."""

    INS_SEG = "ins-seg"
    SEG_TRACK = "seg-track"
    PAN_SEG = "pan-seg"


@dataclass(frozen=True)
class ScoredFile(ItemFile):
    """A bitmask, and the scores of its instances; None where no file of scores names it."""

    scores: Mapping[int, float] | None = None


@dataclass(frozen=True)
class Bitmasks(PngFolder):
    """Bitmasks in a folder and its subfolders.

    Attributes:
        scores: file name without folders and extension -> scores of its instances.
        scored: whether there is a file of scores.
    """

    task: Task
    over: Over256
    scores: Mapping[str, Mapping[int, float]] = field(default_factory=dict, repr=False)
    scored: bool = False

    @classmethod
    def open(
        cls,
        source: Path,
        task: Task,
        scores: Path | None,
        naming: Naming,
        over: Over256,
        *,
        allowed: Sequence[str | PathLike[str]] = (),
    ) -> Bitmasks:
        """Find the masks, and read the scores.

        Raises:
            SettingsError: if there are no masks, or the scores cannot be read.
        """
        files = SourceFiles.find(source, (".png",), allowed=allowed)
        read = {} if scores is None else _scores(scores)
        return cls(files, naming, task, over, read, scores is not None)

    def records(self) -> Iterator[ScoredFile]:
        """The files, in the order of their paths, each with its scores."""
        for one in super().records():
            scores = self.scores.get(one.path.stem)
            yield ScoredFile(one.path, one.shown, one.reference_id, one.carried, scores)

    def without_records(self) -> Bitmasks:
        """Without the files and their scores."""
        return replace(super().without_records(), scores={})

    def _decoded(self, file: ItemFile, data: bytes) -> Imported:
        samples, header = decode_samples(data)
        channels = np.asarray(samples)
        if header.header.colour != png.RGBA or channels.dtype != np.uint8:
            name = f"{header.header.depth}-bit {png.COLOUR_NAMES[header.header.colour]}"
            raise MaskRefused("MASK-COLOUR", f"{name}, expected the 8-bit RGBA of bitmasks", name)
        ids = Ids.of(np.ascontiguousarray(channels).view(">u4")[..., 0].astype(np.int64))
        problem = self._problem(ids)
        if problem:
            return file.refused(unreadable(f"{file.shown}: {problem}", problem))
        scores = file.scores if isinstance(file, ScoredFile) else None
        regions = {id: self._region(id, scores or {}) for id in ids.areas}
        indexed = index_mask(ids, regions, self.over, file.shown)
        told = left_out(self._unmatched(ids, scores or {}), file.shown) if self.scored else ()
        return file.imported(indexed.mask, indexed.segments, (*told, *indexed.findings))

    def _problem(self, ids: Ids) -> str:
        """Why ids are none of the task; empty where they are."""
        unknown = sorted({id >> 24 for id in ids.areas if id >> 24 > len(self._names)})
        if unknown:
            return (
                f"red holds the categories {listed(unknown)}, and {self.task} has "
                f"{len(self._names)}; for panoptic masks: --task pan-seg"
            )
        kinds: dict[int, set[int]] = {}
        for id in ids.areas:
            if id >> 24:
                kinds.setdefault(id & 0xFFFF, set()).add(id >> 16)
        several = sorted(instance for instance, found in kinds.items() if len(found) > 1)
        if several:
            return f"the instances {listed(several)} have several categories or attributes"
        return ""

    def _region(self, id: int, scores: Mapping[int, float]) -> Region:
        category, attributes, instance = id >> 24, id >> 16 & 0xFF, id & 0xFFFF
        metadata: dict[str, Any] = {}
        for bit, name in (
            (_TRUNCATED, "truncated"), (_OCCLUDED, "occluded"), (_CROWD, "iscrowd"),
            (_IGNORED, "ignore"),
        ):  # fmt: skip
            if attributes & bit:
                metadata[name] = True
        if category == 0:
            if self.task is Task.PAN_SEG:
                return Region(id, VOID, {**metadata, "ignore": True}, fixed=True)
            return Region(id, BACKGROUND, {**metadata, "isthing": False}, fixed=True)
        thing = self.task is not Task.PAN_SEG or category >= _FIRST_PANOPTIC_THING
        metadata = {"isthing": thing, "category_id": category, "source_id": instance, **metadata}
        label, score = self._names[category - 1], scores.get(instance)
        return Region(id, label, metadata, score, fixed=not thing)

    def _unmatched(self, ids: Ids, scores: Mapping[int, float]) -> dict[str, int]:
        """Scores without an instance, and instances without a score, each with their number."""
        present = {id & 0xFFFF for id in ids.areas if id >> 24}
        counts = {
            "scores of instances without pixels": len(scores.keys() - present),
            "confidences, because --scores has none of an instance": len(present - scores.keys()),
        }
        return {what: count for what, count in counts.items() if count}

    @property
    def _names(self) -> Sequence[str]:
        return _PANOPTIC if self.task is Task.PAN_SEG else _INSTANCES


def _scores(path: Path) -> dict[str, dict[int, float]]:
    """File name without extension -> instance -> score.

    Raises:
        SettingsError: naming the entry that is malformed.
    """
    content = read_json(path)
    frames = content.get("frames") if isinstance(content, dict) else content
    if not isinstance(frames, list):
        raise SettingsError(f"{path} is {kind_of(content)}, expected a list of name and labels")
    found: dict[str, dict[int, float]] = {}
    for place, frame in enumerate(frames):
        name = frame.get("name") if isinstance(frame, dict) else None
        if not isinstance(name, str) or not name:
            raise SettingsError(f"{path}: frame {place} has the name {brief(name)}, expected text")
        scores = found.setdefault(PurePosixPath(name).stem, {})
        labels = frame.get("labels")
        for label in labels if isinstance(labels, list) else ():
            given = label if isinstance(label, dict) else {}
            id = identity(given.get("index", given.get("id")))
            id = int(id) if isinstance(id, str) and id.isdecimal() and len(id) < 10 else id
            score = number(given.get("score"))
            if not isinstance(id, int) or score is None:
                raise SettingsError(f"{path}: {name} has {brief(label)}, expected id and score")
            scores[id] = score
    return found
