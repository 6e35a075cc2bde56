"""Every rule of the catalogue finds what it is for, with the severity that it says.

Defects of a mask or its row are in ``tests/fixtures/defects.py``, and are tried in
``test_injected_defects.py``. What else a rule can need is made here: settings, other rows,
published ground truth, an import. A new rule has to be in one of the two tables.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pycocotools import mask as coco

from segpipe.manifests.partition import Partition
from segpipe.root import Root
from segpipe.validation.rules import CATALOGUE
from tests.fixtures import one_scene
from tests.fixtures.defects import DEFECTS
from tests.fixtures.imports import imported
from tests.fixtures.landing import PARTITION, LandingWriter, segment_cells
from tests.fixtures.png import png

TRUTH = Partition("ground-truth", PARTITION.date)
Rows = list[dict[str, Any]]
Make = Callable[[LandingWriter], Rows]


# --- rows under settings


def row(**other: Any) -> Make:
    """A row with values 0, 1 and 2, changed."""
    return lambda landing: [{**landing.row("a"), **other}]


def with_pdf(pdf: Mapping[str, float], **metadata: float) -> Make:
    """A row whose second Segment, Road, has a class PDF."""
    given = {"class_pdf": pdf, **metadata}
    cells = [
        {"label": "Sky", "index": 0, "metadata": "{}"},
        {"label": "Road", "index": 1, "metadata": json.dumps(given)},
    ]
    return lambda landing: [landing.row("a", (0, 1), segments=cells)]


def low_bits(landing: LandingWriter) -> Rows:
    """A mask of 4 bits per pixel."""
    given = landing.row("a")
    path = landing.folder(PARTITION) / given["mask_url"]
    path.write_bytes(png(np.repeat([[0, 1, 2]], 2, axis=0), depth=4))
    return [{**given, "height": 2, "width": 3}]


def held_runs(landing: LandingWriter) -> Rows:
    """Run lengths in the row that do not fill its size."""
    return [{**landing.row("a"), "mask_url": None, "mask": {"size": [6, 8], "counts": [3, 4]}}]


def listed_items(landing: LandingWriter) -> Rows:
    """An item that is not in the policy's list."""
    pq.write_table(pa.table({"reference_id": ["b"]}), landing.root / "items.parquet")
    return [landing.row("a")]


#: Rule -> settings, and the rows of a manifest.
ROWS: dict[str, tuple[str, Make]] = {
    "TOO-LARGE": ("[policy]\nmax_pixels = 10\n", row()),
    "MASK-TWICE": ("", row(mask=png(np.zeros((6, 8), np.uint8)))),
    "MASK-UNREADABLE": ("", held_runs),
    "CONV-LOWBIT": ("", low_bits),
    "LABEL-UNKNOWN": ('[policy.taxonomy]\n"class 0" = "stuff"\n"class 1" = "stuff"\n', row()),
    "TYPE-MISMATCH": (
        '[policy]\ntask = "panoptic"\ntaxonomy = {class = "stuff"}\n',
        row(segments=[{**one, "label": "class"} for one in segment_cells((0, 1, 2))]),
    ),
    "PDF-RANGE": ("", with_pdf({"Road": 70, "Sky": 30})),
    "PDF-SUM": ("", with_pdf({"Road": 0.7, "Sky": 0.2})),
    "PDF-LABEL-UNKNOWN": (
        '[policy.taxonomy]\nRoad = "stuff"\nSky = "stuff"\n',
        with_pdf({"Road": 0.7, "Ski": 0.3}),
    ),
    "PDF-ARGMAX": ("", with_pdf({"Road": 0.3, "Sky": 0.7})),
    "PDF-CONFIDENCE": ("", with_pdf({"Road": 0.7, "Sky": 0.3}, confidence=0.9)),
    "REF-UNKNOWN": ('[policy]\nitems = "items.parquet"\n', listed_items),
    "REF-DUPLICATE": ("", lambda landing: [landing.row("a"), landing.row("a", (0, 3), name="b")]),
    "ROW-TOO-LARGE": ("[policy]\nmax_row_bytes = 20000\n", row(note="x" * 20_001)),
    "DUPLICATE-MASK": ("", lambda landing: [landing.row("a"), landing.row("b")]),
    "METADATA-TYPE": ('[metadata]\nconfidence_of = "int"\n', row(segments=[
        {**one, "metadata": '{"confidence_of": "high"}'} for one in segment_cells((0, 1, 2))
    ])),
    "SIZE-INVALID": ("", row(height=-1)),
}  # fmt: skip


# --- beside published ground truth


def street() -> np.ndarray:
    """Sky over road and pavement with a car in between, 40 x 60."""
    mask = np.zeros((40, 60), np.uint8)
    mask[15:, :35] = 1
    mask[15:, 35:] = 2
    mask[18:26, 20:32] = 3
    return mask


def street_row(landing: LandingWriter, mask: np.ndarray, partition: Partition) -> dict[str, Any]:
    labels = {0: "sky", 1: "road", 2: "pavement", 3: "car"}
    present = np.unique(mask).tolist()
    return {
        "reference_id": "a",
        "mask_url": landing.mask("a", mask, partition),
        "segments": [{"label": labels[i], "index": i} for i in present],
        "height": 40,
        "width": 60,
    }


def road_everywhere() -> np.ndarray:
    """The street with the pavement's pixels as road."""
    mask = street()
    mask[mask == 2] = 1
    return mask


#: Rule -> the mask that is predicted where the street is the truth.
PREDICTED = {"IDENTICAL-TO-TRUTH": street, "INDEX-MIXED": road_everywhere}


