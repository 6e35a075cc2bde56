"""TOML files: settings, policies and label maps."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from segpipe.errors import SettingsError


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file on the local disk.

    Raises:
        SettingsError: if there is none, or it is not TOML.
    """
    try:
        return parse_toml(path.read_bytes(), str(path))
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from None


def parse_toml(content: bytes, shown: str) -> dict[str, Any]:
    """TOML as a dictionary.

    Args:
        shown: what it was read from, for messages.

    Raises:
        SettingsError: if it is not TOML.
    """
    try:
        return tomllib.loads(content.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{shown} is not valid TOML: {error}") from None
