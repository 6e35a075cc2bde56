"""What a folder or file may be: the import formats and options that fit it, and why.

A guess is made of what is there, such as names of files, keys of JSON and values of a few masks.
Then it is tried: one that needs nothing besides has read its first record. Nothing is written.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from segpipe.errors import SegpipeError, SettingsError
from segpipe.formats.folder_scan import FolderScan
from segpipe.formats.guessing_masks import MaskLook, looked_at
from segpipe.formats.json_values import read_json
from segpipe.formats.label_map import read_label_map
from segpipe.formats.opening import open_source

_MOST_LOOKED_AT = 4
_LARGEST_LABEL_MAP = 1_000_000
_LARGEST_JSON = 200_000_000
_FLAGS = {"values": "--value", "over": "--over-256"}
_YOLO = re.compile(r"\d+( -?[0-9.e-]+){6,}")
_MOTS = re.compile(r"\d+ \d+ (1|2|10) \d+ \d+ \S+")
_TIFFS = (".tif", ".tiff")
_ARRAYS = (".npy", ".npz")


@dataclass(frozen=True)
class Guess:
    """A format that may fit.

    Attributes:
        options: as :func:`open_source` takes them.
        why: what was found.
        needs: options that have to be given besides, each with what it is.
        read: how many records there are, and what the first one is; empty before it was tried.
        problem: why the first record cannot be read so; empty where it can.
    """

    kind: str
    source: Path
    why: str
    options: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    read: str = ""
    problem: str = ""

    @property
    def command(self) -> str:
        """The command, without root, model run and day."""
        words = ["segpipe", "import", self.kind, str(self.source)]
        for name, value in self.options.items():
            flag = _FLAGS.get(name, f"--{name.replace('_', '-')}")
            values = value if isinstance(value, (list, tuple)) else [value]
            for one in values:
                words += [flag] if one is True else [flag, str(one)]
        return shlex.join(words)

    def tried(self) -> Guess:
        """The guess with its first record read, where nothing is needed besides."""
        if self.needs:
            return self
        try:
            source = open_source(self.kind, self.source, **self.options)
            first = next(source.predictions(), None)
        except SegpipeError as error:
            return replace(self, problem=str(error))
        if first is None:
            return replace(self, problem="it has no record")
        if first.mask is None:
            return replace(self, problem=first.findings[0].message)
        labels = list(dict.fromkeys(one.label for one in first.segments))
        named = ", ".join(labels[:3]) + (", ..." if len(labels) > 3 else "")
        found = f"{len(source)} records; the first, {first.reference_id}, has {named}"
        return replace(self, read=found)


def guesses(place: Path) -> list[Guess]:
    """What a folder or file may be: first what reads, then what needs more, then what fails.

    Raises:
        SettingsError: if there is no such place.
    """
    if not place.exists():
        raise SettingsError(f"there is no {place}")
    files = [place] if place.is_file() else sorted(FolderScan.of(place).files)
    by_suffix: dict[str, list[Path]] = {}
    for path in files:
        by_suffix.setdefault(path.suffix.lower(), []).append(path)
    found = [one.tried() for one in _found(place, by_suffix)]
    return sorted(found, key=lambda one: (bool(one.problem), bool(one.needs)))


def _found(place: Path, files: Mapping[str, Sequence[Path]]) -> Iterator[Guess]:
    labels = _label_map(place, files)
    if (place / "labelmap.txt").is_file() and (place / "SegmentationClass").is_dir():
        yield Guess("cvat", place, "labelmap.txt beside SegmentationClass")
        return
    for path in files.get(".xml", ())[:_MOST_LOOKED_AT]:
        if b"<annotations" in _start(path):
            yield Guess("cvat", path, f"{path.name} begins with <annotations>")
    yield from _of_json(place, files)
    yield from _of_texts(place, files, labels)
    if pngs := files.get(".png", ()):
        yield from _of_pngs(place, pngs, labels)
    needs = () if labels else ("--labels FILE (or --objects LABEL): what the values mean",)
    given = {"labels": labels} if labels else {}
    if any(files.get(one) for one in _TIFFS):
        yield Guess("tiff", place, "TIFFs", given, needs)
    if any(files.get(one) for one in _ARRAYS):
        yield Guess("arrays", place, "NumPy files", given, needs)


def _of_json(place: Path, files: Mapping[str, Sequence[Path]]) -> Iterator[Guess]:
    """Of JSON files; many of one kind, as labelme's are, are one guess."""
    kinds = {path: _kind(path) for path in files.get(".json", ())[: 4 * _MOST_LOOKED_AT]}
    truth = [path for path, kind in kinds.items() if kind == "ground truth"]
    known = {"categories": truth[0], "images": truth[0]} if truth else {}
    needs = () if truth else ("--categories FILE: the ground truth, with names (and --images)",)
    for path, kind in kinds.items():
        if kind == "labelme":
            yield Guess("labelme", place, f"{path.name} has shapes and imagePath")
            return
        if kind == "coco-results":
            yield Guess(kind, path, f"{path.name} is a list with segmentations", known, needs)
        elif kind == "detectron2":
            yield Guess(
                kind, path, f"{path.name} is a list of image_id and instances", known, needs
            )
        elif kind in ("label-studio", "label-studio predictions"):
            of = {"of": "predictions"} if kind.endswith("predictions") else {}
            yield Guess("label-studio", path, f"{path.name} is a list of tasks", of)
        elif kind == "coco-panoptic":
            folder = next((one.parent for one in files.get(".png", ())), path.with_suffix(""))
            if folder.is_dir():
                words = f"{path.name} has annotations with segments_info"
                yield Guess(kind, folder, words, {"annotations": path})
            else:
                words = f"{path.name} has annotations with segments_info, and there is no PNG"
                yield Guess(kind, folder, words, {"annotations": path}, ("the folder of PNGs",))