# --- imports


def panoptic(change: Callable[[list[dict[str, Any]]], object], folder: Path) -> list[object]:
    """The scene in COCO's panoptic form, its segments_info changed."""
    source, options = one_scene.coco_panoptic(folder)
    path = Path(str(options["--annotations"]))
    content = json.loads(path.read_text())
    change(content["annotations"][0]["segments_info"])
    path.write_text(json.dumps(content))
    return ["coco-panoptic", source, "--annotations", path]


def overlapping(order: str, folder: Path) -> list[object]:
    """The scene as results, with an object behind the last, of which a line is seen."""
    source, options = one_scene.coco_results(folder)
    content = json.loads(source.read_text())
    behind = np.zeros((one_scene.HEIGHT, one_scene.WIDTH), np.uint8, order="F")
    behind[6:21, 24:28] = 1
    runs = coco.encode(behind)
    runs["counts"] = runs["counts"].decode()
    other = {**content[-1], "category_id": 1, "score": 0.1, "segmentation": runs}
    source.write_text(json.dumps([*content, other]))
    given = [part for option in options.items() for part in option]
    return ["coco-results", source, *given, "--overlaps", order]


def merged(folder: Path) -> list[object]:
    """300 ids in an array."""
    folder.mkdir()
    np.save(folder / "a.npy", np.arange(300, dtype=np.int32).reshape(10, 30))
    return ["arrays", folder, "--objects", "cell", "--over-256", "keep-best"]


def annotated(change: Callable[[dict[str, Any]], object], folder: Path) -> list[object]:
    """The scene in labelme's form, its file changed."""
    source, _ = one_scene.labelme(folder)
    (path,) = source.glob("*.json")
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return ["labelme", source]


POINT = {"label": "x", "points": [[1, 1]], "group_id": None, "shape_type": "point", "flags": {}}
#: Rule -> what is imported: the format, its source and options.
IMPORTS: dict[str, Callable[[Path], list[object]]] = {
    "AREA-MISMATCH": lambda folder: panoptic(lambda one: one[0].update(area=41), folder),
    "ID-NOT-IN-PNG": lambda folder: panoptic(lambda one: one.append({**one[0], "id": 5}), folder),
    "OVERLAP-HIDDEN": lambda folder: overlapping("score", folder),
    "OVERLAP-REFUSED": lambda folder: overlapping("error", folder),
    "INSTANCES-MERGED": merged,
    "IMPORT-LEFT-OUT": lambda folder: annotated(lambda one: one["shapes"].append(POINT), folder),
    "IMPORT-UNREADABLE": lambda folder: annotated(lambda one: one.pop("shapes"), folder),
}


# --- what was found


def test_every_rule_is_in_one_of_the_tables() -> None:
    by_defects = {rule for _, rules in DEFECTS.values() for rule in rules}
    others = [*ROWS, *PREDICTED, *IMPORTS]
    assert sorted(CATALOGUE) == sorted(by_defects | {*others})
    assert len(others) == len({*others} - by_defects)


def severities(root: Root) -> dict[str, str]:
    """Rule -> severity, of all that was found in the partition."""
    folder = Path(root.tables(PARTITION).path)
    accepted = pq.read_table(folder / "validated.parquet", partitioning=None)["findings"]
    found = [one for findings in accepted.to_pylist() for one in findings]
    found += pq.read_table(folder / "rejected.parquet", partitioning=None).to_pylist()
    return {one["rule"]: one["severity"] for one in found}


def opened(landing: LandingWriter, settings: str = "") -> Root:
    landing.root.mkdir(parents=True, exist_ok=True)
    (landing.root / "segpipe.toml").write_text(settings)
    return Root.open(str(landing.root))


@pytest.mark.parametrize("id", ROWS)
def test_a_row_made_for_a_rule_is_found_by_it_alone(landing: LandingWriter, id: str) -> None:
    settings, make = ROWS[id]
    root = opened(landing, settings)
    landing.manifest(make(landing))
    root.materialize(PARTITION)
    assert severities(root) == {id: CATALOGUE[id].severity}


@pytest.mark.parametrize("id", PREDICTED)
def test_a_prediction_is_held_against_the_published_truth(landing: LandingWriter, id: str) -> None:
    root = opened(landing, '[evaluation]\nground_truth = "ground-truth"\n')
    landing.manifest([street_row(landing, street(), TRUTH)], TRUTH)
    root.materialize(TRUTH)
    root.publish(TRUTH)
    landing.manifest([street_row(landing, PREDICTED[id](), PARTITION)])
    root.materialize(PARTITION)
    assert severities(root) == {id: CATALOGUE[id].severity}


@pytest.mark.parametrize("id", IMPORTS)
def test_an_import_made_for_a_rule_is_found_by_it_alone(tmp_path: Path, id: str) -> None:
    kind, source, *options = IMPORTS[id](tmp_path / "source")
    imported(str(kind), Path(str(source)), tmp_path / "root", *options)
    root = Root.open(str(tmp_path / "root"))
    root.materialize(PARTITION)
    assert severities(root) == {id: CATALOGUE[id].severity}


@pytest.mark.parametrize("severity", ["warn", "off"])
def test_a_policys_severity_is_what_the_tables_say(landing: LandingWriter, severity: str) -> None:
    root = opened(landing, f'[policy.severities]\nDUPLICATE-MASK = "{severity}"\n')
    landing.manifest([landing.row("a"), landing.row("b")])
    root.materialize(PARTITION)
    assert severities(root) == ({} if severity == "off" else {"DUPLICATE-MASK": severity})
