"""The page on ``segpipe.toml``, made of the keys and of the classes that hold their values."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

from docs.reference_pages.markdown import MADE, table
from segpipe.evaluation.requirements import Requirements
from segpipe.publishing.nucleus.settings import KEY_VARIABLE, NucleusSettings
from segpipe.settings import ROOT_VARIABLE, SETTINGS_FILE, Settings
from segpipe.settings_keys import TABLES, Key, KeyTable
from segpipe.validation.rules import Policy

_HEAD = f"""# Settings

{MADE}

All settings of a root are in one file, `{SETTINGS_FILE}`, in the root. It is optional, and so is
every key. An unknown key is refused with the nearest one there is, and a value that cannot be used
with what was expected.

Policies take effect with the next run, also in processes that are running; all else when a process
starts.
"""
#: Table -> the class whose fields have its defaults.
HOLDERS: Mapping[str, type] = {
    "": Settings,
    "policy": Policy,
    "evaluation": Requirements,
    "nucleus": NucleusSettings,
    "dagster": Settings,
}
_ENVIRONMENT = {
    ROOT_VARIABLE: "The root of the Dagster project, where no command names it.",
    "DAGSTER_HOME": "The folder of Dagster's records. Without it `segpipe run` and `segpipe dev` "
    "use `dagster_home` of the working folder if it holds a `dagster.yaml`, else one inside the "
    "root.",
    "SEGPIPE_ALERT_URL": "The web hook that the sensor `failed_runs` posts to.",
    "SEGPIPE_BROWSE_TOKEN": "What who looks at `segpipe browse` has to know, instead of `--token`.",
    "SEGPIPE_NUCLEUS_KEY": "The API key that `segpipe nucleus-server` asks for.",
    KEY_VARIABLE: "The API key of Scale Nucleus.",
    "NUCLEUS_ENDPOINT": "The base URL of Nucleus' API, where `endpoint` does not name it.",
}


def settings_page() -> str:
    """The page, as Markdown."""
    parts = [_HEAD.rstrip("\n"), *(part for one in TABLES for part in _section(one))]
    rows = ((f"`{name}`", words) for name, words in _ENVIRONMENT.items())
    parts += [
        "## Environment",
        "Credentials of buckets come from the usual variables of their services "
        "([deploy.md](../deploy.md#object-storage)).",
        table(("variable", "meaning"), rows),
    ]
    return "\n\n".join(parts) + "\n"


def _section(part: KeyTable) -> Iterator[str]:
    yield f"## `[{part.name}]`" if part.name else "## The root"
    yield part.meaning
    if part.keys:
        rows = ((f"`{name}`", _default(part, name, key), _meaning(key))
                for name, key in part.keys.items())  # fmt: skip
        yield table(("key", "default", "meaning"), rows)
    yield f"```toml\n{part.example}```"


def _meaning(key: Key) -> str:
    end = "" if key.expected.endswith(".") else "."
    return f"{key.meaning[:1].upper()}{key.meaning[1:]}. Takes {key.expected}{end}"


def _default(part: KeyTable, name: str, key: Key) -> str:
    if key.default:
        return key.default
    field = next(one for one in dataclasses.fields(HOLDERS[part.name]) if one.name == name)
    made: Any = field.default_factory
    return f"`{_toml(field.default if made is dataclasses.MISSING else made())}`"


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:_}"
    if isinstance(value, Mapping):
        return "{}"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(str(value.value) if isinstance(value, Enum) else value)
