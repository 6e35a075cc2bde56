"""What commands print: results on standard output, messages and progress on standard error.

Everything is printed a line at a time, with what a terminal would obey escaped: names and labels
come from other people's files.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from segpipe.errors import StorageError, printable

#: Called with a step's name, the number of rows done and of all rows.
StepProgress = Callable[[str, int, int], None]

_SECONDS_BETWEEN_LINES = 5.0


class OutputClosed(BaseException):
    """Nobody reads standard output any more, as after ``| head``; no error of the command's."""


def put(line: str = "") -> None:
    """Print a line of a result to standard output.

    Raises:
        OutputClosed: if its reader has gone.
        StorageError: if it is a file that cannot be written.
    """
    try:
        print(printable(line))
    except BrokenPipeError:
        raise OutputClosed from None
    except OSError as error:
        raise _unwritable(error) from None


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
    if sys.stderr.isatty():
        yield from _bar(title)
    else:
        yield _lines(title)


def _bar(title: str) -> Iterator[StepProgress]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as progress:
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
