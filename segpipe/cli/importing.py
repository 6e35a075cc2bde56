"""``segpipe import FORMAT SOURCE``: a command for each import format."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from inspect import cleandoc
from pathlib import Path
from typing import Any, TypeVar

import click

from segpipe.cli.console import put, say, step_progress
from segpipe.cli.ending import Arguments, Commands
from segpipe.cli.exit_status import ALL_ACCEPTED, SOME_REJECTED
from segpipe.formats.opening import FORMATS, ImportFormat

Command = TypeVar("Command", bound=Callable[..., Any])
_Option = Callable[[Command], Command]

_COMMON_OPTIONS = [
    click.argument("source", type=click.Path(path_type=Path), metavar="SOURCE"),
    click.option("--root", required=True, metavar="DIR", help="Folder or URL of the root."),
    click.option("--model-run", required=True, metavar="M"),
    click.option("--date", metavar="YYYY-MM-DD", help="The partition's day; today by default."),
    click.option(
        "--name", metavar="NAME", help="Of the manifest file; made of format and SOURCE by default."
    ),
    click.option(
        "--replace", is_flag=True, help="Replace a manifest of that name from another source."
    ),
    click.option(
        "--workers",
        type=click.IntRange(0),
        help="Who work on the masks at a time; one per processor by default.",
    ),
]


def _file_option(name: str, help: str) -> Any:
    return {"param_decls": (name,), "type": click.Path(path_type=Path), "metavar": "FILE",
            "help": help}  # fmt: skip


_OPTIONS: dict[str, dict[str, Any]] = {
    "labels": _file_option(
        "--labels", "Label map: CSV with index,label[,isthing], or JSON or TOML with index = label."
    ),
    "objects": {
        "param_decls": ("--objects",),
        "default": "",
        "metavar": "LABEL",
        "help": "Values are objects, not classes: 0 is background, every other one LABEL.",
    },
    "ignore": {
        "param_decls": ("--ignore",),
        "multiple": True,
        "metavar": "VALUE=LABEL",
        "help": "Pixels of VALUE get a visible Segment LABEL that is marked as ignored.",
    },
    "values": {
        "param_decls": ("--value", "values"),
        "multiple": True,
        "metavar": "VALUE=NEW",
        "help": "Pixels of VALUE are imported as NEW, a value of the label map: 255=1 where masks "
        "are 0/255 and labels 0 and 1; 1..12=0..11 where they are shifted; 40=1,80=2.",
    },
    "allow_root": {
        "param_decls": ("--allow-root",),
        "multiple": True,
        "type": click.Path(path_type=Path),
        "metavar": "DIR",
        "help": "Links of the folder may lead into DIR as well, such as a DVC cache; those that "
        "lead elsewhere are left out and named.",
    },
    "colours": _file_option(
        "--colours",
        "Colour table: CSV with r,g,b,label or colour,label (#rrggbb), or JSON or TOML.",
    ),
    "annotations": _file_option("--annotations", "The JSON file that explains the PNGs."),
    "two_channel": {
        "param_decls": ("--two-channel",),
        "is_flag": True,
        "help": "PNGs hold the category in red and the instance in green, 0 for stuff; there are "
        "no annotations.",
    },
    "images": _file_option(
        "--images", "A JSON file with images (file names, sizes): the ground truth."
    ),
    "overlaps": {
        "param_decls": ("--overlaps",),
        "type": click.Choice(["score", "area", "last", "error"]),
        "default": "score",
        "show_default": True,
        "help": "On top where instances overlap: the higher score, the smaller, or the later in "
        "the file; or refuse.",
    },
    "empty_images": {
        "param_decls": ("--empty-images",),
        "is_flag": True,
        "help": "Images of the list without a result become predictions of background alone.",
    },
    "category_ids": {
        "param_decls": ("--category-ids",),
        "type": click.Choice(["dataset", "contiguous"]),
        "help": "Whether category_id of instances is the id in --categories, or the place among "
        "its ids from 0, as detectron2 counts; said by the file where it can be.",
    },
    "of": {
        "param_decls": ("--of",),
        "type": click.Choice(["annotations", "predictions"]),
        "default": "annotations",
        "show_default": True,
        "help": "Whose regions of a task.",
    },
    "task": {
        "param_decls": ("--task",),
        "type": click.Choice(["ins-seg", "seg-track", "pan-seg"]),
        "help": "Which task the masks are of: its categories have numbers of their own.",
    },
    "objects_apart": {
        "param_decls": ("--objects-apart",),
        "is_flag": True,
        "help": "A binary PNG for each object, ITEM_LABEL_K.png; with --objects, ITEM_K.png.",
    },
    "listed": _file_option(
        "--listed", "With --objects-apart: a table with file, item, label and maybe score."
    ),
    "ignore_unevaluated": {
        "param_decls": ("--ignore-unevaluated",),
        "is_flag": True,
        "help": "Mark the classes that Cityscapes' evaluation leaves out as ignored.",
    },
    "scores": {
        "param_decls": ("--scores",),
        "is_flag": True,
        "help": "Arrays are probabilities, C x H x W: argmax, with confidences and class PDFs.",
    },
    "over": {
        "param_decls": ("--over-256", "over"),
        "type": click.Choice(["refuse", "keep-best", "semantic"]),
        "default": "refuse",
        "show_default": True,
        "help": "Where more ids have pixels than a mask has values: refuse the record; keep the "
        "best by confidence, then area, and merge the rest per label into a crowd; or merge per "
        "label.",
    },
    "strip_prefix": {
        "param_decls": ("--strip-prefix",),
        "default": "",
        "help": "Taken off file names for reference ids.",
    },
    "strip_suffix": {
        "param_decls": ("--strip-suffix",),
        "default": "",
        "help": "The same at the end, such as _mask.",
    },
}
_CATEGORIES = {
    "coco-panoptic": "A JSON file with the categories, where that one has none, or for "
    "--two-channel.",
    "coco-results": "A JSON file with categories: the ground truth.",
    "detectron2": "A JSON file with categories, which instances need: the ground truth.",
}
# What an option says of a format that takes it otherwise.
_OF_FORMAT: dict[tuple[str, str], dict[str, Any]] = {
    ("yolo-seg", "labels"): {
        "help": "The names of classes: data.yaml, classes.txt with one in each line, or a label "
        "map.",
    },
    ("bdd100k", "scores"): {
        **_file_option("--scores", "A JSON file with the scores of instances."),
        "is_flag": False,
    },
    ("mask-folder", "overlaps"): {
        "default": None,
        "show_default": False,
        "help": "With --objects-apart, on top where objects overlap: the higher score (the "
        "default), the smaller, or the later; or refuse.",
    },
    ("kitti-step", "labels"): {
        "help": "Other classes than those of KITTI-STEP: a label map with isthing.",
    },
    ("yolo-seg", "images"): {
        "help": "The folder of the images, whose sizes are needed; or a JSON file with images.",
        "metavar": "DIR",
    },
}


@click.group(
    cls=Commands,
    name="import",
    short_help="Write a manifest from masks in another format.",
    invoke_without_command=True,
)
@click.option(
    "--guess",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Say which format and options fit DIR, and why; import nothing.",
)
@click.pass_context
def import_group(context: click.Context, guess: Path | None) -> int | None:
    """Write a manifest, and its masks, from predictions in another format.

    What cannot be read is refused with the reason and shows up in the rejected table when the
    partition is run; everything else goes through. Importing the same SOURCE again replaces its
    manifest; other sources stand beside it.

    \b
    segpipe import --guess DIR
    """
    if context.invoked_subcommand is not None:
        if guess is not None:
            raise click.UsageError("--guess DIR takes no format: it says which one fits")
        return None
    if guess is None:
        raise click.exceptions.NoArgsIsHelpError(context)
    from segpipe.cli.guessing import guess as guess_format

    return guess_format(guess)


def _option(entry: ImportFormat, name: str) -> Any:
    """A format's option as a decorator; the help of ``categories`` differs between formats."""
    given = dict(_OPTIONS.get(name) or _file_option("--categories", _CATEGORIES[entry.name]))
    given |= _OF_FORMAT.get((entry.name, name), {})
    names = given.pop("param_decls")
    if name in entry.defaults:
        given["default"] = entry.defaults[name]
    return click.option(*names, required=name in entry.required, **given)


