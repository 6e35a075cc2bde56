"""The names of a landing folder: which are read, and what was expected of those that are not.

Folders are named in Hive's style, which writers spell in several ways. A spelling with one meaning
is read; any other name that may hold predictions is reported as :class:`Unread`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from urllib.parse import unquote

from segpipe import errors
from segpipe.manifests.partition import DATE_PREFIX, MODEL_RUN_PREFIX

#: How a manifest's name ends, in any case: a Parquet file, or a folder of part files.
MANIFEST_SUFFIXES = (".parquet", ".pq", ".parq")
#: Folder in which Spark keeps what it has not finished writing.
UNFINISHED_FOLDER = "_temporary"
# A day, alone or as a timestamp at midnight: Spark, pandas and Dask write such folders.
_DAY = re.compile(
    r"(\d{4})(?:-(\d{1,2})-(\d{1,2})|(\d\d)(\d\d))"
    r"(?:[T ]00(?::?00){1,2}(?:\.0+)?(?: ?(?:Z|UTC|[+-]00:?00))?)?",
    re.ASCII,
)
_TABLE = re.compile(
    r"\.(csv|tsv|jsonl?|ndjson|geojson|feather|arrow|ipc|orc|avro|xlsx?|pkl|pickle)(\.\w+)?$"
    r"|\.(parquet|parq|pq)\b",
    re.IGNORECASE,
)
# Folders that lie beside manifests.
_BESIDE = frozenset({"masks", "images"})
_MODEL_RUN_WORDS = frozenset({"modelrun", "modelruns", "model", "run", "modelname"})
_DAY_WORDS = frozenset({"date", "day", "dt", "ds", "dates", "rundate", "partitiondate"})
# Names listed in a message; the others are only counted.
_LISTED = 5
_SHAPE = f"{MODEL_RUN_PREFIX}<M>/{DATE_PREFIX}<YYYY-MM-DD>"


@dataclass(frozen=True, slots=True, order=True)
class Unread:
    """A folder or file of the landing folder that is not read.

    Attributes:
        shown: its path below the landing folder.
        expected: what would be read instead.
    """

    shown: str
    expected: str

    def __str__(self) -> str:
        return f"{self.shown} (expected {self.expected})"


def listed(things: Iterable[object]) -> str:
    """The first few, joined, and how many more there are."""
    return errors.listed(list(things), _LISTED)


def is_hidden(name: str) -> bool:
    """Whether a name is one that writers keep for themselves, as ``_SUCCESS`` or ``.x.crc``."""
    return name.startswith((".", "_")) or name.endswith(".crc")


def is_manifest(name: str) -> bool:
    """Whether a file or folder of this name is a manifest."""
    return name.lower().endswith(MANIFEST_SUFFIXES) and not is_hidden(name)


def model_run_of(folder: str) -> str | None:
    """The model run a folder is named after; None if it is named otherwise."""
    if not folder.startswith(MODEL_RUN_PREFIX):
        return None
    return unquote(folder.removeprefix(MODEL_RUN_PREFIX))


def day_of(folder: str) -> str | None:
    """The day a folder is named after, ``YYYY-MM-DD``; None if it is named otherwise."""
    return _day(folder.removeprefix(DATE_PREFIX)) if folder.startswith(DATE_PREFIX) else None


def unread_above(name: str, *, is_folder: bool) -> Unread | None:
    """What is wrong with an entry of the landing folder that names no model run."""
    if not is_folder:
        return _unread_file(name, name)
    if _is_beside(name):
        return None
    key, is_pair, value = name.partition("=")
    if not is_pair:
        return Unread(name, f"{MODEL_RUN_PREFIX}{name}")
    if _word(key) in _DAY_WORDS:
        return Unread(name, f"{_SHAPE}, the model run first")
    return Unread(name, f"{MODEL_RUN_PREFIX}{value}")


def unread_day(model_run_folder: str, name: str, *, is_folder: bool) -> Unread | None:
    """What is wrong with an entry of a model run's folder that names no day."""
    shown = f"{model_run_folder}/{name}"
    if not is_folder:
        return _unread_file(name, shown)
    if _is_beside(name):
        return None
    key, is_pair, value = name.partition("=")
    if is_pair and _word(key) in _MODEL_RUN_WORDS:
        return Unread(shown, _SHAPE)
    day = _day(value if is_pair else name)
    return Unread(shown, f"{DATE_PREFIX}{day or '<YYYY-MM-DD>'}")


def unread_delivery(place: str, name: str, *, is_folder: bool, among_parts: bool) -> Unread | None:
    """What is wrong with an entry of a day's folder, or of a folder of part files, that is no
    manifest.

    Args:
        place: path of the folder below the landing folder.
        among_parts: whether the folder is one of part files, where nothing else belongs.
    """
    if is_hidden(name):
        return None
    shown = f"{place}/{name}"
    if is_folder and ("=" in name or among_parts):
        return Unread(shown, "manifests in the day's folder, without a further level of folders")
    if not is_folder and (among_parts or _TABLE.search(name)):
        return Unread(shown, "*.parquet")
    return None


def unread_link(shown: str, target: str, *, beside_manifests: bool) -> Unread | None:
    """What is wrong with a link that is not followed.

    Args:
        target: where it leads.
        beside_manifests: whether it lies in a day's folder, where masks may be links.
    """
    name = shown.rpartition("/")[2]
    if _is_beside(name) or (beside_manifests and "=" not in name and not _TABLE.search(name)):
        return None
    return Unread(
        shown, f"a link into the landing folder or one of allowed_roots; it leads to {target}"
    )


def _unread_file(name: str, shown: str) -> Unread | None:
    if is_hidden(name) or not _TABLE.search(name):
        return None
    file = name if is_manifest(name) else "*.parquet"
    return Unread(shown, f"{_SHAPE}/{file}")


def _is_beside(name: str) -> bool:
    return is_hidden(name) or name.lower() in _BESIDE


def _word(key: str) -> str:
    return re.sub(r"[^a-z]", "", key.lower())


def _day(text: str) -> str | None:
    if len(text) == 10 and text[4] == text[7] == "-":  # as nearly all are
        try:
            return date.fromisoformat(text).isoformat()
        except ValueError:
            return None
    found = _DAY.fullmatch(unquote(text))
    if found is None:
        return None
    year, *parts = (part for part in found.groups() if part is not None)
    try:
        return date(int(year), *map(int, parts)).isoformat()
    except ValueError:
        return None
