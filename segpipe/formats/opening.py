"""The registry of import formats, and opening a source in one of them.

To add a format, write its module in this package and an entry here; the command line makes a
command of every entry.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segpipe.errors import SettingsError, nearest

if TYPE_CHECKING:
    from segpipe.formats.files import Naming
    from segpipe.formats.identifiers import Over256
    from segpipe.formats.imported import Format
    from segpipe.formats.labels import Labels


@dataclass(frozen=True)
class ImportFormat:
    """One format that can be imported.

    Attributes:
        name: of the command, and for :func:`open_source`.
        help: the command's help text: a sentence, optional details, and an example.
        options: names of the options it takes.
        open: opens a source; called with its path and the options that were given.
        required: names of the options that must be given.
    """

    name: str
    help: str
    options: tuple[str, ...]
    open: Callable[..., Format]
    required: tuple[str, ...] = ()


def _mask_folder(source: Path, **options: Any) -> Format:
    from segpipe.formats.labels import Labels
    from segpipe.formats.mask_folder import MaskFolder
    from segpipe.formats.sidecars import has_sidecars

    opened = MaskFolder.open(source, Labels(), _naming(options), _over(options), **_links(options))
    if any(options.get(name) for name in _LABEL_OPTIONS) or not has_sidecars(opened.files):
        return replace(opened, labels=_labels(options))
    return opened


def _colour_map(source: Path, **options: Any) -> Format:
    from segpipe.formats.colour_map import ColourMasks
    from segpipe.formats.label_map import read_colour_table

    table = read_colour_table(Path(options["colours"]))
    return ColourMasks.open(source, table, _naming(options), **_links(options))


def _arrays(source: Path, **options: Any) -> Format:
    from segpipe.formats.arrays import Arrays

    scores = bool(options.get("scores"))
    labels = _classes(options) if scores else _labels(options)
    naming, over = _naming(options), _over(options)
    return Arrays.open(source, labels, naming, over, scores=scores, **_links(options))


def _cityscapes(source: Path, **options: Any) -> Format:
    from segpipe.formats.cityscapes import Cityscapes

    ignore = bool(options.get("ignore_unevaluated"))
    naming, over = _naming(options), _over(options)
    return Cityscapes.open(source, naming, over, ignore_unevaluated=ignore, **_links(options))


def _coco_panoptic(source: Path, **options: Any) -> Format:
    from segpipe.formats.coco_panoptic import CocoPanoptic

    categories = _path(options.get("categories"))
    annotations, over = Path(options["annotations"]), _over(options)
    return CocoPanoptic.open(source, annotations, categories, over, **_links(options))


def _coco_results(source: Path, **options: Any) -> Format:
    from segpipe.formats.coco_results import CocoResults
    from segpipe.formats.overlaps import Overlaps

    return CocoResults.open(
        source,
        Path(options["categories"]),
        _path(options.get("images")),
        Overlaps(options.get("overlaps", "score")),
        _over(options),
        empty=bool(options.get("empty_images")),
    )


_LABEL_OPTIONS = ("labels", "objects", "ignore", "values")
_NAMING_OPTIONS = ("strip_prefix", "strip_suffix")
_FOLDER_OPTIONS = (*_NAMING_OPTIONS, "allow_root")

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
            """,
            (*_LABEL_OPTIONS, "over", *_FOLDER_OPTIONS),
            _mask_folder,
        ),
        ImportFormat(
            "colour-map",
            """RGB PNGs painted with the colours of a table.

            \b
            segpipe import colour-map annotations --colours colours.csv ...
            """,
            ("colours", *_FOLDER_OPTIONS),
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
            (*_LABEL_OPTIONS, "scores", "over", *_FOLDER_OPTIONS),
            _arrays,
        ),
        ImportFormat(
            "cityscapes",
            """16-bit instanceIds PNGs of Cityscapes.

            \b
            segpipe import cityscapes gtFine/val --strip-suffix _gtFine_instanceIds ...
            """,
            ("ignore_unevaluated", "over", *_FOLDER_OPTIONS),
            _cityscapes,
        ),
        ImportFormat(
            "coco-panoptic",
            """Panoptic PNGs (id = R + 256 G + 65536 B) and their JSON file.

            \b
            segpipe import coco-panoptic panoptic_val2017 --annotations panoptic_val2017.json ...
            """,
            ("annotations", "categories", "over", "allow_root"),
            _coco_panoptic,
            required=("annotations",),
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
    return entry.open(Path(source), **given)


def _path(given: str | PathLike[str] | None) -> Path | None:
    return None if given is None else Path(given)


def _over(options: Mapping[str, Any]) -> Over256:
    from segpipe.formats.identifiers import Over256

    return Over256(options.get("over", "refuse"))


def _naming(options: Mapping[str, Any]) -> Naming:
    from segpipe.formats.files import Naming

    return Naming(**{name: options[name] for name in _NAMING_OPTIONS if name in options})


def _labels(options: Mapping[str, Any]) -> Labels:
    from segpipe.formats.label_map import read_label_map
    from segpipe.formats.labels import Labels
    from segpipe.formats.value_map import ValueMap

    label_map, objects, ignored, values = map(options.get, _LABEL_OPTIONS)
    if (label_map is None) == (not objects):
        raise SettingsError("say what the values mean: either --labels FILE or --objects LABEL")
    by_index = read_label_map(Path(label_map)) if label_map is not None else {}
    return Labels(by_index, objects or "", dict(ignored or {}), ValueMap.read(values or {}))


def _classes(options: Mapping[str, Any]) -> Labels:
    """The label map of scores: an entry for each class, from 0."""
    other = [name for name in ("objects", "ignore", "values") if options.get(name)]
    if options.get("over", "refuse") != "refuse":
        other.append("over")
    if other:
        named = {"values": "--value", "over": "--over-256"}.get(other[0], f"--{other[0]}")
        raise SettingsError(
            f"{named} is for whole numbers, and --scores are probabilities of classes: leave one "
            "of the two out"
        )
    if options.get("labels") is None:
        raise SettingsError("--scores needs --labels FILE: the name of each class, from index 0")
    labels = _labels(options)
    indexes = sorted(labels.by_index)
    missing = next((place for place, one in enumerate(indexes) if place != one), None)
    if missing is not None:
        raise SettingsError(
            f"{options['labels']} has {indexes[missing]} and not {missing}: the classes of --scores"
            " are numbered from 0 without a gap, in the order of the arrays' first axis"
        )
    return labels


def _links(options: Mapping[str, Any]) -> dict[str, Any]:
    """Where a folder's links may lead."""
    return {"allowed": tuple(options.get("allow_root") or ())}
