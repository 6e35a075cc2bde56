"""Dagster's home, looked at without making or changing anything in it."""

from __future__ import annotations

import os
import shlex
import sqlite3
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from alembic.config import Config
from alembic.script import ScriptDirectory
from dagster import __version__

from segpipe.errors import SettingsError
from segpipe.examination.check import Check, note, ok, problem, segpipe_command, warning
from segpipe.examination.room import file_system_of, room_of
from segpipe.pipeline.home import (
    CONFIGURATION,
    HomePlace,
    RecordFault,
    home_place,
    lost_with,
    parsed_settings,
    record_fault,
)
from segpipe.storage.failures import os_words

#: What segpipe's own file sets and others may lack, and what is missed without it.
_SETTINGS = {
    "run_launcher": "each run takes seconds longer to begin",
    "scheduler": "a backfill begins up to 30 s after it was asked for",
    "run_queue": "runs wait up to 5 s for a free place",
    "concurrency": "any number of runs start at a time",
    "run_retries": "a run whose process died is not started again",
    "run_monitoring": "a run that hangs is never ended",
}
_RECORDS = ("history/runs.db", "history/runs/index.db", "schedules/schedules.db")
_ELSEWHERE = 'export DAGSTER_HOME="$HOME/dagster_home"'
# How long a file that is in use is waited for.
_LOCK_SECONDS = 5.0


def home(root: str) -> Iterator[Check]:
    """Where Dagster keeps its records for a root, and whether it can."""
    yield ok("Dagster", __version__)
    try:
        place = home_place(root)
    except SettingsError as error:
        yield problem("home", str(error), "name a folder for them in this shell", _ELSEWHERE)
        return
    try:
        yield _place(root, place)
    except OSError as error:  # below a folder of somebody else's
        found = f"{place.path} ({place.why}) cannot be looked at: {os_words(error)}"
        yield problem("home", found, "name another folder", _ELSEWHERE)
        return
    if place.path.is_dir():
        yield from _settings(root, place.path)
        yield from _records(root, place.path)


def _place(root: str, place: HomePlace) -> Check:
    home, again = place.path, segpipe_command("doctor", root)
    shown = f"{home} ({place.why})"
    if home.exists() and not home.is_dir():
        command = shlex.join(["mv", str(home), f"{home}.old"])
        return problem("home", f"{shown} is a file, expected a folder", "move it away", command)
    if not home.exists():
        above = next(one for one in home.parents if one.exists())
        if os.access(above, os.W_OK | os.X_OK) and above.is_dir():
            return ok("home", f"{shown} is made by the first run")
        step = "name a folder that can be written"
        return problem("home", f"{shown} cannot be made in {above}", step, _ELSEWHERE)
    if not os.access(home, os.W_OK | os.X_OK):
        step = "change its rights, or name another folder"
        return problem("home", f"no permission to write to {shown}", step, _ELSEWHERE)
    room, kind = room_of(str(home)), file_system_of(str(home))
    if room.is_full:
        return problem("home", f"{shown} is full", "free some space, or name another", _ELSEWHERE)
    if room.is_tight:
        return warning("home", f"{shown}: {room}", "free some space there, then look again", again)
    if kind.is_remote:
        found = f"{shown} is on {kind.kind}, where SQLite's locks may not hold"
        step = "name a folder on a disk of this machine, or keep the records in Postgres"
        return warning("home", found, step, _ELSEWHERE)
    return ok("home", f"{shown}: {room}")


def _settings(root: str, home: Path) -> Iterator[Check]:
    file = home / CONFIGURATION
    try:
        given = parsed_settings(file.read_bytes())
    except FileNotFoundError:
        yield ok(CONFIGURATION, "there is none: the next run writes it")
        return
    except OSError as error:
        found = f"{file} cannot be read: {error.strerror}"
        again = segpipe_command("doctor", root)
        yield problem(CONFIGURATION, found, "change its rights, then look again", again)
        return
    except ValueError as error:
        step = "mend it; or move it away, and the next run writes one:"
        yield problem(CONFIGURATION, f"{file} cannot be used: {error}", step, _aside([file]))
        return
    yield _missing(file, given)


def _missing(file: Path, given: Mapping[str, Any]) -> Check:
    """Which settings of segpipe's own file are missing."""
    own = yaml.safe_load(files("segpipe.pipeline").joinpath(CONFIGURATION).read_bytes())
    lacking = [name for name in _SETTINGS if name not in given and not _said_by_others(name, given)]
    if lacking:
        effects = "; ".join(f"{name}: {_SETTINGS[name]}" for name in lacking)
        found = f"{file} has no {', '.join(lacking)} ({effects})"
        if all(name in own and own[name] == value for name, value in given.items()):
            step = "move it away, and the next run writes segpipe's own:"
            return note(CONFIGURATION, found, step, _aside([file]))
        # It says something of its own, such as where the records are: that stays.
        lines = yaml.safe_dump({name: own[name] for name in lacking}, sort_keys=False)
        command = shlex.join(["printf", r"%s\n", "", *lines.splitlines()])
        step = "those that suit this installation can be added at its end, as segpipe has them:"
        return note(CONFIGURATION, found, step, f"{command} >> {shlex.quote(str(file))}")
    launcher = given.get("run_launcher")
    if isinstance(launcher, Mapping) and launcher.get("module") != own["run_launcher"]["module"]:
        named = f"{launcher.get('module')}.{launcher.get('class')}"
        return ok(CONFIGURATION, f"{file}; runs are launched by {named}")
    return ok(CONFIGURATION, f"{file}: launcher, queue, retries and monitoring are set")


