"""Dagster's home: the folder of its settings and records of runs, and what can be wrong there.

Nothing that is published depends on it: a home that is lost costs the history in Dagster's UI, and
which schedules and sensors are on; a new one is made.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from dagster import DagsterError
from sqlalchemy.exc import SQLAlchemyError

from segpipe.errors import SegpipeError, SettingsError, StorageError
from segpipe.storage.atomic import replacing_file
from segpipe.storage.failures import is_full, os_words
from segpipe.storage.redaction import SECRETS

CONFIGURATION = "dagster.yaml"
#: Folders of a home with what is recorded, unless its settings say that it is kept elsewhere, and
#: what is lost with each.
RECORD_FOLDERS = {
    "history": (
        "the history of runs and materializations, and the model runs that Dagster knows "
        "(`segpipe register` names those that have landed again)"
    ),
    "schedules": "which schedules and sensors are on, and their cursors",
}


class RecordsError(StorageError):
    """Dagster cannot keep its records of runs."""


#: Keeps Dagster from sending what it has noted of its use.
NO_TELEMETRY = "DAGSTER_DISABLE_TELEMETRY"
_TELEMETRY = "telemetry"
_ADDED = """
# Added by segpipe, since this file did not say: nothing is sent to Dagster's makers.
telemetry:
  enabled: false
"""
_KEPT = "What was published before is complete, and none of it is in this folder"

# What SQLite says, and what it means for the folder its files are in.
_FULL = ("database or disk is full",)
_CLOSED = ("unable to open database file", "attempt to write a readonly database")
_UNCLEAR = "disk I/O error"
_DAMAGED = (
    "file is not a database", "malformed", "no such table", "no such column",
    _UNCLEAR, "dynamic partitions table", "unsupported file format",
)  # fmt: skip


@dataclass(frozen=True)
class HomePlace:
    """Where Dagster's home is.

    Attributes:
        path: absolute; the folder may not be there yet.
        why: what decided it, as the end of a sentence.
    """

    path: Path
    why: str


def home_place(root: str) -> HomePlace:
    """Where the home of a root is, whether or not it is there.

    It is ``DAGSTER_HOME``; else ``dagster_home`` in the working directory, if that has a
    ``dagster.yaml``; else ``dagster_home`` in the root.

    Raises:
        SettingsError: for a remote root if ``DAGSTER_HOME`` is not set.
    """
    configured = os.environ.get("DAGSTER_HOME")
    if configured:
        return HomePlace(Path(configured).expanduser().absolute(), "DAGSTER_HOME names it")
    if (Path("dagster_home") / CONFIGURATION).is_file():
        return HomePlace(
            Path("dagster_home").absolute(), f"the working folder has dagster_home/{CONFIGURATION}"
        )
    if "://" in root:
        raise SettingsError(
            "Dagster keeps its runs on a local disk: set DAGSTER_HOME to a folder for them"
        )
    return HomePlace(Path(root).absolute() / "dagster_home", "nothing else is named: in the root")


def dagster_home(root: str) -> Path:
    """The folder of the instance, see :func:`home_place`, created on first use.

    Raises:
        SettingsError: for a remote root if ``DAGSTER_HOME`` is not set, and for a ``dagster.yaml``
            that cannot be used.
        StorageError: if the folder cannot be created.
    """
    home = home_place(root).path
    with home_failures(home):
        home.mkdir(parents=True, exist_ok=True)
        _configure(home / CONFIGURATION)
    return home


def _configure(file: Path) -> None:
    """Write the settings where there are none, and switch telemetry off where they do not say.

    Raises:
        SettingsError: if they cannot be read.
    """
    ours = files("segpipe.pipeline").joinpath(CONFIGURATION).read_bytes()
    there = file.read_bytes() if file.exists() else b""
    try:
        settings = parsed_settings(there)
    except ValueError as error:
        raise unusable_settings(file, error) from None
    telemetry = settings.get(_TELEMETRY)
    if isinstance(telemetry, dict) and "enabled" in telemetry:
        return
    try:
        if not there.strip():  # as after a cut of the power, or as Dagster's own pages advise
            _replace(file, ours)
        elif _TELEMETRY not in settings:
            _replace(file, there.rstrip() + b"\n" + _ADDED.encode())
    except OSError:
        if not there:
            raise
    # Also for a file that may not be changed, or has the key and nothing in it.
    os.environ.setdefault(NO_TELEMETRY, "yes")


def _replace(file: Path, content: bytes) -> None:
    with replacing_file(file) as output:
        output.write(content)


def parsed_settings(content: bytes) -> dict[str, Any]:
    """The settings in a ``dagster.yaml``.

    Raises:
        ValueError: if there are none. It says why and where, and quotes nothing: such a file may
            hold the password of a database.
    """
    try:
        settings = yaml.safe_load(content) or {}
    except Exception as error:  # also what int() and others say of a value that has a tag
        raise ValueError(f"it is not valid YAML: {_yaml_words(error)}") from None
    if not isinstance(settings, dict):
        raise ValueError("it holds no settings")
    return settings


def _yaml_words(error: Exception) -> str:
    mark, said = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    if mark is None or said is None:
        return type(error).__name__
    # Names of PyYAML's own, such as '<scalar>', are no part of the file.
    words = re.sub(r"""['"](?!<).*['"]""", "...", said, flags=re.DOTALL)
    return f"{words} (line {mark.line + 1}, column {mark.column + 1})"


