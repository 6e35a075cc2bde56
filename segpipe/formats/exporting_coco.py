"""Published predictions as COCO panoptic: a PNG of ids per image, and one JSON file."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from segpipe.formats.coco import CocoCategory, CocoImage, CocoImages, categories_of
from segpipe.formats.exporting import Published, atomic_folder
from segpipe.formats.json_values import read_json
from segpipe.formats.panoptic_segments import SIDECAR_KEY, EmbeddedSidecar, is_crowd, void_index
from segpipe.masks.encoding import colour_png
from segpipe.predictions.prediction import Segment
from segpipe.views.consolidation import Consolidation

_PANOPTIC = "panoptic"


def export_coco_panoptic(
    predictions: Iterator[Published],
    out: Path,
    consolidation: Consolidation,
    like: Path | None = None,
) -> int:
    """Write ``panoptic/<name>.png`` and ``panoptic.json``; returns the number of predictions.

    Ids of Segments are those of :class:`EmbeddedSidecar`.

    Args:
        predictions: to write; streamed.
        out: the folder; created, or empty.
        consolidation: decides which labels are things, where ``like`` does not.
        like: a COCO JSON file, such as the ground truth, whose ids of categories (by name) and
            images (by reference id) are used. Others get the next ids, in order of occurrence.

    Raises:
        SettingsError: if ``like`` cannot be used.
        StorageError: if a file cannot be written, or the folder is not empty.
    """
    ids = CocoIds.of(like, consolidation)
    written = 0
    with atomic_folder(out) as folder, tempfile.TemporaryFile("w+", encoding="utf-8") as images:
        (folder / _PANOPTIC).mkdir()
        with (folder / f"{_PANOPTIC}.json").open("w", encoding="utf-8") as target:
            target.write('{"annotations": [')
            for one in predictions:
                separator = ",\n" if written else "\n"
                written += 1
                embedded = EmbeddedSidecar(one.sidecar, void_index(one.segments))
                png = _panoptic_png(one.mask, embedded)
                (folder / _PANOPTIC / f"{one.name}.png").write_bytes(png)
                image = ids.image(one)
                _write(target, separator, _annotation(one, embedded, image["id"], ids))
                _write(images, separator, image)
            target.write('],\n"images": [')
            images.seek(0)
            while block := images.read(2**20):
                target.write(block)
            categories = json.dumps(ids.entries(), ensure_ascii=False)
            target.write(f'],\n"categories": {categories}}}\n')
    return written


@dataclass
class CocoIds:
    """Ids of categories, by label, and of images, by reference id.

    Attributes:
        categories: label -> id.
        declared: label -> whether it is a thing, where ``like`` has it.
        things: the same for every label that occurred.
        images: reference id -> image of ``like``.
    """

    consolidation: Consolidation
    categories: dict[str, int] = field(default_factory=dict)
    declared: Mapping[str, bool] = field(default_factory=dict)
    things: dict[str, bool] = field(default_factory=dict)
    images: Mapping[str, CocoImage] = field(default_factory=dict)
    next_category: Iterator[int] = field(default_factory=lambda: count(1))
    next_image: Iterator[int] = field(default_factory=lambda: count(1))

    @classmethod
    def of(cls, like: Path | None, consolidation: Consolidation) -> CocoIds:
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
        """The category id of a Segment's label."""
        label = segment.label
        isthing = self.declared.get(label)
        if isthing is None:  # one thing among its Segments makes a label a thing
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
        """The entries of ``categories``."""
        return [
            {"id": id, "name": label, "isthing": int(self._is_thing(label))}
            for label, id in self.categories.items()
        ]

    def _is_thing(self, label: str) -> bool:
        known = self.things.get(label, self.declared.get(label))
        return self.consolidation.is_thing(Segment(label, 0)) if known is None else known


def _annotation(
    one: Published, embedded: EmbeddedSidecar, image_id: int | str, ids: CocoIds
) -> dict[str, Any]:
    infos = []
    for segment, measured in zip(one.segments, one.measured, strict=True):
        if segment.index == embedded.void or not measured["area_px"]:
            continue
        info: dict[str, Any] = {
            "id": embedded.id_of(segment.index),
            "category_id": ids.category(segment),
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
        SIDECAR_KEY: embedded.sidecar.to_dict(),
    }


def _panoptic_png(mask: NDArray[np.uint8], embedded: EmbeddedSidecar) -> bytes:
    """RGB PNG of ids; they are at most 256, so blue is always 0."""
    colour_of = np.zeros((256, 3), np.uint8)
    for index in range(256):
        colour_of[index, 1], colour_of[index, 0] = divmod(embedded.id_of(index), 256)
    return colour_png(np.take(colour_of, mask, axis=0))


def _write(target: IO[str], separator: str, entry: Mapping[str, Any]) -> None:
    target.write(separator + json.dumps(entry, ensure_ascii=False))
