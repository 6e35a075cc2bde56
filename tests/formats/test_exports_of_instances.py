"""Exports that hold instances only, judged by what other tools read and by what comes back."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco
from pycocotools.coco import COCO

from segpipe import Segment
from segpipe.formats.exporting import Published
from segpipe.formats.exporting_instances import (
    export_coco_results,
    export_label_studio,
    export_yolo,
)
from segpipe.formats.imported import Imported
from segpipe.formats.outlines import outline
from segpipe.predictions.view import View
from segpipe.views.consolidation import Consolidation
from tests.fixtures.imports import read
from tests.formats.test_exports import prediction

Export = Callable[[list[Published], Path], Counter[str]]


def results(predictions: list[Published], out: Path) -> Counter[str]:
    left_out = Counter[str]()
    by = Consolidation(View.GIVEN, {})
    assert export_coco_results(iter(predictions), out, by, left_out) == len(predictions)
    return left_out


def tasks(predictions: list[Published], out: Path) -> Counter[str]:
    left_out = Counter[str]()
    assert export_label_studio(iter(predictions), out, "m", left_out) == len(predictions)
    return left_out


def yolo(predictions: list[Published], out: Path) -> Counter[str]:
    left_out = Counter[str]()
    assert export_yolo(iter(predictions), out, left_out) == len(predictions)
    return left_out


def back(out: Path) -> dict[str, Imported]:
    """What segpipe imports from an export."""
    if (out / "results.json").is_file():
        truth = out / "instances.json"
        return read("coco-results", out / "results.json", categories=truth, images=truth,
                    empty_images=True)  # fmt: skip
    if (out / "tasks.json").is_file():
        return read("label-studio", out / "tasks.json", of="predictions")
    return read("yolo-seg", out / "labels", labels=out / "data.yaml", images=out / "images.json")


def instances(one: Imported | Published) -> set[tuple[str, float | None, bytes]]:
    """Label, confidence and pixels of each instance."""
    mask = one.mask if isinstance(one, Published) else one.pixels
    assert mask is not None
    return {
        (s.label, s.confidence, (mask == s.index).tobytes())
        for s in one.segments
        if s.label != "background" and not s.metadata.get("ignore") and (mask == s.index).any()
    }


@pytest.mark.parametrize("export", [results, tasks, yolo])
@settings(deadline=None, max_examples=8)
@given(
    mask=arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)),
                elements=st.integers(0, 4)),
    scores=st.lists(st.none() | st.floats(0, 1), min_size=4, max_size=4),
)  # fmt: skip
def test_pixels_labels_and_confidences_come_back_and_the_rest_is_counted(
    tmp_path_factory: pytest.TempPathFactory, export: Export, mask: np.ndarray, scores: list[Any]
) -> None:
    segments = [Segment("background", 0, {"isthing": False}), Segment("void", 4, {"ignore": True})]
    for index, label in ((1, "car"), (2, "car"), (3, 'a "b" & ü')):
        score = scores[index]
        segments.append(Segment(label, index, {} if score is None else {"confidence": score}))
    out = tmp_path_factory.mktemp("export") / "out"
    full = np.array([[1, 2, 3]], np.uint8)  # so that every label is there
    given = [prediction("a", mask, segments), prediction("b", full, segments)]
    left_out = export(given, out)
    found = back(out)
    assert {name: instances(one) for name, one in found.items()} == {
        one.reference_id: instances(one) for one in given
    }
    assert (left_out["backgrounds"], left_out["Segments to ignore"]) == (2, 2)
    assert left_out["Segments without pixels"] == 3 - len(instances(given[0]))


@settings(deadline=None, max_examples=50)
@given(arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12))))
def test_an_outline_encloses_the_pixels_of_the_mask_with_its_holes(mask: np.ndarray) -> None:
    corners = [float(value) for point in outline(mask) for value in point]
    if not mask.any():
        assert corners == []
        return
    filled = coco.decode(coco.frPyObjects([corners], *mask.shape))[..., 0]
    np.testing.assert_array_equal(filled, mask)


def test_coco_results_are_what_cocos_own_tools_load(tmp_path: Path) -> None:
    mask = np.zeros((6, 8), np.uint8)
    mask[2:4, 1:5] = 7
    one = prediction(
        "sub/a.b", mask, [Segment("background", 0), Segment("cat", 7, {"confidence": 0.5})]
    )
    results([one], tmp_path / "out")
    truth = COCO(str(tmp_path / "out" / "instances.json"))
    (loaded,) = truth.loadRes(str(tmp_path / "out" / "results.json")).dataset["annotations"]
    assert (loaded["bbox"], loaded["area"], loaded["score"]) == ([1, 2, 4, 2], 8, 0.5)
    np.testing.assert_array_equal(coco.decode(loaded["segmentation"]), mask > 0)
    assert truth.cats[loaded["category_id"]]["name"] == "cat"
    assert list(back(tmp_path / "out")) == ["sub/a.b"]


def test_numbers_of_coco_results_are_those_of_the_file_they_are_to_be_like(tmp_path: Path) -> None:
    like = tmp_path / "gt.json"
    known = {"id": 77, "file_name": "a.jpg", "height": 1, "width": 2}
    like.write_text(json.dumps({"images": [known], "categories": [{"id": 18, "name": "dog"}]}))
    one = prediction("a", np.array([[1, 2]], np.uint8), [Segment("cat", 1), Segment("dog", 2)])
    left_out = Counter[str]()
    by = Consolidation(View.GIVEN, {})
    export_coco_results(iter([one]), tmp_path / "out", by, left_out, like)
    written = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [(r["image_id"], r["category_id"]) for r in written] == [(77, 19), (77, 18)]
    assert left_out == {"scores, which the Segments have none of": 2}
    (image,) = json.loads((tmp_path / "out" / "instances.json").read_text())["images"]
    assert image == known


def test_label_studio_is_given_tasks_and_the_labels_they_use(tmp_path: Path) -> None:
    one = prediction("a", np.ones((2, 3), np.uint8), [Segment('"x" <y>', 1)])
    tasks([one], tmp_path / "out")
    (task,) = json.loads((tmp_path / "out" / "tasks.json").read_text())
    (region,) = task["predictions"][0]["result"]
    assert region["value"]["brushlabels"] == ['"x" <y>']
    assert (region["original_width"], region["original_height"]) == (3, 2)
    config = (tmp_path / "out" / "label_config.xml").read_text()
    assert "<Label value='\"x\" &lt;y&gt;'/>" in config


def test_yolo_has_shares_of_the_sides_and_names_by_number(tmp_path: Path) -> None:
    mask = np.zeros((4, 8), np.uint8)
    mask[:2, :4] = 1
    yolo([prediction("a", mask, [Segment("background", 0), Segment("no", 1)])], tmp_path / "out")
    line = (tmp_path / "out" / "labels" / "a.txt").read_text().split()
    assert line[0] == "0" and {tuple(line[k : k + 2]) for k in range(1, len(line), 2)} == {
        ("0", "0"), ("0.5", "0"), ("0.5", "0.5"), ("0", "0.5"),
    }  # fmt: skip
    assert yaml.safe_load((tmp_path / "out" / "data.yaml").read_text()) == {"names": {0: "no"}}
