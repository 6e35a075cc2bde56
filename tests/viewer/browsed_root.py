"""A root for the browser's tests: two model runs, rejects, many items, and hostile names."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from segpipe import ManifestWriter, Root, Segment
from segpipe.demo.landing import write_demo_landing
from segpipe.settings import SETTINGS_FILE

DAY, NEXT_DAY = "2026-01-05", "2026-01-06"
RUNS = ("street-unet-v1", "street-unet-v2")
MANY, MANY_ITEMS = "many", 300
HOSTILE = "hostile"
#: Rejected: for one pixel of an item, whose column and row this is; and for a row without an id.
WRONG, WRONG_AT = "wrong", (400, 300)
#: An item of that model run that is right, and larger than a screen: columns from 1000 on are Road.
LARGE, LARGE_EDGE = "large", 1000
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
    _write_wrong(folder)
    root = Root.open(folder)
    for run in (*RUNS, MANY, HOSTILE, WRONG):
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


def _write_wrong(folder: Path) -> None:
    partition = folder / "manifests" / f"model_run={WRONG}" / f"date={DAY}"
    partition.mkdir(parents=True)
    mask = np.zeros((480, 640), np.uint8)
    mask[:, 320:] = 1
    Image.fromarray(mask).save(partition / "right.png")
    mask[WRONG_AT[1], WRONG_AT[0]] = 9
    Image.fromarray(mask).save(partition / "wrong.png")
    segments = [{"label": "Sky", "index": 0}, {"label": "Road", "index": 1}]
    rows = [
        {"reference_id": id, "mask_url": url, "segments": segments, "height": 480, "width": 640}
        for id, url in (("one-pixel", "wrong.png"), (None, "right.png"))
    ]
    large = np.zeros((1100, 2000), np.uint8)
    large[:, LARGE_EDGE:] = 1
    Image.fromarray(large).save(partition / "large.png")
    rows.append({**rows[0], "reference_id": LARGE, "mask_url": "large.png"})
    rows[-1] |= {"height": 1100, "width": 2000}
    pq.write_table(pa.Table.from_pylist(rows), partition / "rows.parquet")


def make_root_of_two(folder: Path) -> Root:
    """Two data sets, a model run and two labels of its own in each; the settings name the last."""
    folder.mkdir()
    mask = np.zeros((60, 80), np.uint8)
    mask[30:] = 1
    for dataset, labels in (("animals", ("Cat", "Dog")), ("plants", ("Tree", "Moss"))):
        (folder / SETTINGS_FILE).write_text(f'dataset = "{dataset}"\nfirst_date = 2026-01-05\n')
        with ManifestWriter(folder, model_run=f"of-{dataset}", date=DAY) as writer:
            for number in range(3 if dataset == "animals" else 5):
                segments = [Segment(label, index) for index, label in enumerate(labels)]
                writer.add(f"{dataset}-{number}", mask, segments)
        root = Root.open(folder)
        root.materialize(f"of-{dataset}", DAY)
        root.publish(f"of-{dataset}", DAY)
    return root
