"""Entries of the registry of import formats: annotation tools and detectors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from segpipe.formats.import_format import (
    FOLDER_OPTIONS,
    ImportFormat,
    links_of,
    naming_of,
    over_of,
    overlaps_of,
)

if TYPE_CHECKING:
    from segpipe.formats.imported import Format


def _labelme(source: Path, **options: Any) -> Format:
    from segpipe.formats.labelme import Labelme

    naming, overlaps, over = naming_of(options), overlaps_of(options), over_of(options)
    return Labelme.open(source, naming, overlaps, over, **links_of(options))


def _yolo(source: Path, **options: Any) -> Format:
    from segpipe.formats.yolo import YoloSegmentation

    return YoloSegmentation.open(
        source,
        Path(options["labels"]),
        Path(options["images"]),
        naming_of(options),
        overlaps_of(options),
        over_of(options),
        empty=bool(options.get("empty_images")),
        **links_of(options),
    )


TOOL_FORMATS = (
    ImportFormat(
        "labelme",
        """JSON files of labelme: polygons, rectangles, circles and masks.

        Where shapes overlap, the later is on top, as labelme paints them.

        \b
        segpipe import labelme annotations ...
        """,
        ("overlaps", "over", *FOLDER_OPTIONS),
        _labelme,
        defaults={"overlaps": "last"},
    ),
    ImportFormat(
        "yolo-seg",
        """Text files of YOLO: a class and a polygon in each line, with a confidence or without.

        \b
        segpipe import yolo-seg runs/segment/predict/labels --labels data.yaml \\
            --images images/val --empty-images ...
        """,
        ("labels", "images", "overlaps", "empty_images", "over", *FOLDER_OPTIONS),
        _yolo,
        required=("labels", "images"),
    ),
)
