"""The settings of a Nucleus dataset: the table ``[nucleus]`` of ``segpipe.toml``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from segpipe.errors import SettingsError, nearest
from segpipe.storage.redaction import told

#: Environment variable of the API key; it is read from nowhere else.
KEY_VARIABLE = "NUCLEUS_API_KEY"
#: With more, the client fails outside the main thread (docs/nucleus.md).
MOST_LOCAL_MASKS = 100
LOCAL, REMOTE = "local", "remote"


@dataclass(frozen=True)
class NucleusSettings:
    """Where and how predictions are sent.

    Attributes:
        dataset_id: the dataset at Nucleus, ``ds_...``.
        model: reference id of the model at Nucleus; ``{model_run}`` stands for the model run.
        model_name: its name, set when it is created.
        masks: ``local``: mask files are uploaded; ``remote``: only their URLs, and Nucleus fetches
            them.
        masks_url: s3, gs, http or https URL of the mask store for Nucleus; if empty, the mask
            store's own.
        masks_per_call: predictions sent in one call of the client, 1 to 100.
        endpoint: base URL of the API; if empty, ``NUCLEUS_ENDPOINT`` or Scale's.
        timeout: seconds to wait for an answer.
        retry_seconds: how long a failing request is retried before publishing fails.
    """

    dataset_id: str
    model: str = "{model_run}"
    model_name: str = "{model_run}"
    masks: str = LOCAL
    masks_url: str = ""
    masks_per_call: int = MOST_LOCAL_MASKS
    endpoint: str = ""
    timeout: int = 120
    retry_seconds: int = 300

    @classmethod
    def read(cls, given: object, shown: str) -> NucleusSettings:
        """The settings in a TOML table.

        Args:
            shown: the file, for messages.

        Raises:
            SettingsError: if a key is unknown, missing or has a wrong value; it names the key.
        """
        if not isinstance(given, Mapping):
            raise SettingsError(f"{shown}: nucleus is {told(given)}, expected a table [nucleus]")
        known = [one.name for one in fields(cls)]
        for key in given:
            if "key" in key.lower():
                raise SettingsError(
                    f"{shown}: the API key does not belong into a file: set {KEY_VARIABLE} in the "
                    "environment"
                )
            if key not in known:
                raise SettingsError(
                    f"{shown}: unknown key {key!r} in [nucleus]{nearest(key, known)}"
                )
        if "dataset_id" not in given:
            raise SettingsError(f"{shown}: [nucleus] needs the dataset_id, ds_... at Nucleus")
        for key, value in given.items():
            fits, words = KINDS[key]
            if not fits(value):
                raise SettingsError(
                    f"{shown}: {key} in [nucleus] is {told(value)}, expected {words}"
                )
        return cls(**given)

    def model_reference(self, model_run: str) -> str:
        """Reference id of a model run's model at Nucleus."""
        return self.model.replace("{model_run}", model_run)

    def model_title(self, model_run: str) -> str:
        """Name of a model run's model at Nucleus."""
        return self.model_name.replace("{model_run}", model_run)


def _text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _whole(least: int, most: int) -> Callable[[object], bool]:
    def fits(value: object) -> bool:
        return type(value) is int and least <= value <= most

    return fits


def _matches(pattern: str) -> Callable[[object], bool]:
    def fits(value: object) -> bool:
        return isinstance(value, str) and re.fullmatch(pattern, value) is not None

    return fits


#: Key of the table -> whether a value fits, and what is expected of it.
KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "dataset_id": (_matches(r"[A-Za-z0-9_-]+"), "the id of a dataset, ds_..."),
    "model": (_text, "text"),
    "model_name": (_text, "text"),
    "masks": (lambda value: value in (LOCAL, REMOTE), "local or remote"),
    "masks_url": (
        _matches(r"(s3|gs|https?)://[^\s@?#]+"),
        "an s3, gs, http or https URL without a query",
    ),
    "masks_per_call": (_whole(1, MOST_LOCAL_MASKS), f"1 to {MOST_LOCAL_MASKS}"),
    "endpoint": (
        _matches(r"https?://[^\s@?#]+"),
        "an http or https URL without credentials or a query",
    ),
    "timeout": (_whole(1, 3600), "seconds, 1 to 3600"),
    "retry_seconds": (_whole(0, 86_400), "seconds, 0 to 86400"),
}
