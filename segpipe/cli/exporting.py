"""``segpipe export``: published predictions in other formats."""

from __future__ import annotations

import shlex
from collections import Counter
from pathlib import Path

from segpipe.cli.console import put, say, step_progress
from segpipe.cli.options import read_ids
from segpipe.root import Root


def export(
    root: str,
    kind: str,
    model_run: str,
    date: str | None,
    out: Path,
    like: Path | None,
    dataset: str | None,
    ids_file: str | None = None,
) -> int:
    """Export a model run's published predictions; returns the exit status."""
    ids = None if ids_file is None else read_ids(ids_file)
    left_out = Counter[str]()
    with step_progress() as progress:
        written = (
            Root.open(root)
            .of_dataset(dataset)
            .export(
                kind,
                out,
                model_run,
                date,
                like=like,
                reference_ids=ids,
                progress=lambda *rows: progress("exporting", *rows),
                left_out=left_out,
            )
        )
    put(f"{written} predictions exported as {kind}: {out}")
    if ids is not None and written < len(set(ids)):
        say(f"{len(set(ids)) - written} of the {len(set(ids))} items had no prediction there")
    if left_out:
        put("left out: " + ", ".join(f"{n} {what}" for what, n in sorted(left_out.items())))
    put(
        f"import them again: segpipe import {_import_command(kind, out)} --root ... --model-run ..."
    )
    return 0


def _import_command(kind: str, out: Path) -> str:
    source, options = _SOURCES[kind]
    words = [kind, str(out / source)]
    for name, file in options.items():
        words += [name, str(out / file)] if file else name.split()
    return shlex.join(words)


# What is imported again of an export: the source in its folder, and the options with their files.
_SOURCES: dict[str, tuple[str, dict[str, str]]] = {
    "mask-folder": ("masks", {}),
    "coco-panoptic": ("panoptic", {"--annotations": "panoptic.json"}),
    "coco-results": (
        "results.json",
        {"--categories": "instances.json", "--images": "instances.json", "--empty-images": ""},
    ),
    "label-studio": ("tasks.json", {"--of predictions": ""}),
    "yolo-seg": ("labels", {"--labels": "data.yaml", "--images": "images.json"}),
}
