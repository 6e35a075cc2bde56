"""``segpipe import FORMAT SOURCE``: other formats to manifests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from segpipe.cli.console import say, step_progress

if TYPE_CHECKING:
    from segpipe.formats.files import Naming
    from segpipe.formats.imported import Format
    from segpipe.formats.mask_folder import Labels

Command = TypeVar("Command", bound=Callable[..., Any])

_EVERY_FORMAT = [
    click.argument("source", type=click.Path(path_type=Path), metavar="SOURCE"),
    click.option("--root", required=True, metavar="DIR", help="Folder or URL of the root."),
    click.option("--model-run", required=True, metavar="M"),
    click.option("--date", metavar="YYYY-MM-DD", help="The partition's day; today by default."),
]
_NAMES = [
    click.option("--strip-prefix", default="", help="Taken off file names for reference ids."),
    click.option("--strip-suffix", default="", help="The same at the end, such as _mask."),
]
_LABELS = [
    click.option(
        "--labels",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Label map: CSV with index,label[,isthing], or JSON or TOML with index = label.",
    ),
    click.option(
        "--objects",
        default="",
        metavar="LABEL",
        help="Values are objects, not classes: 0 is background, every other one LABEL.",
    ),
    click.option(
        "--ignore",
        multiple=True,
        metavar="VALUE=LABEL",
        help="Pixels of VALUE get a visible Segment LABEL that is marked as ignored.",
    ),
]
#: What is done with more ids than a mask has values.
OVER = click.option(
    "--over-256",
    "over",
    type=click.Choice(["refuse", "keep-best", "semantic"]),
    default="refuse",
    show_default=True,
    help="Where more ids have pixels than a mask has values: refuse the record; keep the best by "
    "confidence, then area, and merge the rest per label into a crowd; or merge per label.",
)


@click.group(name="import", short_help="Write a manifest from masks in another format.")
def import_group() -> None:
    """Write a manifest, and its masks, from predictions in another format.

    What cannot be read is refused with the reason and shows up in the rejected table when the
    partition is run; everything else goes through. Importing the same again changes nothing.
    """


def with_options(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Several click options, in this order."""

    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def for_every_format(*options: Any) -> Callable[[Command], Command]:
    """The arguments every format takes, and its own."""
    return with_options(*_EVERY_FORMAT, *options)


@import_group.command(name="mask-folder")
@for_every_format(*_LABELS, *_NAMES)
def mask_folder(
    source: Path,
    root: str,
    model_run: str,
    date: str | None,
    labels: Path | None,
    objects: str,
    ignore: Sequence[str],
    strip_prefix: str,
    strip_suffix: str,
) -> int:
    """Grey or palette PNGs of classes or objects, in a folder and the folders in it.

    What segpipe exported says itself what its values mean.

    \b
    segpipe import mask-folder SegmentationClass --labels voc.csv --ignore 255=void ...
    segpipe import mask-folder davis --objects object ...
    """
    from segpipe.formats.mask_folder import Labels, MaskFolder
    from segpipe.formats.sidecars import has_sidecars

    naming = _naming(strip_prefix, strip_suffix)
    told = labels is not None or bool(objects) or bool(ignore) or not has_sidecars(source)
    meaning = _labels(labels, objects, ignore) if told else Labels()
    masks = MaskFolder.open(source, meaning, naming)
    return write(masks, root, model_run, date)


@import_group.command(name="colour-map")
@for_every_format(
    click.option(
        "--colours",
        type=click.Path(path_type=Path),
        required=True,
        metavar="FILE",
        help="Colour table: CSV with r,g,b,label or colour,label (#rrggbb), or JSON or TOML.",
    ),
    *_NAMES,
)
def colour_map(
    source: Path,
    root: str,
    model_run: str,
    date: str | None,
    colours: Path,
    strip_prefix: str,
    strip_suffix: str,
) -> int:
    """RGB PNGs painted with the colours of a table.

    \b
    segpipe import colour-map annotations --colours colours.csv ...
    """
    from segpipe.formats.colour_map import ColourMasks
    from segpipe.formats.label_map import read_colour_table

    naming = _naming(strip_prefix, strip_suffix)
    masks = ColourMasks.open(source, read_colour_table(colours), naming)
    return write(masks, root, model_run, date)


