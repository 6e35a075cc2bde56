"""The commands and their options. Each imports its code when it runs: Dagster is slow to load."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from segpipe import __version__
from segpipe.cli.ending import Commands, status_of
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
from segpipe.publishing.destinations import DESTINATIONS

_WORKERS_HELP = "Who work on the masks at a time; one per processor by default."


def _address_options(port: int, host_help: str | None = None) -> Callable[[Command], Command]:
    """``--port`` with its default, and ``--host``."""

    def add(command: Command) -> Command:
        command = click.option("--host", default="127.0.0.1", show_default=True, help=host_help)(
            command
        )
        ports = click.IntRange(1, 65535)
        return click.option("--port", type=ports, default=port, show_default=True)(command)

    return add


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="segpipe")
@click.option(
    "--debug", is_flag=True, expose_value=False, help="Show the traceback of an error as well."
)
def cli() -> None:
    """Validate segmentation predictions pixel by pixel, and publish them idempotently.

    Exit status: 0 all accepted, 1 some rows rejected (the others went through), 2 unusable input,
    settings or storage, 3 an unexpected error, whose details are written to a file; 130 after
    Ctrl-C, 143 after SIGTERM.
    """


@cli.command()
@click.option("--root", default="demo", show_default=True, help="Folder for the demo data.")
@click.option(
    "--until",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="YYYY-MM-DD",
    help="The last of its three days; yesterday by default. What is drawn is always the same.",
)
def demo(root: str, until: datetime | None) -> int:
    """Make a small data set with a few defects and publish it, end to end."""
    from segpipe.cli.demo import run_demo

    return run_demo(root, None if until is None else until.date())


@cli.command("nucleus-server")
@click.option("--root", required=True, help="Local folder that holds masks/ and catalog/.")
@_address_options(
    8000,
    "Address to listen on. Others than this machine's own need an API key in the "
    "environment, SEGPIPE_NUCLEUS_KEY.",
)
@click.option(
    "--checks",
    type=click.Choice(["as-nucleus", "strict"]),
    default="as-nucleus",
    show_default=True,
    help="Take masks segpipe would reject, as Nucleus is believed to, and note why; or refuse "
    "them with the reasons.",
)
@click.option(
    "--background-label",
    metavar="LABEL",
    help="Give pixels of the value 0 that no Segment declares a Segment of this label in the "
    "catalog, instead of rejecting their mask.",
)
@click.option(
    "--max-body-mb",
    "body_mb",
    type=click.IntRange(1),
    default=512,
    show_default=True,
    help="Limit of a request's body.",
)
def nucleus_server(
    root: str, host: str, port: int, checks: str, background_label: str | None, body_mb: int
) -> int:
    """Serve an endpoint the Scale Nucleus SDK can talk to; what it uploads is in the catalog."""
    from segpipe.cli.nucleus_server import run_nucleus_server

    return run_nucleus_server(root, host, port, checks, body_mb, background_label)


@cli.command()
@root_option
@_address_options(
    8010, "Address to listen on. Others than this machine's own need the token that is printed."
)
@click.option(
    "--token",
    metavar="TEXT",
    help="What who looks has to know, 16 characters or more; better in the environment, "
    "SEGPIPE_BROWSE_TOKEN. One is made where others can reach the page.",
)
@click.option(
    "--open/--no-open", "open_page", default=True, help="Open the page in a browser; on by default."
)
def browse(root: str, host: str, port: int, token: str | None, open_page: bool) -> int:
    """Serve a page to look at what is in a root: gallery, items, rejects, overview."""
    from segpipe.cli.browse import run_browse

    return run_browse(root, host, port, token, open_page=open_page)


@cli.command()
@root_option
@model_run_option
@click.option(
    "--label", "labels", multiple=True, metavar="L", help="Only with this label; several."
)
@click.option("--rejected", is_flag=True, help="Rejected rows, with what was found in them.")
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="FILE.html")
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=200,
    show_default=True,
    metavar="N",
    help="Items in the file at most; what is left out is said in it.",
)
@click.option("--force", is_flag=True, help="Replace the file.")
def gallery(root: str, model_run: str, out: Path, **options: Any) -> int:
    """Write a model run's gallery and items as one HTML file that needs no server."""
    from segpipe.cli.browse import run_gallery

    return run_gallery(root, model_run, options.pop("labels"), out, options.pop("limit"), **options)


