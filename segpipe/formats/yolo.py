"""YOLO segmentation: a text file per image, ``class x1 y1 x2 y2 ... [confidence]`` in each line.

Coordinates are shares of the image's width and height in pixels, which the images say. Each line is
an instance. What Ultralytics predicts with ``save_conf`` has a confidence at the end; an odd count
of numbers after the class tells it. Polygons are rasterized by pycocotools, which fills them
even-odd; so a hole is a part of the outline, as ``segpipe export --as yolo-seg`` writes it.
(Ultralytics 8.3, ``engine/results.py``: ``Results.save_txt``.)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa

from segpipe.errors import SettingsError
from segpipe.formats.annotated_instances import AnnotatedInstance, in_one_mask
from segpipe.formats.coco import CocoImages, unreadable
from segpipe.formats.files import Naming, SourceFiles, read
from segpipe.formats.folder_scan import FolderScan, LeftOut
from segpipe.formats.folder_source import ItemFile, item_files
from segpipe.formats.identifiers import Over256
from segpipe.formats.imported import Imported, RecordSource
from segpipe.formats.json_values import brief, number, read_json
from segpipe.formats.label_map import LabelEntry, read_label_map
from segpipe.formats.overlaps import Instance, Overlaps
from segpipe.formats.run_lengths import RunLengthError, read_segmentation
from segpipe.manifests.rows import ImportFinding
from segpipe.masks.image_size import SizeUnknown, read_image_size

_IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".jp2", ".avif",
           ".heic")  # fmt: skip
# Ultralytics rounds and clips; beyond this a number is no share of a side.
_MOST = 1.01
_CLASS = re.compile(r"[0-9]{1,9}")
_TURNED = 5  # EXIF orientations from here on exchange height and width

# An image's file or its height and width; None where there is none.
_Image = Path | tuple[int, int] | None


@dataclass(frozen=True)
class YoloRecord:
    """An image: its file of labels, and where its size is from.

    Attributes:
        labelled: whether there is a file of labels.
    """

    file: ItemFile
    image: _Image
    labelled: bool = True


@dataclass(frozen=True)
class YoloSegmentation(RecordSource):
    """Text files in a folder and its subfolders, as a :class:`Format`.

    Attributes:
        images: path below the folder of images, without extension -> its file or its size.
        empty: images without a file of labels become background only.
    """

    files: SourceFiles
    naming: Naming
    labels: Mapping[int, LabelEntry]
    images: Mapping[str, _Image]
    overlaps: Overlaps
    over: Over256
    empty: bool = False

    @classmethod
    def open(
        cls,
        source: Path,
        labels: Path,
        images: Path,
        naming: Naming,
        overlaps: Overlaps,
        over: Over256,
        *,
        empty: bool = False,
        allowed: Sequence[str | PathLike[str]] = (),
    ) -> YoloSegmentation:
        """Find the files, the names of classes, and the images.

        Args:
            labels: ``data.yaml``, ``classes.txt``, or any label map.
            images: the folder of images, or a JSON file with ``images``.

        Raises:
            SettingsError: if one of them cannot be used.
        """
        files = SourceFiles.find(source, (".txt",), allowed=allowed)
        names = _classes_by_line(labels) if labels.suffix == ".txt" else read_label_map(labels)
        return cls(files, naming, names, _images(images, allowed), overlaps, over, empty)

    @property
    def carried(self) -> Mapping[str, pa.DataType]:
        """``sequence`` and ``frame`` where files lie in subfolders."""
        return self.files.columns

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """What is in the folder and not imported, and images without a file of labels."""
        words = "images without a file of labels; --empty-images makes them background"
        unlabelled = () if self.empty else tuple(
            LeftOut(name, words) for name in self._unlabelled()
        )  # fmt: skip
        return (*self.files.left_out, *unlabelled)

    def __len__(self) -> int:
        return len(self.files) + (len(self._unlabelled()) if self.empty else 0)

    def records(self) -> Iterator[YoloRecord]:
        """The files of labels, in the order of their paths; then the images without one."""
        stems: dict[str, list[_Image]] = {}
        for name, image in self.images.items():
            stems.setdefault(PurePosixPath(name).name, []).append(image)
        for file in item_files(self.files, self.naming):
            name = PurePosixPath(file.shown).with_suffix("").as_posix()
            alike = stems.get(PurePosixPath(name).name, [])
            image = self.images.get(name, alike[0] if len(alike) == 1 else None)
            yield YoloRecord(file, image)
        for name in self._unlabelled() if self.empty else ():
            reference_id = self.naming.reference_id(Path(f"{name}.txt"), Path())
            file = ItemFile(Path(), name, reference_id, self.files.frame(
                self.files.source / name, reference_id
            ))  # fmt: skip
            yield YoloRecord(file, self.images[name], labelled=False)

    def without_records(self) -> YoloSegmentation:
        """Without the files and the images."""
        return replace(self, files=replace(self.files, paths=(), left_out=()), images={})

    def read(self, record: YoloRecord) -> Iterator[Imported]:
        """The prediction of an image."""
        file = record.file
        data = read(file.path, file.shown) if record.labelled else b""
        size = _size(record)
        if isinstance(data, ImportFinding) or isinstance(size, ImportFinding):
            yield file.refused(*(one for one in (data, size) if isinstance(one, ImportFinding)))
            return
        try:
            lines = [line.split() for line in data.decode().splitlines()]
            instances = [
                self._instance(number, line, size) for number, line in enumerate(lines, 1) if line
            ]
        except (UnicodeDecodeError, RunLengthError) as error:
            yield file.refused(unreadable(f"{file.shown}: {error}", str(error)))
            return
        indexed = in_one_mask(instances, *size, self.overlaps, self.over, file.shown)
        yield file.imported(indexed.mask, indexed.segments, indexed.findings)

    def _instance(
        self, place: int, words: Sequence[str], size: tuple[int, int]
    ) -> AnnotatedInstance:
        """The instance of a line.

        Raises:
            RunLengthError: naming the line and what is wrong with it.
        """
        if not _CLASS.fullmatch(words[0]) or int(words[0]) not in self.labels:
            raise RunLengthError(
                f"line {place}: the class is {brief(words[0])}, none of the {len(self.labels)} "
                "that --labels names"
            )
        values = [_number(word, place) for word in words[1:]]
        score = values.pop() if len(values) % 2 else None
        if len(values) < 6:
            hint = ": a box, not a polygon" if len(values) == 4 else ""
            raise RunLengthError(f"line {place} has {len(words) - 1} numbers{hint}")
        wrong = next((one for one in values if not 1 - _MOST <= one <= _MOST), None)
        if wrong is not None:
            raise RunLengthError(
                f"line {place} holds {wrong:g}, expected shares of the image's width and height "
                "(0 to 1); pixels are divided by them"
            )
        height, width = size
        outline = [one * (height if k % 2 else width) for k, one in enumerate(values)]
        try:
            runs = read_segmentation([outline], height, width)
        except RunLengthError as error:
            raise RunLengthError(f"line {place}: {error}") from None
        entry = self.labels[int(words[0])]
        metadata: dict[str, Any] = {"category_id": int(words[0]), **entry.metadata}
        return AnnotatedInstance(entry.label, Instance(runs.area, score, runs.decode), metadata)

    def _unlabelled(self) -> list[str]:
        """The images without a file of labels."""
        labelled = {PurePosixPath(self.files.shown(path)).with_suffix("").as_posix()
                    for path in self.files}  # fmt: skip
        stems = {PurePosixPath(name).name for name in labelled}
        return [name for name in sorted(self.images)
                if name not in labelled and PurePosixPath(name).name not in stems]  # fmt: skip


def _number(word: str, place: int) -> float:
    try:
        value = number(float(word))
    except ValueError:
        value = None
    if value is None:
        raise RunLengthError(f"line {place} holds {brief(word)}, expected numbers")
    return value


def _classes_by_line(path: Path) -> dict[int, LabelEntry]:
    """Names of classes, one in each line, from 0."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from None
    names = [line.strip() for line in lines]
    while names and not names[-1]:
        names.pop()
    if not names or not all(names):
        raise SettingsError(f"{path} has empty lines or none, expected the name of a class in each")
    return {index: LabelEntry(name, index) for index, name in enumerate(names)}


def _images(path: Path, allowed: Sequence[str | PathLike[str]]) -> dict[str, _Image]:
    if path.is_dir():
        files = FolderScan.of(path, allowed).files
        return {
            one.relative_to(path).with_suffix("").as_posix(): one
            for one in sorted(files)
            if one.suffix.lower() in _IMAGES
        }
    listed = CocoImages.of(read_json(path), path).by_id.values()
    return {
        one.reference_id: (one.height, one.width)
        for one in listed
        if one.height is not None and one.width is not None
    }


def _size(record: YoloRecord) -> tuple[int, int] | ImportFinding:
    """Height and width of the image as it is shown, which is what YOLO is given."""
    shown = record.file.shown
    if record.image is None:
        return unreadable(
            f"{shown}: --images has no image of that name, or several; its size is needed",
            "no image",
        )
    if isinstance(record.image, tuple):
        return record.image
    try:
        with record.image.open("rb") as file:
            size = read_image_size(file)
    except (OSError, SizeUnknown) as error:
        return unreadable(f"{shown}: the size of {record.image.name} cannot be read: {error}")
    turned = size.orientation >= _TURNED
    return (size.width, size.height) if turned else (size.height, size.width)
