"""The policies of known data sets: their names, kinds and colours, and what passes with them."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import segpipe
from segpipe.formats.cityscapes import LABELS
from tests.fixtures.landing import PARTITION, LandingWriter
from tests.fixtures.places import PROJECT

POLICIES = PROJECT / "examples" / "policies"
#: Folder -> classes that are things, classes that are stuff, and the table of the values of masks.
KINDS = {
    "cityscapes": (8, 11, "train_ids.csv"),
    "coco_panoptic": (80, 53, "labels.csv"),
    "ade20k": (115, 35, "labels.csv"),
}
#: Folder -> value and label of what is ignored.
IGNORED = {
    "cityscapes": (255, "void"), "coco_panoptic": (0, "void"), "ade20k": (0, "other"),
}  # fmt: skip
every_policy = pytest.mark.parametrize("name", KINDS)


def rows_of(name: str, table: str = "") -> list[dict[str, str]]:
    """The rows of a table of labels beside a policy."""
    with (POLICIES / name / (table or KINDS[name][2])).open(newline="") as lines:
        return [*csv.DictReader(lines)]


def root_of(name: str, folder: Path) -> segpipe.Root:
    """A root with a copy of the policy."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(POLICIES / name / "segpipe.toml", folder)
    return segpipe.Root.open(folder)


def findings_of(root: segpipe.Root) -> list[dict[str, Any]]:
    """The findings of rejected rows that reject."""
    tables = Path(root.tables(PARTITION).path)
    rows = pq.read_table(tables / "rejected.parquet", partitioning=None).to_pylist()
    return [row for row in rows if row["severity"] == "reject"]


def mask_of(values: list[int]) -> np.ndarray:
    """All values, a square each, in no order: in a ramp they would look interpolated."""
    shuffled = np.random.default_rng(0).permutation(np.array(values, np.uint8))
    return np.kron(shuffled[None, :], np.ones((8, 8), np.uint8))


@every_policy
def test_the_policy_has_every_class_its_kind_and_its_colour(name: str) -> None:
    settings = segpipe.Settings.load(str(POLICIES / name))
    policy, rows = settings.policies.common, rows_of(name)
    things, stuff, _ = KINDS[name]
    assert Counter(policy.taxonomy.values()) == {"thing": things, "stuff": stuff}
    kinds = {"1": "thing", "0": "stuff"}
    assert {row["label"]: kinds[row["isthing"]] for row in rows} == policy.taxonomy
    assert {row["label"]: row["colour"] for row in rows} == settings.policies.colours
    assert len({row["index"] for row in rows}) == things + stuff


@every_policy
def test_where_the_classes_are_from_and_on_what_terms_is_told(name: str) -> None:
    header = (POLICIES / name / "segpipe.toml").read_text("utf-8").partition("\n\n")[0]
    assert {line[:1] for line in header.splitlines()} == {"#"}
    words = " ".join(header.replace("#", " ").split())
    told = re.search(
        r"from (.+?) of (https://github\.com/[\w/]+): "
        r"(.+ License.*), Copyright \(c\) (\d+,? [\w ]+); its text is in \.\./LICENCES\.txt",
        words,
    )
    assert told, words
    _, source, licence, holder = told.groups()
    page = (POLICIES.parent / "README.md").read_text("utf-8")
    row = f"({source}) | {licence}, (c) {holder.replace(',', '')} |"
    assert row in page
    text = (POLICIES / "LICENCES.txt").read_text("utf-8")
    (part,) = [one for one in text.split("\n\n\n") if one.startswith(f"{name}/: ")]
    assert source in part
    year, _, who = holder.replace(",", "").partition(" ")
    assert re.search(rf"Copyright \(c\) \[?{year}\]?,? \[?{who}\]?\n", part)
    assert "WITHOUT WARRANTY OF ANY KIND" in part or "IMPLIED WARRANTIES" in part


