"""A root for the browser's tests: two model runs, rejects, many items, and hostile names."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np

from segpipe import ManifestWriter, Root, Segment
from segpipe.demo.landing import write_demo_landing
from segpipe.settings import SETTINGS_FILE

DAY, NEXT_DAY = "2026-01-05", "2026-01-06"
RUNS = ("street-unet-v1", "street-unet-v2")
MANY, MANY_ITEMS = "many", 300
HOSTILE = "hostile"
#: Whatever it is written into, nothing may come of it.
SCRIPT = "<script>window.hacked=1;alert(1)</script>"
IMAGE = "\"'><img src=x onerror=window.hacked=1;alert(2)>"
_SETTINGS = """\
dataset = "streets"
first_date = 2026-01-05

[policy]
max_rejection_rate = 1.0
"""


def make_root(folder: Path) -> Root:
    """Everything of the first day published; the first model run's next day is only landed."""
    folder.mkdir()
    (folder / SETTINGS_FILE).write_text(_SETTINGS)
    write_demo_landing(folder, items_per_day=5, until=date(2026, 1, 7))
    _write_many(folder)
    _write_hostile(folder)
    root = Root.open(folder)
    for run in (*RUNS, MANY, HOSTILE):
        root.materialize(run, DAY)
        root.publish(run, DAY)
    return root


def _write_many(folder: Path) -> None:
    """Items that are small, and as many as fill several screens."""
    mask = np.zeros((6, 8), np.uint8)
    mask[3:] = 1
    with ManifestWriter(folder, model_run=MANY, date=DAY, inline=True) as writer:
        for number in range(MANY_ITEMS):
            segments = [Segment("Sky", 0), Segment("Road", 1, {"confidence": number / 1000})]
            writer.add(f"small-{number:03}", mask, segments)


def _write_hostile(folder: Path) -> None:
    mask = np.zeros((60, 80), np.uint8)
    mask[20:40, 20:60] = 1
    mask[45:, :] = 2
    metadata = {"confidence": 0.5, SCRIPT: IMAGE, "class_pdf": {SCRIPT: 0.6, IMAGE: 0.4}}
    with ManifestWriter(folder, model_run=HOSTILE, date=DAY, name="x'\"&lt;b&gt;") as writer:
        for id in (f"id {SCRIPT}", f"id {IMAGE}"):
            segments = [
                Segment("background", 0), Segment(SCRIPT, 1, metadata), Segment(IMAGE, 2),
            ]  # fmt: skip
            writer.add(id, mask, segments, note=SCRIPT)
