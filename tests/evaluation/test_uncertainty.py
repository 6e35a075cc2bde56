"""Calibration and risk by coverage, against numbers counted by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from segpipe.evaluation.uncertainty import Judged
from segpipe.predictions.prediction import Segment
from tests.fixtures.scenes_of_pairs import Scene, evaluated


def judged(*rows: tuple[bool, float]) -> Judged:
    right, confidence = zip(*rows, strict=True)
    none = np.full(len(rows), math.nan)
    return Judged(np.array(right), np.array(confidence, np.float64), none)


def test_the_calibration_error_is_the_weighted_distance_of_confidence_and_accuracy() -> None:
    given = judged((True, 0.95), (True, 1.0), (False, 0.91), (True, 0.15), (False, 0.2))
    high, low = given.calibration.to_pylist()[::-1]
    assert (high["segments"], high["matched"]) == (3, 2)
    assert high["confidence"] == pytest.approx(2.86 / 3)
    assert (low["from"], low["to"], low["accuracy"]) == (0.1, 0.2, 0.5)
    expected = 3 / 5 * abs(2 / 3 - 2.86 / 3) + 2 / 5 * abs(1 / 2 - 0.35 / 2)
    assert given.calibration_error == pytest.approx(expected)


def test_confidences_of_zero_and_one_are_in_the_first_and_the_last_bin() -> None:
    table = judged((False, 0.0), (True, 1.0)).calibration
    assert table["from"].to_pylist() == [0.0, 0.9]
    assert judged((False, 0.0), (True, 1.0)).calibration_error == 0


def test_the_risk_is_the_mean_share_of_errors_among_the_most_confident() -> None:
    given = judged((True, 0.9), (False, 0.8), (True, 0.7), (False, 0.6))
    assert given.risk_by_confidence == pytest.approx((0 + 1 / 2 + 1 / 3 + 2 / 4) / 4)
    assert given.risk_by_entropy is None
    # Equally confident ones have no order: the mean over all orders.
    assert judged((True, 0.5), (False, 0.5)).risk_by_confidence == pytest.approx(0.5)


def test_the_more_certain_come_first_also_by_entropy() -> None:
    entropy = np.array([0.1, 0.2])
    right_first = Judged(np.array([True, False]), np.full(2, math.nan), entropy)
    wrong_first = Judged(np.array([False, True]), np.full(2, math.nan), entropy)
    assert right_first.risk_by_entropy == pytest.approx(0.25)
    assert wrong_first.risk_by_entropy == pytest.approx(0.75)


def test_confidence_and_entropy_come_from_the_segments_and_those_ignored_do_not_count() -> None:
    pixels = np.repeat(np.arange(4, dtype=np.uint8), 5)[None, :]

    def car(index: int, **metadata: object) -> Segment:
        return Segment("car", index, {"isthing": 1, **metadata})

    truth = Scene(
        np.where(pixels == 3, 255, pixels).astype(np.uint8),
        (car(0), car(1), Segment("bus", 2, {"isthing": 1}), Segment("", 255, {"ignore": 1})),
    )
    predicted = Scene(
        pixels,
        (
            car(0, confidence=0.9, class_pdf={"car": 0.5, "bus": 0.5}),
            car(1, confidence=0.8),
            car(2, confidence=0.7, class_pdf={"car": 1.0}),
            car(3, confidence=0.1),  # on void
        ),
    )
    result = evaluated([(truth, predicted)])
    assert result.calibration["segments"].to_pylist() == [1, 1, 1]
    assert result.uncertainty["calibration_error"] == pytest.approx((0.1 + 0.2 + 0.7) / 3)
    assert result.uncertainty["risk_by_entropy"] == pytest.approx((1 + 1 / 2) / 2)
    rows = [one for one in result.segments.to_pylist() if one["side"] == "prediction"]
    assert rows[0]["entropy"] == pytest.approx(math.log(2))
    assert [one["outcome"] for one in rows] == ["TP", "TP", "FP", "ignored"]
