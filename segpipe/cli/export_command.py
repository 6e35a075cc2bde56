"""``segpipe export``: its options."""

from __future__ import annotations

from pathlib import Path

import click

from segpipe.cli.ending import Arguments
from segpipe.cli.options import dataset_option, model_run_option, root_option


@click.command(cls=Arguments)
@root_option
@dataset_option
@model_run_option
@click.option("--date", metavar="YYYY-MM-DD", help="One partition; all by default.")
@click.option(
    "--as",
    "kind",
    type=click.Choice(["coco-panoptic", "mask-folder", "coco-results", "label-studio", "yolo-seg"]),
    required=True,
)
@click.option(
    "--like",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="For COCO's formats: a JSON file, such as the ground truth, whose numbers for categories "
    "(by name) and images (by reference id) are used, so that both can be compared.",
)
@click.option("--ids", metavar="FILE", help="A text file with one reference id a line: only those.")
@click.argument("out", type=click.Path(path_type=Path))
def export(
    root: str,
    dataset: str | None,
    model_run: str,
    date: str | None,
    kind: str,
    like: Path | None,
    ids: str | None,
    out: Path,
) -> int:
    """Write published predictions to the folder OUT in a format other tools read.

    Of coco-panoptic and mask-folder, what is imported again is the same prediction; the others hold
    instances alone, and what they leave out is counted.
    """
    from segpipe.cli.exporting import export as export_predictions

    return export_predictions(root, kind, model_run, date, out, like, dataset, ids)
