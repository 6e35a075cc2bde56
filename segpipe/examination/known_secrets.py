"""Values that must not be printed, whoever's message they are in."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from segpipe.examination.check import Check

_SECRET_NAME = re.compile(
    r"key|secret|token|passw|credential|signature|connection_string|(^|_)sas(_|$)", re.IGNORECASE
)
# Shorter ones are found in words.
_SHORTEST = 8


class KnownSecrets:
    """The secrets of this process's environment, and of options for storage."""

    def __init__(self) -> None:
        self._values = {value for name, value in os.environ.items() if _is_secret(name, value)}

    def learn(self, options: Mapping[str, Any]) -> None:
        """Know the secrets among options for storage as well."""
        for name, value in options.items():
            if isinstance(value, Mapping):
                self.learn(value)
            elif isinstance(value, str) and _is_secret(name, value):
                self._values.add(value)

    def hidden(self, check: Check) -> Check:
        """The check without them."""
        return replace(
            check,
            found=self._without(check.found),
            next_step=self._without(check.next_step),
            command=self._without(check.command),
        )

    def _without(self, text: str) -> str:
        for value in self._values:
            text = text.replace(value, "...")
        return text


def _is_secret(name: str, value: str) -> bool:
    # A path or a URL is where something is, as in GOOGLE_APPLICATION_CREDENTIALS.
    is_place = value.startswith(("/", "~")) or "://" in value
    return len(value) >= _SHORTEST and not is_place and _SECRET_NAME.search(name) is not None
