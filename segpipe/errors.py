"""Errors a user of segpipe can act on.

Every error inherits from :class:`SegpipeError` and from the builtin a caller would catch without
knowing segpipe. Messages are complete sentences that name what was found, what was expected and
the next step; none of them needs a traceback to be understood.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence


class SegpipeError(Exception):
    """Base of everything segpipe raises for a reason its user can remove.

    As text it is one line, with control characters escaped: it may name what is in data.
    """

    def __str__(self) -> str:
        return printable(super().__str__())


class SettingsError(SegpipeError, ValueError):
    """A setting is missing, unknown or out of range."""


class NotInstalledError(SettingsError, ImportError):
    """What was asked for needs a package of an extra that is not installed."""


class ManifestError(SegpipeError, ValueError):
    """A manifest *file* cannot be used. Bad rows never raise this: they are rejected."""


class NothingLandedError(ManifestError):
    """A partition's folder holds no manifest, nor anything that may have been meant as one."""


class MetadataError(SegpipeError, ValueError):
    """Segment metadata has no canonical JSON form (NaN, bytes, nested beyond reason)."""


class StorageError(SegpipeError, OSError):
    """Reading or writing storage failed: full disk, no permission, no such place."""


class TableError(SegpipeError, ValueError):
    """A table of a partition is missing, incomplete or does not belong to the others."""


class CatalogError(SegpipeError, RuntimeError):
    """The catalog cannot be opened, is not a segpipe catalog, or refused a commit."""


class OtherFormatError(CatalogError):
    """A catalog of a format that only a newer segpipe knows, or that has to be upgraded first."""


class EvaluationError(SegpipeError, ValueError):
    """Predictions cannot be evaluated: there is nothing to compare, or part of them is missing."""


class QueryError(SegpipeError, ValueError):
    """A query is not SQL, names what is not there, or would do more than read the views."""


class DestinationError(SegpipeError, RuntimeError):
    """A service predictions are published to cannot be reached, or refuses what is asked of it."""


class ChunkError(SegpipeError):
    """A chunk of rows cannot be worked on: it ends whatever process is given it."""


def notes_of(error: BaseException) -> list[str]:
    """What was done before the error and has to be said with it, a sentence each."""
    return list(getattr(error, "__notes__", ()))


def nearest(given: str, known: Sequence[str]) -> str:
    """``; did you mean 'dataset'?`` or the list of what there is."""
    close = difflib.get_close_matches(given, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f" (there are: {', '.join(known)})"


def shortened(text: str, most: int = 300) -> str:
    """A text without its middle if it has more than so many characters; says how many are left out.

    The end stays: that is where a message says what to do.
    """
    if len(text) <= most:
        return text
    end = most // 4
    left_out = len(text) - most
    return f"{text[: most - end]} ... ({left_out:,} characters left out) ... {text[-end:]}"


def listed(items: Sequence[object], most: int = 10) -> str:
    """``a, b, c and 4 more``; what is long is :func:`shortened`.

    Args:
        most: how many are listed.
    """
    text = ", ".join(shortened(str(item)) for item in items[:most])
    return text if len(items) <= most else f"{text} and {len(items) - most} more"


def printable(text: str) -> str:
    """Text in one line, with everything escaped that a terminal obeys or nobody sees.

    Escape sequences, line breaks, marks that change the direction of writing and characters
    without a shape come out as in Python's source: ``\\x1b[31m``. For what is printed or said of
    data; letters of any script stay.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
