"""Masks with colours that the table does not list: what is said of them, and what then helps."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from segpipe.root import Root
from tests.fixtures.imports import PARTITION, imported, judged, save, write

CVAT = "# label:color_rgb:parts:actions\nbackground:0,0,0::\nroad:128,64,128::\ncar:0,0,142::\n"
LABELS = "index,label\n0,background\n1,road\n2,car\n"
COLOURS = np.array([[0, 0, 0], [128, 64, 128], [0, 0, 142]], np.uint8)
CLASSES = np.zeros((60, 60), np.uint8)
CLASSES[20:] = 1
CLASSES[30:50, 10:40] = 2
MEANT = {"0 background": 1200, "1 road": 1800, "2 car": 600}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    return tmp_path / "source"


def refusal(source: Path, place: Path) -> tuple[str, str, str]:
    """Rule, message and remedy of the one mask, imported with CVAT's table."""
    table = write(place / "labelmap.txt", CVAT)
    assert imported("colour-map", source, place / "before", "--colours", table).return_value == 1
    ((rule, message),) = judged(place / "before")[1]["a"]
    (row,) = Root.open(str(place / "before")).validated(PARTITION).rejected(10).to_pylist()
    assert "import colour-map" not in row["remedy"]  # which is in use already
    assert row["remedy"].removesuffix(".").split(". ")[0] in message
    return rule, message, row["remedy"]


def test_a_colour_that_is_missing_from_the_table_is_added_with_its_label(
    source: Path, tmp_path: Path
) -> None:
    colours = COLOURS[CLASSES]
    colours[30:40, 10:40] = (0, 0, 140)
    save(source / "a.png", colours)
    rule, message, remedy = refusal(source, tmp_path)
    assert rule == "MASK-COLOUR"
    assert "#00008c 300 px (nearest: #00008e car)" in message
    assert "add each to the table" in remedy
    table = write(tmp_path / "more.txt", f"{CVAT}car:0,0,140::\n")
    imported("colour-map", source, tmp_path / "after", "--colours", table)
    accepted, _ = judged(tmp_path / "after")
    assert accepted["a"] == {"0 background": 1200, "1 road": 1800, "2 car": 300, "3 car": 300}


def test_red_and_blue_swapped_are_told_and_swapped_back(source: Path, tmp_path: Path) -> None:
    save(source / "a.png", COLOURS[CLASSES][..., ::-1])
    _, message, remedy = refusal(source, tmp_path)
    assert "red and blue are swapped" in message
    assert "array[..., ::-1]" in remedy
    array = np.asarray(Image.open(source / "a.png"))
    save(source / "a.png", array[..., ::-1])
    table = tmp_path / "labelmap.txt"
    imported("colour-map", source, tmp_path / "after", "--colours", table)
    assert judged(tmp_path / "after") == ({"a": MEANT}, {})


def jpeg(quality: int) -> np.ndarray:
    stored = io.BytesIO()
    Image.fromarray(COLOURS[CLASSES]).save(stored, "JPEG", quality=quality)
    return np.asarray(Image.open(stored))


def resized() -> np.ndarray:
    image = Image.fromarray(COLOURS[CLASSES])
    return np.asarray(image.resize((90, 90), Image.Resampling.BILINEAR))


def anti_aliased() -> np.ndarray:
    image = Image.new("RGB", (240, 240))
    ImageDraw.Draw(image).ellipse((40, 40, 190, 170), fill=(128, 64, 128))
    return np.asarray(image.resize((60, 60), Image.Resampling.BOX))


@pytest.mark.parametrize("given", [jpeg(75), jpeg(95), resized(), anti_aliased()])
def test_smoothed_colours_are_not_told_to_be_added_to_the_table(
    source: Path, tmp_path: Path, given: np.ndarray
) -> None:
    save(source / "a.png", given)
    rule, _, remedy = refusal(source, tmp_path)
    assert rule == "VALUES-INTERPOLATED"
    for words in ("as PNG from the array", "without anti-aliasing", "nearest neighbour"):
        assert words in remedy
    assert "add" not in remedy


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        (CLASSES, "MASK-COLOUR"),
        (CLASSES + 1, "OFF-BY-ONE"),
        (CLASSES * 120, "VALUES-STRETCHED"),
        (np.where(CLASSES == 0, 255, CLASSES), "IGNORE-255"),
    ],
)
def test_index_values_are_told_as_validation_tells_them_and_the_import_named_reads_them(
    source: Path, tmp_path: Path, given: np.ndarray, rule: str
) -> None:
    save(source / "a.png", given.astype(np.uint8))
    found, _, remedy = refusal(source, tmp_path)
    assert found == rule
    (command,) = re.findall("segpipe import ([a-z-]+) --labels FILE", remedy)
    options = re.search(r"--(value|ignore) [0-9a-z.=,]*[0-9a-z]", remedy)
    labels = write(tmp_path / "labels.csv", LABELS)
    given_options = options[0].split() if options else []
    imported(command, source, tmp_path / "after", "--labels", labels, *given_options)
    accepted, rejected = judged(tmp_path / "after")
    assert rejected == {}
    if rule == "IGNORE-255":
        assert accepted["a"] == {"1 road": 1800, "2 car": 600, "255 void": 1200}
    else:
        assert accepted["a"] == MEANT


def test_a_0_255_mask_is_told_by_the_rule_for_it(source: Path, tmp_path: Path) -> None:
    save(source / "a.png", (CLASSES > 0).astype(np.uint8) * 255)
    table = write(tmp_path / "c.csv", "colour,label\n#000000,background\n#ff0000,crack\n")
    imported("colour-map", source, tmp_path / "before", "--colours", table)
    ((rule, message),) = judged(tmp_path / "before")[1]["a"]
    assert rule == "BINARY-255"
    assert "--value 255=1" in message
    labels = write(tmp_path / "labels.csv", "index,label\n0,background\n1,crack\n")
    options = ("--labels", labels, "--value", "255=1")
    imported("mask-folder", source, tmp_path / "after", *options)
    assert judged(tmp_path / "after")[0]["a"] == {"0 background": 1200, "1 crack": 2400}
