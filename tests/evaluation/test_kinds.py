"""Thing, stuff or void: the taxonomy decides, then the ground truth, then the prediction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import segpipe
from segpipe.predictions.prediction import Segment
from tests.fixtures.scenes_of_pairs import Scene, write_manifest

#: Two parts of one class and the road.
PIXELS = np.repeat(np.array([[0, 0, 1, 1, 2, 2]], np.uint8), 4, 0)


def scene(label: str = "tree", **metadata: Any) -> Scene:
    return Scene(
        PIXELS,
        (
            Segment("road", 0, {"isthing": 0}),
            Segment(label, 1, metadata),
            Segment(label, 2, metadata),
        ),
    )


def evaluate(folder: Path, gt: Scene, found: Scene, policy: str = "") -> segpipe.Evaluation:
    (folder / "policy.toml").write_text(policy)
    return segpipe.evaluate(
        gt=write_manifest(folder / "gt.parquet", {"a": gt}),
        predictions=write_manifest(folder / "run.parquet", {"a": found}),
        policy=folder / "policy.toml",
        workers=1,
    )


def tree(result: segpipe.Evaluation) -> tuple[str, int]:
    (row,) = (one for one in result.classes.to_pylist() if one["label"] == "tree")
    return row["kind"], row["TP"]


def test_a_class_of_which_nothing_is_known_is_a_thing_and_told(tmp_path: Path) -> None:
    result = evaluate(tmp_path, scene(), scene())
    assert tree(result) == ("thing", 2)
    assert "so they count as things: 'tree'" in repr(result)


def test_the_kind_of_the_ground_truth_decides_over_that_of_the_prediction(tmp_path: Path) -> None:
    result = evaluate(tmp_path, scene(isthing=0), scene(isthing=1))
    assert tree(result) == ("stuff", 1)
    assert not result.undecided
    assert tree(evaluate(tmp_path, scene(), scene(isthing=False))) == ("stuff", 1)


def test_the_taxonomy_decides_over_both(tmp_path: Path) -> None:
    policy = "[policy.taxonomy]\nroad = 'stuff'\ntree = 'thing'\n"
    assert tree(evaluate(tmp_path, scene(isthing=0), scene(isthing=0), policy)) == ("thing", 2)


def test_ignore_values_of_the_policy_are_void(tmp_path: Path) -> None:
    road = Scene(PIXELS * 0, (Segment("road", 0, {"isthing": 0}),))
    partly = Scene(np.where(PIXELS == 2, 255, 0).astype(np.uint8), road.segments)
    result = evaluate(tmp_path, partly, road, "[policy]\nignore_values = {255 = 'void'}\n")
    assert result.items["valid_pixels"].to_pylist() == [16]
    assert result.headline["mIoU"] == 1
    missed = evaluate(tmp_path, road, partly, "[policy]\nignore_values = {255 = 'void'}\n")
    assert missed.headline["pixel_accuracy"] == 16 / 24
