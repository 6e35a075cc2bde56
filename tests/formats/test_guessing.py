"""``segpipe import --guess DIR``: its advice is followed, and imports what is there."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segpipe.formats.guessing import guesses
from tests.fixtures.command_line import invoked
from tests.fixtures.imports import save, write
from tests.formats.test_detectron2 import GT, instance
from tests.formats.test_label_studio import cat, done, task
from tests.formats.test_labelme import BOX, file, shape

STRIPES = np.repeat(np.arange(3, dtype=np.uint8), 4)[:, None].repeat(8, axis=1)


def cvat(place: Path) -> None:
    colours = np.array([(0, 0, 0), (9, 9, 9), (200, 0, 0)], np.uint8)[STRIPES]
    save(place / "SegmentationClass" / "a.png", colours)
    write(place / "labelmap.txt", "# label:color_rgb:parts:actions\nbackground:0,0,0::\na:9,9,9::\n"
          "b:200,0,0::\n")  # fmt: skip


def labelme(place: Path) -> None:
    write(place / "a.json", file(shape("car", BOX, "rectangle")))


def label_studio(place: Path) -> None:
    write(place / "project.json", [task(1, "a.png", done(cat()))])


def coco(place: Path) -> None:
    write(place / "gt.json", GT)
    write(place / "results.json", [instance(3, [0, 4, 4], 0.5)])


def yolo(place: Path) -> None:
    (place / "labels").mkdir()
    save(place / "images" / "a.png", STRIPES)
    write(place / "labels" / "a.txt", "0 0 0 1 0 1 1 0 1 0.5\n")
    write(place / "data.yaml", "names: [cat]\n")


def apart(place: Path) -> None:
    for number in range(2):
        save(place / f"img_cat_{number}.png", (number + 1 == STRIPES).astype(np.uint8) * 255)


def labelled(place: Path) -> None:
    save(place / "a.png", STRIPES)
    write(place / "labels.csv", "index,label\n0,sky\n1,road\n2,car\n")


def mots(place: Path) -> None:
    save(place / "0001" / "000000.png", np.array([[0, 1001], [2003, 10000]], np.uint16))


@pytest.mark.parametrize(
    ("write_to", "below", "expected"),
    [
        (cvat, "", "segpipe import cvat {}"),
        (labelme, "", "segpipe import labelme {}"),
        (label_studio, "", "segpipe import label-studio {}/project.json"),
        (coco, "", "segpipe import coco-results {0}/results.json --categories {0}/gt.json --images "
         "{0}/gt.json"),
        (yolo, "labels", "segpipe import yolo-seg {0}/labels --labels {0}/data.yaml --images "
         "{0}/images"),
        (apart, "", "segpipe import mask-folder {} --objects-apart"),
        (labelled, "", "segpipe import mask-folder {0} --labels {0}/labels.csv"),
        (mots, "", "segpipe import mots {}"),
    ],
)  # fmt: skip
def test_the_first_command_it_names_imports_the_folder(
    tmp_path: Path, write_to: Callable[[Path], None], below: str, expected: str
) -> None:
    place = tmp_path / "given"
    place.mkdir()
    write_to(place)
    came = invoked("import", "--guess", place / below)
    lines = came.output.splitlines()
    assert (came.return_value, lines[0]) == (0, expected.format(place))
    assert lines[1].startswith("  because: ") and lines[2].startswith("  tried: 1 records; ")
    words = shlex.split(lines[0])[1:]
    done = invoked(*words, "--root", tmp_path / "root", "--model-run", "m", "--date", "2026-01-05")
    assert "1 imported, 0 refused" in done.output


def test_what_is_needed_besides_is_said_and_nothing_is_written(tmp_path: Path) -> None:
    save(tmp_path / "given" / "a.png", (STRIPES > 0).astype(np.uint8) * 255)
    came = invoked("import", "--guess", tmp_path / "given")
    assert f"segpipe import mask-folder {tmp_path}/given --value 255=1" in came.output
    assert "needs: --labels FILE" in came.output
    empty = tmp_path / "empty"
    empty.mkdir()
    came = invoked("import", "--guess", empty)
    assert came.return_value == 1 and "nothing that segpipe imports" in came.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "given"]


def kinds(place: Path) -> list[tuple[str, dict[str, Any]]]:
    return [(one.kind, dict(one.options)) for one in guesses(place)]


def test_folders_of_data_sets_are_recognised(data_sets: Path) -> None:
    sample = data_sets / "coco_panoptic" / "sample_data"
    for folder, expected in (
        ("davis17_results", ("mask-folder", {"objects": "object"})),
        ("membrane", ("mask-folder", {"values": ["255=1"]})),
        ("coco_panoptic/sample_data/panoptic_examples_2ch_format",
         ("coco-panoptic", {"two_channel": True})),
    ):  # fmt: skip
        assert expected in kinds(data_sets / folder), folder
    (first, *_) = kinds(sample)
    assert first[0] == "coco-panoptic"
    (results, *_) = guesses(data_sets / "coco_rle")
    assert (results.kind, bool(results.read)) == ("coco-results", True)
