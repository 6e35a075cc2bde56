"""Published predictions as lists of instances: COCO results, Label Studio, YOLO.

These formats have a mask and a label for each instance, and nothing for the rest of an image. So
``background``, Segments to ignore and Segments without pixels are left out and counted; of metadata
the confidence alone is kept. Pixels, labels and confidences of what is written come back exactly.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray

from segpipe.extras import require
from segpipe.formats.brush_runs import encode_brush
from segpipe.formats.exporting import Published, atomic_folder
from segpipe.formats.exporting_coco import CocoIds
from segpipe.formats.json_values import flag
from segpipe.formats.labels import BACKGROUND
from segpipe.formats.outlines import outline
from segpipe.predictions.prediction import Segment
from segpipe.views.consolidation import Consolidation

RESULTS, TRUTH = "results.json", "instances.json"
TASKS, LABEL_CONFIG = "tasks.json", "label_config.xml"
YOLO_LABELS, YOLO_DATA, YOLO_IMAGES = "labels", "data.yaml", "images.json"


def export_coco_results(
    predictions: Iterator[Published],
    out: Path,
    consolidation: Consolidation,
    left_out: Counter[str],
    like: Path | None = None,
) -> int:
    """Write ``results.json``, and ``instances.json`` with categories and images.

    Args:
        consolidation: decides which labels are things, where ``like`` does not.
        left_out: counts what is not written.
        like: see :func:`segpipe.formats.exporting_coco.export_coco_panoptic`.

    Returns:
        The number of predictions.

    Raises:
        SettingsError: if ``like`` cannot be used.
        NotInstalledError: if pycocotools is not.
        StorageError: if a file cannot be written, or the folder is not empty.
    """
    require("coco", "COCO's compressed run lengths need")
    from pycocotools import mask as coco

    ids = CocoIds.of(like, consolidation)
    images, count = [], 0
    with atomic_folder(out) as folder:
        with (folder / RESULTS).open("w", encoding="utf-8") as target:
            target.write("[")
            separator = "\n"
            for one in predictions:
                count += 1
                image = {**ids.image(one), "file_name": _file_name(one, ids)}
                images.append(image)
                for segment, mask, box in _instances(one, left_out):
                    encoded = coco.encode(np.asfortranarray(mask, np.uint8))
                    result: dict[str, Any] = {
                        "image_id": image["id"],
                        "category_id": ids.category(segment),
                        "bbox": box,
                        "segmentation": {
                            "size": list(mask.shape), "counts": encoded["counts"].decode("ascii"),
                        },
                    }  # fmt: skip
                    if segment.confidence is not None:
                        result["score"] = segment.confidence
                    else:
                        left_out["scores, which the Segments have none of"] += 1
                    target.write(separator + json.dumps(result, ensure_ascii=False))
                    separator = ",\n"
            target.write("]\n")
        truth = {"images": images, "annotations": [], "categories": ids.entries()}
        (folder / TRUTH).write_text(json.dumps(truth, ensure_ascii=False), "utf-8")
    return count


def export_label_studio(
    predictions: Iterator[Published], out: Path, model_run: str, left_out: Counter[str]
) -> int:
    """Write ``tasks.json``, tasks with a prediction each, and the ``label_config.xml`` for them.

    Args:
        model_run: the predictions' ``model_version``.
        left_out: counts what is not written.

    Returns:
        The number of predictions.

    Raises:
        StorageError: if a file cannot be written, or the folder is not empty.
    """
    labels: set[str] = set()
    count = 0
    with atomic_folder(out) as folder:
        with (folder / TASKS).open("w", encoding="utf-8") as target:
            target.write("[")
            for one in predictions:
                regions = []
                for segment, mask, _ in _instances(one, left_out):
                    labels.add(segment.label)
                    regions.append(_region(segment, mask))
                task = {
                    "data": {
                        "image": one.image_url or one.reference_id,
                        "reference_id": one.reference_id,
                        "height": one.mask.shape[0],
                        "width": one.mask.shape[1],
                    },
                    "predictions": [{"model_version": model_run, "result": regions}],
                }
                target.write((",\n" if count else "\n") + json.dumps(task, ensure_ascii=False))
                count += 1
            target.write("]\n")
        named = "".join(f"    <Label value={quoteattr(label)}/>\n" for label in sorted(labels))
        (folder / LABEL_CONFIG).write_text(
            '<View>\n  <Image name="image" value="$image"/>\n'
            f'  <BrushLabels name="tag" toName="image">\n{named}  </BrushLabels>\n</View>\n',
            "utf-8",
        )
    return count


def export_yolo(predictions: Iterator[Published], out: Path, left_out: Counter[str]) -> int:
    """Write ``labels/<name>.txt``, ``data.yaml`` and ``images.json`` with the images' sizes.

    Args:
        left_out: counts what is not written.

    Returns:
        The number of predictions.

    Raises:
        StorageError: if a file cannot be written, or the folder is not empty.
    """
    classes: dict[str, int] = {}
    images: list[Mapping[str, Any]] = []
    with atomic_folder(out) as folder:
        (folder / YOLO_LABELS).mkdir()
        for one in predictions:
            height, width = one.mask.shape
            lines = []
            for segment, mask, _ in _instances(one, left_out):
                index = classes.setdefault(segment.label, len(classes))
                shares = [
                    f"{value:.10g}" for x, y in outline(mask) for value in (x / width, y / height)
                ]
                if segment.confidence is not None:
                    shares.append(repr(segment.confidence))
                lines.append(f"{index} {' '.join(shares)}\n")
            (folder / YOLO_LABELS / f"{one.name}.txt").write_text("".join(lines), "ascii")
            images.append(
                {"id": len(images), "file_name": f"{one.name}.png", "height": height,
                 "width": width}
            )  # fmt: skip
        names = {str(index): label for label, index in classes.items()}
        lines = [f"  {index}: {json.dumps(label)}\n" for index, label in names.items()]
        (folder / YOLO_DATA).write_text(
            f"names:\n{''.join(lines)}" if lines else "names: {}\n", "utf-8"
        )
        (folder / YOLO_IMAGES).write_text(json.dumps({"images": images}), "utf-8")
    return len(images)


def _instances(
    one: Published, left_out: Counter[str]
) -> Iterator[tuple[Segment, NDArray[np.bool_], list[int]]]:
    """The Segments that are written, each with its mask (H x W) and box (x, y, width, height)."""
    for segment, measured in zip(one.segments, one.measured, strict=True):
        if segment.label == BACKGROUND and not flag(segment.metadata.get("isthing")):
            left_out["backgrounds"] += 1
        elif flag(segment.metadata.get("ignore")):
            left_out["Segments to ignore"] += 1
        elif not measured["area_px"]:
            left_out["Segments without pixels"] += 1
        else:
            box = [measured[f"bbox_{side}"] for side in "xywh"]
            yield segment, one.mask == segment.index, box


def _file_name(one: Published, ids: CocoIds) -> str:
    """That of the image in ``like``; else one of which the reference id is made again."""
    known = ids.images.get(one.reference_id)
    return (known.file_name if known else None) or f"{one.reference_id}.png"


def _region(segment: Segment, mask: NDArray[np.bool_]) -> dict[str, Any]:
    height, width = mask.shape
    region: dict[str, Any] = {
        "id": f"segment-{segment.index}",
        "type": "brushlabels",
        "from_name": "tag",
        "to_name": "image",
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": {"format": "rle", "rle": encode_brush(mask), "brushlabels": [segment.label]},
    }
    if segment.confidence is not None:
        region["score"] = segment.confidence
    return region
