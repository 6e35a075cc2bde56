"""COCO results as people's scripts write them: taken where nothing is lost, and named otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco

from segpipe.errors import SegpipeError
from segpipe.formats.run_lengths import RunLengthError, read_segmentation
from tests.fixtures.imports import imported, judged, write

MASK = np.zeros((20, 30), np.uint8, order="F")
MASK[2:9, 3:12] = 1
RLE = coco.encode(MASK)
TEXT = RLE["counts"].decode()
RUNS = np.diff(
    np.flatnonzero(np.diff(MASK.T.ravel(), prepend=1 - MASK[0, 0], append=2))
).tolist()  # fmt: skip
TRUTH = {
    "images": [
        {"id": 1, "file_name": "images/cam1/0001.jpg", "height": 20, "width": 30},
        {"id": 2, "file_name": "images/cam2/0001.jpg", "height": 20, "width": 30},
        {"id": 3, "file_name": "images/cam2/0003.jpg", "height": 20, "width": 30},
    ],
    "categories": [{"id": 1, "name": "car"}],
}
CAR = {"0 background": 600 - 63, "1 car": 63}


@pytest.mark.parametrize(
    "cell",
    [
        {"size": [20, 30], "counts": TEXT},
        {"size": [20, 30], "counts": str(RLE["counts"])},
        {"size": [20.0, 30.0], "counts": TEXT},
        {"size": [20, 30], "counts": RUNS},
        {"size": [20, 30], "counts": [float(run) for run in RUNS]},
    ],
)
def test_run_lengths_in_other_clothes_are_the_same_mask(cell: dict[str, Any]) -> None:
    assert (read_segmentation(cell, None, None).decode() == MASK).all()


def test_every_digit_of_the_compressed_form_survives_the_text_of_bytes() -> None:
    random = np.random.default_rng(0)
    for _ in range(30):
        mask = np.asfortranarray(random.random((37, 53)) < random.random(), np.uint8)
        counts = str(coco.encode(mask)["counts"])
        read = read_segmentation({"size": [37, 53], "counts": counts}, None, None)
        assert (read.decode() == mask).all()


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ({"size": [20, 30], "counts": str(RLE["counts"])[:-3]}, r"write counts\.decode\(\)"),
        ({"size": [20.5, 30], "counts": TEXT}, r"size is \[20\.5, 30\]"),
        ({"size": [20, 30], "counts": [599.5, 0.5]}, "counts are .*whole numbers"),
        ({"size": [20, 30], "counts": [True, 599]}, "counts are .*whole numbers"),
    ],
)
def test_run_lengths_that_would_lose_something_are_named(cell: dict[str, Any], words: str) -> None:
    with pytest.raises(RunLengthError, match=words):
        read_segmentation(cell, None, None)


def result(**other: Any) -> dict[str, Any]:
    return {"category_id": 1, "score": 0.9, "segmentation": {"size": [20, 30], "counts": TEXT},
            **other}  # fmt: skip


@pytest.mark.parametrize(
    "results",
    [
        [result(file_name="images/cam1/0001.jpg")],
        [result(file_name="cam1/0001.png")],
        [result(file_name="C:\\data\\images\\cam1\\0001.jpg")],
        [result(image_id="images/cam1/0001.jpg")],
        {"images/cam1/0001.jpg": [result()]},
    ],
)
def test_results_by_file_name_are_of_the_image_with_that_name(
    tmp_path: Path, results: object
) -> None:
    known = write(tmp_path / "gt.json", TRUTH)
    path = write(tmp_path / "r.json", results)
    imported("coco-results", path, tmp_path / "root", "--categories", known, "--images", known)
    assert judged(tmp_path / "root") == ({"images/cam1/0001": CAR}, {})


@pytest.mark.parametrize("name", ["0001.jpg", "cam3/0001.jpg", "other.jpg"])
def test_a_file_name_of_no_image_or_of_several_is_taken_for_none(tmp_path: Path, name: str) -> None:
    known = write(tmp_path / "gt.json", TRUTH)
    path = write(tmp_path / "r.json", [result(file_name=name), result(image_id=3)])
    imported("coco-results", path, tmp_path / "root", "--categories", known, "--images", known)
    accepted, rejected = judged(tmp_path / "root")
    assert list(accepted) == ["images/cam2/0003"]
    assert name in rejected[name][0][1]


def test_results_by_file_name_need_no_list_of_images(tmp_path: Path) -> None:
    known = write(tmp_path / "gt.json", TRUTH)
    path = write(tmp_path / "r.json", {"cam1/0001.jpg": [result()], "cam1/0002.jpg": [result()]})
    imported("coco-results", path, tmp_path / "root", "--categories", known)
    assert judged(tmp_path / "root") == ({"cam1/0001": CAR, "cam1/0002": CAR}, {})


def test_an_object_that_is_no_result_says_what_was_expected(tmp_path: Path) -> None:
    known = write(tmp_path / "gt.json", TRUTH)
    path = write(tmp_path / "r.json", {"predictions": {"a": 1}})
    with pytest.raises(SegpipeError, match="expected a list of results, or an object with a list"):
        imported("coco-results", path, tmp_path / "root", "--categories", known)


def test_run_lengths_of_a_transposed_mask_are_not_told_to_be_resized(tmp_path: Path) -> None:
    known = write(tmp_path / "gt.json", TRUTH)
    turned = coco.encode(np.asfortranarray(MASK.T))
    cell = {"size": [30, 20], "counts": turned["counts"].decode()}
    path = write(tmp_path / "r.json", [result(image_id=3, segmentation=cell)])
    imported("coco-results", path, tmp_path / "root", "--categories", known, "--images", known)
    _, rejected = judged(tmp_path / "root")
    (finding,) = rejected["images/cam2/0003"]
    assert finding[0] == "SIZE-SWAPPED"
    assert "20 x 30, 30 x 20" in finding[1]
