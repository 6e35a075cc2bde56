"""Objects in which frameworks return instances, recognized by their attributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from segpipe.errors import ManifestError
from segpipe.formats.model_outputs.given import ClassNames, members, plain, scalar

_SAM_KEYS = ("predicted_iou", "stability_score", "bbox", "crop_box", "point_coords")


@dataclass(frozen=True)
class Detections:
    """What a model found in an image, as its framework says it.

    Attributes:
        masks: in a form of ``instance_masks``.
        labels: of the instances, where it has such.
        classes: their class numbers, where it has such.
        names: of the classes, where it knows them.
        scores, boxes: of the instances, where it has such.
        size: height and width of the image in pixels, where it says them.
        metadata: further metadata of each instance; empty for none.
        ranked: whether a higher score decides which instance is on top.
    """

    masks: Any
    labels: Any = None
    classes: Any = None
    names: ClassNames | None = None
    scores: Any = None
    boxes: Any = None
    size: tuple[int | None, int | None] = (None, None)
    metadata: Sequence[Mapping[str, Any]] = field(default=())
    ranked: bool = True


def read_detections(given: Any, of: str) -> Detections:
    """A framework's object; anything else is taken for the masks alone.

    Args:
        of: the item, for messages.

    Raises:
        ManifestError: naming the item, if the masks of an object are not those of the image.
    """
    if isinstance(given, Mapping):
        return _of_dict(given, of)
    if _has(given, "xyxy", "mask", "confidence", "class_id"):
        return _of_supervision(given, of)
    if _has(given, "masks", "boxes", "names", "orig_shape"):
        return _of_ultralytics(given, of)
    if _has(given, "image_size", "pred_classes"):
        return _of_detectron2(given, of)
    if isinstance(given, (list, tuple)) and given and _are_records(given):
        return _of_sam(given) if "predicted_iou" in given[0] else _of_coco(given)
    return Detections(given)


def _has(given: Any, *names: str) -> bool:
    return not isinstance(given, type) and all(hasattr(given, name) for name in names)


def _of_dict(given: Mapping[str, Any], of: str) -> Detections:
    """torchvision's Mask R-CNN, and whatever else names its members so."""
    if "masks" not in given:
        hint = ""
        if "segmentation" in given:
            hint = ": a result of Hugging Face is given to add_huggingface"
        elif "instances" in given:
            hint = ': of detectron2\'s output give output["instances"]'
        raise ManifestError(
            f"{of!r}: a dict without 'masks' (it has {', '.join(map(str, given))}){hint}"
        )
    return Detections(
        given["masks"],
        classes=given.get("labels"),
        scores=given.get("scores"),
        boxes=given.get("boxes"),
    )


def _of_supervision(given: Any, of: str) -> Detections:
    count = len(given.xyxy)
    if given.mask is None and count:
        raise ManifestError(f"{of!r}: the {count} detections have boxes and no masks")
    tracks = given.tracker_id
    return Detections(
        given.mask,
        labels=(getattr(given, "data", None) or {}).get("class_name"),
        classes=given.class_id,
        scores=given.confidence,
        boxes=given.xyxy,
        metadata=()
        if tracks is None
        else [{"track_id": one} for one in members(tracks, f"the track ids of {of!r}")],
    )


def _of_ultralytics(given: Any, of: str) -> Detections:
    height, width = (scalar(side) for side in given.orig_shape)
    boxes, masks = given.boxes, None if given.masks is None else given.masks.data
    if masks is None and boxes is not None and len(boxes.cls):
        raise ManifestError(f"{of!r}: the {len(boxes.cls)} detections have boxes and no masks")
    if masks is not None and tuple(masks.shape[1:]) != (height, width):
        found, wanted = " x ".join(map(str, masks.shape[1:])), f"{height} x {width}"
        raise ManifestError(
            f"{of!r}: the masks are {found}, as the network saw the image, and the image is "
            f"{wanted}: predict with retina_masks=True, or give the polygons, result.masks.xy with "
            f"height={height}, width={width}"
        )
    return Detections(
        masks,
        classes=None if boxes is None else boxes.cls,
        names=given.names,
        scores=None if boxes is None else boxes.conf,
        boxes=None if boxes is None else boxes.xyxy,
        size=(height, width),
    )


def _of_detectron2(given: Any, of: str) -> Detections:
    if not hasattr(given, "pred_masks"):
        raise ManifestError(f"{of!r}: the instances have no pred_masks")
    boxes = getattr(given, "pred_boxes", None)
    height, width = (scalar(side) for side in given.image_size)
    return Detections(
        given.pred_masks,
        classes=given.pred_classes,
        scores=getattr(given, "scores", None),
        boxes=getattr(boxes, "tensor", boxes),
        size=(height, width),
    )


def _are_records(given: Sequence[Any]) -> bool:
    return all(isinstance(one, Mapping) and "segmentation" in one for one in given)


def _of_sam(given: Sequence[Mapping[str, Any]]) -> Detections:
    """Segment Anything's everything-mode.

    A predicted IoU may be a little above 1; the confidence is not. As predicted, it is in the
    metadata.
    """
    quality = [scalar(one.get("predicted_iou")) for one in given]
    known = all(isinstance(one, (int, float)) and one >= 0 for one in quality)
    return Detections(
        [one["segmentation"] for one in given],
        scores=[min(one, 1.0) for one in quality] if known else None,
        metadata=[{key: plain(one[key]) for key in _SAM_KEYS if key in one} for one in given],
        ranked=False,
    )


def _of_coco(given: Sequence[Mapping[str, Any]]) -> Detections:
    """Records of COCO results of one image."""
    numbered, scored = ([one.get(key) for one in given] for key in ("category_id", "score"))
    return Detections(
        [one["segmentation"] for one in given],
        classes=None if None in numbered else numbered,
        scores=scored,
    )


def class_numbers(classes: Any, of: str) -> list[int]:
    """Class numbers, whole also where they are held as floats.

    Raises:
        ManifestError: if one is none.
    """
    numbers = members(classes, f"the classes of {of!r}")
    for one in numbers:
        if isinstance(one, bool) or not isinstance(one, (int, float)) or one % 1 != 0:
            raise ManifestError(f"a class of {of!r} is {one!r}, expected a whole number")
    return [int(one) for one in numbers]