def _command(entry: ImportFormat) -> click.Command:
    def command(root: str, model_run: str, date: str | None, **given: Any) -> int:
        if "ignore" in given:
            given["ignore"] = _ignored(given["ignore"])
        return _import(entry, root, model_run, date, given)

    command.__doc__ = cleandoc(entry.help)
    for option in reversed([*_COMMON_OPTIONS, *(_option(entry, name) for name in entry.options)]):
        command = option(command)
    return click.command(entry.name, Arguments)(command)


def _import(
    entry: ImportFormat, root: str, model_run: str, date: str | None, given: dict[str, Any]
) -> int:
    """Import a source and print the result; returns the exit status.

    Args:
        given: source, name, replace and the format's options.
    """
    from segpipe.formats.folder_scan import told
    from segpipe.formats.importing import import_masks
    from segpipe.formats.stored_records import rejects

    day = date or datetime.now(UTC).date().isoformat()
    with step_progress() as progress:
        summary = import_masks(
            entry.name,
            root=root,
            model_run=model_run,
            date=day,
            progress=lambda *done: progress("importing", *done),
            **given,
        )
    for message in summary.messages:
        say(message)
    total = sum(summary.findings.values())
    if total > len(summary.messages):
        say(f"... and {total - len(summary.messages)} more; the tables will name them all")
    if summary.replaced_rows is not None:
        say(f"in place of the {summary.replaced_rows} rows that {summary.manifest} had")
    place = f"{summary.folder}/{summary.manifest}"
    put(f"{summary.imported} imported, {summary.refused} refused: {place}")
    warned = [f"{count} {id}" for id, count in sorted(summary.findings.items()) if not rejects(id)]
    if warned:
        put(f"with warnings: {', '.join(warned)}")
    if summary.left_out:
        put(told(summary.left_out))
    command = ["segpipe", "run", "--root", root, "--model-run", model_run, "--date", day]
    put(f"next: {shlex.join(command)}")
    return SOME_REJECTED if summary.refused else ALL_ACCEPTED


def _ignored(given: Sequence[str]) -> dict[int, str]:
    """Parse ``VALUE=LABEL`` arguments.

    Raises:
        SettingsError: naming the argument that is malformed.
    """
    from segpipe.errors import SettingsError

    ignored = {}
    for one in given:
        value, equals, label = one.partition("=")
        if not value.isdecimal() or not equals or not label.strip():
            raise SettingsError(f"--ignore {one}: expected VALUE=LABEL, such as 255=void")
        ignored[int(value)] = label
    return ignored


for _entry in FORMATS.values():
    import_group.add_command(_command(_entry))
