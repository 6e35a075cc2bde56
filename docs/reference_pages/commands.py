"""The page on the commands, made of the command line itself."""

from __future__ import annotations

from collections.abc import Iterator

import click

from docs.reference_pages.markdown import MADE, paragraphs, prose, table
from segpipe.cli.exit_status import (
    ALL_ACCEPTED,
    SOME_REJECTED,
    UNEXPECTED,
    UNUSABLE,
    after_signal,
)
from segpipe.cli.main import cli

#: Exit status -> what it means.
STATUSES = {
    ALL_ACCEPTED: "All was done, and every row was accepted.",
    SOME_REJECTED: "Some rows were rejected; the others went through. Or `segpipe doctor` "
    "found a problem.",
    UNUSABLE: "Input, settings or storage cannot be used, or a gate refused to publish. One line "
    "says what was found, what was expected and what to do.",
    UNEXPECTED: "An unexpected error, whose details are in a file that the message names.",
    after_signal(2): "Ended by Ctrl-C. What was finished before is complete.",
    after_signal(15): "Ended by SIGTERM, in the same way.",
}
_HEAD = f"""# Commands

{MADE}
<!-- blocks: sh not run: examples of the help; their commands and options are checked -->

`segpipe COMMAND --help` says the same in a terminal. `--debug`, before or after the command, shows
the traceback of an error.

## Exit statuses

Programs can rely on them; `--format json`, where a command has it, is for them too.
"""


def commands_page() -> str:
    """The page, as Markdown."""
    statuses = table(
        ("status", "meaning"), ((f"`{code}`", words) for code, words in STATUSES.items())
    )
    top = click.Context(cli, info_name="segpipe")
    commands = [(name, cli.commands[name]) for name in cli.list_commands(top)]
    listed = table(
        ("command", "what it does"),
        ((f"[`segpipe {name}`](#segpipe-{name})", _short(one)) for name, one in commands),
    )
    sections = [part for name, one in commands for part in _section(name, one, top)]
    return "\n\n".join([_HEAD.rstrip("\n"), statuses, "## All commands", listed, *sections]) + "\n"


def _short(command: click.Command) -> str:
    return prose(command.get_short_help_str(limit=200))


def _section(name: str, command: click.Command, parent: click.Context) -> Iterator[str]:
    context = click.Context(command, info_name=name, parent=parent)
    yield f"## `segpipe {name}`"
    yield from _described(command, context, command.params)
    if isinstance(command, click.Group):
        yield from _subcommands(command, context)


def _subcommands(group: click.Group, context: click.Context) -> Iterator[str]:
    """The commands of a group; options that all of them have are listed once."""
    commands = [(name, group.commands[name]) for name in group.list_commands(context)]
    first = commands[0][1]
    shared = [_row(one, context) for one in first.params if isinstance(one, click.Option)]
    for _, command in commands[1:]:
        rows = [_row(one, context) for one in command.params if isinstance(one, click.Option)]
        shared = [row for row in shared if row in rows]
    yield "Every format takes:"
    yield table(_OPTIONS_HEAD, shared)
    for name, command in commands:
        below = click.Context(command, info_name=name, parent=context)
        yield f"### `{below.command_path}`"
        own = [one for one in command.params if _row(one, context) not in shared]
        yield from _described(command, below, own)


_OPTIONS_HEAD = ("option", "default", "meaning")


def _described(
    command: click.Command, context: click.Context, params: list[click.Parameter]
) -> Iterator[str]:
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    yield f"```text\n{usage}\n```"
    yield from paragraphs(command.help or "")
    options = [one for one in params if isinstance(one, click.Option) and not one.hidden]
    if options:
        yield table(_OPTIONS_HEAD, (_row(one, context) for one in options))


def _row(param: click.Parameter, context: click.Context) -> tuple[str, str, str]:
    names = ", ".join(param.opts) + "".join(f" / {one}" for one in param.secondary_opts)
    if not isinstance(param, click.Option):
        return names, "", ""
    metavar = param.make_metavar(context).removesuffix(" RANGE")
    takes = "" if param.is_flag or param.count else f" {metavar}"
    return f"`{names}{takes}`", _default(param), f"{prose(param.help or '')}{_range(param)}"


def _range(option: click.Option) -> str:
    kind = option.type
    if not isinstance(kind, click.IntRange) or not (kind.min or kind.max):
        return ""
    if kind.max is None:
        return f" At least {kind.min}."
    return f" From {kind.min} to {kind.max}."


def _default(option: click.Option) -> str:
    if option.required:
        return "required"
    if option.secondary_opts:
        return f"`{option.opts[0] if option.default else option.secondary_opts[0]}`"
    value = option.default
    is_told = isinstance(value, (str, int, float)) and not isinstance(value, bool) and value != ""
    return f"`{value}`" if is_told else ""
