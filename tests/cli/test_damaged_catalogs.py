"""What commands say of a catalog that a cut of the power damaged, and what following it does."""

from __future__ import annotations

import shlex

import pytest

from segpipe.root import Root
from tests.fixtures.command_line import segpipe
from tests.fixtures.damaged_tables import again, entry, half
from tests.fixtures.published import published
from tests.fixtures.published_days import NEXT_DAY

KEPT = f"{2:020d}.json.torn"
OF_NEXT_DAY = ["--model-run", NEXT_DAY.model_run, "--date", NEXT_DAY.date]


def advised(text: str) -> list[str]:
    """The arguments of the command that a message ends with."""
    return shlex.split(text.strip().partition("with: segpipe ")[2])


def test_a_run_says_what_it_set_aside_and_that_it_publishes_it_again(unconfirmed: Root) -> None:
    half(entry(unconfirmed, 2))
    done = segpipe("run", "--root", unconfirmed.settings.root, *OF_NEXT_DAY)
    assert done.returncode == 0, done.stderr
    (said,) = [line for line in done.stderr.splitlines() if "set aside" in line]
    assert "version 2 of the catalog" in said
    assert f"was set aside as {KEPT}" in said
    assert said.endswith("; this run publishes it again")
    assert set(published(again(unconfirmed))) == {"a", "b", "c", "d"}
    quiet = segpipe("run", "--root", unconfirmed.settings.root, *OF_NEXT_DAY)
    assert "set aside" not in quiet.stderr


@pytest.mark.parametrize(
    "command", [("restore", 1), ("optimize",), ("vacuum", "--no-dry-run")], ids=lambda c: c[0]
)
def test_a_command_that_writes_says_what_it_set_aside_and_what_publishes_it_again(
    unconfirmed: Root, command: tuple[object, ...]
) -> None:
    half(entry(unconfirmed, 2))
    done = segpipe(command[0], "--root", unconfirmed.settings.root, *command[1:])
    assert done.returncode == 0, done.stderr
    (said,) = done.stderr.splitlines()
    assert KEPT in said
    done = segpipe(*advised(said))
    assert done.returncode == 0, done.stderr
    assert set(published(again(unconfirmed))) == {"a", "b", "c", "d"}


def test_a_command_that_fails_says_what_it_had_set_aside(unconfirmed: Root) -> None:
    half(entry(unconfirmed, 2))
    done = segpipe("restore", "--root", unconfirmed.settings.root, 99)
    assert done.returncode == 2
    said, error = done.stderr.splitlines()
    assert KEPT in said
    assert error == "error: there is no version 99: the catalog is at 1"
