"""Rules on data sets: silent on clean masks; each injected defect found for what it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from segpipe.manifests.partition import Partition
from segpipe.masks.decoding import decode_mask
from segpipe.root import Root
from segpipe.validation.rules import Policy
from tests.fixtures.data_sets import camvid_rows
from tests.fixtures.defects import DEFECTS
from tests.fixtures.landing import LandingWriter

DAY = "2026-01-05"
VOID = '[policy]\nignore_values = {255 = "void"}\n'


def source_of(facts: Mapping[str, Any], data: Path, name: str) -> Path:
    """Where a mask of the facts lies."""
    direct = data / facts["base"] / name
    return direct if direct.exists() else data / "camvid" / name


def findings(root: Root, partition: Partition) -> tuple[Any, dict[str, set[str]]]:
    """The summary, and the rules each item's rows were found to break."""
    summary = root.materialize(partition)
    folder = Path(root.tables(partition).path)
    found: dict[str, set[str]] = {}
    for row in pq.read_table(folder / "rejected.parquet", partitioning=None).to_pylist():
        found.setdefault(row["reference_id"], set()).add(row["rule"])
    for row in pq.read_table(folder / "validated.parquet", partitioning=None).to_pylist():
        found.setdefault(row["reference_id"], set()).update(f["rule"] for f in row["findings"])
    return summary, found


def is_conversion(rule: str) -> bool:
    """Rules that report a lossless conversion."""
    return rule.startswith("CONV-")


@pytest.mark.parametrize(
    "name",
    [
        "camvid_train", "camvid_val", "cityscapes_train_labelIds", "ade20k_annotations",
        "cocostuff_train_label", "davis17_osvos_dev", "labelme_class", "labelme_object",
        "ocular_dev", "membrane_label",
    ],
)  # fmt: skip
def test_clean_sets_with_a_list_of_all_classes_are_accepted_without_a_wrong_word(
    landing: LandingWriter,
    data_sets: Path,
    all_facts: dict[str, Any],
    name: str,
) -> None:
    facts = all_facts[name]
    ignored = {"255"} if name == "cocostuff_train_label" else set()
    all_values = sorted({int(v) for m in facts["masks"].values() for v in m["values"]} - {255})
    if "255" not in ignored and "255" in facts["totals"]:
        all_values.append(255)
    rows = []
    for mask_name, mask in facts["masks"].items():
        rows.append(
            {
                "reference_id": mask_name,
                "mask_url": str(source_of(facts, data_sets, mask_name)),
                "segments": json.dumps([{"label": f"class {v}", "index": v} for v in all_values]),
                "height": mask["height"],
                "width": mask["width"],
            }
        )
    partition = Partition(name, DAY)
    landing.manifest(rows, partition)
    (landing.root / "segpipe.toml").write_text(f'allowed_roots = ["{data_sets}"]\n{VOID}')
    root = Root.open(str(landing.root))
    summary, found = findings(root, partition)
    assert (summary.accepted, summary.rejected) == (facts["n"], 0)
    single = set(facts["single_valued_masks"])
    for item, rules in found.items():
        allowed = {"EMPTY-MASK"} if any(item.endswith(s) or s in item for s in single) else set()
        assert {r for r in rules if not is_conversion(r)} <= allowed | {"DUPLICATE-MASK"}, item
    assert sum("DUPLICATE-MASK" in rules for rules in found.values()) <= sum(
        len(group) - 1 for group in facts["identical_pixel_groups"]
    )
    if ignored:
        segments = pq.read_table(
            Path(root.tables(partition).path) / "segments.parquet", partitioning=None
        ).to_pylist()
        void = [row for row in segments if row["index"] == 255]
        assert sum(row["area_px"] for row in void) == facts["totals"]["255"][0]
        assert {row["metadata"] for row in void} == {'{"ignore":true}'}


