"""JSON files of labelme, in the structure of labelme 6.3."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.fixtures.imports import areas, drawn, imported, judged, read, rules, write

BOX = [[1, 1], [3, 2]]


def shape(label: str, points: object, kind: str = "polygon", **other: Any) -> dict[str, Any]:
    return {"label": label, "points": points, "group_id": None, "shape_type": kind,
            "description": "", "flags": {}, "mask": None} | other  # fmt: skip


def file(*shapes: object, **other: Any) -> dict[str, Any]:
    return {"version": "6.3.1", "flags": {}, "shapes": list(shapes), "imagePath": "a.jpg",
            "imageData": None, "imageHeight": 6, "imageWidth": 8} | other  # fmt: skip


def png(mask: np.ndarray) -> str:
    target = io.BytesIO()
    Image.fromarray(mask).save(target, "PNG")
    return base64.b64encode(target.getvalue()).decode()


def test_shapes_of_all_kinds_are_painted_in_their_order(tmp_path: Path) -> None:
    corner = np.array([[True, False], [True, True]])
    content = file(
        shape("sky", [[0, 0], [7, 0], [7, 5], [0, 5]]),
        shape("car", BOX, "rectangle", group_id=4),
        shape("car", [[6, 1], [6, 1]], "rectangle", group_id=4, flags={"hidden": True}),
        shape("car", [[6, 4], [6, 5]], "circle"),
        shape("dog", [[1, 3], [2, 4]], "mask", mask=png(corner), description="a corner"),
        shape("x", [[1, 1]], "point"),
        shape("x", BOX, "line"),
        shape("x", BOX, "line"),
    )
    write(tmp_path / "a.json", content)
    (one,) = read("labelme", tmp_path).values()
    assert areas(one) == {"1 sky": 48 - 7 - 5 - 3, "2 car": 7, "3 car": 5, "4 dog": 3}
    assert drawn(one)["4 dog"] == [3 * 8 + 1, 4 * 8 + 1, 4 * 8 + 2]
    assert one.segments[1].metadata["group_id"] == 4
    assert one.segments[3].metadata["description"] == "a corner"
    assert [f.rule for f in one.findings] == ["IMPORT-LEFT-OUT"]
    assert "left out: 2 lines, 1 point" in one.findings[0].message


def test_what_is_wrong_with_a_file_names_its_shape_and_the_others_go_through(
    tmp_path: Path,
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    bad = {
        "two": file(shape("car", BOX)),
        "far": file(shape("car", [[0, 0], [99, 0], [99, 99]])),
        "text": file(shape("car", [[0, "0"], [1, 1], [2, 2]])),
        "unnamed": file(shape(" ", BOX, "rectangle")),
        "sizeless": file(shape("car", BOX, "rectangle"), imageHeight=None),
        "damaged": file(shape("car", BOX, "mask", mask="AAAA")),
        "outside": file(shape("car", [[7, 5], [9, 9]], "mask", mask=png(np.ones((4, 4), bool)))),
        "coco": {"images": [], "annotations": []},
    }
    for name, content in bad.items():
        write(source / f"{name}.json", content)
    write(source / "cut.json", '{"shapes": [')
    write(source / "good.json", file(shape("car", BOX, "rectangle", score=0.5)))
    done = imported("labelme", source, tmp_path / "root")
    assert "1 imported, 9 refused" in done.output
    accepted, rejected = judged(tmp_path / "root")
    assert accepted == {"good": {"0 background": 42, "1 car": 6}}
    assert rules(rejected) == {name: ["IMPORT-UNREADABLE"] for name in (*bad, "cut")}
    told = {name: found[0][1] for name, found in rejected.items()}
    assert "two.json: shape 0 ('car'): a polygon has 2 points" in told["two"]
    assert "far beyond the image of 6 x 8" in told["far"]
    assert "write the image's size" in told["sizeless"]
    assert "expected an object with 'shapes'" in told["coco"]


@pytest.mark.parametrize("overlaps", ["last", "score", "area"])
def test_an_option_says_what_is_on_top(tmp_path: Path, overlaps: str) -> None:
    row = shape("road", [[0, 1], [1, 2], [2, 2], [2, 1]], score=0.9, group_id=1)
    wide = shape("road", [[0, 5], [7, 5], [7, 4]], score=0.9, group_id=1)
    write(tmp_path / "a.json", file(row, wide, shape("car", BOX, "rectangle", score=0.5)))
    (one,) = read("labelme", tmp_path, overlaps=overlaps).values()
    assert (areas(one)["2 car"] == 6) == (overlaps != "score")


def test_a_shape_between_two_of_a_group_lies_between_them(tmp_path: Path) -> None:
    content = file(
        shape("car", [[0, 0], [7, 0]], "rectangle", group_id=1),
        shape("dog", [[0, 0], [3, 5]], "rectangle"),
        shape("car", [[0, 5], [7, 5]], "rectangle", group_id=1),
    )
    write(tmp_path / "a.json", content)
    (one,) = read("labelme", tmp_path).values()
    assert areas(one) == {"0 background": 16, "1 car": 4 + 8, "2 dog": 20}
    assert one.segments[1].metadata["area"] == 16


def test_the_size_comes_from_the_image_in_the_file_where_it_is_not_said(tmp_path: Path) -> None:
    image = png(np.zeros((3, 9), np.uint8))
    content = file(shape("__ignore__", BOX, "rectangle"), imageHeight=None, imageWidth=None,
                   imageData=image)  # fmt: skip
    write(tmp_path / "a.json", content)
    (one,) = read("labelme", tmp_path).values()
    assert one.pixels is not None and one.pixels.shape == (3, 9)
    assert one.segments[1].metadata["ignore"] is True
