"""Options that several commands have."""

from __future__ import annotations

import click

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
