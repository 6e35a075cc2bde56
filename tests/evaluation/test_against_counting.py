"""Numbers of random pairs are those of counting by the definitions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segpipe.evaluation.uncertainty import Judged
from segpipe.predictions.prediction import Segment
from tests.fixtures.made_scenes import scene
from tests.fixtures.scenes_of_pairs import CLASSES, VOID, Scene, evaluated, pairs
from tests.fixtures.slow_evaluation import Counts, calibration_error, counted
from tests.fixtures.thoroughness import at_most

SEEDS = st.integers(0, 2**32 - 1)
FEW = settings(max_examples=at_most(15, 300), deadline=None)


def approx(value: float) -> Any:
    return pytest.approx(value, abs=1e-9)


def mean(values: list[float]) -> Any:
    return approx(sum(values) / len(values)) if values else None


def quality(counts: Counts, label: str) -> float:
    tp, wrong = counts.tp[label], counts.fp[label] + counts.fn[label]
    return counts.iou[label] / (tp + wrong / 2)


@FEW
@given(SEEDS, st.integers(1, 3))
def test_class_maps_are_counted_pixel_by_pixel(seed: int, size: int) -> None:
    given = pairs(seed, size)
    counts, result = counted(given), evaluated(given)
    rows = result.confusion.to_pylist()
    found = {(one["label"], one["predicted_label"]): one["pixels"] for one in rows}
    assert found == dict(counts.confusion)
    ious = {}
    for label in CLASSES:
        right = counts.confusion[label, label]
        touched = sum(n for pair, n in counts.confusion.items() if label in pair)
        if touched:
            ious[label] = right / touched
    said = {one["label"]: one["IoU"] for one in result.classes.to_pylist()}
    assert {k: v for k, v in said.items() if v is not None} == {
        k: approx(v) for k, v in ious.items()
    }
    assert result.numbers["mIoU"] == mean([*ious.values()])
    total = counts.confusion.total()
    right = sum(n for (one, other), n in counts.confusion.items() if one == other)
    assert result.numbers["pixel_accuracy"] == (approx(right / total) if total else None)


@FEW
@given(SEEDS, st.integers(1, 3))
def test_panoptic_quality_is_counted_pair_by_pair(seed: int, size: int) -> None:
    given = pairs(seed, size)
    counts, result = counted(given), evaluated(given)
    for one in result.classes.to_pylist():
        label = one["label"]
        found = (one["TP"], one["FP"], one["FN"])
        assert found == (counts.tp[label], counts.fp[label], counts.fn[label]), label
        assert one["IoU_sum"] == approx(counts.iou[label]), label
    for suffix, kinds in (("", (0, 1)), ("_things", (1,)), ("_stuff", (0,))):
        of = [quality(counts, label) for label in counts.labels() if CLASSES[label] in kinds]
        assert result.numbers[f"PQ{suffix}"] == mean(of), suffix


def large_pair(seed: int) -> tuple[Scene, Scene]:
    """Scenes of 240 x 180, where the boundary is 6 pixels wide."""
    random = np.random.default_rng(seed)
    values = scene(random, (240, 180), (0, 1), (2, 2, 3, 3, VOID))
    kinds = tuple(
        Segment(name, i, {"isthing": kind}) for i, (name, kind) in enumerate(CLASSES.items())
    )
    void = Segment("void", VOID, {"ignore": True})
    moved = np.where(values == VOID, 0, np.roll(values, 4, axis=1))
    moved[moved == VOID] = 1
    return (
        Scene(values.astype(np.uint8), (*kinds, void)),
        Scene(moved.astype(np.uint8), kinds),
    )


@pytest.mark.parametrize("large", [False, True])
def test_boundaries_are_counted_pixel_by_pixel(large: bool) -> None:
    given = [large_pair(seed) for seed in range(2)] if large else pairs(5, 4)
    counts, result = counted(given), evaluated(given, boundary=True)
    found = {
        (one["label"], of): one[f"boundary_{of}"]
        for one in result.classes.to_pylist()
        for of in ("intersection", "union")
    }
    assert found == {key: counts.boundary[key] for key in found}
    assert len(found) == 2 * len(CLASSES)


@FEW
@given(st.lists(st.tuples(st.booleans(), st.floats(0.001, 1)), min_size=1, max_size=40))
def test_the_calibration_error_is_that_of_its_definition(rows: list[tuple[bool, float]]) -> None:
    right, confidence = zip(*rows, strict=True)
    entropies = np.full(len(rows), math.nan)
    judged = Judged(np.array(right), np.array(confidence, np.float64), entropies)
    assert judged.calibration_error == approx(calibration_error(rows))
