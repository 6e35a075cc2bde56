"""Partitions: the predictions of one model run for one day."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass

from segpipe.errors import SettingsError
from segpipe.storage.files import folder_name

#: Prefixes of folder names, in Hive's style.
MODEL_RUN_PREFIX = "model_run="
DATE_PREFIX = "date="
# Dagster joins the two dimensions of a partition key with "|" and ranges of keys with "...".
_FORBIDDEN = re.compile(r"[|,\[\]\x00-\x1f\x7f]|\.\.\.")
# Characters of a folder name.
_LONGEST = 240


def check_model_run(name: str) -> None:
    """Refuse what cannot be the name of a model run.

    Raises:
        SettingsError: saying why.
    """
    if not name.strip():
        raise SettingsError("the model run has no name")
    if _FORBIDDEN.search(name):
        raise SettingsError(
            f"model run {name[:80]!r}: a name has none of | , [ ] ... and control characters, "
            "which Dagster needs for partition keys"
        )
    if len(folder_name(name)) > _LONGEST:
        raise SettingsError(
            f"model run {name[:80]!r}...: the name is too long to be a folder's ({_LONGEST} "
            "characters, of which a letter beyond ASCII takes six or more)"
        )


@dataclass(frozen=True, slots=True, order=True)
class Partition:
    """One model run on one day.

    Attributes:
        model_run: its name.
        date: ``YYYY-MM-DD``.

    Raises:
        SettingsError: if the name or the date is not valid.
    """

    model_run: str
    date: str

    def __post_init__(self) -> None:
        check_model_run(self.model_run)
        try:
            valid = datetime.date.fromisoformat(self.date).isoformat() == self.date
        except ValueError:
            valid = False
        if not valid:
            raise SettingsError(f"date {self.date!r}: expected a day as YYYY-MM-DD")

    @classmethod
    def of(cls, partition: Partition | str, date: str | datetime.date | None = None) -> Partition:
        """A partition given as itself, or by model run and date.

        Raises:
            SettingsError: if a part is missing or not valid.
        """
        if isinstance(partition, Partition):
            if date is not None and str(date) != partition.date:
                raise SettingsError(f"{partition} has a date of its own: leave {date} out")
            return partition
        if date is None:
            raise SettingsError(
                f"the date of model run {partition!r} is missing: give it as YYYY-MM-DD"
            )
        return cls(partition, str(date))

    def __str__(self) -> str:
        return f"model_run={self.model_run} date={self.date}"

    @property
    def folders(self) -> tuple[str, str]:
        """The two folder names of this partition below ``validated/``."""
        return f"{MODEL_RUN_PREFIX}{folder_name(self.model_run)}", f"{DATE_PREFIX}{self.date}"
