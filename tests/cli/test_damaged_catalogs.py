"""What commands say of a catalog that a cut of the power damaged, and what following it does."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from segpipe.manifests.partition import Partition
from segpipe.publishing.confirmed_versions import MARKER
from segpipe.root import Root
from tests.fixtures.command_line import segpipe
from tests.fixtures.damaged_tables import added, again, entry, half, log, lost
from tests.fixtures.landing import PARTITION, LandingWriter
from tests.fixtures.published import published
from tests.fixtures.published_days import NEXT_DAY, version_of
from tests.fixtures.thoroughness import slow_after

KEPT = f"{2:020d}.json.torn"
OF_NEXT_DAY = ["--model-run", NEXT_DAY.model_run, "--date", NEXT_DAY.date]


def advised(text: str) -> list[str]:
    """The arguments of the command that a message ends with."""
    return shlex.split(text.strip().partition("with: segpipe ")[2])


@pytest.mark.slow
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
    "command",
    slow_after(
        1,
        {
            "restore": ("restore", 1),
            "optimize": ("optimize",),
            "vacuum": ("vacuum", "--no-dry-run"),
        },
    ),
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


@pytest.mark.parametrize("operation", ["unpublish", "optimize"])
def test_of_a_torn_version_that_published_nothing_it_is_said_what_it_was(
    root: Root, publish: Any, operation: str
) -> None:
    publish({"a": (0, 1)})
    publish({"b": (0, 1)}, NEXT_DAY)
    note = (log(root) / MARKER).read_bytes()
    if operation == "unpublish":
        root.catalog.unpublish("unet", reference_ids=["a"])
    else:
        root.catalog.optimize()
    (log(root) / MARKER).write_bytes(note)
    version = version_of(root)
    (entry(root, version)).write_bytes(entry(root, version).read_bytes()[:-20])
    done = segpipe("restore", "--root", root.settings.root, 2)
    assert done.returncode == 0, done.stderr
    end = {"unpublish": "unpublish again if that is still wanted", "optimize": "lost by that"}
    assert done.stderr.strip().endswith(end[operation])


def test_a_run_that_fails_says_what_it_had_set_aside(
    unconfirmed: Root, landing: LandingWriter
) -> None:
    half(entry(unconfirmed, 2))
    (file,) = added(unconfirmed, 1)
    lost(file)
    later = Partition("unet", "2026-01-07")
    landing.manifest([landing.row("a", (0, 5), later)], later)
    where = ["--root", unconfirmed.settings.root, "--model-run", later.model_run]
    done = segpipe("run", *where, "--date", later.date)
    assert done.returncode == 2
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert f"{file.name} is missing" in error
    assert f"--date {PARTITION.date} --verify all" in error
    assert KEPT in error
