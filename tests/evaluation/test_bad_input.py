"""Ground truth and predictions that do not fit each other: clear words, or exact counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import segpipe
from segpipe.errors import EvaluationError, SettingsError
from segpipe.evaluation import items as items_module
from segpipe.predictions.prediction import Segment
from tests.fixtures.references import manifest, references
from tests.fixtures.scenes_of_pairs import VOID, Scene, evaluated, pairs, write_manifest

ROAD, CAR = Segment("road", 0, {"isthing": 0}), Segment("car", 1, {"isthing": 1})


def halves(label: str = "car", size: tuple[int, int] = (4, 6)) -> Scene:
    """Road to the left, a thing to the right."""
    pixels = np.zeros(size, np.uint8)
    pixels[:, size[1] // 2 :] = 1
    return Scene(pixels, (ROAD, Segment(label, 1, {"isthing": 1})))


def evaluate(folder: Path, gt: dict[str, Scene], found: dict[str, Scene], **how: Any) -> Any:
    return segpipe.evaluate(
        gt=write_manifest(folder / "gt.parquet", gt),
        predictions=write_manifest(folder / "run.parquet", found),
        workers=1,
        **how,
    )


def items(result: segpipe.Evaluation) -> dict[str, tuple[str, str | None]]:
    return {
        one["reference_id"]: (one["outcome"], one["reason"]) for one in result.items.to_pylist()
    }


def test_an_item_without_a_prediction_is_an_error_that_says_what_can_be_done(
    tmp_path: Path,
) -> None:
    scenes = {"a": halves(), "b": halves()}
    with pytest.raises(EvaluationError, match=r"1 of 2 items .*no prediction: 'b'.*leave-out"):
        evaluate(tmp_path, scenes, {"a": halves()})
    left = evaluate(tmp_path, scenes, {"a": halves()}, missing="leave-out")
    assert items(left) == {"a": ("evaluated", None), "b": ("no prediction", "there is none")}
    assert left.headline["mIoU"] == left.headline["PQ"] == 1
    missed = evaluate(tmp_path, scenes, {"a": halves()}, missing="false-negatives")
    assert missed.headline["mIoU"] == 0.5
    assert [one["FN"] for one in missed.classes.to_pylist()] == [1, 1]
    assert "1 items are evaluated as if nothing had been predicted: 'b': there is none" in repr(
        missed
    )


def test_what_is_missing_counts_for_is_one_of_three_names(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="missing is 'leave_out'; did you mean 'leave-out'"):
        evaluate(tmp_path, {"a": halves()}, {"a": halves()}, missing="leave_out")


def test_masks_in_rows_are_evaluated_as_those_in_files(tmp_path: Path) -> None:
    gt = write_manifest(tmp_path / "gt.parquet", {"a": halves(), "b": halves()})
    run = write_manifest(tmp_path / "run.parquet", {"b": halves("cat"), "a": halves()})
    in_files = segpipe.evaluate(gt=gt, predictions=run, workers=1)
    for path in (gt, run):
        table = pq.read_table(path)
        masks = [(tmp_path / url).read_bytes() for url in table["mask_url"].to_pylist()]
        pq.write_table(table.drop_columns("mask_url").append_column("mask", [masks]), path)
    in_rows = segpipe.evaluate(gt=gt, predictions=run, workers=1)
    assert in_rows.headline["mIoU"] == in_files.headline["mIoU"]
    assert in_rows.classes.equals(in_files.classes)


def test_items_without_ground_truth_are_counted_and_not_evaluated(tmp_path: Path) -> None:
    result = evaluate(tmp_path, {"a": halves()}, {"b": halves("bus"), "a": halves()})
    assert items(result)["b"] == ("no ground truth", "there is none")
    assert result.headline["mIoU"] == 1
    assert "1 items are not evaluated, no ground truth: 'b'" in repr(result)


def test_manifests_without_a_common_item_are_refused_with_ids_of_both(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match=r"no item is in both.*'a\.png'.*'a'"):
        evaluate(tmp_path, {"a.png": halves()}, {"a": halves()})


def test_a_prediction_of_another_size_is_not_compared_and_its_size_is_told(tmp_path: Path) -> None:
    gt = {"a": halves(), "b": halves()}
    with pytest.raises(EvaluationError, match=r"'b': the prediction has 6 x 4 pixels"):
        evaluate(tmp_path, gt, {"a": halves(), "b": halves(size=(6, 4))})


def test_a_label_that_only_predictions_have_is_wrong_and_listed_with_the_nearest(
    tmp_path: Path,
) -> None:
    result = evaluate(tmp_path, {"a": halves()}, {"a": halves("Car")})
    by_label = {one["label"]: one for one in result.classes.to_pylist()}
    assert (by_label["Car"]["IoU"], by_label["Car"]["FP"]) == (0, 1)
    assert (by_label["car"]["IoU"], by_label["car"]["FN"]) == (0, 1)
    assert result.headline["mIoU"] == pytest.approx(1 / 3)
    assert "wrong on every pixel that is not void): 'Car' ('car'?)" in repr(result)


def test_a_ground_truth_that_is_rejected_is_none_and_the_rule_is_told(tmp_path: Path) -> None:
    unexplained = Scene(halves().pixels * 3, (ROAD,))
    result = evaluate(tmp_path, {"a": halves(), "b": unexplained}, {"a": halves(), "b": halves()})
    outcome, reason = items(result)["b"]
    assert outcome == "no ground truth"
    assert reason is not None and reason.startswith("VALUE-NO-SEGMENT: value 3: 12 px")
    with pytest.raises(EvaluationError, match=r"nothing could be evaluated.*VALUE-NO-SEGMENT"):
        evaluate(tmp_path, {"b": unexplained}, {"b": halves()})


def test_two_truths_of_an_item_are_one_if_they_are_equal_and_else_none(tmp_path: Path) -> None:
    found = {"a": halves(), "b": halves()}
    same = evaluate(tmp_path, {"a": halves(), "a#2": halves(), "b": halves()}, found)
    assert [outcome for outcome, _ in items(same).values()] == ["evaluated", "evaluated"]
    other = evaluate(tmp_path, {"a": halves(), "a#2": halves("bus"), "b": halves()}, found)
    assert items(other)["a"] == (
        "no ground truth", "there are 2 different ground truths of this item; keep one",
    )  # fmt: skip


def test_masks_of_only_void_have_no_numbers_and_no_warning(tmp_path: Path) -> None:
    void = Scene(
        np.full((4, 6), VOID, np.uint8), (Segment("void", VOID, {"ignore": True, "isthing": 0}),)
    )
    result = evaluate(tmp_path, {"a": void}, {"a": halves()}, boundary=True)
    assert {name: value for name, value in result.headline.items() if value is not None} == {
        "boundary_IoU": 0
    }
    reverse = evaluate(tmp_path, {"a": halves()}, {"a": void})
    assert (reverse.headline["mIoU"], reverse.headline["PQ"]) == (0, 0)
    both = evaluate(tmp_path, {"a": void}, {"a": void}, boundary=True, contours=True)
    assert {*both.numbers.values()} == {None}
    assert result.confusion.num_rows == 0
    assert reverse.confusion["predicted_label"].to_pylist() == [None, None]


def test_millions_of_pairs_of_noise_are_evaluated_some_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    random = np.random.default_rng(0)
    segments = tuple(Segment(f"kind {i % 7}", i, {"isthing": i % 2}) for i in range(256))
    noise = [
        tuple(Scene(random.integers(0, 256, (150, 200), np.uint8), segments) for _ in range(2))
        for _ in range(3)
    ]
    whole = evaluated(noise)
    assert whole.headline["pixel_accuracy"] == pytest.approx(1 / 7, abs=0.01)
    sizes = []
    evaluate_block = items_module.evaluate_block
    monkeypatch.setattr(items_module, "_PAIRS_AT_ONCE", 30_000)
    monkeypatch.setattr(
        items_module, "evaluate_block", lambda *of: sizes.append(len(of[0])) or evaluate_block(*of)
    )
    assert evaluated(noise).items.equals(whole.items)
    assert sizes == [2, 1]  # of 24,000 pairs each


def test_the_errors_of_the_references_are_refused_or_counted_as_they_say() -> None:
    said = references()["errors"]["runs"]["pred"]["items"]
    given = {"gt": manifest("errors", "gt"), "predictions": manifest("errors", "pred")}
    with pytest.raises(EvaluationError, match="'no_prediction'"):
        segpipe.evaluate(**given)
    result = segpipe.evaluate(**given, missing="leave-out", workers=1)
    found = items(result)
    refused = {
        "different_size": "SIZE-MISMATCH",
        "swapped_height_width": "SIZE-SWAPPED",
        "value_without_segment": "VALUE-NO-SEGMENT",
        "no_prediction": "there is none",
    }
    for id, words in refused.items():
        outcome, reason = found[id]
        assert outcome == "no prediction"
        assert reason is not None and reason.startswith(words)
    assert found.keys() == said.keys()
    classes = {
        (one["reference_id"], one["label"]): (one["TP"], one["FP"], one["FN"])
        for one in result.item_classes.to_pylist()
    }
    expected = said["gt_segment_without_pixels"]["panopticapi"]["per_class"]["3"]
    counted = (expected["tp"], expected["fp"], expected["fn"])
    assert classes["gt_segment_without_pixels", "car"] == counted == (1, 0, 1)
    # Of those below, panopticapi refuses both: a class it does not know, a Segment without pixels.
    assert classes["unknown_category", "boat"] == (0, 1, 0)
    assert classes["segment_without_pixels", "car"] == (1, 0, 0)
    assert "'boat'" in repr(result)


def test_the_order_of_rows_changes_nothing(tmp_path: Path) -> None:
    scenes = {f"item {number}": pair for number, pair in enumerate(pairs(7, 30))}
    gt = {id: truth for id, (truth, _) in scenes.items()}
    found = {id: predicted for id, (_, predicted) in scenes.items()}
    one = evaluate(tmp_path, gt, found)
    other = evaluate(tmp_path, gt, dict(reversed(found.items())))
    for name in ("items", "classes", "confusion", "segments"):
        assert getattr(one, name).equals(getattr(other, name)), name
