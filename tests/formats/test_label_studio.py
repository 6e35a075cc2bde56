"""Exports of Label Studio; run lengths are compared with those of label_studio_sdk 2.1.2."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from segpipe.errors import SettingsError
from segpipe.formats.brush_runs import decode_brush, encode_brush
from segpipe.formats.imported import ScannedFolder
from segpipe.formats.opening import open_source
from segpipe.formats.run_lengths import RunLengthError
from tests.fixtures.imports import areas, imported, judged, read, rules, write

# What label_studio_sdk.converter.brush.mask2rle makes of MASK * 255, and encode_rle of two rows of
# three RGBA pixels, of which all but (0, 0) and (0, 2) are opaque, in colours.
MASK = np.zeros((5, 7), np.bool_)
MASK[1:3, 2:5] = MASK[4] = True
OF_THE_SDK = [0, 0, 0, 140, 57, 27, 254, 35, 0, 183, 255, 124, 2, 223, 254, 35, 0, 195, 127, 224]
IN_COLOURS = [
    0, 0, 0, 24, 57, 27, 252, 96, 0, 5, 0, 40, 0, 240, 31, 241, 128, 0, 2, 0, 16, 0, 96, 127, 128,
    2, 0, 16, 0, 96, 127, 128, 2, 0, 16, 0, 96, 127, 128,
]  # fmt: skip


def test_runs_of_label_studios_own_encoder_are_read_and_written_the_same() -> None:
    np.testing.assert_array_equal(decode_brush(OF_THE_SDK, 5, 7), MASK)
    assert encode_brush(MASK) == OF_THE_SDK
    colours = decode_brush(IN_COLOURS, 2, 3)
    np.testing.assert_array_equal(colours, [[False, True, False], [True, True, True]])


def test_a_stretch_of_samples_is_read_wherever_it_begins() -> None:
    # 4 samples: a stretch of 4, not repeated, as the browser writes it.
    bits = f"{4:032b}{7:05b}" + "".join(f"{n - 1:04b}" for n in (3, 4, 8, 16))
    bits += "0" + "00" + f"{3:03b}" + "".join(f"{n:08b}" for n in (1, 2, 3, 200))
    bits += "0" * (-len(bits) % 8)
    content = list(int(bits, 2).to_bytes(len(bits) // 8, "big"))
    assert decode_brush(content, 1, 1).tolist() == [[True]]


@settings(deadline=None, max_examples=40)
@given(arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 300))), st.data())
def test_every_mask_comes_back_and_damage_is_told_or_is_another_mask(
    mask: np.ndarray, data: st.DataObject
) -> None:
    encoded = encode_brush(mask)
    np.testing.assert_array_equal(decode_brush(encoded, *mask.shape), mask)
    place = data.draw(st.integers(0, len(encoded) - 1))
    changed = [*encoded[:place], data.draw(st.integers(0, 255)), *encoded[place + 1 :]]
    for damaged in (changed, encoded[:place]):
        try:
            assert decode_brush(damaged, *mask.shape).shape == mask.shape
        except RunLengthError:
            continue


def stroke(label: str | None, mask: np.ndarray, **other: Any) -> dict[str, Any]:
    value = {"format": "rle", "rle": encode_brush(mask)}
    named = {} if label is None else {"brushlabels": [label]}
    height, width = mask.shape
    return {"id": "r1", "type": "brushlabels", "from_name": "tag", "to_name": "image",
            "original_width": width, "original_height": height, "image_rotation": 0,
            "value": value | named} | other  # fmt: skip


def task(id: int, image: str, *annotations: object, **other: Any) -> dict[str, Any]:
    return {"id": id, "data": {"image": image}, "annotations": list(annotations)} | other


def done(*regions: object, **other: Any) -> dict[str, Any]:
    return {"id": 1, "completed_by": 3, "was_cancelled": False, "result": list(regions)} | other


ROW = np.zeros((5, 7), np.bool_)
ROW[4] = True


def test_strokes_of_a_task_are_one_prediction_and_what_else_there_is_is_counted(
    tmp_path: Path,
) -> None:
    box = {"type": "rectanglelabels", "id": "b", "value": {"x": 1, "rectanglelabels": ["x"]}}
    apart = [stroke(None, ROW, type="brush", id="z"),
             {"type": "labels", "id": "z", "value": {"labels": ["rail"]}}]  # fmt: skip
    predicted = {"model_version": "m1", "result": [stroke("cat", MASK, score=0.75)]}
    path = write(
        tmp_path / "export.json",
        [
            task(1, "/data/upload/1/0a1b2c3d-left.jpg", done(stroke("cat", MASK), *apart, box)),
            task(2, "/data/local-files/?d=sub/right.png", predictions=[predicted]),
            task(3, "s3://bucket/skipped.png", done(was_cancelled=True)),
        ],
    )
    (one,) = read("label-studio", path).values()
    assert (one.reference_id, areas(one)) == ("left", {"0 background": 22, "1 cat": 6, "2 rail": 7})
    assert "left out: 1 of type rectanglelabels" in one.findings[0].message
    assert one.carried == {"task_id": "1", "annotated_by": "3"}
    opened = open_source("label-studio", path)
    assert isinstance(opened, ScannedFolder)
    assert [(left.shown, left.reason) for left in opened.left_out] == [
        ("right", "tasks without annotations"), ("skipped", "tasks that were skipped"),
    ]  # fmt: skip
    (one,) = read("label-studio", path, of="predictions").values()
    assert one.segments[1].confidence == 0.75
    minimal = {**stroke("cat", MASK)["value"], "original_width": 7, "original_height": 5}
    path = write(tmp_path / "min.json", [{"image": "/a.png", "id": 4, "tag": [minimal]}])
    assert areas(read("label-studio", path)["a"]) == {"0 background": 22, "1 cat": 13}


def test_what_is_wrong_with_a_task_is_told_of_it_and_the_others_go_through(
    tmp_path: Path,
) -> None:
    cut = stroke("cat", MASK)
    cut["value"] = {**cut["value"], "rle": OF_THE_SDK[:12]}
    bad = {
        "cut": (cut, "region 0: its rle ends within the image"),
        "size": (stroke("cat", MASK, original_width=8), "has 140 samples, expected 160"),
        "bare": (stroke(None, MASK), "it has 0 labels"),
        "box": ({"type": "rectanglelabels", "value": {}}, "it has no brush stroke"),
        "none": (None, "region 0 is None"),
    }
    tasks = [task(k, f"{name}.png", done(one)) for k, (name, (one, _)) in enumerate(bad.items())]
    twice = task(9, "twice.png", done(stroke("cat", MASK)), done(stroke("cat", ROW)))
    path = write(tmp_path / "a.json", [*tasks, task(8, "good.png", done(cat())), twice])
    came = imported("label-studio", path, tmp_path / "root")
    assert "1 imported, 7 refused" in came.output
    accepted, rejected = judged(tmp_path / "root")
    assert list(accepted) == ["good"]
    assert rules(rejected)["twice"] == ["REF-DUPLICATE", "REF-DUPLICATE"]
    for name, (_, words) in bad.items():
        assert words in rejected[name][0][1]


def cat() -> dict[str, Any]:
    return stroke("cat", MASK)


def test_an_export_without_what_is_asked_for_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", [task(1, "a.png", predictions=[{"result": [cat()]}])])
    with pytest.raises(SettingsError, match="--of predictions"):
        open_source("label-studio", path)
    with pytest.raises(SettingsError, match="'strip_prefix' is for folders of masks"):
        open_source("label-studio", path, strip_prefix="x")
    with pytest.raises(SettingsError, match="list of tasks"):
        open_source("label-studio", write(tmp_path / "b.json", {"images": []}))
