"""Published predictions as COCO panoptic: a PNG of ids per image, and one JSON file."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segpipe.formats.coco import CocoCategory, CocoImage, CocoImages, categories_of
from segpipe.formats.exporting import Published, appearing_whole
from segpipe.formats.json_values import read_json
from segpipe.formats.panoptic_segments import DESCRIBED_KEY, Described, is_crowd, void_index
from segpipe.predictions.prediction import Segment
from segpipe.views.consolidation import Consolidation

_PANOPTIC = "panoptic"


def export_coco_panoptic(
    predictions: Iterator[Published],
    out: Path,
    consolidation: Consolidation,
    like: Path | None = None,
) -> int:
    """Write ``panoptic/<id>.png`` and ``panoptic.json``; returns how many.

    Ids of Segments are those of :class:`Described`.

    Args:
        consolidation: says which labels are things, where ``like`` does not.
        like: a COCO JSON file, such as the ground truth, whose numbers for categories (by name)
            and images (by reference id) are used. Others are numbered as they occur.

    Raises:
        SettingsError: if ``like`` cannot be used.
        StorageError: if a file cannot be written, or the folder is not empty.
    """
    numbers = _Numbers.of(like, consolidation)
    written = 0
    with appearing_whole(out) as folder, tempfile.TemporaryFile("w+", encoding="utf-8") as images:
        (folder / _PANOPTIC).mkdir()
        with (folder / f"{_PANOPTIC}.json").open("w", encoding="utf-8") as target:
            target.write('{"annotations": [')
            for one in predictions:
                separator = ",\n" if written else "\n"
                written += 1
                described = Described(one.sidecar, void_index(one.segments))
                png = _panoptic_png(one.mask, described)
                (folder / _PANOPTIC / f"{one.name}.png").write_bytes(png)
                image = numbers.image(one)
                _write(target, separator, _annotation(one, described, image["id"], numbers))
                _write(images, separator, image)
            target.write('],\n"images": [')
            images.seek(0)
            while block := images.read(2**20):
                target.write(block)
            categories = json.dumps(numbers.entries(), ensure_ascii=False)
            target.write(f'],\n"categories": {categories}}}\n')
    return written


@dataclass
class _Numbers:
    """Numbers of categories, by label, and of images, by reference id.

    Attributes:
        told: whether a label is a thing, where ``like`` says so.
        things: the same of every label that occurred.
        images: of ``like``.
    """

    consolidation: Consolidation
    categories: dict[str, int] = field(default_factory=dict)
    told: Mapping[str, bool] = field(default_factory=dict)
    things: dict[str, bool] = field(default_factory=dict)
    images: Mapping[str, CocoImage] = field(default_factory=dict)
    next_category: Iterator[int] = field(default_factory=lambda: count(1))
    next_image: Iterator[int] = field(default_factory=lambda: count(1))

    @classmethod
    def of(cls, like: Path | None, consolidation: Consolidation) -> _Numbers:
        if like is None:
            return cls(consolidation)
        content = read_json(like)
        categories: dict[str, CocoCategory] = {}
        for category in categories_of(content, like).values():
            categories.setdefault(category.name, category)
        has_images = isinstance(content, dict) and "images" in content
        images = list(CocoImages.of(content, like).by_id.values()) if has_images else []
        return cls(
            consolidation,
            {name: category.id for name, category in categories.items()},
            {name: one.isthing for name, one in categories.items() if one.isthing is not None},
            images={one.reference_id: one for one in images if one.clash is None},
            next_category=count(1 + max((one.id for one in categories.values()), default=0)),
            next_image=count(1 + max((i.id for i in images if isinstance(i.id, int)), default=0)),
        )

    def category(self, segment: Segment) -> int:
        """The number of a Segment's label."""
        label = segment.label
        isthing = self.told.get(label)
        if isthing is None:  # a label is a thing where any Segment of it is
            isthing = self.things.get(label) or self.consolidation.is_thing(segment)
        self.things[label] = isthing
        if label not in self.categories:
            self.categories[label] = next(self.next_category)
        return self.categories[label]

    def image(self, one: Published) -> dict[str, Any]:
        """The entry of ``images`` for a prediction."""
        known = self.images.get(one.reference_id)
        if known is None:
            known = CocoImage(next(self.next_image), one.image_url or one.reference_id)
        height, width = one.mask.shape
        return {"id": known.id, "file_name": known.file_name, "height": height, "width": width}

    def entries(self) -> list[dict[str, Any]]:
        """``categories``."""
        return [
            {"id": id, "name": label, "isthing": int(self._is_thing(label))}
            for label, id in self.categories.items()
        ]

    def _is_thing(self, label: str) -> bool:
        told = self.things.get(label, self.told.get(label))
        return self.consolidation.is_thing(Segment(label, 0)) if told is None else told


def _annotation(
    one: Published, described: Described, image_id: int | str, numbers: _Numbers
) -> dict[str, Any]:
    infos = []
    for segment, measured in zip(one.segments, one.measured, strict=True):
        if segment.index == described.void or not measured["area_px"]:
            continue
        info: dict[str, Any] = {
            "id": described.id_of(segment.index),
            "category_id": numbers.category(segment),
            "area": measured["area_px"],
            "bbox": [measured[f"bbox_{side}"] for side in "xywh"],
            "iscrowd": int(is_crowd(segment)),
        }
        if segment.confidence is not None:
            info["score"] = segment.confidence
        infos.append(info)
    return {
        "image_id": image_id,
        "file_name": f"{one.name}.png",
        "segments_info": infos,
        DESCRIBED_KEY: described.sidecar.to_dict(),
    }


def _panoptic_png(mask: NDArray[np.uint8], described: Described) -> bytes:
    id_of = np.array([described.id_of(index) for index in range(256)], np.uint16)
    ids = id_of[mask]
    colours = np.stack([ids & 255, ids >> 8, np.zeros_like(ids)], axis=-1).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(colours).save(buffer, format="PNG")
    return buffer.getvalue()


def _write(target: IO[str], separator: str, entry: Mapping[str, Any]) -> None:
    target.write(separator + json.dumps(entry, ensure_ascii=False))
