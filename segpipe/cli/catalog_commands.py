"""The commands on the catalog: what is in it, what changed, undoing, and keeping it tidy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from segpipe.cli.ending import Arguments
from segpipe.cli.options import dataset_option, model_run_option, root_option

_dry_run_option = click.option(
    "--dry-run/--no-dry-run",
    default=True,
    show_default=True,
    help="Only say what would be done; --no-dry-run does it.",
)


@click.command(cls=Arguments, short_help="List the catalog's versions: when, who, what.")
@root_option
@click.option(
    "--most", type=click.IntRange(1), metavar="N", help="Show only the newest N; all by default."
)
def history(root: str, most: int | None) -> None:
    """List the catalog's versions: when, who, what, how many."""
    from segpipe.cli.catalog import show_history

    show_history(root, most)


@click.command(cls=Arguments, short_help="Show what changed between two versions.")
@root_option
@click.option("--dataset", metavar="NAME", help="Only items of this dataset; of all by default.")
@click.argument("before", type=click.IntRange(0), metavar="V1")
@click.argument("after", type=click.IntRange(0), metavar="V2")
def diff(root: str, dataset: str | None, before: int, after: int) -> None:
    """Show what changed from version V1 to V2, per item and Segment.

    \b
    Example:
      segpipe diff --root ROOT 3 5
    """
    from segpipe.cli.catalog import show_diff

    show_diff(root, before, after, dataset)


@click.command(cls=Arguments, short_help="Bring back what the catalog held at a version.")
@root_option
@click.argument("version", type=click.IntRange(0))
def restore(root: str, version: int) -> None:
    """Make the catalog hold what it held at VERSION, as a new version.

    Nothing is lost: restoring the version before undoes it. segpipe history lists versions.

    \b
    Example:
      segpipe restore --root ROOT 3
    """
    from segpipe.cli.catalog import restore as restore_version

    restore_version(root, version)


@click.command(cls=Arguments, short_help="Remove predictions from the catalog; can be undone.")
@root_option
@dataset_option
@model_run_option
@click.option(
    "--date", metavar="YYYY-MM-DD", help="Only what this day published; all of it without ids."
)
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
    """Remove predictions from the catalog: items by their id, or what a day published.

    It is a new version of the catalog, and prints the segpipe restore that undoes it.

    \b
    Examples:
      segpipe unpublish --root ROOT --model-run M frame-0001 frame-0002
      segpipe unpublish --root ROOT --model-run M --date 2026-01-05
    """
    from segpipe.cli.catalog import unpublish as unpublish_predictions

    unpublish_predictions(root, model_run, reference_ids, ids, date, dataset)


@click.command(cls=Arguments, short_help="Delete files that nothing needs any more.")
@root_option
@click.option(
    "--retention-hours",
    type=click.IntRange(0),
    default=168,
    show_default=True,
    metavar="HOURS",
    help="Keep what any version of the last HOURS hours needs; older ones cannot be restored then.",
)
@_dry_run_option
def vacuum(root: str, retention_hours: int, dry_run: bool) -> None:
    """Delete files that no version of the last week needs, and what killed runs left behind.

    \b
    Examples:
      segpipe vacuum --root ROOT                 say what would be deleted
      segpipe vacuum --root ROOT --no-dry-run    delete it
    """
    from segpipe.cli.catalog import vacuum as vacuum_catalog

    vacuum_catalog(root, retention_hours, dry_run)


@click.command(cls=Arguments, short_help="Upgrade a catalog that an older segpipe wrote.")
@root_option
@_dry_run_option
def upgrade(root: str, dry_run: bool) -> None:
    """Upgrade a catalog that an older segpipe wrote, so that it can be published to.

    No file is rewritten, and it prints the segpipe restore that undoes it.

    \b
    Examples:
      segpipe upgrade --root ROOT                 say what would change
      segpipe upgrade --root ROOT --no-dry-run    do it
    """
    from segpipe.cli.catalog import upgrade as upgrade_catalog

    upgrade_catalog(root, dry_run)


@click.command(cls=Arguments, short_help="Rewrite many small catalog files as few.")
@root_option
def optimize(root: str) -> None:
    """Rewrite the catalog's many small files as a few large ones, so that it reads faster."""
    from segpipe.cli.catalog import optimize as optimize_catalog

    optimize_catalog(root)


@click.command(cls=Arguments, short_help="Print an item's predictions, and draw them.")
@root_option
@dataset_option
@click.option(
    "--model-run", metavar="M", help="Only this model run's predictions; of all by default."
)
@click.option("--date", metavar="YYYY-MM-DD", help="Only of this day; of all by default.")
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
    metavar="N",
    help="Longest side of each prediction's picture, in pixels.",
)
@click.option(
    "--out",
    metavar="FILE",
    help="Picture to write; by default overlay.png, or overlay-2.png and so on if that is there.",
)
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
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

    It looks at what is published, and at what was validated or rejected; pixels that break a rule
    are marked.

    \b
    Examples:
      segpipe show --root ROOT frame-0001
      segpipe show --root ROOT frame-0001 --model-run A --against B --out a-and-b.png
    """
    from segpipe.cli.catalog import show as show_item

    show_item(root, reference_id, model_run, date, against, size, out, dataset, force=force)


@click.command(cls=Arguments, short_help="Ask about what is in a root, in SQL.")
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
    help="Version of the catalog, as segpipe history lists them; the newest by default.",
)
@click.option(
    "--format",
    "output",
    type=click.Choice(["table", "csv", "json", "parquet"]),
    help="Form of the result. By default a table, or what the name of --out's FILE ends with.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="FILE", help="Write the result to FILE."
)
@click.option(
    "--rows",
    type=click.IntRange(1),
    default=100,
    show_default=True,
    metavar="N",
    help="Rows that a table shows.",
)
def query(root: str, **options: Any) -> int:
    """Answer an SQL query on what is in a root; without one, list views, columns and examples.

    It reads the views predictions, segments, validated, rejected, receipts and history, and
    changes nothing.

    \b
    Examples:
      segpipe query --root ROOT "SELECT label, avg(confidence) FROM segments GROUP BY 1"
      segpipe query --root ROOT --example least-sure
    """
    from segpipe.cli.query import QueryOptions, run_query

    return run_query(root, QueryOptions(**options))
