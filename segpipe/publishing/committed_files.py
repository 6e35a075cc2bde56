"""The files that a version of the catalog's table consists of, as its log entry names them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from urllib.parse import unquote

from segpipe.storage.durability import sync_files

LOG = "_delta_log"


def log_entry(version: int) -> str:
    """Path of a version's log entry below the table's folder."""
    return f"{LOG}/{version:020d}.json"


def sync_version(table: str, version: int) -> None:
    """Make what a version added survive a cut of the power: data files, log entry, folders.

    Args:
        table: the table's folder, a local path.

    Raises:
        OSError: if something cannot be written.
        ValueError: if the log entry is damaged.
    """
    entry = os.path.join(table, log_entry(version))
    try:
        with Path(entry).open("rb") as lines:
            actions = [json.loads(line) for line in lines]
    except FileNotFoundError:
        return  # a checkpoint has taken its place
    added = [unquote(one["add"]["path"]) for one in actions if "add" in one]
    sync_files([*(os.path.join(table, path) for path in added), entry])
