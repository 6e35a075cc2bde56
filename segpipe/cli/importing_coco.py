"""``segpipe import coco-panoptic`` and ``coco-results``."""

from __future__ import annotations

from pathlib import Path

import click

from segpipe.cli.importing import OVER, for_every_format, import_group, write

__all__ = ["import_group"]


def _file(name: str, help: str, *, required: bool = False) -> object:
    path = click.Path(path_type=Path)
    return click.option(name, type=path, required=required, metavar="FILE", help=help)


@import_group.command(name="coco-panoptic")
@for_every_format(
    _file("--annotations", "The JSON file that explains the PNGs.", required=True),
    _file("--categories", "A JSON file with the categories, where that one has none."),
    OVER,
)
def coco_panoptic(
    source: Path,
    root: str,
    model_run: str,
    date: str | None,
    annotations: Path,
    categories: Path | None,
    over: str,
) -> int:
    """Panoptic PNGs (id = R + 256 G + 65536 B) and their JSON file.

    \b
    segpipe import coco-panoptic panoptic_val2017 --annotations panoptic_val2017.json ...
    """
    from segpipe.formats.coco_panoptic import CocoPanoptic
    from segpipe.formats.identifiers import Over256

    found = CocoPanoptic.open(source, annotations, categories, Over256(over))
    return write(found, root, model_run, date)


@import_group.command(name="coco-results")
@for_every_format(
    _file("--categories", "A JSON file with categories: the ground truth.", required=True),
    _file("--images", "A JSON file with images (file names, sizes): the ground truth."),
    click.option(
        "--overlaps",
        type=click.Choice(["score", "area", "error"]),
        default="score",
        show_default=True,
        help="On top where instances overlap: the higher score, or the smaller; or refuse.",
    ),
    click.option(
        "--empty-images",
        is_flag=True,
        help="Images of the list without a result become predictions of background alone.",
    ),
    OVER,
)
def coco_results(
    source: Path,
    root: str,
    model_run: str,
    date: str | None,
    categories: Path,
    images: Path | None,
    overlaps: str,
    empty_images: bool,
    over: str,
) -> int:
    """A JSON list of instances with scores: RLE or polygons.

    \b
    segpipe import coco-results segm.json --categories instances_val2017.json \\
        --images instances_val2017.json ...
    """
    from segpipe.formats.coco_results import CocoResults
    from segpipe.formats.identifiers import Over256
    from segpipe.formats.overlaps import Overlaps

    found = CocoResults.open(
        source, categories, images, Overlaps(overlaps), Over256(over), empty=empty_images
    )
    return write(found, root, model_run, date)
