"""Exports of CVAT 2: Segmentation mask 1.1, and CVAT for images 1.1."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segpipe.errors import SettingsError
from segpipe.formats.imported import ScannedFolder
from segpipe.formats.opening import open_source
from tests.fixtures.imports import areas, drawn, imported, judged, read, rules, save, write

LABEL_MAP = """# label:color_rgb:parts:actions
background:0,0,0::
car:61,61,245::
sky:10,20,30::
"""
BLACK, CAR, SKY = (0, 0, 0), (61, 61, 245), (10, 20, 30)


def rows(*colours: tuple[int, int, int]) -> np.ndarray:
    return np.repeat(np.array(colours, np.uint8)[:, None], 4, axis=1)


def test_a_label_and_an_object_are_a_segment(tmp_path: Path) -> None:
    source = tmp_path / "export"
    classes, objects = source / "SegmentationClass", source / "SegmentationObject"
    for name in ("a", "alone", "other", "narrow"):
        save(classes / f"{name}.png", rows(BLACK, CAR, CAR, SKY))
    save(objects / "a.png", rows(BLACK, (128, 0, 0), (0, 128, 0), BLACK))
    save(classes / "other.png", rows(BLACK, CAR, CAR, (10, 20, 31)))
    save(objects / "narrow.png", rows(BLACK, CAR))
    write(source / "labelmap.txt", LABEL_MAP)
    done = imported("cvat", source, tmp_path / "root")
    assert "1 imported, 3 refused" in done.output
    accepted, rejected = judged(tmp_path / "root")
    assert accepted == {"a": {"0 background": 4, "1 car": 4, "2 car": 4, "3 sky": 4}}
    assert rules(rejected) == {
        "alone": ["FILE-MISSING"], "other": ["MASK-COLOUR"], "narrow": ["IMPORT-UNREADABLE"],
    }  # fmt: skip
    one = read("cvat", source)["a"]
    assert [s.metadata["isthing"] for s in one.segments] == [False, True, True, False]
    (source / "labelmap.txt").unlink()
    with pytest.raises(SettingsError, match="Segmentation mask"):
        open_source("cvat", source)


def xml(*images: str) -> str:
    return f"<annotations><version>1.1</version><meta/>{''.join(images)}</annotations>"


def image(name: str, *shapes: str) -> str:
    return f'<image id="7" name="{name}.jpg" width="6" height="4">{"".join(shapes)}</image>'


def mask(label: str, rle: str, left: int, top: int, *, z_order: int = 0, more: str = "") -> str:
    return (
        f'<mask label="{label}" source="manual" occluded="0" rle="{rle}" left="{left}" '
        f'top="{top}" width="3" height="2" z_order="{z_order}" {more}></mask>'
    )


def test_masks_and_polygons_lie_in_their_order(tmp_path: Path) -> None:
    polygon = (
        '<polygon label="sky" source="auto" occluded="1" points="0.0,0.0;6.0,0.0;6.0,2.0;0.0,2.0" '
        'z_order="1"><attribute name="weather">wet</attribute></polygon>'
    )
    shapes = (
        mask("car", "0, 1, 1, 4", 1, 1, z_order=2),
        polygon,
        mask("dog", "0, 6", 3, 2, more='group_id="3"'),
        mask("dog", "2, 1, 3", 0, 2, more='group_id="3"'),
        '<box label="x"/><box label="x"/><points label="x"/>',
    )
    path = write(tmp_path / "annotations.xml", xml(image("sub/a", *shapes), image("b")))
    (one,) = read("cvat", path).values()
    assert one.reference_id == "sub/a"
    assert areas(one) == {"0 background": 4, "1 dog": 5, "2 sky": 10, "3 car": 5}
    assert drawn(one)["1 dog"] == [16, 17, 21, 22, 23]
    assert drawn(one)["3 car"] == [7, 9, 13, 14, 15]  # row by row, within its box
    sky = one.segments[2]
    assert (sky.metadata["attributes"], sky.metadata["occluded"]) == ({"weather": "wet"}, True)
    assert "left out: 2 boxes, 1 points" in one.findings[0].message
    assert one.carried == {"image_id": "7"}
    opened = open_source("cvat", path)
    assert isinstance(opened, ScannedFolder)
    assert [left.shown for left in opened.left_out] == ["b.jpg"]
    assert areas(read("cvat", tmp_path, empty_images=True)["b"]) == {"0 background": 24}


def test_what_is_wrong_with_a_shape_is_told_of_its_image_and_the_others_go_through(
    tmp_path: Path,
) -> None:
    bad = {
        "cut": (mask("car", "0, 5", 0, 0), "shape 0 (mask 'car'): its runs fill 5 pixels of 6"),
        "outside": (mask("car", "0, 6", 4, 0), "does not fit the image of 4 x 6"),
        "text": (mask("car", "0, x", 0, 0), "its rle holds ' x'"),
        "line": ('<polygon label="car" points="0,0;1,1"/>', "three or more"),
        "unnamed": (mask("", "0, 6", 0, 0), "shape 0 has no label"),
    }
    images = [image(name, shape) for name, (shape, _) in bad.items()]
    path = write(tmp_path / "a.xml", xml(*images, image("good", mask("car", "0, 6", 0, 0))))
    done = imported("cvat", path, tmp_path / "root")
    assert "1 imported, 5 refused" in done.output
    accepted, rejected = judged(tmp_path / "root")
    assert accepted == {"good": {"0 background": 18, "1 car": 6}}
    assert {name: rejected[name][0][0] for name in bad} == dict.fromkeys(bad, "IMPORT-UNREADABLE")
    for name, (_, words) in bad.items():
        assert words in rejected[name][0][1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (xml(image("a"))[:-9], "not XML, or cut"),
        ("<html/>", "expected <annotations>"),
        (xml('<track id="0"/>'), "CVAT for images 1.1"),
        (xml(), "has no <image>"),
    ],
)
def test_a_file_of_another_kind_is_told(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        open_source("cvat", write(tmp_path / "a.xml", text))
