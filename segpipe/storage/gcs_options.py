"""Google Cloud Storage in the words of gcsfs and of object_store; see ``store_options``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from segpipe.errors import SettingsError

# Where object_store is told of a key file, and of its content.
_FILES = ("GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_PATH")
_KEY = "GOOGLE_SERVICE_ACCOUNT_KEY"
_APPLICATION = "GOOGLE_APPLICATION_CREDENTIALS"
# object_store asks the machine for credentials even where it does not sign, but not with these.
_NOBODY = json.dumps(
    {"disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": ""}
)
#: What gcsfs takes for "as the machine is logged in".
MACHINE = ("google_default", "cloud")
_HOW = (
    "Name a key file as `token` in storage_options or in GOOGLE_APPLICATION_CREDENTIALS, or give "
    "the machine a service account"
)


def gcs_options(
    given: Mapping[str, Any], own: Mapping[str, str], environment: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Options for gcsfs and for object_store.

    Args:
        given: in gcsfs's words.
        own: in object_store's, which go through.

    Raises:
        SettingsError: if a key file cannot be used, or one library cannot be told.
    """
    filesystem = dict(given)
    endpoint = given.get("endpoint_url") or own.get("GOOGLE_BASE_URL") or _emulator(environment)
    options: dict[str, str] = {}
    if endpoint:
        filesystem["endpoint_url"] = options["GOOGLE_BASE_URL"] = str(endpoint).rstrip("/")
        if str(endpoint).startswith("http://"):
            options["ALLOW_HTTP"] = "true"
    token = given.get("token") or _named(own) or _named(environment)
    if token is None and endpoint:
        token = "anon"  # an emulator knows nobody
    if token is None and environment.get(_APPLICATION):
        _check_key_file(environment[_APPLICATION], _APPLICATION)
    filesystem["token"] = token if token is not None else MACHINE[0]
    if token == "anon":
        options["GOOGLE_SKIP_SIGNATURE"] = "true"
        options[_KEY] = _NOBODY
    elif isinstance(token, Mapping):
        options[_KEY] = json.dumps(dict(token))
    elif isinstance(token, str) and token not in MACHINE:
        kind = _check_key_file(token, "token")
        options[_FILES[0] if kind == "service_account" else _APPLICATION] = token
    elif token not in (None, *MACHINE):
        raise SettingsError(f"`token` in storage_options is no key file. {_HOW}")
    return filesystem, {**options, **own}


def _emulator(environment: Mapping[str, str]) -> str | None:
    host = environment.get("STORAGE_EMULATOR_HOST", "")
    if host in ("", "default"):
        return environment.get("GOOGLE_BASE_URL") or None
    return host if host.startswith(("http://", "https://")) else f"http://{host}"


def _named(names: Mapping[str, str]) -> str | dict[str, Any] | None:
    """The credentials that object_store would take, as gcsfs takes them."""
    if names.get(_KEY):
        return _parsed(names[_KEY], _KEY)
    return next((names[name] for name in _FILES if names.get(name)), None)


def _check_key_file(path: str, named_by: str) -> str:
    """The type of credentials in a file.

    Raises:
        SettingsError: if there are none.
    """
    try:
        written = Path(path).stat().st_mtime_ns
    except (OSError, ValueError):
        # It may be an access token: the value is not shown.
        raise SettingsError(
            f"`{named_by}` for Google Cloud Storage names no file. {_HOW}"
        ) from None
    return _kind_of_key(path, written)


@lru_cache
def _kind_of_key(path: str, written: int) -> str:
    """:func:`_check_key_file`, once for a file as it was written: each mask's URL is opened."""
    try:
        text = Path(path).read_text()
    except (OSError, ValueError) as error:
        words = getattr(error, "strerror", None) or "it is no text"
        raise SettingsError(f"the key file {path} cannot be read: {words}. {_HOW}") from None
    key = _parsed(text, path)
    if key.get("type") == "service_account" and "BEGIN" not in str(key.get("private_key")):
        raise SettingsError(f"the key file {path} holds no private key. {_HOW}")
    return str(key["type"])


def _parsed(text: str, named: str) -> dict[str, Any]:
    try:
        key = json.loads(text)
    except ValueError:
        key = None
    if not isinstance(key, dict) or "type" not in key:
        raise SettingsError(f"{named} holds no credentials of Google's (JSON with a type). {_HOW}")
    return key
