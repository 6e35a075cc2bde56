"""``segpipe export``: published predictions in other formats."""

from __future__ import annotations

import shlex
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
            )
        )
    put(f"{written} predictions exported as {kind}: {out}")
    put(
        f"import them again: segpipe import {_import_command(kind, out)} --root ... --model-run ..."
    )
    return 0


def _import_command(kind: str, out: Path) -> str:
    if kind == "mask-folder":
        return shlex.join([kind, str(out / "masks")])
    return shlex.join([kind, str(out / "panoptic"), "--annotations", str(out / "panoptic.json")])
