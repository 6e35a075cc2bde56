"""One thing that was looked at: how it is, what was found, and what to do."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from segpipe.storage.redaction import redacted


class Level(StrEnum):
    """How something is; the later, the worse."""

    OK = "ok"
    #: Nothing is wrong, but it is worth knowing.
    NOTE = "note"
    #: It works, and something may go wrong or be slow.
    WARNING = "warning"
    #: Something that segpipe does would fail.
    PROBLEM = "problem"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: of what was looked at.
        level: how it is.
        found: what was found, in words.
        next_step: what to do; empty where there is nothing to do.
        command: the next step as a command for a shell; empty where a person has to edit, ask or
            decide.
    """

    name: str
    level: Level
    found: str
    next_step: str = ""
    command: str = ""


@dataclass(frozen=True)
class Section:
    """What was looked at together.

    Attributes:
        title: one or two words.
        checks: in the order in which they were made.
    """

    title: str
    checks: list[Check] = field(default_factory=list)


def ok(name: str, found: str) -> Check:
    """Something that is as it should be."""
    return Check(name, Level.OK, found)


def note(name: str, found: str, next_step: str = "", command: str = "") -> Check:
    """Something worth knowing."""
    return Check(name, Level.NOTE, found, next_step, command)


def warning(name: str, found: str, next_step: str, command: str = "") -> Check:
    """Something that may go wrong."""
    return Check(name, Level.WARNING, found, next_step, command)


def problem(name: str, found: str, next_step: str, command: str = "") -> Check:
    """Something that would fail."""
    return Check(name, Level.PROBLEM, found, next_step, command)


def worst(checks: Iterable[Check]) -> Level:
    """The worst level of all; OK where there are none."""
    levels = list(Level)
    return max((one.level for one in checks), key=levels.index, default=Level.OK)


def counted(number: int, noun: str) -> str:
    """``1 partition``, ``2,000 partitions``."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def segpipe_command(command: str, root: str, *arguments: str) -> str:
    """A command of segpipe's on a root, ready to be pasted into a shell."""
    return shlex.join(["segpipe", command, "--root", redacted(root), *arguments])
