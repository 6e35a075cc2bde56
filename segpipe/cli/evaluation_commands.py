"""The commands on how good predictions are."""

from __future__ import annotations

from typing import Any

import click

from segpipe.cli.ending import Arguments
from segpipe.cli.options import format_option, model_run_option, root_option

_boundary_option = click.option(
    "--boundary", is_flag=True, help="Boundary IoU as well, which takes longer."
)


@click.command(cls=Arguments, short_help="Compare predictions with ground truth: IoU, PQ.")
@root_option
@model_run_option
@click.option("--date", metavar="YYYY-MM-DD", help="The day; or --all.")
@click.option("--all", "everything", is_flag=True, help="Every day that has landed.")
@click.option(
    "--against",
    metavar="M",
    help="Model run to take as ground truth; by default [evaluation] ground_truth of segpipe.toml.",
)
@_boundary_option
@click.option(
    "--force", is_flag=True, help="Read every mask, also where nothing changed since the last time."
)
@format_option
@click.option(
    "--as",
    "summary",
    type=click.Choice(["coco-panoptic-json", "cityscapes-json"]),
    help="Print the summary that panopticapi's or cityscapesScripts' readers expect instead.",
)
def evaluate(root: str, **options: Any) -> int:
    """Compare validated predictions with published ground truth: IoU, PQ, calibration.

    \b
    Examples:
      segpipe evaluate --root ROOT --model-run M --all --against truth
      segpipe evaluate --root ROOT --model-run M --date 2026-01-05 --format json
    """
    from segpipe.cli.evaluating import EvaluateOptions, run_evaluate

    return run_evaluate(root, EvaluateOptions(**options))


@click.command(cls=Arguments, short_help="Say which of two model runs is better, and where.")
@root_option
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option("--date", metavar="YYYY-MM-DD", help="One day; every day by default.")
@click.option("--all", "everything", is_flag=True, help="Every day that has landed; the default.")
@click.option(
    "--against",
    metavar="M",
    help="Model run to take as ground truth; by default [evaluation] ground_truth of segpipe.toml.",
)
@click.option(
    "--agreement", is_flag=True, help="Say how far both agree, even where ground truth is named."
)
@_boundary_option
@click.option(
    "--metric",
    default="mIoU",
    show_default=True,
    metavar="NAME",
    help="The number whose largest changes are listed.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    metavar="N",
    help="Seed of the random resampling behind the intervals; 0 by default.",
)
@click.option(
    "--pictures", metavar="DIR", help="Write pictures of the largest changes to a folder."
)
@format_option
def compare(root: str, **options: Any) -> int:
    """Compare model run B with A: what is better and worse, on the items that both have.

    Without ground truth: how far they agree.

    \b
    Examples:
      segpipe compare --root ROOT A B
      segpipe compare --root ROOT A B --agreement --pictures changes
    """
    from segpipe.cli.evaluating import CompareOptions, run_compare

    return run_compare(root, CompareOptions(**options))
