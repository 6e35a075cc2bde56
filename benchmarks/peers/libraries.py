"""What users of other libraries write to measure masks: from files to a result for every segment.

Runs in the peers' environment, where segpipe is not. Each library is imported only when it is its
turn. All return the values they found in each mask, so that what is compared did the work.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.contenders import decoded

#: Works on a block of mask files; of each mask, the values that were found.
Work = Callable[[Sequence[Path]], list[list[int]]]


def _each(one: Callable[[Path], Iterable[int]]) -> Work:
    return lambda paths: [sorted(int(value) for value in one(path)) for path in paths]


def _stack(mask: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The values of a mask, and an H x W bool array for each."""
    values = np.unique(mask)
    return values, mask == values[:, None, None]


def datasets_unique() -> Work:
    """Hugging Face datasets: ``np.unique`` mapped over a column of images."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    import datasets

    datasets.disable_caching()
    datasets.disable_progress_bars()

    def unique(row: dict[str, Any]) -> dict[str, Any]:
        return {"values": np.unique(row["mask"])}

    def work(paths: Sequence[Path]) -> list[list[int]]:
        rows = datasets.Dataset.from_dict({"mask": [str(path) for path in paths]})
        images = rows.cast_column("mask", datasets.Image())
        mapped = images.map(unique, remove_columns=["mask"], keep_in_memory=True)
        return [list(values) for values in mapped["values"]]

    return work


def datumaro_boxes() -> Work:
    """datumaro: area and box of a ``Mask`` annotation per value."""
    from datumaro.components.annotation import Mask
    from datumaro.util.mask_tools import load_mask

    def one(path: Path) -> Iterable[int]:
        mask = load_mask(str(path))
        found = {}
        for value in np.unique(mask):
            segment = Mask(mask == value, label=int(value))
            found[int(value)] = (segment.get_area(), segment.get_bbox())
        return found

    return _each(one)


def datumaro_validator() -> Work:
    """datumaro: its validator of segmentations, over the same annotations."""
    import datumaro
    from datumaro.components.annotation import Mask
    from datumaro.plugins.validators import SegmentationValidator
    from datumaro.util.mask_tools import load_mask

    validator = SegmentationValidator(
        few_samples_thr=1,
        imbalance_ratio_thr=50,
        far_from_mean_thr=5.0,
        dominance_ratio_thr=0.8,
        topk_bins=0.1,
    )
    names = [f"class {value}" for value in range(256)]

    def work(paths: Sequence[Path]) -> list[list[int]]:
        items = []
        for path in paths:
            mask = load_mask(str(path))
            segments = [
                Mask(mask == value, label=int(value), id=place)
                for place, value in enumerate(np.unique(mask))
            ]
            media = datumaro.components.media.Image.from_file(str(path))
            items.append(datumaro.DatasetItem(path.stem, media=media, annotations=segments))
        validator.validate(datumaro.Dataset.from_iterable(items, categories=names))
        return [sorted(segment.label for segment in item.annotations) for item in items]

    return work


def fiftyone_loop() -> Work:
    """FiftyOne: the pixels of every class, counted by hand as its users do."""
    fiftyone = _fiftyone()

    def one(path: Path) -> Iterable[int]:
        mask = fiftyone.Segmentation(mask_path=str(path)).get_mask()
        values, counts = np.unique(mask, return_counts=True)
        return dict(zip(values.tolist(), counts.tolist(), strict=True))

    return _each(one)


def fiftyone_boxes() -> Work:
    """FiftyOne: boxes per class by ``Segmentation.to_detections``; 0 is its background."""
    fiftyone = _fiftyone()
    targets = {value: str(value) for value in range(1, 256)}

    def one(path: Path) -> Iterable[int]:
        segmentation = fiftyone.Segmentation(mask_path=str(path))
        found = segmentation.to_detections(mask_targets=targets, mask_types="stuff")
        return [int(one.label) for one in found.detections]

    return _each(one)


def _fiftyone() -> Any:
    os.environ["FIFTYONE_DO_NOT_TRACK"] = "true"
    import fiftyone

    return fiftyone


def pycocotools_rle() -> Work:
    """pycocotools: every segment encoded as RLE, its area and box from there."""
    from pycocotools import mask as rle

    def one(path: Path) -> Iterable[int]:
        mask = decoded(path)
        values = np.unique(mask)
        planes = np.asfortranarray(mask[:, :, None] == values, dtype=np.uint8)
        encoded = rle.encode(planes)
        areas, boxes = rle.area(encoded), rle.toBbox(encoded)
        return [v for v, area, _ in zip(values, areas, boxes, strict=True) if area]

    return _each(one)


def supervision_boxes() -> Work:
    """supervision: boxes and areas of ``Detections`` with a mask per value."""
    import supervision

    def one(path: Path) -> Iterable[int]:
        values, masks = _stack(decoded(path))
        boxes = supervision.mask_to_xyxy(masks)
        found = supervision.Detections(xyxy=boxes, mask=masks, class_id=values.astype(int))
        return [v for v, area in zip(values, found.area, strict=True) if area]

    return _each(one)
