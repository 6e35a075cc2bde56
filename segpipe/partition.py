"""Partitions: one model run's predictions of one day, and where their manifests lie."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from urllib.parse import unquote

from segpipe.errors import ManifestError, SettingsError
from segpipe.manifest import Manifest
from segpipe.storage import Folder, folder_name, storage_errors

_MODEL_RUN = "model_run="
_DATE = "date="
# Dagster joins the two dimensions of a partition key with "|" and ranges of keys with "...".
_FORBIDDEN = re.compile(r"[|,\[\]\x00-\x1f\x7f]|\.\.\.")


@dataclass(frozen=True, slots=True, order=True)
class Partition:
    """One model run on one day."""

    model_run: str
    date: str

    def __post_init__(self) -> None:
        if not self.model_run.strip():
            raise SettingsError("the model run has no name")
        if _FORBIDDEN.search(self.model_run) or len(self.model_run.encode()) > 200:
            raise SettingsError(
                f"model run {self.model_run[:80]!r}: a name has at most 200 bytes and none of "
                "| , [ ] ... or control characters, which Dagster needs for partition keys"
            )
        try:
            valid = date.fromisoformat(self.date).isoformat() == self.date
        except ValueError:
            valid = False
        if not valid:
            raise SettingsError(f"date {self.date!r}: expected a day as YYYY-MM-DD")

    def __str__(self) -> str:
        return f"model_run={self.model_run} date={self.date}"

    @property
    def folders(self) -> tuple[str, str]:
        """The two folder names of this partition below ``validated/``."""
        return f"{_MODEL_RUN}{folder_name(self.model_run)}", f"{_DATE}{self.date}"


class Landing:
    """The folder manifests arrive in: ``model_run=<M>/date=<YYYY-MM-DD>/*.parquet``."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder

    def model_runs(self) -> dict[str, str]:
        """Model run -> name of its folder, as encoded by whoever wrote it."""
        return {
            unquote(name.removeprefix(_MODEL_RUN)): name
            for name in self._names(self.folder, "directory")
            if name.startswith(_MODEL_RUN)
        }

    def partitions(self) -> Iterator[Partition]:
        """All partitions that have a folder, sorted; folders that are no partition are skipped."""
        for model_run, name in sorted(self.model_runs().items()):
            for day in self._names(self.folder.folder(name), "directory"):
                if day.startswith(_DATE):
                    try:
                        yield Partition(model_run, day.removeprefix(_DATE))
                    except SettingsError:
                        continue

    def manifest(self, partition: Partition) -> Manifest:
        """The manifest of a partition: all its Parquet files, in the order of their names.

        Raises:
            ManifestError: if there is none, or one of its files cannot be used.
        """
        model_runs = self.model_runs()
        name = model_runs.get(partition.model_run)
        if name is None:
            known = ", ".join(sorted(model_runs)) or "none yet"
            raise ManifestError(
                f"there is no model run {partition.model_run!r} in {self.folder.url} "
                f"(model runs: {known})"
            )
        day = f"{_DATE}{partition.date}"
        folder = self.folder.folder(name, day)
        files = [
            file
            for file in self._names(folder, "file")
            if file.endswith(".parquet") and not file.startswith((".", "_"))
        ]
        if not files:
            raise ManifestError(
                f"there is no manifest for {partition}: expected *.parquet files in {folder.url}"
            )
        return Manifest.open([(folder, file, f"{name}/{day}/{file}") for file in files])

    @staticmethod
    def _names(folder: Folder, kind: str) -> list[str]:
        with storage_errors(f"listing {folder.url}"):
            try:
                entries = folder.filesystem.ls(folder.path, detail=True)
            except (FileNotFoundError, NotADirectoryError):
                return []
        return sorted(
            str(entry["name"]).rstrip("/").rpartition("/")[2]
            for entry in entries
            if entry["type"] == kind
        )
