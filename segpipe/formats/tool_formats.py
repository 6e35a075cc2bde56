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
)
