"""An evaluation's numbers in the JSON that the reference tools write."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from segpipe.evaluation.result import Evaluation


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
    pixels), ``classScores`` (IoU) and ``averageScoreClasses`` (mIoU).

    Predicted void is the last column, named ``unlabeled``. Scores that are undefined are null: NaN
    is no JSON.
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
    told = {
        "confMatrix": matrix.tolist(),
        "labels": places,
        "priors": {label: int(matrix[place].sum()) / total for label, place in places.items()},
        "classScores": dict(zip(labels, evaluation.classes["IoU"].to_pylist(), strict=True)),
        "averageScoreClasses": evaluation.numbers["mIoU"],
    }
    return json.dumps(told, indent=2, ensure_ascii=False)


#: Name -> what writes the summary.
SUMMARIES: Mapping[str, Callable[[Evaluation], str]] = {
    "coco-panoptic-json": coco_panoptic_json,
    "cityscapes-json": cityscapes_json,
}
