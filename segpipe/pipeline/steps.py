"""Shared by all steps: asset attributes, progress callback, retry policy, and failures."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg

from segpipe.errors import SegpipeError, StorageError, notes_of
from segpipe.validation.pass_tables import CODE_VERSION

#: Attributes of every asset spec.
ASSET_ATTRIBUTES: dict[str, Any] = {"code_version": CODE_VERSION}
#: Metadata of what else a step has to say, a sentence a line; commands print it.
REMARKS = "remarks"

#: Called with the step's name, the number of rows done, and the number of all rows.
StepProgress = Callable[[str, int, int], None]


def no_progress(step: str, done: int, total: int) -> None:
    """A progress callback that does nothing."""


#: Every step is idempotent: existing results are kept, or written again as a whole.
RETRY_POLICY = dg.RetryPolicy(
    max_retries=3, delay=2, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS
)
# Errors that a retry some seconds later does not resolve.
_LASTING = (
    FileExistsError,  # a file where a folder is needed
    FileNotFoundError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)
_LASTING_NUMBERS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.ENAMETOOLONG}


@contextmanager
def dagster_failures() -> Iterator[None]:
    """Turn segpipe's errors into Dagster failures that show the message without a traceback.

    Retries are allowed only for storage errors that may be transient.

    Raises:
        dg.Failure: in place of a :class:`SegpipeError`.
    """
    try:
        yield
    except SegpipeError as error:
        words = ". Before that, ".join([str(error), *notes_of(error)])
        raise dg.Failure(words, allow_retries=_is_transient(error)) from None


def _is_transient(error: SegpipeError) -> bool:
    reason = error.__cause__ or error.__context__
    return isinstance(error, StorageError) and not (
        isinstance(reason, _LASTING)
        or getattr(reason, "errno", None) in _LASTING_NUMBERS
        or "Credentials" in type(reason).__name__
    )
