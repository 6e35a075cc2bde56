"""Manifests that hold their masks, through the commands."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

import segpipe
from segpipe import ManifestWriter, Segment
from tests.fixtures import command_line
from tests.fixtures.landing import HEIGHT, PARTITION, WIDTH, striped_mask

SEGMENTS = [Segment("Road", 0), Segment("Person", 1)]


def test_masks_in_rows_are_judged_drawn_published_and_shown(tmp_path: Path) -> None:
    root = tmp_path / "root"
    with ManifestWriter(root, PARTITION.model_run, PARTITION.date, inline=True) as writer:
        for name in "abc":
            writer.add(name, striped_mask((0, 1)), SEGMENTS)
        writer.add("undeclared", striped_mask((0, 1, 7)), SEGMENTS, check=False)
        writer.add("colours", _colours(), SEGMENTS, height=HEIGHT, width=WIDTH, check=False)
    (manifest,) = root.rglob("*.parquet")
    page = tmp_path / "report.html"
    report = segpipe.validate(manifest, tmp_path / "checked", html=page, workers=1)
    assert {rule.rule for rule in report.rules} == {
        "VALUE-NO-SEGMENT",
        "MASK-COLOUR",
        "DUPLICATE-MASK",
    }
    assert page.read_text("utf-8").count("<img") == 3
    where = ("--root", root, "--model-run", PARTITION.model_run)
    run = command_line.segpipe("run", *where, "--date", PARTITION.date)
    assert run.returncode == 1, run.stderr
    shown = command_line.segpipe("show", *where, "a", "--out", tmp_path / "a.png")
    assert shown.returncode == 0, shown.stderr
    assert (tmp_path / "a.png").stat().st_size
    published = pq.read_table(next((root / "catalog").rglob("*.parquet")))
    assert published["reference_id"].to_pylist() == ["a", "b", "c"]


def _colours() -> bytes:
    colours = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    Image.fromarray(colours).save(file := io.BytesIO(), "PNG")
    return file.getvalue()
