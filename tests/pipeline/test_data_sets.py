"""Masks of data sets through the whole pipeline, against facts computed independently."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pyarrow.parquet as pq
import pytest

from segpipe.manifests.partition import Partition
from segpipe.masks.decoding import decode_mask
from segpipe.pipeline.runs import run_partition
from segpipe.root import Root
from tests.fixtures.data_sets import camvid_rows
from tests.fixtures.landing import LandingWriter

CAMVID = Partition("camvid-val", "2026-01-05")


def pixels_digest(pixels: np.ndarray) -> str:
    """As the facts were computed: over the values as 16-bit little-endian numbers."""
    return hashlib.sha256(pixels.astype("<u2").tobytes()).hexdigest()[:16]


def test_all_camvid_masks_are_accepted_counted_and_stored_exactly_and_unchanged_the_second_time(
    landing: LandingWriter, data_sets: Path, all_facts: dict[str, Any]
) -> None:
    facts = all_facts["camvid_val"]
    landing.manifest(camvid_rows(facts, data_sets), CAMVID)
    (landing.root / "segpipe.toml").write_text(f'allowed_roots = ["{data_sets}"]\n')
    root = Root.open(str(landing.root))
    with dg.DagsterInstance.ephemeral() as instance:
        first = run_partition(root, CAMVID, instance=instance)
        assert first.failure is None
        assert first.summary is not None
        assert (first.summary.accepted, first.summary.rejected) == (facts["n"], 0)
        assert first.outcomes is not None
        assert first.outcomes["inserted"] == facts["n"]
        tables = Path(root.tables(CAMVID).path)
        before = {path: path.read_bytes() for path in tables.iterdir()}
        second = run_partition(root, CAMVID, instance=instance)
        assert second.outcomes is not None
        assert second.outcomes["unchanged"] == facts["n"]
        assert {path: path.read_bytes() for path in tables.iterdir()} == before
    segments = pq.read_table(tables / "segments.parquet", partitioning=None)
    totals = segments.group_by("index").aggregate([("area_px", "sum")]).to_pylist()
    assert {str(row["index"]): row["area_px_sum"] for row in totals} == {
        value: pixels for value, (pixels, _) in facts["totals"].items()
    }
    published = root.catalog.read(["reference_id", "mask_path"]).to_pylist()
    assert len(published) == facts["n"]
    for row in published:
        stored = decode_mask((Path(root.settings.root) / row["mask_path"]).read_bytes())
        expected = facts["masks"][row["reference_id"]]
        assert pixels_digest(stored.pixels) == expected["pixels_sha256"]


def test_every_camvid_mask_with_void_is_rejected_when_void_has_no_segment(
    landing: LandingWriter, data_sets: Path, all_facts: dict[str, Any]
) -> None:
    facts = all_facts["camvid_val"]
    landing.manifest(camvid_rows(facts, data_sets, without=frozenset({"11"})), CAMVID)
    (landing.root / "segpipe.toml").write_text(f'allowed_roots = ["{data_sets}"]\n')
    root = Root.open(str(landing.root))
    summary = root.materialize(CAMVID)
    with_void = {n: m["values"]["11"] for n, m in facts["masks"].items() if "11" in m["values"]}
    assert summary.rejected == len(with_void)
    rejected = pq.read_table(
        Path(root.tables(CAMVID).path) / "rejected.parquet", partitioning=None
    ).to_pylist()
    told = {row["reference_id"]: row for row in rejected if row["severity"] == "reject"}
    assert told.keys() == with_void.keys()
    for name, pixels in with_void.items():
        assert told[name]["rule"] == "VALUE-NO-SEGMENT"
        assert told[name]["found"] == "11"
        assert f"value 11: {pixels:,} px".replace(",", " ") in told[name]["message"]


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("labelme_class", "labelme"),
        ("labelme_object", "labelme"),
        ("davis17_osvos_dev", "davis17_results"),
    ],
)
def test_palette_masks_keep_their_indexes(
    landing: LandingWriter,
    data_sets: Path,
    all_facts: dict[str, Any],
    name: str,
    folder: str,
) -> None:
    facts = all_facts[name]
    indexes = sorted({int(value) for mask in facts["masks"].values() for value in mask["values"]})
    rows = [
        {
            "reference_id": mask_name,
            "mask_url": str(data_sets / facts["base"] / mask_name),
            "segments": [{"label": f"object {i}", "index": i, "metadata": None} for i in indexes],
            "height": mask["height"],
            "width": mask["width"],
        }
        for mask_name, mask in facts["masks"].items()
    ]
    partition = Partition(name, "2026-01-05")
    landing.manifest(rows, partition)
    (landing.root / "segpipe.toml").write_text(f'allowed_roots = ["{data_sets / folder}"]\n')
    root = Root.open(str(landing.root))
    summary = root.materialize(partition)
    assert (summary.accepted, summary.rejected) == (facts["n"], 0)
    assert summary.findings["CONV-PALETTE"] == facts["n"]
    validated = pq.read_table(
        Path(root.tables(partition).path) / "validated.parquet", partitioning=None
    ).to_pylist()
    for row in validated:
        pixels = decode_mask(root.masks.read(row["mask_sha256"])).pixels
        expected = facts["masks"][row["reference_id"]]
        counts = np.bincount(pixels.ravel(), minlength=256)
        assert {str(v): int(counts[v]) for v in np.flatnonzero(counts)} == expected["values"]
        assert pixels_digest(pixels) == expected["pixels_sha256"]