@every_policy
def test_a_mask_of_all_classes_is_accepted_and_what_is_ignored_is_marked(
    name: str, landing: LandingWriter, tmp_path: Path
) -> None:
    root = root_of(name, landing.root)
    ignored_value, ignored_label = IGNORED[name]
    values = [int(row["index"]) for row in rows_of(name)]
    folder = tmp_path / "masks"
    folder.mkdir()
    Image.fromarray(mask_of([*values, ignored_value])).save(folder / "all.png")
    imported = segpipe.import_masks(
        "mask-folder",
        folder,
        root=root,
        model_run=PARTITION.model_run,
        date=PARTITION.date,
        labels=POLICIES / name / KINDS[name][2],
        ignore={ignored_value: ignored_label},
    )
    assert (imported.imported, imported.refused) == (1, 0)
    summary = root.materialize(PARTITION)
    assert (summary.accepted, summary.rejected, summary.findings) == (1, 0, {})
    root.publish(PARTITION)
    (row,) = root.catalog.predictions().to_pylist()
    by_index = {one["index"]: one for one in row["segments"]}
    assert set(by_index) == {*values, ignored_value}
    assert json.loads(by_index[ignored_value]["metadata"])["ignore"] is True
    assert root.colours(["person"])["person"] == root.settings.policies.colours["person"]


@every_policy
def test_an_ignored_value_needs_no_segment(name: str, landing: LandingWriter) -> None:
    root = root_of(name, landing.root)
    value, label = IGNORED[name]
    person = next(int(row["index"]) for row in rows_of(name) if row["label"] == "person")
    with segpipe.ManifestWriter(root, PARTITION.model_run, PARTITION.date) as writer:
        writer.add("a", mask_of([value, person]), [segpipe.Segment("person", person)])
    summary = root.materialize(PARTITION)
    assert (summary.accepted, summary.findings) == (1, {})
    root.publish(PARTITION)
    (row,) = root.catalog.predictions().to_pylist()
    assert {one["index"]: one["label"] for one in row["segments"]} == {
        value: label, person: "person",
    }  # fmt: skip


@every_policy
@pytest.mark.parametrize(
    ("segments", "rule", "words"),
    [
        ({1: "person", 200: "persn"}, "LABEL-UNKNOWN", "person"),
        ({1: "person"}, "VALUE-NO-SEGMENT", "200"),
    ],
)
def test_what_the_data_set_does_not_have_is_rejected_by_name(
    name: str, landing: LandingWriter, segments: Mapping[int, str], rule: str, words: str
) -> None:
    root = root_of(name, landing.root)
    declared = [segpipe.Segment(label, index) for index, label in segments.items()]
    with segpipe.ManifestWriter(root, PARTITION.model_run, PARTITION.date) as writer:
        with pytest.raises(segpipe.SegpipeError, match=rule):  # at the line that made it
            writer.add("a", mask_of([1, 200]), declared)
        writer.add("a", mask_of([1, 200]), declared, check=False)
    summary = root.materialize(PARTITION)
    assert (summary.accepted, summary.rejected) == (0, 1)
    (found,) = findings_of(root)
    assert found["rule"] == rule
    assert words in found["message"]


def test_cityscapes_ground_truth_has_its_own_ids_and_leaves_out_what_is_not_evaluated(
    tmp_path: Path,
) -> None:
    root, folder = root_of("cityscapes", tmp_path / "root"), tmp_path / "gtFine"
    folder.mkdir()
    values = [int(row["index"]) for row in rows_of("cityscapes", "label_ids.csv")]
    assert values == [*range(34)]
    Image.fromarray(mask_of(values)).save(folder / "aachen_labelIds.png")
    policy = root.settings.policies.of("gtFine")
    segpipe.import_masks(
        "mask-folder",
        folder,
        root=root,
        model_run="gtFine",
        date=PARTITION.date,
        labels=POLICIES / "cityscapes" / "label_ids.csv",
        ignore=policy.ignore_values,
    )
    summary = root.materialize("gtFine", PARTITION.date)
    assert (summary.accepted, summary.rejected, summary.findings) == (1, 0, {})
    root.publish("gtFine", PARTITION.date)
    (row,) = root.catalog.predictions().to_pylist()
    ignored = {one["label"] for one in row["segments"] if json.loads(one["metadata"]).get("ignore")}
    assert ignored == {label.name for label in LABELS.values() if label.ignored}
    evaluated = {one["label"] for one in row["segments"]} - ignored
    assert evaluated == {*policy.taxonomy}


