"""Errors nobody foresaw: one line for the user, the details in a file without secrets."""

from __future__ import annotations

import os
import platform
import re
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from segpipe import __version__
from segpipe.examination.known_secrets import KnownSecrets
from segpipe.storage.redaction import SECRETS, redacted

#: Folder in the root with a file for each unexpected error.
ERRORS = "errors"
_SECRET_SETTING = re.compile(
    r"""(["']?[\w.-]*(?:key|secret|token|passw|credential)[\w.-]*["']?\s*[:=]\s*)["']?[^\s"',}]+""",
    re.I,
)


class UnexpectedError(Exception):
    """Something failed for a reason nobody foresaw, elsewhere than in this stack.

    Args:
        words: in one line.
        trace: the traceback, as text.
    """

    def __init__(self, words: str, trace: str) -> None:
        super().__init__(words)
        self.trace = trace


def trace_of(error: BaseException) -> str:
    """The traceback of an error as text."""
    if isinstance(error, UnexpectedError):
        return error.trace
    return "".join(traceback.format_exception(error))


def unexpected_line(error: BaseException, arguments: Sequence[str]) -> str:
    """Write an error's details to a file; the line that says so.

    The file is in ``errors/`` of the command's root, or with the temporary files where the command
    names no local root or cannot write there.

    Args:
        arguments: the command line.
    """
    words = str(error).strip().splitlines()
    name = "" if isinstance(error, UnexpectedError) else f"{type(error).__name__}: "
    said = f"unexpected error: {name}{without_secrets(words[0][:200]) if words else ''}"
    text = "\n".join(
        [
            f"segpipe {__version__}, Python {platform.python_version()}, {platform.platform()}",
            f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC",
            f"arguments: {[redacted(one) for one in arguments]}",
            "",
            trace_of(error),
        ]
    )
    for folder in _places(arguments):
        try:
            return f"{said}; details are in {_written(folder, without_secrets(text))}"
        except OSError:
            continue
    return f"{said}; the details can be written nowhere: run it again with --debug to see them"


def without_secrets(text: str) -> str:
    """Text without what may be a secret: of URLs, settings and the environment."""
    return _SECRET_SETTING.sub(r"\1...", SECRETS.sub("...", KnownSecrets().without(text)))


def _places(arguments: Sequence[str]) -> Iterator[Path]:
    joined = [one.removeprefix("--root=") for one in arguments if one.startswith("--root=")]
    apart = [value for name, value in pairwise(arguments) if name == "--root"]
    for root in [*apart, *joined][:1]:
        if Path(root).is_dir():
            yield Path(root).absolute() / ERRORS
    with suppress(OSError):  # where no place takes temporary files
        yield Path(tempfile.gettempdir())


def _written(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    name = f"segpipe-{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}.txt"
    path = folder / name
    # For the user alone: names of files and folders may be nobody else's business.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return path


def tell_trace(error: BaseException) -> None:
    """Show the traceback on standard error, for ``--debug``."""
    print(without_secrets(trace_of(error)), file=sys.stderr, flush=True)
