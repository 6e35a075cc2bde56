"""Entries of the registry of import formats: benchmarks of driving and tracking."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from segpipe.formats.import_format import (
    FOLDER_OPTIONS,
    ImportFormat,
    links_of,
    naming_of,
    over_of,
    path_of,
)

if TYPE_CHECKING:
    from segpipe.formats.imported import Format


def _bdd100k(source: Path, **options: Any) -> Format:
    from segpipe.formats.bdd100k import Bitmasks, Task

    task, scores = Task(options["task"]), path_of(options.get("scores"))
    naming, over = naming_of(options), over_of(options)
    return Bitmasks.open(source, task, scores, naming, over, **links_of(options))


def _mots(source: Path, **options: Any) -> Format:
    from segpipe.formats.mots import open_mots

    return open_mots(source, naming_of(options), over_of(options), **links_of(options))


def _kitti_step(source: Path, **options: Any) -> Format:
    from segpipe.formats.kitti_step import Step

    labels, naming, over = path_of(options.get("labels")), naming_of(options), over_of(options)
    return Step.open(source, labels, naming, over, **links_of(options))


BENCHMARK_FORMATS = (
    ImportFormat(
        "bdd100k",
        """RGBA bitmasks of BDD100K, with a JSON file of scores or without.

        \b
        segpipe import bdd100k bitmasks --task ins-seg --scores scores.json ...
        """,
        ("task", "scores", "over", *FOLDER_OPTIONS),
        _bdd100k,
        required=("task",),
    ),
    ImportFormat(
        "mots",
        """16-bit PNGs of ids of KITTI MOTS and MOTSChallenge, or a text file per sequence.

        \b
        segpipe import mots instances ...
        segpipe import mots tracker_results ...
        """,
        ("over", *FOLDER_OPTIONS),
        _mots,
    ),
    ImportFormat(
        "kitti-step",
        """RGB PNGs of KITTI-STEP: class in red, instance in green and blue.

        \b
        segpipe import kitti-step panoptic_maps/val ...
        """,
        ("labels", "over", *FOLDER_OPTIONS),
        _kitti_step,
    ),
)
