"""Messages and progress on standard error: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: Called with a step's name, the number of rows done and of all rows.
StepProgress = Callable[[str, int, int], None]

_SECONDS_BETWEEN_LINES = 5.0


def say(text: str = "") -> None:
    """Print a message to standard error; results go to standard output."""
    print(text, file=sys.stderr, flush=True)


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
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as progress:
        tasks = {}

        def show(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = progress.add_task(f"{title} {step}".strip(), total=total)
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