@cli.command()
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
    help="Another folder or URL masks may be read from; the manifests' own are allowed.",
)
@click.option(
    "--policy",
    metavar="FILE",
    help="A TOML file with a [policy] table, as segpipe.toml has.",
)
@click.option("--html", metavar="FILE", help="Write a page with a picture per rule as well.")
@click.option("--workers", type=click.IntRange(0), default=0, help=_WORKERS_HELP)
def validate(manifests: Sequence[str], **options: Any) -> int:
    """Check the masks of MANIFEST files (or a folder of them); publish nothing.

    All files together are taken as one model run's predictions. Masks are read from below the
    manifests' folders, and from --allow-root.
    """
    from segpipe.cli.validate import ValidateOptions, run_validate

    return run_validate(manifests, ValidateOptions(**options))


@cli.command()
@click.argument("rule", required=False, metavar="[ID]")
def rules(rule: str | None) -> int:
    """List the rules masks and rows are checked against, or explain one."""
    from segpipe.cli.rules import explain_rule, list_rules

    if rule is None:
        list_rules()
    else:
        explain_rule(rule)
    return ALL_ACCEPTED


@cli.command()
@root_option
@click.option(
    "--model-run",
    "model_runs",
    multiple=True,
    metavar="M",
    help="Once or more; every one that has landed and is not retired by default.",
)
@click.option(
    "--date", metavar="YYYY-MM-DD[..YYYY-MM-DD]", help="A day, or the first and last of several."
)
@click.option("--all", "everything", is_flag=True, help="Every day that has landed.")
@click.option(
    "--update", is_flag=True, help="Replace predictions that are there already and differ."
)
@click.option(
    "--dry-run", is_flag=True, help="Validate, say what publishing would do, and publish nothing."
)
@click.option(
    "--verify",
    type=click.Choice(["sample", "all"]),
    default="sample",
    show_default=True,
    help="Masks to read back and compare after publishing.",
)
@click.option(
    "--publish-as",
    type=click.Choice(["given", "instance", "semantic"]),
    help="The view to publish; publish_as of the model run's policy by default.",
)
@click.option(
    "--force", is_flag=True, help="Read every mask, also where nothing changed since the last run."
)
@click.option(
    "--destination",
    "destinations",
    type=click.Choice([*DESTINATIONS]),
    multiple=True,
    help="Where to publish, once or more; `destinations` of segpipe.toml by default.",
)
@click.option("--workers", type=click.IntRange(0), help=_WORKERS_HELP)
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="A Dask scheduler whose workers work on the masks instead, such as tcp://host:8786.",
)
def run(root: str, **options: Any) -> int:
    """Materialize partitions through Dagster: validate their masks and publish them.

    Several are run one after the other; one that fails does not stop the others, and the same
    command again is quick with those that are done.
    """
    from segpipe.cli.run import RunOptions
    from segpipe.cli.run import run as run_partitions

    return run_partitions(root, RunOptions(**options))


@cli.command()
@root_option
@click.option(
    "--key-prefix",
    multiple=True,
    metavar="PART",
    help="Of the root's assets in another project; once for each part.",
)
def register(root: str, key_prefix: Sequence[str]) -> None:
    """Make Dagster know the model runs that have landed, so that they can be backfilled."""
    from segpipe.cli.dev import register_model_runs

    register_model_runs(root, key_prefix)


@cli.command()
@click.option("--root", default="demo", show_default=True, help=ROOT_HELP)
@_address_options(3000)
def dev(root: str, port: int, host: str) -> int:
    """Start Dagster's UI and daemon on a root."""
    from segpipe.cli.dev import run_dev

    return run_dev(root, host, port)


@cli.command()
@root_option
@click.option("--most", type=click.IntRange(1), help="Show only the newest.")
def history(root: str, most: int | None) -> None:
    """List the catalog's versions: when, who, what, how many."""
    from segpipe.cli.catalog import show_history

    show_history(root, most)


@cli.command()
@root_option
@click.option("--dataset", metavar="NAME", help="Only its items.")
@click.argument("before", type=click.IntRange(0), metavar="V1")
@click.argument("after", type=click.IntRange(0), metavar="V2")
def diff(root: str, dataset: str | None, before: int, after: int) -> None:
    """Show what changed from version V1 to V2, per item and Segment."""
    from segpipe.cli.catalog import show_diff

    show_diff(root, before, after, dataset)


@cli.command()
@root_option
@click.argument("version", type=click.IntRange(0))
def restore(root: str, version: int) -> None:
    """Make the catalog hold what it held at VERSION; can itself be undone."""
    from segpipe.cli.catalog import restore as restore_version

    restore_version(root, version)


