"""F of contours, against the numbers of DAVIS' own code and by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from segpipe.masks.contours import contour, contour_agreement
from segpipe.masks.decoding import decode_mask
from segpipe.predictions.prediction import Segment
from tests.fixtures.references import REAL_FOLDER, folder_of, references
from tests.fixtures.scenes_of_pairs import Scene, evaluated

EVERY = 9


def things(folder: Path, side: str) -> dict[str, NDArray[np.bool_]]:
    """Frame -> where its things are, crowds left out; H x W bool."""
    found = {}
    for row in pq.read_table(folder / f"{side}.parquet").to_pylist():
        described = {one["index"]: one["metadata"] for one in json.loads(row["segments"])}
        indexes = [
            i for i, one in described.items() if one.get("isthing") and not one.get("iscrowd")
        ]
        pixels = decode_mask((folder / row["mask_url"]).read_bytes()).pixels
        found[row["reference_id"]] = np.isin(pixels, indexes)
    return found


def test_f_of_frames_with_known_mistakes_is_that_of_davis() -> None:
    said = references()["tiny_video"]["runs"]["pred"]["foreground_J_F"]
    folder = folder_of("tiny_video")
    truth, found = things(folder, "gt"), things(folder, "pred")
    compared = 0
    for sequence, one in said.items():
        for frame, (_, expected) in enumerate(one["per_frame_J_F"]):
            name = f"{sequence}-{frame:02d}"
            agreement = contour_agreement(truth[name], found[name])
            assert agreement == pytest.approx(expected, abs=1e-9), name
            compared += 1
    assert compared == len(truth) == 66


@pytest.mark.realdata
@pytest.mark.skipif(
    not REAL_FOLDER.is_dir(), reason="the research data are not beside this checkout"
)
def test_f_of_real_frames_is_that_of_davis() -> None:
    runs = references()["davis"]["runs"]
    for sequence, frames in runs["osvos"]["per_frame_object_1"].items():
        for frame, _, said in frames[::EVERY]:
            name = f"{sequence}-{frame:05d}.png"
            truth, found = (
                decode_mask((REAL_FOLDER / "davis" / side / name).read_bytes()).pixels == 1
                for side in ("gt", "osvos")
            )
            assert contour_agreement(truth, found) == pytest.approx(said, abs=1e-9), name


def test_a_contour_lies_above_and_to_the_left_of_what_differs() -> None:
    mask = np.zeros((4, 4), bool)
    mask[2, 2] = True
    places = list(zip(*(axis.tolist() for axis in np.nonzero(contour(mask))), strict=True))
    assert places == [(1, 1), (1, 2), (2, 1), (2, 2)]


def test_contours_agree_up_to_the_distance_and_not_beyond() -> None:
    truth = np.zeros((60, 100), bool)  # 1 pixel is the distance
    truth[:, 50:] = True
    assert contour_agreement(truth, np.roll(truth, 1, 1) & truth) == 1
    assert contour_agreement(truth, np.roll(truth, 2, 1) & truth) < 0.1
    none = np.zeros_like(truth)
    assert contour_agreement(none, none) == 1
    assert contour_agreement(truth, none) == 0


def test_f_of_a_class_is_the_mean_over_items_and_that_of_a_set_over_classes() -> None:
    pixels = np.zeros((60, 100), np.uint8)
    pixels[:, 50:] = 1
    road, car = Segment("road", 0, {"isthing": 0}), Segment("car", 1, {"isthing": 1})
    right = Scene(pixels, (road, car))
    nothing = Scene(np.zeros_like(pixels), (road,))
    result = evaluated([(right, right), (right, nothing)], contours=True)
    assert {one["label"]: one["F"] for one in result.classes.to_pylist()} == {
        "car": 0.5,
        "road": 0.5,
    }
    assert result.numbers["F"] == 0.5
    assert evaluated([(right, right)]).numbers["F"] is None
