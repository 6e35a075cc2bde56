"""CVAT's "CVAT for images 1.1": an XML file with masks and polygons of all images.

A mask is run lengths, 0 and 1 in turns from 0, along the rows of its box (``left``, ``top``,
``width``, ``height``): CVAT's own, unlike COCO's. The higher ``z_order`` is on top, then the later.
Shapes of one label and ``group_id`` are one instance. Boxes, points, lines and ellipses are no
masks: left out and counted. (CVAT 2, ``dataset_manager/formats/cvat.py``.)
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from segpipe.errors import SettingsError
from segpipe.formats.annotated_instances import AnnotatedInstance, cut_out, in_one_mask, left_out
from segpipe.formats.coco import unreadable
from segpipe.formats.folder_scan import LeftOut
from segpipe.formats.identifiers import Over256
from segpipe.formats.imported import Imported, RecordSource, refused
from segpipe.formats.json_values import brief, number
from segpipe.formats.overlaps import Overlaps
from segpipe.formats.run_lengths import RunLengthError, RunLengths, read_segmentation
from segpipe.masks.decoding import MAX_PIXELS

_AREAS = ("mask", "polygon")
_RUN = re.compile(r"\s*[0-9]{1,18}\s*")
_PLURALS = {"box": "boxes", "points": "points"}
_OWN_ATTRIBUTES = ("source", "occluded")
_Attributes = Mapping[str, str]


@dataclass(frozen=True)
class CvatImage:
    """An ``image`` of the file.

    Attributes:
        place: its position in the file, for messages.
        attributes: its own.
        shapes: kind, attributes, and what annotators said besides, of each shape.
    """

    place: int
    attributes: _Attributes
    shapes: tuple[tuple[str, _Attributes, _Attributes], ...]

    @property
    def name(self) -> str:
        """The image's name, or its position."""
        return self.attributes.get("name") or f"image {self.place}"


@dataclass(frozen=True)
class CvatXml(RecordSource):
    """The images of a file.

    Attributes:
        count: how many of them are records.
        empty: images without a mask become background only.
        unmarked: names of the images that are left out, because they have no mask.
    """

    path: Path
    overlaps: Overlaps
    over: Over256
    empty: bool = False
    count: int = 0
    unmarked: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def open(cls, path: Path, overlaps: Overlaps, over: Over256, *, empty: bool) -> CvatXml:
        """Read through the file once, to count.

        Raises:
            SettingsError: if it cannot be read, or is not of CVAT for images.
        """
        count, unmarked = 0, []
        for image in _images(path):
            if empty or image.shapes:
                count += 1
            else:
                unmarked.append(image.name)
        return cls(path, overlaps, over, empty, count, tuple(unmarked))

    @property
    def carried(self) -> Mapping[str, pa.DataType]:
        """The image's id in the task."""
        return {"image_id": pa.string()}

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """The images without a shape."""
        words = "images without a shape; --empty-images makes them background"
        return tuple(LeftOut(name, words) for name in self.unmarked)

    def __len__(self) -> int:
        return self.count

    def records(self) -> Iterator[CvatImage]:
        """The images, in the file's order."""
        return (image for image in _images(self.path) if self.empty or image.shapes)

    def without_records(self) -> CvatXml:
        """The same: records are in the file."""
        return CvatXml(self.path, self.overlaps, self.over, self.empty)

    def read(self, record: CvatImage) -> Iterator[Imported]:
        """The prediction of an image."""
        item = PurePosixPath(record.name).with_suffix("").as_posix()
        carried = {"image_id": record.attributes.get("id")}
        try:
            height, width = _size(record.attributes)
            instances, others = _instances(record, height, width)
        except RunLengthError as error:
            finding = unreadable(f"{record.name}: {error}", str(error))
            yield refused(item, record.name, finding, carried=carried)
            return
        indexed = in_one_mask(instances, height, width, self.overlaps, self.over, record.name)
        yield Imported(
            item,
            record.name,
            indexed.mask,
            indexed.segments,
            (*left_out(others, record.name), *indexed.findings),
            height=height,
            width=width,
            carried=carried,
        )


def _images(path: Path) -> Iterator[CvatImage]:
    """The images of a file, one in memory at a time.

    Raises:
        SettingsError: if it cannot be read, or is not of CVAT for images.
    """
    place = 0
    try:
        with path.open("rb") as file:
            for element in _elements(file, path):
                yield CvatImage(place, dict(element.attrib), tuple(map(_shape, element)))
                place += 1
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from None
    except ET.ParseError as error:
        raise SettingsError(f"{path} is not XML, or cut: {error}") from None
    if not place:
        raise SettingsError(f"{path} has no <image>: export it as 'CVAT for images 1.1'")


