"""Pictures of an evaluation: what differs where, and charts of it."""

from __future__ import annotations

import io
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from segpipe.evaluation.result import Evaluation
from segpipe.pictures.evaluation_charts import class_bars, confusion_matrix, reliability
from segpipe.pictures.evaluation_sheet import DIFFERENCES, difference
from segpipe.pictures.label_colours import label_colours
from segpipe.predictions.prediction import Segment
from segpipe.root import Root
from tests.evaluation.test_roots import GIVEN, PREDICTED, RUN, TRUE, TRUTH, land
from tests.fixtures.landing import LandingWriter


def words(svg: str) -> str:
    return " ".join(ElementTree.fromstring(svg).itertext())


def test_a_pixel_is_missed_hallucinated_confused_or_void_by_its_two_classes() -> None:
    truth = [
        Segment("background", 0, {}),
        Segment("car", 1, {}),
        Segment("car", 9, {}),
        Segment("rest", 2, {"ignore": True}),
    ]
    predicted = [
        Segment("background", 0, {}),
        Segment("car", 7, {}),
        Segment("road", 3, {}),
        Segment("none", 4, {"ignore": True}),
    ]
    found = difference(
        np.array([[0, 1, 9, 2, 2], [1, 1, 0, 1, 0]], np.uint8),
        truth,
        np.array([[0, 7, 7, 7, 4], [0, 4, 3, 3, 4]], np.uint8),
        predicted,
    )
    assert {*DIFFERENCES.values()}.isdisjoint(label_colours(map(str, range(40))).values())
    names = [*DIFFERENCES]
    right, missed, hallucinated, confused, void = names
    assert [names[value] for value in found.ravel()] == [
        right, right, right, void, void,
        missed, missed, hallucinated, confused, missed,
    ]  # fmt: skip


def test_the_sheets_have_three_pictures_of_each_of_the_worst_items_and_tell_what_is_missing(
    landing: LandingWriter,
) -> None:
    land(landing, TRUTH, TRUE)
    land(landing, RUN, {**PREDICTED, "item 0": TRUE["item 0"]})
    (landing.root / "segpipe.toml").write_text('[evaluation]\nground_truth = "labels"\n')
    root = Root.open(landing.root)
    for partition in (TRUTH, RUN):
        root.materialize(partition)
    root.publish(TRUTH)
    evaluation = root.evaluate(RUN)
    sheets = root.evaluation_sheets(RUN, evaluation, label_colours(["car"]))
    assert sheets.problems == []
    for sheet in (sheets.worst, sheets.confident):
        assert sheet is not None
        assert Image.open(io.BytesIO(sheet)).width > 3 * 200
    perfect = evaluation.of_items(["item 0"])
    assert root.evaluation_sheets(RUN, perfect, {}).worst is None
    worst = evaluation.items.sort_by("mIoU")["reference_id"][0].as_py()
    row = root.validated(RUN).batches(len(GIVEN))
    sha256 = next(
        one["mask_sha256"]
        for batch in row
        for one in batch.rows.to_pylist()
        if one["reference_id"] == worst
    )
    (landing.root / "masks" / sha256[:2] / f"{sha256}.png").unlink()
    (problem,) = root.evaluation_sheets(RUN, evaluation, {}).problems
    assert worst in problem
    _charts_name_classes_and_numbers(evaluation)


def _charts_name_classes_and_numbers(evaluation: Evaluation) -> None:
    bars = words(class_bars(evaluation.classes, {}, evaluation.classes))
    for one in evaluation.classes.to_pylist():
        assert f"IoU {100 * one['IoU']:.1f}" in bars
    assert "in the partition before" in bars
    assert "car" in words(confusion_matrix(evaluation.confusion))
    error = evaluation.uncertainty["calibration_error"]
    assert error is not None
    assert f"{error:.3f}" in words(reliability(evaluation.calibration, error) or "")
    assert reliability(evaluation.calibration.slice(0, 0), None) is None
