"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path

import click

from segpipe.errors import CatalogError

ROOT_HELP = "Folder or URL that holds manifests/, validated/, masks/ and catalog/."

root_option = click.option(
    "--root",
    required=True,
    help=ROOT_HELP,
)
dataset_option = click.option(
    "--dataset",
    metavar="NAME",
    help="As the catalog names it; by default that of segpipe.toml or, if it names none, the only "
    "one there is.",
)
model_run_option = click.option("--model-run", required=True, metavar="M")
format_option = click.option(
    "--format",
    "output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="What to print.",
)


def read_ids(path: str) -> list[str]:
    """The reference ids of a text file, one a line, as ``--ids`` takes them.

    Raises:
        CatalogError: if it cannot be read.
    """
    try:
        return [*filter(None, Path(path).read_text("utf-8").splitlines())]
    except (OSError, UnicodeDecodeError) as error:
        raise CatalogError(f"{path} cannot be read: {error}") from None