def _kind(path: Path) -> str:
    """What a JSON file is; empty where it is nothing that is known, or too large to look into."""
    try:
        if path.stat().st_size > _LARGEST_JSON:
            return ""
        content = read_json(path)
    except (OSError, SettingsError):
        return ""
    if isinstance(content, dict):
        if "shapes" in content and "imagePath" in content:
            return "labelme"
        entries = content.get("annotations")
        first = entries[0] if isinstance(entries, list) and entries else None
        if isinstance(first, dict) and "segments_info" in first:
            return "coco-panoptic"
        return "ground truth" if "categories" in content and "images" in content else ""
    first = content[0] if isinstance(content, list) and content else None
    if not isinstance(first, dict):
        return ""
    if isinstance(first.get("instances"), list) and "image_id" in first:
        return "detectron2"
    if "segmentation" in first:
        return "coco-results"
    if isinstance(first.get("data"), dict) and ("annotations" in first or "predictions" in first):
        return "label-studio" + ("" if first.get("annotations") else " predictions")
    return ""


def _of_texts(
    place: Path, files: Mapping[str, Sequence[Path]], labels: Path | None
) -> Iterator[Guess]:
    texts = [one for one in files.get(".txt", ()) if one.name not in ("classes.txt", "labels.txt")]
    for path in texts[:_MOST_LOOKED_AT]:
        line = _start(path).decode("ascii", "replace").partition("\n")[0].strip()
        if _MOTS.match(line):
            yield Guess("mots", place, f"{path.name} has frame, id, class, size and run lengths")
            return
        if _YOLO.match(line):
            images = place.parent / "images"
            names = labels or next(
                (p for p in files.get(".txt", ()) if p.name == "classes.txt"), None
            )
            given = {"labels": names, "images": images if images.is_dir() else None}
            lacks = {"labels": "data.yaml, the names", "images": "the images, whose size is needed"}
            needs = tuple(f"--{k} ({words})" for k, words in lacks.items() if given[k] is None)
            kept = {name: value for name, value in given.items() if value is not None}
            yield Guess("yolo-seg", place, f"{path.name} has a class and a polygon", kept, needs)
            return


def _of_pngs(place: Path, pngs: Sequence[Path], labels: Path | None) -> Iterator[Guess]:
    look = MaskLook.of([one for one in map(looked_at, _spread(pngs)) if one is not None])
    if not look.files:
        return
    if any(path.with_suffix(".json").is_file() for path in pngs[:_MOST_LOOKED_AT]):
        yield Guess("mask-folder", place, "PNGs beside JSON files of the same names: an export")
    for kind, options, why, needs in look.fits([path.stem for path in pngs]):
        if kind in ("mask-folder", "tiff") and "labels" in needs and labels is not None:
            yield Guess(kind, place, why, {**options, "labels": labels})
        else:
            yield Guess(kind, place, why, options, tuple(needs.values()))


def _label_map(place: Path, files: Mapping[str, Sequence[Path]]) -> Path | None:
    """A label map in the folder, or beside it."""
    near = [
        path for one in (".csv", ".json", ".toml", ".yaml", ".yml") for path in files.get(one, ())
    ]
    try:
        beside = sorted(place.parent.iterdir()) if place.is_dir() else []
    except OSError:
        beside = []
    near += [path for path in beside if path.suffix in (".csv", ".yaml", ".yml", ".toml")]
    for path in near[: 4 * _MOST_LOOKED_AT]:
        try:
            if path.stat().st_size <= _LARGEST_LABEL_MAP and read_label_map(path):
                return path
        except (OSError, SettingsError):
            continue
    return None


def _spread(paths: Sequence[Path]) -> list[Path]:
    """A few of many, from the first to the last."""
    return list(paths[:: max(1, len(paths) // _MOST_LOOKED_AT)])[: 2 * _MOST_LOOKED_AT]


def _start(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(4096)
    except OSError:
        return b""
