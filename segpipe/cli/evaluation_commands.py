"""The commands on how good predictions are."""

from __future__ import annotations

from typing import Any

import click

from segpipe.cli.options import format_option, model_run_option, root_option

_boundary_option = click.option(
    "--boundary", is_flag=True, help="Boundary IoU as well, which takes longer."
)


@click.command()
@root_option
@model_run_option
@click.option("--date", metavar="YYYY-MM-DD", help="The day; or --all.")
@click.option("--all", "everything", is_flag=True, help="Every day that has landed.")
@click.option(
    "--against",
    metavar="M",
    help="The model run that is true; [evaluation] ground_truth of segpipe.toml by default.",
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
    """Compare validated predictions with published ground truth: IoU, PQ, calibration."""
    from segpipe.cli.evaluating import EvaluateOptions, run_evaluate

    return run_evaluate(root, EvaluateOptions(**options))


@click.command()
@root_option
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option("--date", metavar="YYYY-MM-DD", help="One day; every day by default.")
@click.option("--all", "everything", is_flag=True, help="Every day that has landed, as by default.")
@click.option(
    "--against",
    metavar="M",
    help="The model run that is true; [evaluation] ground_truth of segpipe.toml by default.",
)
@click.option(
    "--agreement", is_flag=True, help="How far both agree, also where ground truth is named."
)
@_boundary_option
@click.option(
    "--metric",
    default="mIoU",
    show_default=True,
    metavar="NAME",
    help="The number whose largest changes are listed.",
)
@click.option("--seed", type=click.IntRange(0), default=0, help="Of the intervals' resamples.")
@click.option(
    "--pictures", metavar="DIR", help="Write pictures of the largest changes to a folder."
)
@format_option
def compare(root: str, **options: Any) -> int:
    """Compare model run B with A: what is better and worse, on the items that both have.

    Without ground truth: how far they agree.
    """
    from segpipe.cli.evaluating import CompareOptions, run_compare

    return run_compare(root, CompareOptions(**options))
