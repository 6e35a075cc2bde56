"""What detectron2's evaluators write, in the structures of detectron2 0.6."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segpipe.errors import SettingsError
from segpipe.formats.opening import open_source
from tests.fixtures.imports import areas, imported, judged, read, save, write

GT = {
    "images": [{"id": 5, "file_name": "a.jpg", "height": 2, "width": 4},
               {"id": 6, "file_name": "b.jpg", "height": 2, "width": 4}],
    "categories": [{"id": 1, "name": "cat"}, {"id": 3, "name": "dog"}],
}  # fmt: skip


def instance(category_id: int, counts: list[int], score: float) -> dict[str, Any]:
    rle = {"size": [2, 4], "counts": counts}
    return {"image_id": 5, "category_id": category_id, "bbox": [0, 0, 1, 1], "score": score,
            "segmentation": rle}  # fmt: skip


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    return write(tmp_path / "gt.json", GT)


def test_instances_per_image_count_categories_from_0_and_an_image_without_any_is_background(
    tmp_path: Path, truth: Path
) -> None:
    found = [instance(1, [0, 4, 4], 0.5), instance(0, [2, 4, 2], 0.9)]
    content = [{"image_id": 5, "instances": found}, {"image_id": 6, "instances": []}]
    source = write(tmp_path / "instances_predictions.json", content)
    done = imported(
        "detectron2", source, tmp_path / "root", "--categories", truth, "--images", truth
    )
    assert "2 imported, 0 refused" in done.output
    accepted, _ = judged(tmp_path / "root")
    assert accepted == {
        "a": {"0 background": 2, "1 dog": 2, "2 cat": 4},
        "b": {"0 background": 8},
    }


def test_the_list_of_results_has_the_ids_of_the_data_set(tmp_path: Path, truth: Path) -> None:
    source = write(tmp_path / "coco_instances_results.json", [instance(3, [0, 4, 4], 0.5)])
    given = read("detectron2", source, categories=truth, images=truth)
    assert areas(given["a"]) == {"0 background": 4, "1 dog": 4}


def test_ids_that_can_be_read_in_two_ways_are_asked_for(tmp_path: Path, truth: Path) -> None:
    content = [{"image_id": 5, "instances": [instance(1, [0, 4, 4], 0.5)]}]
    source = write(tmp_path / "instances_predictions.json", content)
    given = {"categories": truth, "images": truth}
    with pytest.raises(SettingsError, match="--category-ids dataset or contiguous"):
        open_source("detectron2", source, **given)
    for form, label in (("dataset", "cat"), ("contiguous", "dog")):
        one = read("detectron2", source, category_ids=form, **given)["a"]
        assert one.segments[1].label == label


def test_panoptic_predictions_are_the_pngs_of_a_folder_and_predictions_json(tmp_path: Path) -> None:
    ids = np.array([[0, 0, 256, 256], [1, 1, 1, 1]], np.uint32)
    save(tmp_path / "a.png", np.stack([ids & 255, ids >> 8, ids >> 16], -1).astype(np.uint8))
    infos = [{"id": 1, "category_id": 3, "score": 0.75}, {"id": 256, "category_id": 1}]
    said = {**GT, "annotations": [{"image_id": 5, "file_name": "a.png", "segments_info": infos}]}
    with pytest.raises(SettingsError, match="--annotations FILE"):
        open_source("detectron2", tmp_path)
    where = write(tmp_path / "predictions.json", said)
    one = read("detectron2", tmp_path)["a"]
    assert areas(one) == {"0 void": 2, "1 dog": 4, "2 cat": 2}
    assert one.segments[1].confidence == 0.75
    assert read("detectron2", where)["a"].segments == one.segments
    with pytest.raises(SettingsError, match="'category_ids' is for instances"):
        open_source("detectron2", where, category_ids="dataset")


def test_results_are_the_same_per_image_counted_from_0(tmp_path: Path, data_sets: Path) -> None:
    truth = data_sets / "coco_rle" / "gt_20.json"
    results = json.loads((data_sets / "coco_rle" / "results_20.json").read_text())
    shutil.copy(data_sets / "coco_rle" / "results_20.json", tmp_path / "results.json")
    ids = sorted(one["id"] for one in json.loads(truth.read_text())["categories"])
    per_image: dict[int, list[dict[str, Any]]] = {}
    for one in results:
        counted = {**one, "category_id": ids.index(one["category_id"])}
        per_image.setdefault(one["image_id"], []).append(counted)
    nested = write(
        tmp_path / "nested.json", [{"image_id": k, "instances": v} for k, v in per_image.items()]
    )
    given = {"categories": truth, "images": truth}
    before = read("coco-results", tmp_path / "results.json", **given)
    after = read("detectron2", nested, category_ids="contiguous", **given)
    assert before.keys() == after.keys()
    for item, one in before.items():
        assert after[item].segments == one.segments
        np.testing.assert_array_equal(after[item].pixels, one.pixels)