@import_group.command(name="arrays")
@for_every_format(*_LABELS, OVER, *_NAMES)
def arrays(
    source: Path,
    root: str,
    model_run: str,
    date: str | None,
    labels: Path | None,
    objects: str,
    ignore: Sequence[str],
    over: str,
    strip_prefix: str,
    strip_suffix: str,
) -> int:
    """Class or instance arrays in .npy and .npz files; scores are refused.

    \b
    segpipe import arrays outputs --labels classes.json ...
    """
    from segpipe.formats.arrays import Arrays
    from segpipe.formats.identifiers import Over256

    naming = _naming(strip_prefix, strip_suffix)
    found = Arrays.open(source, _labels(labels, objects, ignore), naming, Over256(over))
    return write(found, root, model_run, date)


@import_group.command(name="cityscapes")
@for_every_format(
    click.option(
        "--ignore-unevaluated",
        is_flag=True,
        help="Mark the classes that Cityscapes' evaluation leaves out as ignored.",
    ),
    OVER,
    *_NAMES,
)
def cityscapes(
    source: Path,
    root: str,
    model_run: str,
    date: str | None,
    ignore_unevaluated: bool,
    over: str,
    strip_prefix: str,
    strip_suffix: str,
) -> int:
    """16-bit instanceIds PNGs of Cityscapes.

    \b
    segpipe import cityscapes gtFine/val --strip-suffix _gtFine_instanceIds ...
    """
    from segpipe.formats.cityscapes import Cityscapes
    from segpipe.formats.identifiers import Over256

    naming = _naming(strip_prefix, strip_suffix)
    masks = Cityscapes.open(source, naming, Over256(over), ignore_unevaluated=ignore_unevaluated)
    return write(masks, root, model_run, date)


def write(source: Format, root: str, model_run: str, date: str | None) -> int:
    """Write a source's manifest and say what came of it; the exit status."""
    from segpipe.formats.importing import import_format
    from segpipe.manifest_writer import ManifestWriter

    day = date or datetime.now(UTC).date().isoformat()
    writer = ManifestWriter(root, model_run, day, carried=source.carried, importing=True)
    with writer, step_progress() as progress:
        summary = import_format(source, writer, lambda *done: progress("importing", *done))
    for message in summary.messages:
        say(message)
    told = sum(summary.findings.values())
    if told > len(summary.messages):
        say(f"... and {told - len(summary.messages)} more; the rejected table will name them all")
    print(f"{summary.imported} imported, {summary.refused} refused: {writer.folder.shown}")
    print(f"next: segpipe run --root {root} --model-run '{model_run}' --date {day}")
    return 1 if summary.refused else 0


def _naming(strip_prefix: str, strip_suffix: str) -> Naming:
    from segpipe.formats.files import Naming

    return Naming(strip_prefix, strip_suffix)


def _labels(labels: Path | None, objects: str, ignore: Sequence[str]) -> Labels:
    from segpipe.errors import SettingsError
    from segpipe.formats.label_map import read_label_map
    from segpipe.formats.mask_folder import Labels

    if (labels is None) == (not objects):
        raise SettingsError("say what the values mean: either --labels FILE or --objects LABEL")
    ignored = {}
    for given in ignore:
        value, equals, label = given.partition("=")
        if not value.isdecimal() or not equals or not label.strip():
            raise SettingsError(f"--ignore {given}: expected VALUE=LABEL, such as 255=void")
        ignored[int(value)] = label
    return Labels(read_label_map(labels) if labels else {}, objects, ignored)
