"""Text files of YOLO, as Ultralytics 8.3 writes them with ``save_txt`` and ``save_conf``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segpipe.errors import SettingsError
from segpipe.formats.imported import ScannedFolder
from segpipe.formats.opening import open_source
from tests.fixtures.imports import areas, imported, judged, read, rules, save, write

LEFT_HALF = "0 0 0 0.5 0 0.5 1 0 1"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for name in ("a", "b", "c"):
        save(tmp_path / "images" / "val" / f"{name}.png", np.zeros((4, 8), np.uint8))
    return tmp_path / "images"


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    return write(tmp_path / "data.yaml", "path: ../x\nnc: 2\nnames: [cat, 'no']\n")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "labels" / "val").mkdir(parents=True)
    return tmp_path / "labels"


def test_a_line_is_an_instance_and_the_higher_confidence_is_on_top(
    source: Path, images: Path, labels: Path
) -> None:
    write(source / "val" / "a.txt", f"{LEFT_HALF} 0.25\n1 0.25 0 1 0 1 0.5 0.25 0.5 0.75\n\n")
    write(source / "val" / "b.txt", "")
    given = {"labels": labels, "images": images}
    found = read("yolo-seg", source, **given)
    assert areas(found["val/a"]) == {"0 background": 8, "1 cat": 16 - 4, "2 no": 12}
    assert [one.confidence for one in found["val/a"].segments] == [None, 0.25, 0.75]
    assert areas(found["val/b"]) == {"0 background": 32}
    opened = open_source("yolo-seg", source, **given)
    assert isinstance(opened, ScannedFolder)
    assert [one.shown for one in opened.left_out] == ["val/c"]
    found = read("yolo-seg", source, empty_images=True, **given)
    assert list(found) == ["val/a", "val/b", "val/c"]
    assert found["val/c"].carried == {"sequence": "val", "frame": None}


def test_an_image_that_is_shown_turned_has_its_sides_as_shown(
    source: Path, tmp_path: Path, labels: Path
) -> None:
    exif = Image.Exif()
    exif[274] = 6
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (8, 4)).save(tmp_path / "photos" / "a.jpg", exif=exif)
    write(source / "a.txt", LEFT_HALF)
    one = read("yolo-seg", source, labels=labels, images=tmp_path / "photos")["a"]
    assert one.pixels is not None and one.pixels.shape == (8, 4)


def test_what_is_wrong_with_a_line_is_told_of_it_and_the_others_go_through(
    source: Path, tmp_path: Path
) -> None:
    classes = write(tmp_path / "classes.txt", "cat\nno\n")
    lines = {
        "box": ("0 0.5 0.5 1 1", "line 1 has 4 numbers: a box"),
        "pixels": (f"{LEFT_HALF}\n0 0 0 40 0 40 40", "line 2 holds 40"),
        "class": ("2 0 0 1 0 1 1", "none of the 2"),
        "text": ("0 0 0 1 0 1 x", "line 1 holds 'x'"),
        "nowhere": (LEFT_HALF, "--images has no image of that name"),
        "good": (LEFT_HALF, ""),
    }
    for name, (line, _) in lines.items():
        write(source / f"{name}.txt", line)
    listed = [
        {"id": k, "file_name": f"{name}.jpg", "height": 2, "width": 4}
        for k, name in enumerate(lines) if name != "nowhere"
    ]  # fmt: skip
    images = write(tmp_path / "images.json", {"images": listed})
    done = imported("yolo-seg", source, tmp_path / "root", "--labels", classes, "--images", images)
    assert "1 imported, 5 refused" in done.output
    accepted, rejected = judged(tmp_path / "root")
    assert accepted == {"good": {"0 background": 4, "1 cat": 4}}
    assert set(map(tuple, rules(rejected).values())) == {("IMPORT-UNREADABLE",)}
    for name, (_, words) in lines.items():
        assert name == "good" or words in rejected[name][0][1]


def test_a_label_map_in_yaml_is_one_or_is_told(tmp_path: Path, source: Path, images: Path) -> None:
    write(source / "a.txt", LEFT_HALF)
    for text in ("names: {0: cat}", "names: ['cat']", "0: cat"):
        labels = write(tmp_path / "x.yaml", text)
        assert len(open_source("yolo-seg", source, labels=labels, images=images)) == 1
    for text, words in (("names: [", "not valid YAML"), ("names: [cat, no]", "quotation marks")):
        labels = write(tmp_path / "x.yaml", text)
        with pytest.raises(SettingsError, match=words):
            open_source("yolo-seg", source, labels=labels, images=images)
