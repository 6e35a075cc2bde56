"""Data sets with right Segments: every mask accepted, and not a word said that is not true.

The facts were computed without segpipe. No mask of these sets is single-valued and no two are
equal (the facts say so, and are asked), so there is nothing to warn of.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from segpipe.manifests.partition import Partition
from segpipe.root import Root
from segpipe.validation.summary import Summary
from tests.fixtures.landing import LandingWriter

PARTITION = Partition("clean", "2026-01-05")


@dataclass(frozen=True)
class CleanSet:
    """A set of masks and what a model run with right Segments would declare for it.

    Attributes:
        facts: its name in ``facts.json``.
        taxonomy: every class there is, by index; the sets' own numbering.
        ignored: ``ignore_values`` of the policy; they stand in no row's Segments.
        task: of the policy.
        converted: the rule that reports how the set's PNGs are read, where they are converted.
    """

    facts: str
    taxonomy: Mapping[int, str]
    ignored: Mapping[int, str] = field(default_factory=dict)
    task: str = "semantic"
    converted: str | None = None

    def policy(self) -> str:
        """``segpipe.toml``'s policy: taxonomy, task and ignored values."""
        ignored = ", ".join(
            f"{value} = {json.dumps(label)}" for value, label in self.ignored.items()
        )
        kind = "stuff" if self.task == "semantic" else "thing"
        labels = "".join(
            f"{json.dumps(label)} = '{kind}'\n" for label in set(self.taxonomy.values())
        )
        return (
            f"[policy]\ntask = '{self.task}'\nignore_values = {{{ignored}}}\n"
            f"[policy.taxonomy]\n{labels}"
        )


def numbered(count: int, name: str = "class") -> dict[int, str]:
    """``count`` classes numbered from 0."""
    return {index: f"{name} {index}" for index in range(count)}


def clean_sets(facts: Mapping[str, Any]) -> dict[str, CleanSet]:
    """The sets, with the label maps their publishers give where the facts hold them."""

    def named(name: str) -> dict[int, str]:
        return {int(index): label for index, label in facts[name]["labelmap"].items()}

    voc = named("labelme_class")
    return {
        "camvid train": CleanSet("camvid_train", named("camvid_train")),
        "camvid val": CleanSet("camvid_val", named("camvid_val")),
        "camvid, void ignored": CleanSet(
            "camvid_train",
            {i: n for i, n in named("camvid_train").items() if i != 11},
            {11: "void"},
        ),
        "ade20k": CleanSet("ade20k_annotations", {0: "unlabelled", **named("ade20k_annotations")}),
        "ade20k, 0 ignored": CleanSet(
            "ade20k_annotations",
            {i: n for i, n in named("ade20k_annotations").items() if i != 0},
            {0: "unlabelled"},
        ),
        "cityscapes": CleanSet("cityscapes_train_labelIds", named("cityscapes_train_labelIds")),
        "coco-stuff": CleanSet("cocostuff_train_label", numbered(182), {255: "void"}),
        "davis": CleanSet(
            "davis17_osvos_dev", numbered(6, "object"), task="instance", converted="CONV-PALETTE"
        ),
        "labelme class": CleanSet("labelme_class", voc, converted="CONV-PALETTE"),
        "labelme class, void ignored": CleanSet(
            "labelme_class",
            {i: n for i, n in voc.items() if i != 255},
            {255: "void"},
            converted="CONV-PALETTE",
        ),
        "labelme object": CleanSet(
            "labelme_object", numbered(8, "object"), task="instance", converted="CONV-PALETTE"
        ),
        "ocular": CleanSet("ocular_dev", named("ocular_dev")),
        "membrane": CleanSet("membrane_label", {0: "membrane", 255: "cell"}),
    }


SETS = (
    "camvid train", "camvid val", "camvid, void ignored", "ade20k", "ade20k, 0 ignored",
    "cityscapes", "coco-stuff", "davis", "labelme class", "labelme class, void ignored",
    "labelme object", "ocular", "membrane",
)  # fmt: skip


def mask_path(data: Path, base: str, name: str) -> Path:
    """Where a mask of the facts lies; CamVid's names leave a folder out."""
    path = data / base / name
    return path if path.is_file() else data / "camvid" / name


def rows_of(
    facts: Mapping[str, Any], data: Path, segments_of: Mapping[str, Sequence[Mapping[str, Any]]]
) -> list[dict[str, Any]]:
    """A manifest row for every mask of a set, with sizes from the facts."""
    return [
        {
            "reference_id": name,
            "mask_url": str(mask_path(data, facts["base"], name)),
            "segments": [dict(segment) for segment in segments_of[name]],
            "height": mask["height"],
            "width": mask["width"],
        }
        for name, mask in facts["masks"].items()
    ]


def materialized(
    landing: LandingWriter, data: Path, rows: Sequence[Mapping[str, Any]], policy: str = ""
) -> tuple[Root, Summary]:
    """A root whose one partition was validated under a policy."""
    landing.manifest(rows, PARTITION)
    settings = f"allowed_roots = [{json.dumps(str(data))}]\n{policy}"
    (landing.root / "segpipe.toml").write_text(settings)
    root = Root.open(str(landing.root))
    return root, root.materialize(PARTITION)


