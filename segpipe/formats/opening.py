"""The registry of import formats, and opening a source in one of them.

To add a format, write its module in this package and an entry here; the command line makes a
command of every entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segpipe.errors import SettingsError, nearest
from segpipe.formats.benchmark_formats import BENCHMARK_FORMATS
from segpipe.formats.import_format import (
    FOLDER_OPTIONS,
    LABEL_OPTIONS,
    NAMING_OPTIONS,
    ImportFormat,
    classes_of,
    labels_of,
    links_of,
    naming_of,
    over_of,
    overlaps_of,
    path_of,
)
from segpipe.formats.tool_formats import TOOL_FORMATS

if TYPE_CHECKING:
    from segpipe.formats.imported import Format

__all__ = ["FORMATS", "ImportFormat", "open_source"]


def _mask_folder(source: Path, **options: Any) -> Format:
    from segpipe.formats.labels import Labels
    from segpipe.formats.mask_folder import MaskFolder
    from segpipe.formats.sidecars import has_sidecars

    if options.get("objects_apart"):
        return _objects_apart(source, **options)
    for name in ("listed", "overlaps"):
        if options.get(name) is not None:
            raise SettingsError(f"{name!r} is for --objects-apart, a PNG for each object")
    opened = MaskFolder.open(
        source, Labels(), naming_of(options), over_of(options), **links_of(options)
    )
    if any(options.get(name) for name in LABEL_OPTIONS) or not has_sidecars(opened.files):
        return replace(opened, labels=labels_of(options))
    return opened


def _objects_apart(source: Path, **options: Any) -> Format:
    from segpipe.formats.files import SourceFiles
    from segpipe.formats.label_map import read_label_map
    from segpipe.formats.objects_apart import ObjectsApart

    unused = [name for name in ("ignore", "values") if options.get(name)]
    if unused:
        raise SettingsError(f"{unused[0]!r} is for masks of values, and --objects-apart has none")
    labels = path_of(options.get("labels"))
    return ObjectsApart.open(
        SourceFiles.find(source, (".png",), **links_of(options)),
        naming_of(options),
        overlaps_of(options),
        over_of(options),
        labels=None if labels is None else read_label_map(labels),
        label=options.get("objects") or "",
        table=path_of(options.get("listed")),
    )


def _tiff(source: Path, **options: Any) -> Format:
    from segpipe.formats.geo_tiff import TiffFolder

    labels, naming, over = labels_of(options), naming_of(options), over_of(options)
    return TiffFolder.open(source, labels, naming, over, **links_of(options))


def _colour_map(source: Path, **options: Any) -> Format:
    from segpipe.formats.colour_map import ColourMasks
    from segpipe.formats.label_map import read_colour_table

    table = read_colour_table(Path(options["colours"]))
    return ColourMasks.open(source, table, naming_of(options), **links_of(options))


def _arrays(source: Path, **options: Any) -> Format:
    from segpipe.formats.arrays import Arrays

    scores = bool(options.get("scores"))
    labels = classes_of(options) if scores else labels_of(options)
    naming, over = naming_of(options), over_of(options)
    return Arrays.open(source, labels, naming, over, scores=scores, **links_of(options))


def _cityscapes(source: Path, **options: Any) -> Format:
    from segpipe.formats.cityscapes import Cityscapes

    ignore = bool(options.get("ignore_unevaluated"))
    naming, over = naming_of(options), over_of(options)
    return Cityscapes.open(source, naming, over, ignore_unevaluated=ignore, **links_of(options))


def _coco_panoptic(source: Path, **options: Any) -> Format:
    from segpipe.formats.coco_panoptic import CocoPanoptic
    from segpipe.formats.coco_two_channel import TwoChannelPanoptic

    categories, over = path_of(options.get("categories")), over_of(options)
    if options.get("two_channel"):
        if categories is None or options.get("annotations") is not None:
            raise SettingsError(
                "coco-panoptic --two-channel needs --categories FILE, and no --annotations"
            )
        naming = naming_of(options)
        return TwoChannelPanoptic.open(source, categories, naming, over, **links_of(options))
    unused = [name for name in NAMING_OPTIONS if options.get(name)]
    if unused:
        raise SettingsError(
            f"{unused[0]!r} is for --two-channel: annotations say what image they are of"
        )
    annotations = path_of(options.get("annotations"))
    if annotations is None:
        raise SettingsError(
            "coco-panoptic needs 'annotations' (--annotations FILE), the JSON file that explains "
            "the PNGs; PNGs of categories in red and instances in green need none, but "
            "--two-channel --categories FILE"
        )
    return CocoPanoptic.open(source, annotations, categories, over, **links_of(options))


def _coco_results(source: Path, **options: Any) -> Format:
    from segpipe.formats.coco_results import CocoResults

    return CocoResults.open(
        source,
        Path(options["categories"]),
        path_of(options.get("images")),
        overlaps_of(options),
        over_of(options),
        empty=bool(options.get("empty_images")),
    )


def _detectron2(source: Path, **options: Any) -> Format:
    from segpipe.formats.detectron2 import open_detectron2

    return open_detectron2(
        source,
        path_of(options.get("categories")),
        path_of(options.get("images")),
        path_of(options.get("annotations")),
        overlaps_of(options),
        over_of(options),
        options.get("category_ids"),
        **links_of(options),
    )


FORMATS: Mapping[str, ImportFormat] = {
    one.name: one
    for one in (
        ImportFormat(
            "mask-folder",
            """Grey or palette PNGs of classes or objects, in a folder and the folders in it.

            What segpipe exported says itself what its values mean. 16-bit PNGs of ids are
            renumbered. Grey TIFFs are read where the folder has no PNG.

            \b
            segpipe import mask-folder SegmentationClass --labels voc.csv --ignore 255=void ...
            segpipe import mask-folder binary --labels crack.csv --value 255=1 ...
            segpipe import mask-folder davis --objects object ...
            segpipe import mask-folder objects --objects-apart ...
            """,
            (*LABEL_OPTIONS, "objects_apart", "listed", "overlaps", "over", *FOLDER_OPTIONS),
            _mask_folder,
        ),
        ImportFormat(
            "tiff",
            """TIFFs of classes or objects, also GeoTIFFs, whose place on the ground is kept.

            \b
            segpipe import tiff landcover --labels classes.csv --ignore 255=nodata ...
            """,
            (*LABEL_OPTIONS, "over", *FOLDER_OPTIONS),
            _tiff,
        ),
        ImportFormat(
            "colour-map",
            """RGB PNGs painted with the colours of a table.

            \b
            segpipe import colour-map annotations --colours colours.csv ...
            """,
            ("colours", *FOLDER_OPTIONS),
            _colour_map,
            required=("colours",),
        ),
        ImportFormat(
            "arrays",
            """Class or instance arrays in .npy and .npz files, or probabilities per class.

            With --scores, arrays are C x H x W floats that sum up to 1 over the classes: pixels go
            to the highest, and Segments get the mean confidence and class PDF of their pixels.

            \b
            segpipe import arrays outputs --labels classes.json ...
            segpipe import arrays softmax --labels classes.json --scores ...
            """,
            (*LABEL_OPTIONS, "scores", "over", *FOLDER_OPTIONS),
            _arrays,
        ),
        ImportFormat(
            "cityscapes",
            """16-bit instanceIds PNGs of Cityscapes.

            \b
            segpipe import cityscapes gtFine/val --strip-suffix _gtFine_instanceIds ...
            """,
            ("ignore_unevaluated", "over", *FOLDER_OPTIONS),
            _cityscapes,
        ),
        ImportFormat(
            "coco-panoptic",
            """Panoptic PNGs (id = R + 256 G + 65536 B) and their JSON file.

            \b
            segpipe import coco-panoptic panoptic_val2017 --annotations panoptic_val2017.json ...
            segpipe import coco-panoptic two_channels --two-channel --categories cats.json ...
            """,
            ("annotations", "two_channel", "categories", "over", *FOLDER_OPTIONS),
            _coco_panoptic,
        ),
        ImportFormat(
            "coco-results",
            """A JSON list of instances with scores: RLE or polygons.

            \b
            segpipe import coco-results segm.json --categories instances_val2017.json \\
                --images instances_val2017.json ...
            """,
            ("categories", "images", "overlaps", "empty_images", "over"),
            _coco_results,
            required=("categories",),
        ),
        ImportFormat(
            "detectron2",
            """What detectron2's evaluators write: instances, or panoptic PNGs and predictions.json.

            SOURCE is the JSON file of instances (coco_instances_results.json, or the predictions
            of instances_predictions.pth saved as JSON), or the folder of panoptic PNGs.

            \b
            segpipe import detectron2 output/inference/coco_instances_results.json \\
                --categories instances_val2017.json --images instances_val2017.json ...
            segpipe import detectron2 panoptic_pngs --annotations predictions.json ...
            """,
            (
                "categories",
                "images",
                "annotations",
                "category_ids",
                "overlaps",
                "over",
                "allow_root",
            ),
            _detectron2,
        ),
        *TOOL_FORMATS,
        *BENCHMARK_FORMATS,
    )
}


def open_source(kind: str, source: str | PathLike[str], **options: Any) -> Format:
    """Open a source: find its files and read its label maps.

    Args:
        kind: a name in ``FORMATS``.
        source: the folder or file.
        options: those of the format; None stands for an option that is not given.

    Raises:
        SettingsError: if the format is unknown, an option is missing or not one of the format's,
            or the source cannot be used.
    """
    entry = FORMATS.get(kind)
    if entry is None:
        raise SettingsError(f"there is no format {kind!r} to import{nearest(kind, list(FORMATS))}")
    given = {name: value for name, value in options.items() if value is not None}
    for name in given:
        if name not in entry.options:
            raise SettingsError(f"{kind} takes no {name!r}{nearest(name, entry.options)}")
    for name in entry.required:
        if name not in given:
            raise SettingsError(f"{kind} needs {name!r}")
    return entry.open(Path(source), **{**entry.defaults, **given})