# A value that is not of the kind that Dagster expects of its setting.
_VALUE = re.compile(r'\b(Value) ".*?"(?= of type| is not| at path)', re.DOTALL)


def unusable_settings(file: Path, error: Exception) -> SettingsError:
    """What is said of a ``dagster.yaml`` that Dagster does not take."""
    words = _VALUE.sub(r"\1", " ".join(str(error).split()))[:300]
    return SettingsError(
        f"{file} cannot be used: {SECRETS.sub('...', words)}. Mend it, or remove it: segpipe then "
        "writes its own"
    )


@contextmanager
def home_failures(home: Path) -> Iterator[None]:
    """Raise what goes wrong with Dagster's records as a RecordsError with a remedy."""
    try:
        yield
    except (SegpipeError, StorageError):
        raise
    except (OSError, SQLAlchemyError, sqlite3.Error, DagsterError) as error:
        words = record_words(str(error), home)
        if words is None and isinstance(error, OSError):
            words = f"Dagster's home {home} cannot be used: {os_words(error)}. {_KEPT}"
        if words is None and isinstance(error, DagsterError):
            raise
        said = getattr(error, "orig", None) or error
        raise RecordsError(
            words
            or f"Dagster's records cannot be used: {SECRETS.sub('...', str(said).strip())}. See "
            f"`storage` in {home / CONFIGURATION}. {_KEPT}"
        ) from error


class RecordFault(Enum):
    """What can be wrong with the files of the records."""

    FULL = "there is no room"
    CLOSED = "there is no permission"
    DAMAGED = "they are no records"


def record_fault(error: str, home: Path) -> RecordFault | None:
    """What an error of SQLite's means; None where it is none, or passes, as a lock does."""
    # SQLite tells both only where it writes its pages, else as an error of the disk.
    unclear = _UNCLEAR in error
    if any(words in error for words in _FULL) or (unclear and is_full(home)):
        return RecordFault.FULL
    if any(words in error for words in _CLOSED) or (unclear and not os.access(home, os.W_OK)):
        return RecordFault.CLOSED
    return RecordFault.DAMAGED if any(words in error for words in _DAMAGED) else None


def lost_with(folders: Iterable[str]) -> str:
    """What moving away folders of records loses, in words."""
    return f"With them go {'; '.join(RECORD_FOLDERS[name] for name in folders)}"


def record_words(error: str, home: Path) -> str | None:
    """What an error of SQLite's means, and what to do; None where it is none."""
    match record_fault(error, home):
        case RecordFault.FULL:
            return (
                f"Dagster's home {home} is full. Free some space, or set DAGSTER_HOME to a folder "
                f"elsewhere, and run again. {_KEPT}"
            )
        case RecordFault.CLOSED:
            return (
                f"no permission to write to Dagster's home {home}: change its rights, or set "
                f"DAGSTER_HOME to a folder elsewhere. {_KEPT}"
            )
        case RecordFault.DAMAGED:
            said = next(words for words in _DAMAGED if words in error)
            there = [name for name in RECORD_FOLDERS if (home / name).is_dir()]
            if not there:  # dagster.yaml says where they are
                return None
            return (
                f"Dagster's records in {home} are damaged ({said}): move {' and '.join(there)} in "
                f"there away, and new ones are made. {lost_with(there)}. {CONFIGURATION} can stay. "
                f"{_KEPT}"
            )
    return None
