"""What commands print: results on standard output, messages and progress on standard error.

Everything is printed a line at a time, with what a terminal would obey escaped: names and labels
come from other people's files.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import click

from segpipe.errors import StorageError, printable

if TYPE_CHECKING:
    from rich.progress import Progress

#: Called with a step's name, the number of rows done and of all rows.
StepProgress = Callable[[str, int, int], None]

#: How a piece of a line is shown, in the words of ``click.style``: ``{"fg": "red"}``.
Style = dict[str, Any]

_SECONDS_BETWEEN_LINES = 5.0


class OutputClosed(BaseException):
    """Nobody reads standard output any more, as after ``| head``; no error of the command's."""


def put(line: str = "") -> None:
    """Print a line of a result to standard output.

    Raises:
        OutputClosed: if its reader has gone.
        StorageError: if it is a file that cannot be written.
    """
    _print(printable(line))


def _print(line: str) -> None:
    try:
        print(line)
    except BrokenPipeError:
        raise OutputClosed from None
    except OSError as error:
        raise _unwritable(error) from None


def put_styled(*pieces: tuple[str, Style]) -> None:
    """Print a line of a result, with the styles of its pieces where a terminal shows them.

    Raises:
        OutputClosed, StorageError: see :func:`put`.
    """
    coloured = _shows_colours()
    texts = [
        click.style(printable(text), **style) if coloured and style else printable(text)
        for text, style in pieces
    ]
    _print("".join(texts).rstrip())


def _shows_colours() -> bool:
    """Whether styles are wanted: NO_COLOR and FORCE_COLOR are what users know of other tools."""
    if os.environ.get("NO_COLOR") or sys.stdout is None:
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def output_width() -> int:
    """Columns of the terminal of standard output; 80 where there is none."""
    return shutil.get_terminal_size((80, 24)).columns


def put_lines(text: object) -> None:
    """Print a text of several lines; none of them can come from data, or it is escaped before."""
    for line in str(text).split("\n"):
        put(line)


def finish_output() -> None:
    """Write what was printed, so that a failure is known before the command ends.

    Raises:
        OutputClosed, StorageError: see :func:`put`.
    """
    if sys.stdout is None:  # closed by who started the command
        return
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise OutputClosed from None
    except OSError as error:
        raise _unwritable(error) from None


def _unwritable(error: OSError) -> StorageError:
    return StorageError(f"the output cannot be written: {error.strerror or error}")


def say(line: str = "") -> None:
    """Print a message to standard error; results go to standard output.

    Where standard error is closed, nothing can be said, and the command goes on.
    """
    if sys.stderr is not None:
        with suppress(OSError, ValueError):
            print(printable(line), file=sys.stderr, flush=True)


@contextmanager
def step_progress(title: str = "") -> Iterator[StepProgress]:
    """Show the progress of each step: a bar on a terminal, otherwise a line every few seconds."""
    if _shows_bars():
        yield from _bar(title)
    else:
        yield _lines(title)


@dataclass
class RangeProgress:
    """The progress of several partitions: how many are done, and the step of the one under way.

    Args:
        show: called with what is done now, and the number of partitions that are done.
    """

    show: Callable[[str, int], None]
    _begun: int = 0
    _title: str = ""

    def begin(self, title: str) -> None:
        """The next partition begins; the one before has ended."""
        self._begun, self._title = self._begun + 1, title
        self.show(title, self._begun - 1)

    def step(self, step: str, done: int, total: int) -> None:
        """A step of the partition has come further: a :data:`StepProgress`."""
        self.show(f"{self._title} {step} {done}/{total}", self._begun - 1)

    def end(self) -> None:
        """The last one has ended."""
        self.show("", self._begun)


@contextmanager
def range_progress(total: int) -> Iterator[RangeProgress]:
    """Show the progress of ``total`` partitions: a bar on a terminal, else lines now and then."""
    if _shows_bars():
        with _progress() as progress:
            bar = progress.add_task("", total=total)
            yield RangeProgress(
                lambda words, done: progress.update(
                    bar, completed=done, description=printable(words)
                )
            )
    else:
        lines = _lines("")
        yield RangeProgress(
            lambda words, done: lines(f"{words or 'done'}; partitions", done, total)
        )


def _shows_bars() -> bool:
    # Rich comes with Dagster; the library alone does without its four packages.
    return sys.stderr is not None and sys.stderr.isatty() and find_spec("rich") is not None


def _progress() -> Progress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )


def _bar(title: str) -> Iterator[StepProgress]:
    with _progress() as progress:
        tasks = {}

        def show(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = progress.add_task(printable(f"{title} {step}".strip()), total=total)
            progress.update(tasks[step], completed=done)

        yield show


def _lines(title: str) -> StepProgress:
    last = time.monotonic()

    def show(step: str, done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _SECONDS_BETWEEN_LINES:
            last = now
            say(f"{title} {step}: {done} of {total}".strip())

    return show
