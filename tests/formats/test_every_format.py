"""One scene in every import format, and what every export format says of it.

The scene is written without segpipe, and exports are read without it. Both tables are held against
the registries: a new format has to be added here.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from pycocotools import mask as coco

from segpipe.formats.exports import ExportFormat
from segpipe.formats.opening import FORMATS
from segpipe.root import Root
from tests.fixtures import one_scene
from tests.fixtures.command_line import invoked
from tests.fixtures.imports import PARTITION, imported, judged
from tests.fixtures.one_scene import AREAS, OF_OBJECTS, WRITERS

Areas = dict[str, list[int]]
#: What the scene's objects are called, and what is none of them.
PERSON = {"pedestrian": "person"}
NO_OBJECT = {"background", "void", "road"}
OBJECTS: Areas = {"car": [AREAS[1], AREAS[2]], "person": [AREAS[3]]}
CLASSES: Areas = {label: [sum(areas)] for label, areas in OBJECTS.items()}


def import_scene(kind: str, folder: Path) -> Areas:
    """Import the scene in a format and validate it; label -> areas of its Segments."""
    source, options = WRITERS[kind](folder / "source")
    given = [part for option in options.items() for part in option]
    assert "1 imported, 0 refused" in imported(kind, source, folder / "root", *given).output
    accepted, rejected = judged(folder / "root")
    assert rejected == {}
    (found,) = accepted.values()
    areas: Areas = defaultdict(list)
    for name, area in found.items():
        label = name.split(" ", 1)[1]
        if label not in NO_OBJECT:
            areas[PERSON.get(label, label)].append(area)
    return {label: sorted(one) for label, one in areas.items()}


def test_the_scene_is_written_in_every_import_format() -> None:
    assert WRITERS.keys() == FORMATS.keys()


@pytest.mark.parametrize("kind", WRITERS)
def test_the_scene_has_the_same_areas_in_every_format(kind: str, tmp_path: Path) -> None:
    assert import_scene(kind, tmp_path) == (OBJECTS if kind in OF_OBJECTS else CLASSES)


# --- exports: each is read as its users do


def _coco_panoptic(out: Path) -> Areas:
    content = json.loads((out / "panoptic.json").read_text())
    names = {one["id"]: one["name"] for one in content["categories"]}
    (annotation,) = content["annotations"]
    picture = np.asarray(Image.open(out / "panoptic" / annotation["file_name"])).astype(np.int64)
    ids = picture @ [1, 256, 65536]
    areas: Areas = defaultdict(list)
    for one in annotation["segments_info"]:
        assert one["area"] == (ids == one["id"]).sum()
        areas[names[one["category_id"]]].append(one["area"])
    return areas


def _mask_folder(out: Path) -> Areas:
    (sidecar,) = (out / "masks").glob("*.json")
    (path,) = (out / "masks").glob("*.png")
    pixels = np.asarray(Image.open(path))
    areas: Areas = defaultdict(list)
    for one in json.loads(sidecar.read_text())["segments"]:
        areas[one["label"]].append(int((pixels == one["index"]).sum()))
    return areas


def _coco_results(out: Path) -> Areas:
    truth = json.loads((out / "instances.json").read_text())
    names = {one["id"]: one["name"] for one in truth["categories"]}
    areas: Areas = defaultdict(list)
    for one in json.loads((out / "results.json").read_text()):
        areas[names[one["category_id"]]].append(int(coco.area(one["segmentation"])))
    return areas


def _label_studio(out: Path) -> Areas:
    (task,) = json.loads((out / "tasks.json").read_text())
    (prediction,) = task["predictions"]
    areas: Areas = defaultdict(list)
    for one in prediction["result"]:
        (label,) = one["value"]["brushlabels"]
        areas[label].append(_brushed(one["value"]["rle"]))
    return areas


def _brushed(runs: list[int]) -> int:
    """Pixels of Label Studio's runs of RGBA bytes whose alpha is not 0, decoded bit by bit."""
    bits = "".join(f"{byte:08b}" for byte in runs)
    place = 0

    def number(width: int) -> int:
        nonlocal place
        place += width
        return int(bits[place - width : place], 2)

    total, width = number(32), number(5) + 1
    sizes = [number(4) + 1 for _ in range(4)]
    values: list[int] = []
    while len(values) < total:
        repeated = number(1)
        length = number(sizes[number(2)]) + 1
        values += [number(width)] * length if repeated else [number(width) for _ in range(length)]
    return sum(value > 0 for value in values[3::4])


def _yolo_seg(out: Path) -> Areas:
    names = yaml.safe_load((out / "data.yaml").read_text())["names"]
    (path,) = (out / "labels").glob("**/*.txt")
    areas: Areas = defaultdict(list)
    for line in path.read_text().splitlines():
        kind, *shares = line.split()[: 1 + len(line.split()[1:]) // 2 * 2]
        sides = (one_scene.WIDTH, one_scene.HEIGHT)
        corners = [float(share) * sides[place % 2] for place, share in enumerate(shares)]
        runs = coco.frPyObjects([corners], one_scene.HEIGHT, one_scene.WIDTH)
        areas[names[int(kind)]].append(int(coco.area(coco.merge(runs))))
    return areas


READERS: Mapping[ExportFormat, Callable[[Path], Areas]] = {
    ExportFormat.COCO_PANOPTIC: _coco_panoptic,
    ExportFormat.MASK_FOLDER: _mask_folder,
    ExportFormat.COCO_RESULTS: _coco_results,
    ExportFormat.LABEL_STUDIO: _label_studio,
    ExportFormat.YOLO_SEG: _yolo_seg,
}


def test_every_export_is_read_without_segpipe(tmp_path: Path) -> None:
    assert READERS.keys() == {*ExportFormat}
    import_scene("coco-panoptic", tmp_path)
    Root.open(str(tmp_path / "root")).publish(PARTITION)
    for kind, areas in READERS.items():
        out = tmp_path / kind
        where = ("--root", tmp_path / "root", "--model-run", PARTITION.model_run)
        invoked("export", *where, "--as", kind, out)
        found = {label: sorted(one) for label, one in areas(out).items() if label not in NO_OBJECT}
        assert found == OBJECTS, kind
