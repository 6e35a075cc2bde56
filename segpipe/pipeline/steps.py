"""What all steps share: how they are labelled, report how far they are, and fail."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg

from segpipe.errors import SegpipeError, StorageError
from segpipe.validation.pass_tables import CODE_VERSION

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


#: Every step may be repeated: what is there is left as it is, or written whole again.
RETRIES = dg.RetryPolicy(
    max_retries=3, delay=2, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS
)
# What trying again some seconds later does not mend.
_LASTING = (FileNotFoundError, PermissionError, NotADirectoryError, IsADirectoryError)
_LASTING_NUMBERS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.ENAMETOOLONG}


@contextmanager
def plain_failures() -> Iterator[None]:
    """A user's mistake fails the step with its message, not with a traceback to read.

    Storage that fails for a moment fails it too, and has it tried again.
    """
    try:
        yield
    except SegpipeError as error:
        raise dg.Failure(str(error), allow_retries=_may_pass(error)) from None


def _may_pass(error: SegpipeError) -> bool:
    reason = error.__cause__ or error.__context__
    return isinstance(error, StorageError) and not (
        isinstance(reason, _LASTING)
        or getattr(reason, "errno", None) in _LASTING_NUMBERS
        or "Credentials" in type(reason).__name__
    )
