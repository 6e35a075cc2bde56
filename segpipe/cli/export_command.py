"""``segpipe export``: its options."""

from __future__ import annotations

from pathlib import Path

import click

from segpipe.cli.ending import Arguments
from segpipe.cli.options import dataset_option, model_run_option, root_option


@click.command(cls=Arguments, short_help="Write published predictions in another format.")
@root_option
@dataset_option
@model_run_option
@click.option("--date", metavar="YYYY-MM-DD", help="Only this day; all by default.")
@click.option(
    "--as",
    "kind",
    type=click.Choice(["coco-panoptic", "mask-folder", "coco-results", "label-studio", "yolo-seg"]),
    required=True,
    help="The format to write.",
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

    coco-panoptic and mask-folder hold everything: imported again, it is the same prediction. The
    other formats hold instances alone; what they leave out is counted.

    \b
    Examples:
      segpipe export --root ROOT --model-run M --as coco-panoptic out
      segpipe export --root ROOT --model-run M --as coco-results --like gt.json out
    """
    from segpipe.cli.exporting import export as export_predictions

    return export_predictions(root, kind, model_run, date, out, like, dataset, ids)
