"""Damaged files of annotation tools: whatever is in them, they are read or refused in words."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segpipe.errors import SegpipeError
from segpipe.formats.imported import Format
from segpipe.formats.opening import open_source
from tests.fixtures.imports import save, write
from tests.formats.test_cvat import image, mask, xml
from tests.formats.test_detectron2 import GT, instance
from tests.formats.test_label_studio import MASK, done, stroke, task
from tests.formats.test_labelme import BOX, file, shape
from tests.formats.test_tracking_benchmarks import line, rows

JUNK: list[Any] = [
    None, True, -1, 0, 1e308, float("nan"), "", [], {}, [[]], [1, "a", None], {"a": [1]}, 10**30,
    "9" * 5000, "\0", "\ud800", -0.5,
]  # fmt: skip
DAMAGES = 60


def places(value: Any) -> list[tuple[Any, Any]]:
    """Containers and keys of all values within a value of JSON."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    found = [(value, key) for key, _ in inner] if isinstance(value, (dict, list)) else []
    return [*found, *(place for holder, key in found for place in places_in(holder[key]))]


def places_in(value: Any) -> list[tuple[Any, Any]]:
    return places(value) if isinstance(value, (dict, list)) else []


def damaged(content: Any, chance: random.Random) -> str:
    changed = copy.deepcopy(content)
    for _ in range(chance.randint(1, 2)):
        holder, key = chance.choice(places(changed) or [({"": 0}, "")])
        holder[key] = copy.deepcopy(chance.choice(JUNK))
    return json.dumps(changed)


def damaged_text(text: str, chance: random.Random) -> str:
    letters = list(text)
    for _ in range(chance.randint(1, 4)):
        letters[chance.randrange(len(letters))] = chance.choice(
            ["", "9" * 5000, "-", '"', "<", "x", " ", "\n", "0", ",", ".", "e308", "nan", "\u0661"]
        )
    return "".join(letters)


TASKS = [
    task(1, "/data/upload/1/0a1b2c3d-x.jpg", done(
        stroke("cat", MASK), stroke(None, MASK, type="brush", id="z"),
        {"type": "labels", "id": "z", "value": {"labels": ["rail"]}},
    )),
]  # fmt: skip
SHAPES = file(
    shape("a", BOX, "rectangle", group_id=3, flags={"x": True}, description="d"),
    shape("b", [[0, 0], [1, 1], [2, 0]], score=0.5), shape("c", BOX, "mask", mask="AAAA"),
)  # fmt: skip
INSTANCES = [
    {"image_id": 5, "instances": [instance(1, [0, 4, 4], 0.5), instance(0, [2, 4, 2], 0.9)]},
    {"image_id": 6, "instances": []},
]
SCORES = [{"name": "a.jpg", "labels": [{"id": "258", "score": 0.5}]}]
IMAGES = xml(image("a", mask("car", "0, 1, 1, 4", 1, 1, z_order=2),
                   '<polygon label="s" points="0,0;6,0;6,2.0" z_order="1"/>'))  # fmt: skip
TRACKS = "\n".join([line(7, 10000, 10), line(7, 1005, 1), line(8, 2001, 2)])
POLYGONS = "0 0 0 0.5 0 0.5 1 0 1 0.25\n1 0 0 1 0 1 1"

Open = Callable[[Path], Format]


def label_studio(place: Path) -> Format:
    return open_source("label-studio", place)


def labelme(place: Path) -> Format:
    return open_source("labelme", place)


def detectron2(place: Path) -> Format:
    known = write(place.with_name("gt.json"), GT)
    return open_source("detectron2", place, categories=known, images=known)


def bdd100k(place: Path) -> Format:
    save(place.parent / "bits" / "a.png", rows((0, 0, 0, 0), (3, 8, 1, 2)))
    return open_source("bdd100k", place.parent / "bits", task="ins-seg", scores=place)


def cvat(place: Path) -> Format:
    return open_source("cvat", place)


def mots(place: Path) -> Format:
    return open_source("mots", place)


def yolo(place: Path) -> Format:
    names = write(place.parent / "names" / "names.txt", "a\nb\n")
    save(place.parent / "images" / "a.png", np.zeros((4, 8), np.uint8))
    return open_source("yolo-seg", place, labels=names, images=place.parent / "images")


@pytest.mark.parametrize(
    ("name", "content", "opened"),
    [
        ("a.json", TASKS, label_studio), ("a.json", SHAPES, labelme),
        ("a.json", INSTANCES, detectron2), ("a.json", SCORES, bdd100k), ("a.xml", IMAGES, cvat),
        ("a.txt", TRACKS, mots), ("a.txt", POLYGONS, yolo),
    ],
)  # fmt: skip
def test_any_damage_is_a_finding_or_an_error_in_words(
    tmp_path: Path, name: str, content: Any, opened: Open
) -> None:
    chance = random.Random(7)
    (tmp_path / "names").mkdir()
    read = 0
    for _ in range(DAMAGES):
        text = damaged_text(content, chance) if isinstance(content, str) else (
            damaged(content, chance)
        )  # fmt: skip
        try:
            for one in opened(write(tmp_path / name, text)).predictions():
                assert one.mask is not None or one.findings
                read += 1
        except SegpipeError as error:
            assert len(str(error)) > 20
    assert read > DAMAGES // 12
