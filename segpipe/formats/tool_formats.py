"""Entries of the registry of import formats: annotation tools and detectors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segpipe.errors import SettingsError
from segpipe.formats.import_format import (
    FOLDER_OPTIONS,
    NAMING_OPTIONS,
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


def _cvat(source: Path, **options: Any) -> Format:
    from segpipe.formats.cvat_masks import CLASSES, CvatMasks
    from segpipe.formats.cvat_xml import CvatXml

    xml = source / "annotations.xml" if source.is_dir() else source
    if source.is_dir() and ((source / CLASSES).is_dir() or not xml.is_file()):
        return CvatMasks.open(source, naming_of(options), over_of(options), **links_of(options))
    if xml.suffix.lower() == ".zip":
        raise SettingsError(f"{xml} is an archive: unpack it, and give the folder")
    _refuse_naming(options, "the images' names are in the XML file")
    empty = bool(options.get("empty_images"))
    return CvatXml.open(xml, overlaps_of(options), over_of(options), empty=empty)


def _label_studio(source: Path, **options: Any) -> Format:
    from segpipe.formats.label_studio import Given, LabelStudio

    if source.is_dir():
        return _strokes_apart(source, **options)
    _refuse_naming(options, "the images' names are in the JSON file")
    given = Given(options.get("of", Given.ANNOTATIONS))
    return LabelStudio.open(source, given, overlaps_of(options), over_of(options))


def _strokes_apart(source: Path, **options: Any) -> Format:
    """The PNGs of Label Studio's brush export, one for each label or stroke."""
    from segpipe.formats.files import SourceFiles
    from segpipe.formats.objects_apart import ObjectsApart

    if options.get("of", "annotations") != "annotations":
        raise SettingsError("PNGs of Label Studio are of annotations; predictions are in its JSON")
    files = SourceFiles.find(source, (".png",), **links_of(options))
    return ObjectsApart.open(files, naming_of(options), overlaps_of(options), over_of(options))


def _refuse_naming(options: Mapping[str, Any], why: str) -> None:
    """Refuse options about names of files where no file is named.

    Raises:
        SettingsError: naming the option.
    """
    for name in NAMING_OPTIONS:
        if options.get(name):
            raise SettingsError(f"{name!r} is for folders of masks: here, {why}")


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
    ImportFormat(
        "cvat",
        """Exports of CVAT: the folder of Segmentation mask 1.1, or annotations.xml.

        The XML file is that of CVAT for images 1.1; its masks and polygons are read, and the higher
        z_order is on top.

        \b
        segpipe import cvat unpacked ...
        segpipe import cvat annotations.xml --empty-images ...
        """,
        ("overlaps", "empty_images", "over", *FOLDER_OPTIONS),
        _cvat,
        defaults={"overlaps": "last"},
    ),
    ImportFormat(
        "label-studio",
        """Brush strokes of Label Studio: its JSON or JSON-MIN export, or the folder of PNGs.

        \b
        segpipe import label-studio project-1.json ...
        segpipe import label-studio project-1.json --of predictions --overlaps score ...
        segpipe import label-studio brush_labels_to_png ...
        """,
        ("of", "overlaps", "over", *FOLDER_OPTIONS),
        _label_studio,
        defaults={"overlaps": "last"},
    ),
)
