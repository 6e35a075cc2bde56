"""The commands and their options. Each imports its code when it runs: Dagster is slow to load."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from segpipe import __version__
from segpipe.cli.catalog_commands import (
    diff,
    history,
    optimize,
    query,
    restore,
    show,
    unpublish,
    upgrade,
    vacuum,
)
from segpipe.cli.command_groups import GroupedCommands
from segpipe.cli.ending import status_of
from segpipe.cli.evaluation_commands import compare, evaluate
from segpipe.cli.exit_status import ALL_ACCEPTED
from segpipe.cli.export_command import export
from segpipe.cli.importing import Command, import_group
from segpipe.cli.options import (
    ROOT_HELP,
    dataset_option,
    format_option,
    model_run_option,
    root_option,
)
from segpipe.extras import require
from segpipe.publishing.destinations import DESTINATIONS

_WORKERS_HELP = (
    "Processes that work on masks at a time. By default, or with 0, one per processor, at most 8."
)


def _address_options(port: int, host_help: str | None = None) -> Callable[[Command], Command]:
    """``--port`` with its default, and ``--host``."""

    def add(command: Command) -> Command:
        words = host_help or "Address to listen on."
        command = click.option(
            "--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help=words
        )(command)
        ports = click.IntRange(1, 65535)
        return click.option(
            "--port",
            type=ports,
            default=port,
            show_default=True,
            metavar="PORT",
            help="Port to listen on.",
        )(command)

    return add


@click.group(
    cls=GroupedCommands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="segpipe")
@click.option(
    "--debug", is_flag=True, expose_value=False, help="Show the traceback of an error as well."
)
def cli() -> None:
    """Check segmentation predictions pixel by pixel, and publish each exactly once.

    A root is the folder or bucket that holds a dataset: manifests that models wrote, validated
    tables, masks, and the catalog of what is published.

    \b
    Examples:
      segpipe demo                              try it on a small data set
      segpipe doctor --root ROOT                see whether everything is set up
      segpipe validate predictions.parquet      check a manifest, publish nothing
      segpipe run --root ROOT --all             validate and publish what has landed
      segpipe run --help                        how a command is used

    Exit status: 0 all accepted, 1 some rows rejected (the others went through), or doctor found a
    problem, 2 unusable input, settings or storage, 3 an unexpected error, whose details are
    written to a file; 130 after Ctrl-C, 143 after SIGTERM.
    """


@cli.command(short_help="Make a small data set with defects, and publish it.")
@click.option(
    "--root", default="demo", show_default=True, metavar="DIR", help="Folder for the demo data."
)
@click.option(
    "--until",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="YYYY-MM-DD",
    help="The last of its three days; yesterday by default. The pictures are always the same.",
)
def demo(root: str, until: datetime | None) -> int:
    """Make a small data set with a few defects, and publish it from manifest to catalog.

    It prints what was accepted, rejected and published, why each row was rejected, and what to
    try next. Run again, it publishes nothing twice.

    \b
    Examples:
      segpipe demo
      segpipe demo --root /tmp/try
    """
    from segpipe.cli.demo import run_demo

    return run_demo(root, None if until is None else until.date())


@cli.command(short_help="Check this installation and a root; say what to do.")
@click.option(
    "--root",
    metavar="ROOT",
    help="Folder or URL of the root to look at. By default the one that SEGPIPE_ROOT names; "
    "without either, only the installation is looked at.",
)
@format_option
def doctor(root: str | None, output: str) -> int:
    """Check this installation and a root, and say what to do about what is wrong.

    It looks at Python and the machine, packages and extras, settings, storage, what has landed,
    the catalog, destinations and Dagster's home. Each line is ok, a note (worth knowing), a
    warning (may go wrong or be slow) or a problem (something would fail). It changes nothing: the
    files with which it tries storage out are removed.

    Exit status: 0 if there is no problem, 1 if there is one.

    \b
    Examples:
      segpipe doctor
      segpipe doctor --root ROOT
      segpipe doctor --root s3://bucket/root --format json
    """
    from segpipe.cli.doctor import run_doctor

    return run_doctor(root, output)


@cli.command("nucleus-server", short_help="Receive what the Scale Nucleus SDK uploads.")
@click.option(
    "--root", required=True, metavar="DIR", help="Local folder that holds masks/ and catalog/."
)
@_address_options(
    8000,
    "Address to listen on. Other machines reach it at 0.0.0.0, which needs an API key in the "
    "environment variable SEGPIPE_NUCLEUS_KEY.",
)
@click.option(
    "--checks",
    type=click.Choice(["as-nucleus", "strict"]),
    default="as-nucleus",
    show_default=True,
    help="What to do with masks that segpipe would reject: take them, as Nucleus is believed to "
    "do, and note why; or refuse them with the reasons (strict).",
)
@click.option(
    "--background-label",
    metavar="LABEL",
    help="Label for pixels of value 0 that no Segment declares. Without it, their mask is "
    "rejected.",
)
@click.option(
    "--max-body-mb",
    "body_mb",
    type=click.IntRange(1),
    default=512,
    show_default=True,
    metavar="MB",
    help="Largest request that is taken, in megabytes.",
)
def nucleus_server(
    root: str, host: str, port: int, checks: str, background_label: str | None, body_mb: int
) -> int:
    """Serve an endpoint the Scale Nucleus SDK can talk to; what it uploads is in the catalog.

    \b
    Example:
      segpipe nucleus-server --root ROOT
    """
    from segpipe.cli.nucleus_server import run_nucleus_server

    return run_nucleus_server(root, host, port, checks, body_mb, background_label)


@cli.command(short_help="Look at what is in a root, in a web browser.")
@root_option
@_address_options(
    8010,
    "Address to listen on. Other machines reach it at 0.0.0.0, and need the token that is printed.",
)
@click.option(
    "--token",
    metavar="TEXT",
    help="Password for the page, 16 characters or more; better given in the environment variable "
    "SEGPIPE_BROWSE_TOKEN. Where others can reach the page and none is given, one is made.",
)
@click.option(
    "--open/--no-open",
    "open_page",
    default=True,
    help="Open the page in a browser, as by default, or not.",
)
def browse(root: str, host: str, port: int, token: str | None, open_page: bool) -> int:
    """Serve a page to look at what is in a root: gallery, items, rejects, overview.

    It changes nothing, and runs until Ctrl-C.

    \b
    Examples:
      segpipe browse --root ROOT
      segpipe browse --root s3://bucket/root --no-open
    """
    from segpipe.cli.browse import run_browse

    return run_browse(root, host, port, token, open_page=open_page)


@cli.command(short_help="Write a model run's pictures as one HTML file.")
@root_option
@dataset_option
@model_run_option
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="L",
    help="Only predictions with this label; may be given several times.",
)
@click.option(
    "--rejected", is_flag=True, help="Rejected rows instead, with what was found in them."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE.html",
    help="File to write.",
)
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=200,
    show_default=True,
    metavar="N",
    help="Most items in the file; it says how many are left out.",
)
@click.option("--force", is_flag=True, help="Replace FILE.html if it is there.")
def gallery(root: str, dataset: str | None, model_run: str, out: Path, **options: Any) -> int:
    """Write a model run's gallery and items as one HTML file that needs no server.

    \b
    Example:
      segpipe gallery --root ROOT --model-run M --rejected --out rejected.html
    """
    from segpipe.cli.browse import run_gallery

    labels, limit = options.pop("labels"), options.pop("limit")
    return run_gallery(root, dataset, model_run, labels, out, limit, **options)


@cli.command(short_help="Check the masks of a manifest; publish nothing.")
@click.argument("manifests", nargs=-1, required=True, metavar="MANIFEST...")
@click.option(
    "--out",
    default="segpipe-validation",
    show_default=True,
    metavar="DIR",
    help="Folder for validated.parquet, segments.parquet, rejected.parquet and masks/.",
)
@format_option
@click.option(
    "--allow-root",
    multiple=True,
    metavar="DIR",
    help="Another folder or URL that masks may be read from; may be given several times.",
)
@click.option(
    "--policy",
    metavar="FILE",
    help="A TOML file with a table [policy], as in segpipe.toml.",
)
@click.option("--html", metavar="FILE", help="Write a page with a picture per rule as well.")
@click.option("--workers", type=click.IntRange(0), default=0, metavar="N", help=_WORKERS_HELP)
def validate(manifests: Sequence[str], **options: Any) -> int:
    """Check the masks of MANIFEST files (or a folder of them); publish nothing.

    All files together are taken as one model run's predictions. Masks are read from below the
    manifests' folders, and from --allow-root.

    \b
    Examples:
      segpipe validate predictions.parquet --out checked
      segpipe validate predictions.parquet --policy policy.toml --html report.html
    """
    from segpipe.cli.validate import ValidateOptions, run_validate

    return run_validate(manifests, ValidateOptions(**options))


@cli.command(short_help="List what masks and rows are checked for.")
@click.argument("rule", required=False, metavar="[ID]")
def rules(rule: str | None) -> int:
    """List the rules that masks and rows are checked against, or explain one.

    \b
    Examples:
      segpipe rules
      segpipe rules OFF-BY-ONE
    """
    from segpipe.cli.rules import explain_rule, list_rules

    if rule is None:
        list_rules()
    else:
        explain_rule(rule)
    return ALL_ACCEPTED


@cli.command(short_help="Validate days of a root, and publish them.")
@root_option
@click.option(
    "--model-run",
    "model_runs",
    multiple=True,
    metavar="M",
    help="Model run; may be given several times. By default every one that has landed and is not "
    "retired.",
)
@click.option(
    "--date", metavar="YYYY-MM-DD[..YYYY-MM-DD]", help="A day, or the first and last of a range."
)
@click.option("--all", "everything", is_flag=True, help="Every day that has landed.")
@click.option(
    "--update",
    is_flag=True,
    help="Replace predictions that are published already and differ; without it they stay.",
)
@click.option(
    "--dry-run", is_flag=True, help="Validate, say what publishing would do, and publish nothing."
)
@click.option(
    "--verify",
    type=click.Choice(["sample", "all"]),
    default="sample",
    show_default=True,
    help="How many masks to read back and compare after publishing.",
)
@click.option(
    "--publish-as",
    type=click.Choice(["given", "instance", "semantic"]),
    help="Publish predictions as given, as instances, or as classes (semantic). By default as "
    "publish_as of the model run's policy says.",
)
@click.option(
    "--force", is_flag=True, help="Read every mask, also where nothing changed since the last run."
)
@click.option(
    "--destination",
    "destinations",
    type=click.Choice([*DESTINATIONS]),
    multiple=True,
    help="Where to publish; may be given several times. By default `destinations` of segpipe.toml.",
)
@click.option("--workers", type=click.IntRange(0), metavar="N", help=_WORKERS_HELP)
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="Dask scheduler whose workers work on the masks instead, such as tcp://host:8786.",
)
def run(root: str, **options: Any) -> int:
    """Validate the masks of days that have landed, and publish them, through Dagster.

    A partition is one model run on one day. Several are run one after the other; one that fails
    does not stop the others, and the same command again is quick with those that are done.

    \b
    Examples:
      segpipe run --root ROOT --model-run M --date 2026-01-05
      segpipe run --root ROOT --date 2026-01-05..2026-01-11 --dry-run
      segpipe run --root ROOT --all
    """
    require("dagster", "`segpipe run` needs", "dagster")
    from segpipe.cli.run import RunOptions
    from segpipe.cli.run import run as run_partitions

    return run_partitions(root, RunOptions(**options))


@cli.command(short_help="Tell Dagster which model runs there are.")
@root_option
@click.option(
    "--model-run",
    "model_runs",
    multiple=True,
    metavar="M",
    help="A model run that has not landed yet, so that what writes its manifests can run in "
    "Dagster; may be given several times.",
)
@click.option(
    "--key-prefix",
    multiple=True,
    metavar="PART",
    help="Key prefix of the root's assets, if another Dagster project gives them one; once for "
    "each part.",
)
def register(root: str, model_runs: Sequence[str], key_prefix: Sequence[str]) -> None:
    """Make Dagster know the model runs that have landed, so that they can be backfilled.

    \b
    Examples:
      segpipe register --root ROOT
      segpipe register --root ROOT --model-run street-unet-v3
    """
    require("dagster", "`segpipe register` needs", "dagster")
    from segpipe.cli.dev import register_model_runs

    register_model_runs(root, model_runs, key_prefix)


@cli.command(short_help="Start Dagster's pages and daemon on a root.")
@click.option("--root", default="demo", show_default=True, metavar="ROOT", help=ROOT_HELP)
@_address_options(3000)
def dev(root: str, port: int, host: str) -> int:
    """Start Dagster's pages and its daemon on a root; they run until Ctrl-C.

    \b
    Example:
      segpipe dev --root ROOT --port 3000
    """
    require("dagster", "`segpipe dev` needs")
    from segpipe.cli.dev import run_dev

    return run_dev(root, host, port)


for _command in (
    *(import_group, export, evaluate, compare),
    *(history, diff, restore, unpublish, show, query),
    *(optimize, vacuum, upgrade),
):
    cli.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point; see :func:`segpipe.cli.ending.status_of` for how a command can end."""
    sys.exit(status_of(cli, sys.argv[1:] if arguments is None else arguments))