def table(root: Root, name: str) -> list[dict[str, Any]]:
    """The rows of one of the partition's tables."""
    path = Path(root.tables(PARTITION).path) / f"{name}.parquet"
    rows: list[dict[str, Any]] = pq.read_table(path, partitioning=None).to_pylist()
    return rows


@pytest.mark.parametrize("listed", ["values present", "whole label map"])
@pytest.mark.parametrize("name", SETS)
def test_right_segments_are_accepted_with_nothing_said_but_the_conversion(
    landing: LandingWriter, data_sets: Path, all_facts: dict[str, Any], name: str, listed: str
) -> None:
    clean = clean_sets(all_facts)[name]
    facts = all_facts[clean.facts]
    assert not facts["single_valued_masks"]
    assert not facts["identical_pixel_groups"]
    values = {
        mask_name: {int(value): pixels for value, pixels in mask["values"].items()}
        for mask_name, mask in facts["masks"].items()
    }
    segments = {
        mask_name: [
            {"label": label, "index": index, "metadata": None}
            for index, label in clean.taxonomy.items()
            if listed == "whole label map" or index in values[mask_name]
        ]
        for mask_name in values
    }
    root, summary = materialized(
        landing, data_sets, rows_of(facts, data_sets, segments), clean.policy()
    )
    assert (summary.accepted, summary.rejected) == (facts["n"], 0)
    assert table(root, "rejected") == []
    expected = [] if clean.converted is None else [clean.converted]
    for row in table(root, "validated"):
        assert [found["rule"] for found in row["findings"]] == expected, row["reference_id"]
    assert summary.findings == ({clean.converted: facts["n"]} if clean.converted else {})

    areas: dict[str, dict[int, int]] = defaultdict(dict)
    metadata: dict[int, set[str]] = defaultdict(set)
    for row in table(root, "segments"):
        areas[row["reference_id"]][row["index"]] = row["area_px"]
        metadata[row["index"]].add(row["metadata"])
    for mask_name, pixels in values.items():
        declared = {segment["index"] for segment in segments[mask_name]}
        visible = declared | (clean.ignored.keys() & pixels.keys())
        assert areas[mask_name] == {index: pixels.get(index, 0) for index in visible}
    for value in clean.ignored:
        assert metadata[value] == {'{"ignore":true}'}


def test_a_defect_in_one_row_does_not_make_the_shared_label_map_of_the_others_suspicious(
    landing: LandingWriter, data_sets: Path, all_facts: dict[str, Any]
) -> None:
    clean = clean_sets(all_facts)["camvid val"]
    facts = all_facts[clean.facts]
    whole = [{"label": label, "index": i, "metadata": None} for i, label in clean.taxonomy.items()]
    rows = rows_of(facts, data_sets, dict.fromkeys(facts["masks"], whole))
    rows[3]["segments"] = [segment for segment in whole if segment["index"] != 3]  # no Road
    _, summary = materialized(landing, data_sets, rows)
    assert (summary.accepted, summary.rejected) == (facts["n"] - 1, 1)
    assert summary.findings == {"VALUE-NO-SEGMENT": 1}


def test_the_label_map_of_a_manifest_with_a_single_row_is_known_from_the_taxonomy(
    landing: LandingWriter, data_sets: Path, all_facts: dict[str, Any]
) -> None:
    clean = clean_sets(all_facts)["ade20k"]
    facts = all_facts[clean.facts]
    whole = [{"label": label, "index": i, "metadata": None} for i, label in clean.taxonomy.items()]
    rows = rows_of(facts, data_sets, dict.fromkeys(facts["masks"], whole))[:1]
    _, summary = materialized(landing, data_sets, rows, clean.policy())
    assert (summary.accepted, summary.findings) == (1, {})


def test_what_a_model_found_is_not_taken_for_a_label_map_so_hidden_objects_are_named(
    landing: LandingWriter, data_sets: Path, all_facts: dict[str, Any]
) -> None:
    facts = all_facts["davis17_osvos_dev"]
    found: dict[str, list[dict[str, Any]]] = {}
    hidden: set[str] = set()
    for name, mask in facts["masks"].items():
        values = [int(value) for value in mask["values"]]
        if len(values) == 5:
            values.append(next(v for v in range(6) if v not in values))
            hidden.add(name)
        found[name] = [{"label": f"object {v}", "index": v, "metadata": None} for v in values]
    assert hidden
    root, summary = materialized(landing, data_sets, rows_of(facts, data_sets, found))
    assert summary.rejected == 0
    told = {
        row["reference_id"]
        for row in table(root, "validated")
        if any(one["rule"] == "SEGMENT-NO-PIXELS" for one in row["findings"])
    }
    assert told == hidden


@pytest.mark.parametrize("declared", [(0, 1), (1,)])
def test_membrane_masks_whose_segments_say_1_for_255_are_told_just_that(
    landing: LandingWriter, data_sets: Path, all_facts: dict[str, Any], declared: tuple[int, ...]
) -> None:
    facts = all_facts["membrane_label"]
    segments = [{"label": f"class {i}", "index": i, "metadata": None} for i in declared]
    rows = rows_of(facts, data_sets, dict.fromkeys(facts["masks"], segments))
    root, summary = materialized(landing, data_sets, rows)
    assert (summary.accepted, summary.rejected) == (0, facts["n"])
    assert summary.findings == {"BINARY-255": facts["n"]}
    assert [row["rule"] for row in table(root, "rejected")] == ["BINARY-255"] * facts["n"]
