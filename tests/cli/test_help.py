"""The help of every command: grouped, whole, and with what each option takes."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from segpipe.cli.command_groups import GROUPS
from segpipe.cli.main import cli

#: Whose help shows calls.
MAIN = (
    "demo", "doctor", "import", "validate", "rules", "run", "dev", "browse", "show", "query",
    "export", "evaluate", "compare", "restore", "unpublish", "vacuum", "upgrade",
)  # fmt: skip


def commands(
    group: click.Group = cli, name: str = "segpipe"
) -> Iterator[tuple[str, click.Command]]:
    for own, command in group.commands.items():
        yield f"{name} {own}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{name} {own}")


ALL = dict(commands())


def test_every_command_is_in_one_group() -> None:
    grouped = [name for names in GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(cli.commands)


def test_the_list_of_commands_has_a_whole_sentence_for_each_in_80_columns() -> None:
    said = CliRunner().invoke(cli, ["--help"], terminal_width=80).output
    for title, names in GROUPS.items():
        assert f"\n{title}:\n" in said
        for name in names:
            (line,) = [one for one in said.splitlines() if one.startswith(f"  {name} ")]
            assert len(line) <= 80
            assert line.endswith("."), line
            assert not line.endswith("..."), line


@pytest.mark.parametrize("name", ALL)
def test_every_option_says_what_it_does_and_what_it_takes(name: str) -> None:
    context = click.Context(ALL[name], info_name=name)
    for option in ALL[name].params:
        if not isinstance(option, click.Option):
            continue
        assert option.help, option.opts
        assert "TEXT" not in option.make_metavar(context) or option.metavar == "TEXT", option.opts
        assert "INTEGER" not in option.make_metavar(context), option.opts


@pytest.mark.parametrize("name", MAIN)
def test_the_help_of_main_commands_shows_calls(name: str) -> None:
    said = CliRunner().invoke(cli, [name, "--help"]).output
    assert f"\n    segpipe {name} " in said or f"\n    segpipe {name}\n" in said
