"""The demo and made-up data, through every command."""

from __future__ import annotations

import json
import shutil
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.outputs.constants import (
    DATE,
    DEMO_DATES,
    DEMO_RUNS,
    EXPORTS,
    MANY,
    TAXONOMY,
    VIEWS,
    Row,
)
from benchmarks.outputs.files import add_predictions, add_root
from benchmarks.outputs.inputs import Grey, chunk, npy, write_manifest, write_untyped_manifest
from benchmarks.outputs.results import digest
from benchmarks.outputs.session import Session


def take_commands(session: Session) -> None:
    """What is said about commands and rules."""
    for command in ("demo", "validate", "rules", "run", "import", "export", "show", "diff"):
        session.segpipe(f"help/{command}", command, "--help")
    for format in ("mask-folder", "colour-map", "arrays", "cityscapes"):
        session.segpipe(f"help/import {format}", "import", format, "--help")
    session.segpipe("rules", "rules")
    for rule in ("OFF-BY-ONE", "ref-unknown", "NO-RULE"):
        session.segpipe(f"rules/{rule}", "rules", rule)


def take_demo(session: Session) -> None:
    """The demo, published; the same in other formats and back."""
    session.segpipe("demo", "demo", "--root", "demo", "--until", DEMO_DATES[-1])
    add_root(session.results, "demo", session.folder / "demo")
    for model_run in DEMO_RUNS:
        for kind in EXPORTS:
            session.export(f"demo/{model_run} as {kind}", "demo", model_run, kind)
    exported = f"exported/demo/{DEMO_RUNS[0]}"
    source = f"{exported} as coco-panoptic"
    annotations = ("--annotations", f"{source}/panoptic.json")
    session.bring("demo-coco", "coco-panoptic", f"{source}/panoptic", *annotations)
    session.bring("demo-masks", "mask-folder", f"{exported} as mask-folder/masks")
    for model_run in ("demo-coco", "demo-masks"):
        session.check_imported(model_run)
    session.segpipe("demo/again", "run", "--root", "demo", *_whose(*DEMO_RUNS[:1]))
    session.segpipe("demo/forced", "run", "--root", "demo", *_whose(*DEMO_RUNS[:1]), "--force")


def _whose(model_run: str, date: str = DATE) -> tuple[str, ...]:
    return ("--model-run", model_run, "--date", date)


def take_views(session: Session) -> None:
    """Every view of every partition of the demo, published over it; then the catalog's commands."""
    root = "demo-views"
    shutil.copytree(
        session.folder / "demo",
        session.folder / root,
        ignore=shutil.ignore_patterns("dagster_home"),
    )
    dry = ("--publish-as", "instance", "--dry-run")  # no taxonomy tells things from stuff yet
    session.run(f"{root}/dry run", root, DEMO_RUNS[0], *dry)
    with (session.folder / root / "segpipe.toml").open("a", encoding="utf-8") as settings:
        settings.write(TAXONOMY)
    for view in VIEWS:
        for model_run in DEMO_RUNS:
            for date in DEMO_DATES:
                name = f"{root}/{view} {model_run} {date}"
                how = ("--publish-as", view, "--update", "--verify", "all")
                session.run(name, root, model_run, *how, date=date)
        table = session.folder / root / "catalog" / "predictions"
        add_predictions(session.results, f"{root}/catalog as {view}", table)
    add_root(session.results, root, session.folder / root)
    table = session.folder / root / "catalog" / "predictions"
    newest = len(list((table / "_delta_log").glob("[0-9]*.json"))) - 1
    item = "street-1-001"
    for command in (
        ("history",),
        ("diff", "1", str(newest)),
        ("show", "seed-street", "--out", "overlay.png"),
        ("unpublish", "--model-run", DEMO_RUNS[0], item),
        ("unpublish", *_whose(DEMO_RUNS[1], DEMO_DATES[1])),
        ("restore", str(newest)),
        ("restore", "3"),
        ("optimize",),
        ("vacuum",),
        ("history", "--most", "4"),
    ):
        name = f"{root}/{' '.join(command)}"
        session.segpipe(name, command[0], "--root", root, *command[1:])
        if command[0] in ("unpublish", "restore", "optimize"):
            add_predictions(session.results, f"{root}/catalog after {' '.join(command)}", table)
    overlay = (session.folder / "overlay.png").read_bytes()
    session.results.add(f"{root}/overlay.png", digest(overlay))


