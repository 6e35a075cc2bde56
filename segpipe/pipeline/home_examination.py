"""Dagster's home, looked at without making or changing anything in it."""

from __future__ import annotations

import os
import shlex
import sqlite3
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from alembic.config import Config
from alembic.script import ScriptDirectory
from dagster import __version__
from dagster._core.storage.sql import ALEMBIC_SCRIPTS_LOCATION

from segpipe.errors import SettingsError
from segpipe.examination.check import Check, note, ok, problem, segpipe_command, warning
from segpipe.examination.room import file_system_of, room_of
from segpipe.pipeline.home import CONFIGURATION, HomePlace, home_place
from segpipe.storage.redaction import SECRETS

#: What segpipe's own file sets and others may lack, and what is missed without it.
_SETTINGS = {
    "run_launcher": "each run takes seconds longer to begin",
    "run_queue": "runs wait up to 5 s for a free place",
    "concurrency": "any number of runs start at a time",
    "run_retries": "a run whose process died is not started again",
    "run_monitoring": "a run that hangs is never ended",
}
_RECORDS = ("history/runs.db", "history/runs/index.db", "schedules/schedules.db")


def home(root: str) -> Iterator[Check]:
    """Where Dagster keeps its records for a root, and whether it can."""
    yield ok("Dagster", __version__)
    try:
        place = home_place(root)
    except SettingsError as error:
        command = 'export DAGSTER_HOME="$HOME/dagster_home"'
        yield problem("home", str(error), "name a folder for them in this shell", command)
        return
    yield _place(root, place)
    if not place.path.is_dir():
        return
    yield from _settings(root, place.path)
    yield from _records(place.path)


def _place(root: str, place: HomePlace) -> Check:
    home, again = place.path, segpipe_command("doctor", root)
    shown = f"{home} ({place.why})"
    elsewhere = 'export DAGSTER_HOME="$HOME/dagster_home"'
    if home.exists() and not home.is_dir():
        command = shlex.join(["mv", str(home), f"{home}.old"])
        return problem("home", f"{shown} is a file, expected a folder", "move it away", command)
    if not home.exists():
        above = next(one for one in home.parents if one.exists())
        if os.access(above, os.W_OK | os.X_OK) and above.is_dir():
            return ok("home", f"{shown} is made by the first run")
        step = "name a folder that can be written"
        return problem("home", f"{shown} cannot be made in {above}", step, elsewhere)
    if not os.access(home, os.W_OK | os.X_OK):
        step = "change its rights, or name another folder"
        return problem("home", f"no permission to write to {shown}", step, elsewhere)
    room, kind = room_of(str(home)), file_system_of(str(home))
    if room.is_full:
        return problem("home", f"{shown} is full", "free some space, or name another", elsewhere)
    if room.is_tight:
        return warning("home", f"{shown}: {room}", "free some space there, then look again", again)
    if kind.is_remote:
        found = f"{shown} is on {kind.kind}, where SQLite's locks may not hold"
        step = "name a folder on a disk of this machine, or keep the records in Postgres"
        return warning("home", found, step, elsewhere)
    return ok("home", f"{shown}: {room}")


def _settings(root: str, home: Path) -> Iterator[Check]:
    file = home / CONFIGURATION
    aside = shlex.join(["mv", str(file), f"{file}.old"])
    try:
        given = yaml.safe_load(file.read_bytes()) or {}
    except FileNotFoundError:
        yield ok(CONFIGURATION, "there is none: the next run writes it")
        return
    except OSError as error:
        found = f"{file} cannot be read: {error.strerror}"
        again = segpipe_command("doctor", root)
        yield problem(CONFIGURATION, found, "change its rights, then look again", again)
        return
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        words = SECRETS.sub("...", " ".join(str(error).split())[:300])
        step = "mend it; or move it away, and the next run writes one:"
        yield problem(CONFIGURATION, f"{file} is not valid YAML: {words}", step, aside)
        return
    if not isinstance(given, dict):
        step = "mend it; or move it away, and the next run writes one:"
        yield problem(CONFIGURATION, f"{file} holds no settings", step, aside)
        return
    yield _missing(file, given, aside)


def _missing(file: Path, given: Mapping[str, Any], aside: str) -> Check:
    """Which settings of segpipe's own file are missing."""
    own = yaml.safe_load(files("segpipe.pipeline").joinpath(CONFIGURATION).read_bytes())
    lacking = [name for name in _SETTINGS if name in own and name not in given]
    if lacking:
        effects = "; ".join(f"{name}: {_SETTINGS[name]}" for name in lacking)
        found = f"{file} has no {', '.join(lacking)} ({effects})"
        step = "copy them from segpipe's own; or move it away, and the next run writes that:"
        return note(CONFIGURATION, found, step, aside)
    launcher = given.get("run_launcher")
    if isinstance(launcher, Mapping) and launcher.get("module") != own["run_launcher"]["module"]:
        named = f"{launcher.get('module')}.{launcher.get('class')}"
        return ok(CONFIGURATION, f"{file}; runs are launched by {named}")
    return ok(CONFIGURATION, f"{file}: launcher, queue, retries and monitoring are set")


def _records(home: Path) -> Iterator[Check]:
    """Whether the records are whole, and as this version of Dagster has them."""
    old = []
    found = 0
    for name in _RECORDS:
        file = home / name
        if not file.is_file():
            continue
        found += 1
        try:
            there = _revision(file)
        except sqlite3.Error as error:
            words = f"{file} is damaged ({error}); it holds only the history of runs"
            command = shlex.join(["mv", str(home), f"{home}.old"])
            yield problem("records", words, "move the folder away, and a new one is made", command)
            return
        if there != _newest():
            old.append(name)
    if old:
        words = f"an earlier Dagster made {', '.join(old)}; this one is {__version__}"
        python = shlex.quote(sys.executable)
        command = f"DAGSTER_HOME={shlex.quote(str(home))} {python} -m dagster instance migrate"
        yield warning("records", words, "bring them up to date", command)
    elif found:
        yield ok("records", f"whole, and of Dagster {__version__}")


def _revision(file: Path) -> str | None:
    # To read a file that nobody has open must not leave the files beside it that a reader makes.
    mode = "mode=ro" if Path(f"{file}-wal").exists() else "immutable=1"
    address = f"{file.absolute().as_uri()}?{mode}"
    with closing(sqlite3.connect(address, uri=True, timeout=5)) as connection:
        rows = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    return str(rows[0][0]) if rows else None


def _newest() -> str | None:
    """The newest form of the records that this Dagster knows; one for all its files."""
    config = Config()
    config.set_main_option("script_location", ALEMBIC_SCRIPTS_LOCATION)
    return ScriptDirectory.from_config(config).get_current_head()