@cli.command()
@root_option
@dataset_option
@model_run_option
@click.option("--date", metavar="YYYY-MM-DD", help="Only what this partition published.")
@click.option("--ids", metavar="FILE", help="A text file with one reference id a line.")
@click.argument("reference_ids", nargs=-1, metavar="[REFERENCE_ID]...")
def unpublish(
    root: str,
    dataset: str | None,
    model_run: str,
    date: str | None,
    ids: str | None,
    reference_ids: Sequence[str],
) -> None:
    """Remove predictions from the catalog, by item or partition; recorded, undone by restore."""
    from segpipe.cli.catalog import unpublish as unpublish_predictions

    unpublish_predictions(root, model_run, reference_ids, ids, date, dataset)


@cli.command()
@root_option
@click.option("--retention-hours", type=click.IntRange(0), default=168, show_default=True)
@click.option("--dry-run/--no-dry-run", default=True, show_default=True)
def vacuum(root: str, retention_hours: int, dry_run: bool) -> None:
    """Delete what no version within the retention needs, and what killed runs left behind."""
    from segpipe.cli.catalog import vacuum as vacuum_catalog

    vacuum_catalog(root, retention_hours, dry_run)


@cli.command()
@root_option
@click.option("--dry-run/--no-dry-run", default=True, show_default=True)
def upgrade(root: str, dry_run: bool) -> None:
    """Upgrade a catalog that an older segpipe wrote, so that it can be published to; undoable."""
    from segpipe.cli.catalog import upgrade as upgrade_catalog

    upgrade_catalog(root, dry_run)


@cli.command()
@root_option
def optimize(root: str) -> None:
    """Write the table's many small files as few large ones."""
    from segpipe.cli.catalog import optimize as optimize_catalog

    optimize_catalog(root)


@cli.command()
@root_option
@dataset_option
@click.option("--model-run", metavar="M", help="Only this model run's predictions.")
@click.option("--date", metavar="YYYY-MM-DD", help="Only of this day's partition.")
@click.option(
    "--against",
    metavar="M",
    help="Another model run: both side by side, and where they differ.",
)
@click.option(
    "--size",
    type=click.IntRange(64, 8000),
    default=640,
    show_default=True,
    help="Longest side of each prediction's picture, in pixels.",
)
@click.option(
    "--out",
    metavar="FILE",
    help="The picture; overlay.png by default, or overlay-2.png and so on where that is there.",
)
@click.option("--force", is_flag=True, help="Replace FILE where it is there.")
@click.argument("reference_id")
def show(
    root: str,
    dataset: str | None,
    model_run: str | None,
    date: str | None,
    against: str | None,
    size: int,
    out: str | None,
    force: bool,
    reference_id: str,
) -> None:
    """Print an item's Segments and findings, and write a picture.

    Of what is published, and of what was validated or rejected, with the pixels that offend.
    """
    from segpipe.cli.catalog import show as show_item

    show_item(root, reference_id, model_run, date, against, size, out, dataset, force=force)


@cli.command()
@root_option
@click.argument("sql", required=False, metavar="[SQL]")
@click.option(
    "--file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A text file with the query, instead of SQL.",
)
@click.option(
    "--example",
    type=click.Choice(["least-sure", "disagreement", "coverage"]),
    help="A ready query, instead of SQL.",
)
@click.option(
    "--version",
    type=click.IntRange(0),
    metavar="N",
    help="Of the catalog, as `segpipe history` lists them; the newest by default.",
)
@click.option(
    "--format",
    "output",
    type=click.Choice(["table", "csv", "json", "parquet"]),
    help="What to print or write; a table by default, or as FILE of --out is named.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="FILE", help="Write the result there."
)
@click.option(
    "--rows",
    type=click.IntRange(1),
    default=100,
    show_default=True,
    help="How many rows a table shows.",
)
def query(root: str, **options: Any) -> int:
    """Answer an SQL query on what is in a root; without one, list views, columns and examples.

    It reads the views predictions, segments, validated, rejected, receipts and history, and
    changes nothing.
    """
    from segpipe.cli.query import QueryOptions, run_query

    return run_query(root, QueryOptions(**options))


cli.add_command(import_group)
cli.add_command(export)
cli.add_command(evaluate)
cli.add_command(compare)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point; see :func:`segpipe.cli.ending.status_of` for how a command can end."""
    sys.exit(status_of(cli, sys.argv[1:] if arguments is None else arguments))