def take_many(session: Session) -> None:
    """So many of the demo's predictions, each item several times, that the fast path is taken."""
    demo, root = session.folder / "demo", session.folder / "many"
    rows = list(_published_rows(demo))
    copies = -(-MANY // len(rows))
    folder = root / "manifests" / "model_run=many" / f"date={DATE}"
    shutil.copytree(demo / "masks", folder / "masks")
    copied = [
        {**row, "reference_id": f"{row['reference_id']} {copy}"}
        for copy in range(copies)
        for row in rows
    ]
    write_manifest(folder / "predictions.parquet", copied)
    settings = f'workers = 1\n[policy.severities]\nDUPLICATE-MASK = "off"\n{TAXONOMY}'
    (root / "segpipe.toml").write_text(settings, "utf-8")
    for view in VIEWS:
        session.run(f"many/{view}", "many", "many", "--publish-as", view, "--update")
    add_root(session.results, "many", root)


def _published_rows(demo: Path) -> Iterator[Row]:
    """Manifest rows for the demo's accepted predictions, whose masks are in the store."""
    for model_run in DEMO_RUNS:
        for date in DEMO_DATES:
            tables = demo / "validated" / f"model_run={model_run}" / f"date={date}"
            segments: dict[str, list[Row]] = {}
            for one in pq.read_table(tables / "segments.parquet", partitioning=None).to_pylist():
                own = {key: one[key] for key in ("label", "index", "metadata")}
                segments.setdefault(one["reference_id"], []).append(own)
            for row in pq.read_table(tables / "validated.parquet", partitioning=None).to_pylist():
                yield {
                    "reference_id": f"{model_run} {row['reference_id']}",
                    "mask_url": row["mask_path"],
                    "segments": segments[row["reference_id"]],
                    "height": row["height"],
                    "width": row["width"],
                }


def take_defects(session: Session) -> None:
    """Masks and rows with something wrong, made from one of the demo's."""
    folder = session.folder / "defects"
    (folder / "masks").mkdir(parents=True)
    row = dict(next(_published_rows(session.folder / "demo")))
    png = (session.folder / "demo" / row["mask_url"]).read_bytes()
    rows = []
    for name, (data, cells) in _defects(png, row["segments"]).items():
        place = folder / "masks" / f"{name}.png"
        if data is not None:
            place.write_bytes(data)
        whole = {**row, "reference_id": name, "mask_url": f"masks/{name}.png", **cells}
        if not isinstance(whole["segments"], str):
            whole["segments"] = json.dumps(whole["segments"])
        rows.append(whole)
    write_untyped_manifest(folder / "defects.parquet", rows)
    session.validate("defects/plain", "defects/defects.parquet")
    (folder / "items.txt").write_text("whole\npalette\nhalved\n", "utf-8")
    (folder / "policy.toml").write_text(
        "[policy]\ntask = 'semantic'\nitems = 'items.txt'\nmax_bytes = 6000\n"
        "ignore_values = {255 = 'void', 10 = 'unsure'}\n[policy.severities]\n"
        f"SEGMENT-NO-PIXELS = 'reject'\nSIZE-UNVERIFIED = 'off'\n{TAXONOMY}",
        "utf-8",
    )
    session.validate("defects/policy", "defects/defects.parquet", "--policy", "defects/policy.toml")
    named = {row["reference_id"]: {**row, "mask_url": f"../{row['mask_url']}"} for row in rows}
    whole, palette, other = named["whole"], named["palette"], named["typing error"]["segments"]
    write_untyped_manifest(folder / "repeated" / "one.parquet", [whole, palette, whole])
    write_untyped_manifest(
        folder / "repeated" / "two.parquet", [whole, {**palette, "segments": other}, named["tail"]]
    )
    session.validate("defects/repeated", "defects/repeated", "--allow-root", "defects")
    (folder / "broken.parquet").write_bytes((folder / "defects.parquet").read_bytes()[:-9])
    session.validate("defects/broken", "defects/broken.parquet")
    session.validate("defects/nowhere", "defects/nowhere.parquet")


def _defects(png: bytes, segments: list[Row]) -> dict[str, tuple[bytes | None, Row]]:
    """Name -> the mask file (None: there is none), and the cells that are not as they should be."""
    grey = Grey.read(png)
    values = [int(segment["index"]) for segment in segments]
    first, rest, last = segments[0], segments[1:], segments[-1]
    middle = len(png) // 2
    exif = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    palette = chunk(b"PLTE", bytes(range(256)) * 3)
    ramp = Grey(256, 256, 1, bytes((x + y) // 2 for y in range(256) for x in range(256)))
    known = {"height": 256, "width": 256}

    def with_chunk(chunk: bytes) -> bytes:
        return png[:33] + chunk + png[33:]

    def as_palette() -> bytes:
        header = chunk(b"IHDR", png[16:25] + b"\x03" + png[26:29])
        return png[:8] + header + palette + png[33:]

    files: dict[str, tuple[bytes | None, Row]] = {
        "whole": (png, {}),
        "lost": (None, {}),
        "empty": (b"", {}),
        "web page": (b"<!DOCTYPE html><html>", {}),
        "cut": (png[: len(png) * 2 // 3], {}),
        "one bit": (png[:middle] + bytes([png[middle] ^ 4]) + png[middle + 1 :], {}),
        "tail": (png + b"tail", {}),
        "transparent value": (with_chunk(chunk(b"tRNS", b"\0\0")), {}),
        "orientation": (with_chunk(chunk(b"eXIf", exif)), {}),
        "palette": (as_palette(), {}),
        "16 bits": (grey.png(16), {}),
        "three channels": (grey.png(colours=True), {}),
        "long tail": (png + bytes(10_000), {}),
        "halved": (grey.halved().png(), {}),
        "turned": (grey.turned().png(), {}),
        "interpolated": (grey.interpolated().png(), {}),
        "one higher": (grey.mapped({value: value + 1 for value in values}).png(), {}),
        "stretched": (grey.mapped({value: value * 20 for value in values}).png(), {}),
        "void": (grey.mapped({values[-1]: 255}).png(), {"segments": segments[:-1]}),
        "one value": (grey.mapped(dict.fromkeys(range(256), 0)).png(), {"segments": [first]}),
        "binary": (
            grey.mapped({value: 255 * (value > 0) for value in range(256)}).png(),
            {"segments": [first, {**first, "index": 1}]},
        ),
        "scores": (ramp.png(), {**known, "segments": [{"label": "object", "index": 1}]}),
    }
    cells: dict[str, Row] = {
        "no size": {"height": None, "width": None},
        "negative size": {"height": -1},
        "no item": {"reference_id": " "},
        "outside": {"mask_url": "/etc/passwd"},
        "upwards": {"mask_url": "../../../etc/passwd"},
        "no url": {"mask_url": None},
        "no segment": {"segments": rest},
        "none at all": {"segments": []},
        "no json": {"segments": "[{"},
        "twice": {"segments": [*segments, {**first, "label": "again"}]},
        "index 300": {"segments": [*rest, {**first, "index": 300}]},
        "index as text": {"segments": [{**one, "index": str(one["index"])} for one in segments]},
        "too many": {
            "segments": [*segments, *({"label": "x", "index": n} for n in range(1000, 1300))]
        },
        "hidden": {"segments": [*segments, {"label": "hidden", "index": 254}]},
        "no label": {"segments": [{**first, "label": " "}, *rest]},
        "percent": {"segments": [{**first, "metadata": {"confidence": 97.0}}, *rest]},
        "no number": {"segments": [{**first, "metadata": {"confidence": float("nan")}}, *rest]},
        "typing error": {"segments": [*segments[:-1], {**last, "label": "Brid"}]},
    }
    return {**files, **{name: (png, wrong) for name, wrong in cells.items()}}


def take_arrays(session: Session) -> None:
    """Arrays no model should write, and more ids than a mask has values."""
    folder = session.folder / "arrays"
    folder.mkdir()
    ids = [x // 5 + 60 * (y // 4) for y in range(100) for x in range(300)]
    ids[:150] = [1400] * 150
    small = [value % 7 for value in ids]
    arrays = {
        "ids": npy("<i4", (100, 300), struct.pack("<30000i", *ids)),
        "classes": npy("|u1", (100, 300), bytes(small)),
        "truths": npy("|b1", (100, 300), bytes(value > 3 for value in small)),
        "big-endian": npy(">u2", (100, 300), struct.pack(">30000H", *small)),
        "scores": npy("<f4", (100, 300), struct.pack("<30000f", *small)),
        "negative": npy("<i2", (100, 300), struct.pack("<30000h", *(v - 1 for v in small))),
        "stacked": npy("|u1", (3, 100, 100), bytes(small)),
        "cut": npy("|u1", (100, 300), bytes(small))[:1000],
    }
    for name, data in arrays.items():
        (folder / f"{name}.npy").write_bytes(data)
    with zipfile.ZipFile(folder / "two.npz", "w") as archive:
        for name in ("classes", "ids"):
            archive.writestr(f"{name}.npy", arrays[name])
    for over in ("refuse", "keep-best", "semantic"):
        model_run = f"arrays-{over}"
        session.bring(model_run, "arrays", "arrays", "--objects", "object", "--over-256", over)
        session.check_imported(model_run)
