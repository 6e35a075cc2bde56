"""The commands. Each asks the library and says what it answered; Dagster loads only where used."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click

from segpipe import __version__
from segpipe.cli.console import say
from segpipe.errors import SegpipeError

ALL_ACCEPTED, SOME_REJECTED, UNUSABLE = 0, 1, 2

_ROOT_HELP = "Folder or URL that holds manifests/, validated/, masks/ and catalog/."


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="segpipe")
def cli() -> None:
    """Validate segmentation predictions pixel by pixel, and publish them idempotently.

    Exit status: 0 all accepted, 1 some rows rejected (the others went through), 2 unusable input.
    """


@cli.command()
@click.option("--root", default="demo", show_default=True, help="Folder for the demo data.")
def demo(root: str) -> int:
    """Make a small data set with a few defects and publish it, end to end."""
    from segpipe.cli.demo import run_demo

    return run_demo(root)


@cli.command()
@click.argument("manifests", nargs=-1, required=True, metavar="MANIFEST...")
@click.option(
    "--out",
    default="segpipe-validation",
    show_default=True,
    metavar="DIR",
    help="Folder for validated.parquet, segments.parquet, rejected.parquet and masks/.",
)
@click.option(
    "--format",
    "output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="What to print.",
)
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
@click.option(
    "--workers", type=click.IntRange(0), default=0, help="Threads; one per processor by default."
)
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
@click.option("--root", required=True, help=_ROOT_HELP)
@click.option("--model-run", required=True, metavar="M")
@click.option("--date", required=True, metavar="YYYY-MM-DD")
@click.option(
    "--update", is_flag=True, help="Replace predictions that are there already and differ."
)
@click.option(
    "--dry-run", is_flag=True, help="Validate, say what publishing would do, and publish nothing."
)
def run(root: str, model_run: str, date: str, update: bool, dry_run: bool) -> int:
    """Materialize one partition through Dagster: validate its masks and publish them."""
    from segpipe.cli.run import run_one

    return run_one(root, model_run, date, update=update, dry_run=dry_run)


@cli.command()
@click.option("--root", default="demo", show_default=True, help=_ROOT_HELP)
@click.option("--port", type=click.IntRange(1, 65535), default=3000, show_default=True)
@click.option("--host", default="127.0.0.1", show_default=True)
def dev(root: str, port: int, host: str) -> int:
    """Start Dagster's UI and daemon on a root."""
    from segpipe.cli.dev import run_dev

    return run_dev(root, host, port)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: errors a user can act on become one sentence and exit status 2."""
    try:
        code = cli.main(args=arguments, prog_name="segpipe", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = UNUSABLE
    except SegpipeError as error:
        say(f"error: {error}")
        code = UNUSABLE
    except (KeyboardInterrupt, click.Abort):
        say("interrupted; what was finished before is complete, run again for the rest")
        code = 130
    sys.exit(code or 0)
