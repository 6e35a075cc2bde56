"""``segpipe export``: published predictions in other formats."""

from __future__ import annotations

import shlex
from pathlib import Path

from segpipe.cli.console import step_progress
from segpipe.consolidation import View
from segpipe.errors import SettingsError
from segpipe.formats.exporting import export_mask_folder, published
from segpipe.formats.exporting_coco import export_coco_panoptic
from segpipe.root import Root


def export(
    root: str, kind: str, model_run: str, date: str | None, out: Path, like: Path | None
) -> int:
    """Write a model run's published predictions; the exit status."""
    if like is not None and kind != "coco-panoptic":
        raise SettingsError(f"--like is for coco-panoptic; {kind} has no numbers of its own")
    opened = Root.open(root)
    with step_progress() as progress:
        predictions = published(
            opened.catalog,
            opened.settings.dataset,
            model_run,
            date,
            lambda *done: progress("exporting", *done),
        )
        if kind == "coco-panoptic":
            consolidation = opened.consolidation(model_run, View.GIVEN)
            written = export_coco_panoptic(predictions, out, consolidation, like)
        else:
            written = export_mask_folder(predictions, out)
    print(f"{written} predictions exported as {kind}: {out}")
    print(
        f"import them again: segpipe import {_import_command(kind, out)} --root ... --model-run ..."
    )
    return 0


def _import_command(kind: str, out: Path) -> str:
    if kind == "mask-folder":
        return shlex.join([kind, str(out / "masks")])
    return shlex.join([kind, str(out / "panoptic"), "--annotations", str(out / "panoptic.json")])
