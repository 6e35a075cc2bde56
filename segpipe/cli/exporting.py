"""``segpipe export``: published predictions in other formats."""

from __future__ import annotations

from pathlib import Path

from segpipe.cli.console import step_progress
from segpipe.formats.exporting import export_coco_panoptic, export_mask_folder, published
from segpipe.root import Root

_WRITERS = {"coco-panoptic": export_coco_panoptic, "mask-folder": export_mask_folder}


def export(root: str, kind: str, model_run: str, date: str | None, out: Path) -> int:
    """Write a model run's published predictions; the exit status."""
    opened = Root.open(root)
    with step_progress() as progress:
        predictions = published(
            opened.catalog,
            opened.settings.dataset,
            model_run,
            date,
            lambda *done: progress("exporting", *done),
        )
        count = _WRITERS[kind](predictions, out)
    print(f"{count} predictions exported as {kind}: {out}")
    return 0
