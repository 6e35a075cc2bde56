"""``segpipe export``: published predictions in other formats."""

from __future__ import annotations

import shlex
from collections import Counter
from pathlib import Path

from segpipe.cli.console import put, step_progress
from segpipe.root import Root


def export(
    root: str,
    kind: str,
    model_run: str,
    date: str | None,
    out: Path,
    like: Path | None,
    dataset: str | None,
) -> int:
    """Export a model run's published predictions; returns the exit status."""
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
                progress=lambda *rows: progress("exporting", *rows),
                left_out=left_out,
            )
        )
    put(f"{written} predictions exported as {kind}: {out}")
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
