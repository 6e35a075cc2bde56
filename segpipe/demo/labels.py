"""The demo's labels: what its images really show, in COCO's panoptic format.

They lie beside the landing and are no delivery: whoever wants ground truth imports them, as one
imports what an annotation tool has exported.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from segpipe.demo.scenes import THINGS, Scene
from segpipe.masks.encoding import colour_png


def panoptic_png(scene: Scene) -> bytes:
    """A PNG of ids, ``R + 256 G + 65536 B``: a Segment's is its index plus one, since 0 is void."""
    height, width = scene.mask.shape
    colours = np.zeros((height, width, 3), np.uint8)
    colours[..., 0] = scene.mask + 1
    return colour_png(colours)


def panoptic_json(scenes: Sequence[Scene]) -> bytes:
    """The JSON file that explains the PNGs: images, annotations, categories."""
    labels = sorted({segment.label for scene in scenes for segment in scene.segments})
    numbers = {label: number for number, label in enumerate(labels, 1)}
    categories = [
        {"id": number, "name": label, "isthing": int(label in THINGS)}
        for label, number in numbers.items()
    ]
    images = [
        {
            "id": number,
            "file_name": f"{scene.reference_id}.jpg",
            "height": scene.mask.shape[0],
            "width": scene.mask.shape[1],
        }
        for number, scene in enumerate(scenes, 1)
    ]
    annotations = [
        {
            "image_id": number,
            "file_name": f"{scene.reference_id}.png",
            "segments_info": _segments(scene, numbers),
        }
        for number, scene in enumerate(scenes, 1)
    ]
    content = {"images": images, "annotations": annotations, "categories": categories}
    return json.dumps(content, indent=1).encode()


def _segments(scene: Scene, numbers: dict[str, int]) -> list[dict[str, Any]]:
    areas = np.bincount(scene.mask.ravel(), minlength=256)
    return [
        {
            "id": segment.index + 1,
            "category_id": numbers[segment.label],
            "area": int(areas[segment.index]),
            "iscrowd": 0,
        }
        for segment in scene.segments
    ]