def _elements(file: IO[bytes], path: Path) -> Iterator[ET.Element]:
    """The ``image`` elements of a file; each is dropped when the next one is asked for."""
    root: ET.Element | None = None
    for event, element in ET.iterparse(file, events=("start", "end")):
        if root is None:
            root = element
            if root.tag != "annotations":
                raise SettingsError(
                    f"{path} begins with <{root.tag}>, expected <annotations> of CVAT"
                )
        if event == "start":
            continue
        if element.tag == "track":
            raise SettingsError(
                f"{path} has tracks, CVAT for video: export it as 'CVAT for images 1.1'"
            )
        if element.tag == "image":
            yield element
            root.clear()


def _shape(element: ET.Element) -> tuple[str, _Attributes, _Attributes]:
    said = {one.get("name", ""): one.text or "" for one in element.iter("attribute")}
    return element.tag, dict(element.attrib), said


def _size(attributes: _Attributes) -> tuple[int, int]:
    height, width = _whole(attributes, "height"), _whole(attributes, "width")
    if not 0 < height * width <= MAX_PIXELS:
        raise RunLengthError(f"its size is {height} x {width}: none, or over {MAX_PIXELS:,} pixels")
    return height, width


def _instances(
    image: CvatImage, height: int, width: int
) -> tuple[list[AnnotatedInstance], Counter[str]]:
    """The instances from the lowest to the topmost, and what has no mask.

    Raises:
        RunLengthError: naming the shape that is malformed.
    """
    groups: dict[tuple[str, object], list[tuple[int, int]]] = {}
    others: Counter[str] = Counter()
    for place, (kind, attributes, _) in enumerate(image.shapes):
        if kind not in _AREAS:
            others[_PLURALS.get(kind, f"{kind}s")] += 1
            continue
        label, group = attributes.get("label", ""), attributes.get("group_id", "0")
        if not label.strip():
            raise RunLengthError(f"shape {place} has no label")
        depth = _whole(attributes, "z_order") if "z_order" in attributes else 0
        key = (label, ("alone", place) if group in ("", "0") else group)
        groups.setdefault(key, []).append((depth, place))
    ordered = sorted(groups.items(), key=lambda one: max(one[1]))
    return [
        _instance(label, [image.shapes[place] for _, place in members], members, height, width)
        for (label, _), members in ordered
    ], others


def _instance(
    label: str,
    shapes: Sequence[tuple[str, _Attributes, _Attributes]],
    members: Sequence[tuple[int, int]],
    height: int,
    width: int,
) -> AnnotatedInstance:
    whole = np.zeros((height, width), np.bool_)
    layers = []
    for (kind, attributes, _), order in zip(shapes, members, strict=True):
        try:
            drawn = (_mask if kind == "mask" else _polygon)(attributes, height, width)
        except RunLengthError as error:
            raise RunLengthError(f"shape {order[1]} ({kind} {label!r}): {error}") from None
        whole |= drawn
        layers.append((order, cut_out(drawn)))
    _, attributes, said = shapes[0]
    metadata: dict[str, Any] = {}
    for name in _OWN_ATTRIBUTES:
        if attributes.get(name) not in (None, ""):
            value = attributes[name]
            metadata[name] = value == "1" if name == "occluded" else value
    if attributes.get("group_id", "0") not in ("", "0"):
        metadata["group_id"] = attributes["group_id"]
    if said:
        metadata["attributes"] = dict(said)
    score = number(_float(attributes["score"])) if "score" in attributes else None
    return AnnotatedInstance(label, cut_out(whole, score), metadata, tuple(layers))


def _mask(attributes: _Attributes, height: int, width: int) -> NDArray[np.bool_]:
    left, top, wide, high = (_whole(attributes, n) for n in ("left", "top", "width", "height"))
    if min(left, top) < 0 or wide < 1 or high < 1 or left + wide > width or top + high > height:
        raise RunLengthError(
            f"its box of {high} x {wide} at ({left}, {top}) does not fit the image of {height} x "
            f"{width}"
        )
    words = attributes.get("rle", "").split(",")
    runs = [int(word) if _RUN.fullmatch(word) else -1 for word in words]
    if -1 in runs:
        raise RunLengthError(
            f"its rle holds {brief(words[runs.index(-1)])}, expected whole numbers"
        )
    if sum(runs) != wide * high:
        raise RunLengthError(
            f"its runs fill {sum(runs):,} pixels of {wide * high:,} ({high} x {wide}): "
            "cut or damaged"
        )
    whole = np.zeros((height, width), np.bool_)
    # Along the rows: what COCO's run lengths, which go down the columns, are of the transposed.
    part = RunLengths(wide, high, np.array(runs, np.int64)).decode().T
    whole[top : top + high, left : left + wide] = part
    return whole


def _polygon(attributes: _Attributes, height: int, width: int) -> NDArray[np.bool_]:
    words = attributes.get("points", "").replace(";", ",").split(",")
    return read_segmentation([[_float(word) for word in words]], height, width).decode()


def _float(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        raise RunLengthError(f"it holds {brief(word)}, expected a number") from None


def _whole(attributes: _Attributes, name: str) -> int:
    given = attributes.get(name, "")
    try:
        return int(given)
    except ValueError:
        raise RunLengthError(f"its {name} is {brief(given)}, expected a whole number") from None
