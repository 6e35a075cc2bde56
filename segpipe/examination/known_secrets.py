"""Values that must not be printed, whoever's message they are in."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from segpipe.examination.check import Check

_SECRET_NAME = re.compile(
    r"key|secret|token|passw|credential|signature|connection_string|(^|_)sas(_|$)", re.IGNORECASE
)
# Names of what says where something is, such as AWS_SHARED_CREDENTIALS_FILE.
_PLACE_NAME = re.compile(
    r"(file|path|dir|folder|endpoint|url|uri|host)s?$|^GOOGLE_APPLICATION_CREDENTIALS$",
    re.IGNORECASE,
)
# The secret parts of a connection string, which a library may print without the others.
_PARTS = re.compile(
    r"\b(?:AccountKey|SharedAccessKey|SharedAccessSignature)=([^;\s]+)", re.IGNORECASE
)
# Shorter ones are found in words.
_SHORTEST = 6


class KnownSecrets:
    """The secrets of this process's environment, and of options for storage."""

    def __init__(self) -> None:
        self._values: set[str] = set()
        self.learn(os.environ)

    def learn(self, options: Mapping[str, Any]) -> None:
        """Know the secrets among options for storage as well."""
        for name, value in options.items():
            if isinstance(value, Mapping):
                self.learn(value)
            elif isinstance(value, str):
                self._values |= {one for one in _secrets(name, value) if len(one) >= _SHORTEST}

    def hidden(self, check: Check) -> Check:
        """The check without them."""
        return replace(
            check,
            found=self.without(check.found),
            next_step=self.without(check.next_step),
            command=self.without(check.command),
        )

    def without(self, text: str) -> str:
        """The text without them."""
        # The longest first: one may be the beginning of another.
        for value in sorted(self._values, key=len, reverse=True):
            text = text.replace(value, "...")
        return text


def _secrets(name: str, value: str) -> Iterator[str]:
    yield from _PARTS.findall(value)
    # By its name, not by how it looks: a key in base64 may begin with a slash.
    is_place = _PLACE_NAME.search(name) and (value.startswith(("/", "~", ".")) or "://" in value)
    if _SECRET_NAME.search(name) and not is_place:
        yield value