def _said_by_others(name: str, given: Mapping[str, Any]) -> bool:
    """Whether older keys say what one would, which Dagster does not take beside them."""
    queue = given.get("run_queue")
    if name == "concurrency" and isinstance(queue, Mapping) and "max_concurrent_runs" in queue:
        return True
    return name in ("run_queue", "concurrency") and "run_coordinator" in given


def _aside(paths: Iterable[Path]) -> str:
    """The command that moves something away and keeps it."""
    return " && ".join(shlex.join(["mv", str(path), f"{path}.old"]) for path in paths)


def _records(root: str, home: Path) -> Iterator[Check]:
    """Whether the records are whole, and as this version of Dagster has them."""
    known = _revisions()
    earlier, newer, whole = [], [], 0
    for name in _RECORDS:
        file = home / name
        if not file.is_file():
            continue
        try:
            there = _revision(file)
        except sqlite3.Error as error:
            yield _unreadable(root, home, name, str(error))
            return
        if there is None:
            yield note("records", f"{file} has no tables yet: the run that begins makes them")
        elif known and there not in known:
            newer.append(name)
        elif known and there != known[0]:
            earlier.append(name)
        else:
            whole += 1
    if newer:
        words = f"a newer Dagster made {', '.join(newer)}; this one is {__version__}"
        step = "use the newer one; or move them away, and new ones are made:"
        yield warning("records", words, step, _aside(_folders(home, newer)))
    elif earlier:
        words = f"an earlier Dagster made {', '.join(earlier)}; this one is {__version__}"
        python = shlex.quote(sys.executable)
        command = f"DAGSTER_HOME={shlex.quote(str(home))} {python} -m dagster instance migrate"
        yield warning("records", words, "bring them up to date", command)
    elif whole:
        yield ok("records", f"whole, and of Dagster {__version__}" if known else "whole")


def _unreadable(root: str, home: Path, name: str, error: str) -> Check:
    """What is said of records that SQLite does not read."""
    file, again = home / name, segpipe_command("doctor", root)
    match record_fault(error, home):
        case RecordFault.DAMAGED:
            folders = _folders(home, [name])
            lost = lost_with(folder.name for folder in folders)
            step = f"move the records away, and new ones are made. {lost}"
            return problem("records", f"{file} is damaged ({error})", step, _aside(folders))
        case RecordFault.CLOSED:
            if home.stat().st_uid == os.geteuid():
                rights = shlex.join(["chmod", "-R", "u+rwX", str(home)])
            else:
                rights = f'sudo chown -R "$(id -un)" {shlex.quote(str(home))}'
            words = f"no permission to read and write {file} ({error})"
            return problem("records", words, "change the rights of Dagster's home", rights)
        case RecordFault.FULL:
            return problem("records", f"{file} is on a full disk", "free some space there", again)
        case None:
            words = f"{file} cannot be read now: {error}"
            return warning("records", words, "look again when no run is writing there", again)


def _folders(home: Path, names: Sequence[str]) -> list[Path]:
    """The folders of records below a home, which belong together."""
    return sorted({home / name.partition("/")[0] for name in names})


def _revision(file: Path) -> str | None:
    """The form of the records in a file; None where there are none yet."""
    # To read a file that nobody has open must not leave the files beside it that a reader makes.
    mode = "mode=ro" if Path(f"{file}-wal").exists() else "immutable=1"
    address = f"{file.absolute().as_uri()}?{mode}"
    with closing(sqlite3.connect(address, uri=True, timeout=_LOCK_SECONDS)) as connection:
        if not connection.execute(_HAS_REVISION).fetchall():
            return None
        rows = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    return str(rows[0][0]) if rows else None


_HAS_REVISION = "SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'"


def _revisions() -> list[str]:
    """The forms of the records that this Dagster knows, newest first; one for all its files.

    None are known where Dagster no longer says where they are: that is no part of its interface.
    """
    try:
        from dagster._core.storage.sql import ALEMBIC_SCRIPTS_LOCATION
    except ImportError:
        return []
    config = Config()
    config.set_main_option("script_location", ALEMBIC_SCRIPTS_LOCATION)
    return [one.revision for one in ScriptDirectory.from_config(config).walk_revisions()]
