"""The landing folder, where manifests arrive."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any
from urllib.parse import unquote

from segpipe.errors import ManifestError, SettingsError, StorageError
from segpipe.manifests.manifest import Manifest
from segpipe.manifests.partition import DATE_PREFIX, MODEL_RUN_PREFIX, Partition
from segpipe.storage.failures import storage_errors
from segpipe.storage.files import Folder


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """A manifest file as its folder lists it.

    Attributes:
        folder: holds the file.
        name: of the file.
        shown: its name in tables and messages.
        stored: the file system's entry: size, and time of writing or ETag.
    """

    folder: Folder
    name: str
    shown: str
    stored: Mapping[str, Any]


class Landing:
    """The folder manifests arrive in: ``model_run=<M>/date=<YYYY-MM-DD>/*.parquet``."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder

    def model_runs(self) -> dict[str, list[str]]:
        """Model run -> names of its folders; writers may encode one name in several ways.

        Raises:
            StorageError: if the landing folder cannot be listed.
        """
        found: dict[str, list[str]] = {}
        for name in self._names(self.folder, "directory"):
            if name.startswith(MODEL_RUN_PREFIX):
                found.setdefault(unquote(name.removeprefix(MODEL_RUN_PREFIX)), []).append(name)
        return found

    def partitions(self) -> Iterator[Partition]:
        """All partitions that have a folder, sorted; other folders are skipped.

        Raises:
            StorageError: if a folder cannot be listed.
        """
        for partition, _ in self.landed():
            yield partition

    def landed(
        self, unreadable: Callable[[str, StorageError], None] | None = None
    ) -> Iterator[tuple[Partition, list[str]]]:
        """All partitions that have a folder, each with the names of its model run's folders.

        Args:
            unreadable: called for model runs whose folders cannot be listed, which are skipped.

        Raises:
            StorageError: if the landing folder cannot be listed; or a model run's folder, if
                ``unreadable`` is None.
        """
        for model_run, names in sorted(self.model_runs().items()):
            try:
                days = self._days(names)
            except StorageError as error:
                if unreadable is None:
                    raise
                unreadable(model_run, error)
                continue
            for day in days:
                try:
                    yield Partition(model_run, day), names
                except SettingsError:
                    continue

    def days(self, model_run: str) -> list[str]:
        """The days for which a model run has folders, ``YYYY-MM-DD``, sorted."""
        return self._days(self.model_runs().get(model_run, []))

    def _days(self, names: list[str]) -> list[str]:
        days = {
            day.removeprefix(DATE_PREFIX)
            for name in names
            for day in self._names(self.folder.folder(name), "directory")
            if day.startswith(DATE_PREFIX)
        }
        return sorted(days)

    def files(self, names: list[str], day: str) -> list[ManifestEntry]:
        """The manifest files of a day, sorted by name.

        Args:
            names: of the model run's folders.
            day: ``YYYY-MM-DD``.

        Raises:
            StorageError: if a folder cannot be listed.
        """
        return [
            ManifestEntry(folder, file, f"{name}/{DATE_PREFIX}{day}/{file}", stored)
            for name in names
            for folder in (self.folder.folder(name, f"{DATE_PREFIX}{day}"),)
            for file, stored in _listed(folder, "file")
            if file.endswith(".parquet") and not file.startswith((".", "_"))
        ]

    def manifest(self, partition: Partition) -> Manifest:
        """The manifest of a partition: all its Parquet files, sorted by name.

        Raises:
            ManifestError: if there is none, or one of its files cannot be used.
        """
        model_runs = self.model_runs()
        names = model_runs.get(partition.model_run)
        if names is None:
            known = ", ".join(sorted(model_runs)) or "none yet"
            raise ManifestError(
                f"there is no model run {partition.model_run!r} in {self.folder.shown} "
                f"(model runs: {known})"
            )
        files = self.files(names, partition.date)
        if not files:
            place = self.folder.folder(names[0], f"{DATE_PREFIX}{partition.date}").shown
            raise ManifestError(
                f"there is no manifest for {partition}: expected *.parquet files in {place}"
            )
        return Manifest.open([(file.folder, file.name, file.shown) for file in files])

    @staticmethod
    def _names(folder: Folder, kind: str) -> list[str]:
        return [name for name, _ in _listed(folder, kind)]


def _listed(folder: Folder, kind: str) -> list[tuple[str, Mapping[str, Any]]]:
    """Names, sorted, with the file system's entry for each.

    Args:
        kind: ``file`` or ``directory``.
    """
    with storage_errors(f"listing {folder.shown}"):
        try:
            entries = folder.filesystem.ls(folder.path, detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return []
    return sorted(
        (
            (str(entry["name"]).rstrip("/").rpartition("/")[2], entry)
            for entry in entries
            if entry["type"] == kind
        ),
        key=itemgetter(0),
    )
