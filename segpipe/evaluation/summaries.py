"""An evaluation's numbers in the JSON that the reference tools write."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segpipe.evaluation.result import Evaluation

#: The categories of Cityscapes, and the classes of each that are evaluated.
_CATEGORIES = {
    "flat": ("road", "sidewalk"),
    "construction": ("building", "wall", "fence"),
    "object": ("pole", "traffic light", "traffic sign"),
    "nature": ("vegetation", "terrain"),
    "sky": ("sky",),
    "human": ("person", "rider"),
    "vehicle": ("car", "truck", "bus", "train", "motorcycle", "bicycle"),
}


def coco_panoptic_json(evaluation: Evaluation) -> str:
    """As ``pq_compute`` of panopticapi returns it: ``All``, ``Things`` and ``Stuff``, each ``pq``,
    ``sq``, ``rq`` and the number of classes ``n``, and ``per_class``, by name instead of number.

    What is undefined is 0, as there.
    """
    numbers = evaluation.numbers
    classes = evaluation.classes.to_pylist()
    per_class = {one["label"]: _panoptic(one) for one in classes}
    there = [one["kind"] for one in classes if one["TP"] + one["FP"] + one["FN"]]
    told: dict[str, Any] = {}
    for name, suffix, n in (
        ("All", "", len(there)),
        ("Things", "_things", there.count("thing")),
        ("Stuff", "_stuff", there.count("stuff")),
    ):
        told[name] = {**_panoptic(numbers, suffix), "n": n}
    return json.dumps({**told, "per_class": per_class}, indent=2, ensure_ascii=False)


def _panoptic(numbers: Mapping[str, Any], suffix: str = "") -> dict[str, float]:
    return {name.lower(): numbers[f"{name}{suffix}"] or 0.0 for name in ("PQ", "SQ", "RQ")}


def cityscapes_json(evaluation: Evaluation) -> str:
    """As ``evalPixelLevelSemanticLabeling`` of cityscapesScripts writes it: ``confMatrix`` (rows
    are the ground truth's classes), ``labels`` (name -> row), ``priors`` (share of the valid
    pixels), ``classScores`` (IoU), ``categoryScores`` (the same, what is mistaken within a category
    being right), and their means, ``averageScoreClasses`` and ``averageScoreCategories``.

    Categories are those that Cityscapes has for classes of these names. Predicted void is the last
    column, named ``unlabeled``. Scores that are undefined are null: NaN is no JSON. So are those of
    instances (iIoU): they weight with the mean sizes of Cityscapes' own instances.
    """
    labels = evaluation.classes["label"].to_pylist()
    void = "unlabeled"
    while void in labels:
        void += "_"
    places = {label: place for place, label in enumerate([*labels, void])}
    matrix = np.zeros((len(places), len(places)), np.int64)
    for one in evaluation.confusion.to_pylist():
        predicted = one["predicted_label"]
        column = places[void if predicted is None else predicted]
        matrix[places[one["label"]], column] = one["pixels"]
    total = max(1, int(matrix.sum()))
    categories = _category_scores(matrix[: len(labels)], labels)
    told: dict[str, Any] = {
        "confMatrix": matrix.tolist(),
        "labels": places,
        "priors": {label: int(matrix[place].sum()) / total for label, place in places.items()},
        "classScores": dict(zip(labels, evaluation.classes["IoU"].to_pylist(), strict=True)),
        "categoryScores": categories,
        "classInstScores": dict.fromkeys(labels),
        "categoryInstScores": dict.fromkeys(categories),
        "averageScoreClasses": evaluation.numbers["mIoU"],
        "averageScoreCategories": _mean(categories.values()),
        "averageScoreInstClasses": None,
        "averageScoreInstCategories": None,
    }
    return json.dumps(told, indent=2, ensure_ascii=False)


def _category_scores(matrix: NDArray[np.int64], labels: Sequence[str]) -> dict[str, float | None]:
    """IoU of each category that has a class here; None where it is undefined.

    Args:
        matrix: pixels of C classes by predicted class, or void, C x (C + 1).
    """
    scores: dict[str, float | None] = {}
    for category, classes in _CATEGORIES.items():
        own = np.array([label in classes for label in labels])
        if own.any():
            correct = int(matrix[own][:, :-1][:, own].sum())
            union = int(matrix[own].sum() + matrix[~own][:, :-1][:, own].sum())
            scores[category] = correct / union if union else None
    return scores


def _mean(values: Iterable[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if defined else None


#: Name -> what writes the summary.
SUMMARIES: Mapping[str, Callable[[Evaluation], str]] = {
    "coco-panoptic-json": coco_panoptic_json,
    "cityscapes-json": cityscapes_json,
}
