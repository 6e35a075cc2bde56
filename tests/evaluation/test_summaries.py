"""The summary in cityscapesScripts' form, against a count of every pixel of made scenes."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest

from segpipe.evaluation.summaries import cityscapes_json
from segpipe.predictions.prediction import Segment
from tests.fixtures.made_scenes import scene
from tests.fixtures.scenes_of_pairs import VOID, Scene, evaluated

#: Class -> category of cityscapesScripts (helpers/labels.py).
CATEGORY = {
    "road": "flat", "sidewalk": "flat", "building": "construction", "pole": "object",
    "vegetation": "nature", "sky": "sky", "person": "human", "car": "vehicle", "truck": "vehicle",
}  # fmt: skip
CLASSES = list(CATEGORY)


def pair(seed: int) -> tuple[Scene, Scene]:
    """A scene with void, and a prediction of it: moved, and one class as another."""
    random = np.random.default_rng(seed)
    values = scene(random, (48, 36), (5, 2, 1, 0), (3, 4, 6, 7, 8, VOID))
    moved = np.roll(values, 3, axis=1)
    moved[moved == 7] = 8
    moved[moved == VOID] = 0
    kinds = tuple(Segment(name, index, {"isthing": 0}) for index, name in enumerate(CLASSES))
    void = Segment("void", VOID, {"ignore": True})
    truth = Scene(values.astype(np.uint8), (*kinds, void))
    return truth, Scene(moved.astype(np.uint8), kinds)


def shares(pairs: list[tuple[Scene, Scene]], names: list[str]) -> dict[str, float]:
    """IoU of each name over all pixels that are not void, counted one by one."""
    both, either = Counter[str](), Counter[str]()
    for truth, predicted in pairs:
        for true, found in zip(
            truth.pixels.ravel().tolist(), predicted.pixels.ravel().tolist(), strict=True
        ):
            if true == VOID:
                continue
            either.update({names[true], names[found]})
            both.update([names[true]] if names[true] == names[found] else [])
    return {name: both[name] / either[name] for name in either}


def test_the_cityscapes_summary_is_that_of_counting_pixels() -> None:
    pairs = [pair(seed) for seed in range(3)]
    told = json.loads(cityscapes_json(evaluated(pairs)))
    for of, names in (("class", CLASSES), ("category", [CATEGORY[name] for name in CLASSES])):
        expected = shares(pairs, names)
        found = {k: value for k, value in told[f"{of}Scores"].items() if value is not None}
        assert found == {name: pytest.approx(iou, abs=1e-12) for name, iou in expected.items()}
        assert len(expected) == len(set(names))
        mean = told[f"averageScore{'Classes' if of == 'class' else 'Categories'}"]
        assert mean == pytest.approx(sum(expected.values()) / len(expected), abs=1e-12)
        assert {*told[f"{of}InstScores"].values()} == {None}
    matrix = np.array(told["confMatrix"])
    assert matrix.sum() == sum(int((truth.pixels != VOID).sum()) for truth, _ in pairs)
