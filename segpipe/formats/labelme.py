"""labelme: a JSON file per image, with shapes in the order in which they were drawn.

Shapes of one label and ``group_id`` are one instance, as in ``shapes_to_label`` of labelme; where
shapes overlap, the later is on top, as there. ``__ignore__`` is a region to ignore. Points, lines
and other shapes without an area are left out and counted. X-AnyLabeling writes the same, with a
``score`` for each shape. (labelme 6.3, ``labelme/utils/shape.py``.)
"""

from __future__ import annotations

import base64
import binascii
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segpipe.errors import SettingsError
from segpipe.formats.annotated_instances import AnnotatedInstance, cut_out, in_one_mask, left_out
from segpipe.formats.coco import unreadable
from segpipe.formats.files import Naming, SourceFiles
from segpipe.formats.folder_source import FolderSource, ItemFile
from segpipe.formats.identifiers import Over256
from segpipe.formats.imported import Imported
from segpipe.formats.json_values import brief, identity, kind_of, number, read_json
from segpipe.formats.overlaps import Overlaps
from segpipe.formats.shapes import AREAS, ShapeError, draw, points_of
from segpipe.masks.decoding import MAX_PIXELS, decode_samples
from segpipe.masks.image_size import SizeUnknown, read_image_size
from segpipe.masks.refusal import MaskRefused

_IGNORED = "__ignore__"
_Shape = Mapping[str, Any]


@dataclass(frozen=True)
class Labelme(FolderSource):
    """labelme's files in a folder and its subfolders."""

    overlaps: Overlaps
    over: Over256

    @classmethod
    def open(
        cls,
        source: Path,
        naming: Naming,
        overlaps: Overlaps,
        over: Over256,
        *,
        allowed: Sequence[str | PathLike[str]] = (),
    ) -> Labelme:
        """Find the files.

        Raises:
            SettingsError: if there are none.
        """
        return cls(SourceFiles.find(source, (".json",), allowed=allowed), naming, overlaps, over)

    def read(self, record: ItemFile) -> Iterator[Imported]:
        try:
            yield self._imported(record, read_json(record.path))
        except SettingsError as error:
            yield record.refused(unreadable(str(error)))
        except ShapeError as error:
            yield record.refused(unreadable(f"{record.shown}: {error}", str(error)))

    def _imported(self, file: ItemFile, content: object) -> Imported:
        shapes = content.get("shapes") if isinstance(content, dict) else None
        if not isinstance(content, dict) or not isinstance(shapes, list):
            raise ShapeError(f"it is {kind_of(content)}, expected an object with 'shapes'")
        height, width = _size(content)
        groups: dict[tuple[str, object], list[tuple[int, _Shape]]] = {}
        without_area: Counter[str] = Counter()
        for position, shape in enumerate(shapes):
            label, kind = _label_and_kind(position, shape)
            if kind not in (*AREAS, "mask"):
                without_area[f"{kind}{'s' * (not kind.endswith('s'))}"] += 1
                continue
            group = identity(shape.get("group_id"))
            key = (label, ("alone", position) if group is None else group)
            groups.setdefault(key, []).append((position, shape))
        instances = [_instance(label, members, height, width) for (label, _), members in
                     groups.items()]  # fmt: skip
        indexed = in_one_mask(instances, height, width, self.overlaps, self.over, file.shown)
        findings = (*left_out(without_area, file.shown), *indexed.findings)
        return file.imported(indexed.mask, indexed.segments, findings)


def _instance(
    label: str, members: Sequence[tuple[int, _Shape]], height: int, width: int
) -> AnnotatedInstance:
    """One instance of all shapes of a group.

    Raises:
        ShapeError: naming the shape that cannot be drawn.
    """
    mask = np.zeros((height, width), np.bool_)
    layers = []
    for position, shape in members:
        try:
            drawn = _drawn(shape, height, width)
        except ShapeError as error:
            raise ShapeError(f"shape {position} ({label!r}): {error}") from None
        mask |= drawn
        layers.append(((position, 0), cut_out(drawn)))
    first = members[0][1]
    metadata: dict[str, Any] = {}
    if label == _IGNORED:
        metadata |= {"ignore": True, "isthing": False}
    if identity(first.get("group_id")) is not None:
        metadata["group_id"] = identity(first["group_id"])
    if isinstance(first.get("description"), str) and first["description"]:
        metadata["description"] = first["description"]
    flags = first.get("flags")
    if isinstance(flags, dict) and any(flags.values()):
        metadata["flags"] = sorted(str(name) for name, value in flags.items() if value)
    scores = [number(one.get("score")) for _, one in members]
    score = scores[0] if len(set(scores)) == 1 else None
    return AnnotatedInstance(label, cut_out(mask, score), metadata, tuple(layers))


def _label_and_kind(position: int, shape: object) -> tuple[str, str]:
    if not isinstance(shape, dict):
        raise ShapeError(f"shape {position} is {brief(shape)}, expected an object")
    label, kind = shape.get("label"), shape.get("shape_type") or "polygon"
    if not isinstance(label, str) or not label.strip():
        raise ShapeError(f"shape {position} has the label {brief(label)}, expected text")
    return label, str(kind)


def _drawn(shape: _Shape, height: int, width: int) -> NDArray[np.bool_]:
    points = points_of(shape.get("points"), height, width)
    kind = shape.get("shape_type") or "polygon"
    if kind != "mask":
        return draw(kind, points, height, width)
    part = _part(shape.get("mask"))
    left, top = (int(value) for value in points[0])
    whole = np.zeros((height, width), np.bool_)
    place = whole[top : top + part.shape[0], left : left + part.shape[1]]
    if min(left, top) < 0 or place.shape != part.shape:
        raise ShapeError(
            f"its mask of {part.shape[0]} x {part.shape[1]} at ({left}, {top}) does not fit the "
            f"image of {height} x {width}"
        )
    place[:] = part
    return whole


def _part(given: object) -> NDArray[np.bool_]:
    """The mask of a shape: a PNG in base 64, of the shape's box."""
    try:
        data = base64.b64decode(given if isinstance(given, str) else "", validate=True)
        samples, _ = decode_samples(data)
    except (binascii.Error, MaskRefused) as error:
        words = error.message if isinstance(error, MaskRefused) else str(error)
        raise ShapeError(f"its mask is no PNG in base 64: {words}") from None
    pixels = np.asarray(samples)
    if pixels.ndim != 2:
        raise ShapeError("its mask is a PNG in colours, expected grey")
    return pixels.astype(np.bool_)


def _size(content: Mapping[str, Any]) -> tuple[int, int]:
    """Height and width of the image: as said, or else of the image in the file."""
    height, width = identity(content.get("imageHeight")), identity(content.get("imageWidth"))
    if height is None and width is None and isinstance(content.get("imageData"), str):
        try:
            data = base64.b64decode(content["imageData"])
            size = read_image_size(io.BytesIO(data))
        except (binascii.Error, SizeUnknown, OSError, ValueError) as error:
            raise ShapeError(f"the size of its imageData cannot be told: {error}") from None
        height, width = size.height, size.width
    if not isinstance(height, int) or not isinstance(width, int) or min(height, width) < 1:
        raise ShapeError(
            f"imageHeight and imageWidth are {brief(height)} and {brief(width)}: write the image's "
            "size in pixels there"
        )
    if height * width > MAX_PIXELS:
        raise ShapeError(f"{height} x {width} is over the limit of {MAX_PIXELS:,} pixels")
    return height, width
