"""What all steps share: how they are labelled, report how far they are, and fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg

from segpipe.errors import SegpipeError
from segpipe.materialization import CODE_VERSION

#: On every asset.
LABELS: dict[str, Any] = {
    "group_name": "segmentation_predictions",
    "owners": ["team:segmentation"],
    "code_version": CODE_VERSION,
}

#: Told the step's name, and how many of how many rows are done.
StepProgress = Callable[[str, int, int], None]


def silent(step: str, done: int, total: int) -> None:
    """Progress nobody watches."""


@contextmanager
def plain_failures() -> Iterator[None]:
    """A user's mistake fails the step with its message, not with a traceback to read."""
    try:
        yield
    except SegpipeError as error:
        raise dg.Failure(str(error), allow_retries=False) from None