def test_cityscapes_tables_are_those_of_the_importer() -> None:
    rows = rows_of("cityscapes", "label_ids.csv")
    assert {
        int(row["index"]): (row["label"], row["isthing"] == "1") for row in rows
    } == {id: (label.name, label.has_instances) for id, label in LABELS.items()}  # fmt: skip
    evaluated = [label.name for label in LABELS.values() if not label.ignored]
    assert [row["label"] for row in rows_of("cityscapes")] == evaluated
    colours = {row["label"]: row["colour"] for row in rows}
    assert {row["label"]: row["colour"] for row in rows_of("cityscapes")}.items() <= colours.items()


def coco(data: Path) -> dict[str, Any]:
    folder = data / "coco_panoptic"
    samples = folder / "sample_data"
    return {
        "kind": "coco-panoptic",
        "source": samples / "panoptic_examples",
        "annotations": samples / "panoptic_examples.json",
        "categories": folder / "panoptic_coco_categories.json",
    }


def cityscapes(data: Path) -> dict[str, Any]:
    folder = data / "cityscapes" / "datasets" / "cityscapes"
    return {
        "kind": "cityscapes", "source": folder / "train_inst", "ignore_unevaluated": True,
    }  # fmt: skip


def cityscapes_classes(data: Path) -> dict[str, Any]:
    policy = segpipe.Settings.load(str(POLICIES / "cityscapes")).policies.of("gtFine")
    return {
        "kind": "mask-folder",
        "source": data / "cityscapes" / "datasets" / "cityscapes" / "train_label",
        "labels": POLICIES / "cityscapes" / "label_ids.csv",
        "ignore": policy.ignore_values,
        "model_run": "gtFine",
    }


def ade20k(data: Path) -> dict[str, Any]:
    return {
        "kind": "mask-folder",
        "source": data / "ade20k" / "sampleData" / "annotations",
        "labels": POLICIES / "ade20k" / "labels.csv",
        "ignore": {0: "other"},
    }


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "source", "count"),
    [
        ("coco_panoptic", coco, 2),
        ("cityscapes", cityscapes, 8),
        ("cityscapes", cityscapes_classes, 8),
        ("ade20k", ade20k, 3),
    ],
)
def test_the_data_sets_own_files_pass_with_their_policy(
    real_data: Path,
    tmp_path: Path,
    name: str,
    source: Callable[[Path], dict[str, Any]],
    count: int,
) -> None:
    root = root_of(name, tmp_path / "root")
    given = {"model_run": PARTITION.model_run, **source(real_data)}
    imported = segpipe.import_masks(root=root, date=PARTITION.date, **given)
    assert (imported.imported, imported.refused) == (count, 0)
    summary = root.materialize(given["model_run"], PARTITION.date)
    assert (summary.accepted, summary.rejected, summary.findings) == (count, 0, {})


@pytest.mark.realdata
def test_names_kinds_and_colours_are_those_of_the_sources(real_data: Path) -> None:
    categories = json.loads(
        (real_data / "coco_panoptic" / "panoptic_coco_categories.json").read_text()
    )
    assert [[*row.values()] for row in rows_of("coco_panoptic")] == [
        [
            str(one["id"]),
            one["name"],
            str(one["isthing"]),
            "#{:02x}{:02x}{:02x}".format(*one["color"]),
        ]
        for one in categories
    ]
    ade = real_data / "ade20k"
    lines = (ade / "objectInfo150.txt").read_text().splitlines()[1:]
    names = [line.split("\t")[-1].split(",")[0].strip() for line in lines]
    with (ade / "objectInfo150.csv").open(newline="") as table:
        stuff = [row["Stuff"] == "1" for row in csv.DictReader(table)]
    assert [(row["index"], row["label"], row["isthing"] == "0") for row in rows_of("ade20k")] == [
        (str(number), name, is_stuff)
        for number, (name, is_stuff) in enumerate(zip(names, stuff, strict=True), 1)
    ]