def test_membrane_masks_that_say_1_for_255_are_refused_for_just_that(
    landing: LandingWriter, data_sets: Path, all_facts: dict[str, Any]
) -> None:
    facts = all_facts["membrane_label"]
    rows = [
        {
            "reference_id": name,
            "mask_url": str(source_of(facts, data_sets, name)),
            "segments": json.dumps([{"label": str(v), "index": v} for v in (0, 1)]),
            "height": mask["height"],
            "width": mask["width"],
        }
        for name, mask in facts["masks"].items()
    ]
    partition = Partition("membrane", DAY)
    landing.manifest(rows, partition)
    (landing.root / "segpipe.toml").write_text(f'allowed_roots = ["{data_sets}"]\n')
    _, found = findings(Root.open(str(landing.root)), partition)
    assert len(found) == facts["n"]
    assert {frozenset(rules) for rules in found.values()} == {frozenset({"BINARY-255"})}


# --- injected defects


def many_valued_masks(data: Path, facts: Mapping[str, Any]) -> list[tuple[str, np.ndarray]]:
    """Masks of several sets, with at least five values each."""
    chosen = []
    for name, most in (
        ("camvid_val", 8), ("cocostuff_train_label", 5), ("cityscapes_train_labelIds", 2),
        ("ade20k_annotations", 2), ("labelme_object", 1),
    ):  # fmt: skip
        rich = [m for m, mask in facts[name]["masks"].items() if mask["n_values"] >= 5][:most]
        for mask_name in rich:
            pixels = decode_mask(source_of(facts[name], data, mask_name).read_bytes()).pixels
            chosen.append((f"{name}-{mask_name}".replace("/", "-"), np.where(
                pixels == 255, 200, pixels).astype(np.uint8)))  # fmt: skip
    return chosen


@pytest.mark.parametrize("name", DEFECTS)
def test_each_defect_is_found_for_what_it_is_and_nothing_else(
    landing: LandingWriter, data_sets: Path, all_facts: dict[str, Any], name: str
) -> None:
    defect, expected = DEFECTS[name]
    partition = Partition("defects", DAY)
    folder = landing.folder(partition)
    folder.mkdir(parents=True)
    rows = []
    for item, pixels in many_valued_masks(data_sets, all_facts):
        values = np.unique(pixels).tolist()
        segments = [{"label": f"class {v}", "index": v} for v in values]
        data, cells = defect(pixels, segments)
        (folder / f"{item}.png").write_bytes(data)
        row = {
            "reference_id": item,
            "mask_url": f"{item}.png",
            "segments": segments,
            "height": pixels.shape[0],
            "width": pixels.shape[1],
            **cells,
        }
        if not isinstance(row["segments"], str):
            row["segments"] = json.dumps(row["segments"])
        rows.append(row)
    landing.manifest(rows, partition)
    root = Root.open(str(landing.root))
    summary, found = findings(root, partition)
    if name == "no item":
        assert summary.findings == {"REF-EMPTY": len(rows)}
        return
    if name == "one value":  # their masks are equal, which must not be told a second time
        assert "DUPLICATE-MASK" not in summary.findings
    wrong = {item: rules for item, rules in found.items() if rules != expected}
    assert len(rows) >= 15
    assert not wrong
    assert len(found) == len(rows)


def test_limits_hold_before_anything_is_decoded(
    landing: LandingWriter, root: Root, data_sets: Path, all_facts: dict[str, Any]
) -> None:
    rows = camvid_rows(all_facts["camvid_val"], data_sets)[:5]
    landing.manifest(rows)
    policies = root.settings.policies
    for policy in (Policy(max_pixels=1000), Policy(max_bytes=1000)):
        limited = Root(
            replace(
                root.settings,
                policies=replace(policies, common=policy),
                allowed_roots=(str(data_sets),),
            )
        )
        summary, _ = findings(limited, Partition("unet", DAY))
        assert summary.findings == {"TOO-LARGE": 5}
