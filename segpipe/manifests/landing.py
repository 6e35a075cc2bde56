"""The landing folder, where manifests arrive."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from segpipe.errors import ManifestError, NothingLandedError, SettingsError, StorageError
from segpipe.manifests.layout import (
    UNFINISHED_FOLDER,
    Unread,
    day_of,
    is_manifest,
    listed,
    model_run_of,
    unread_above,
    unread_day,
    unread_delivery,
    unread_link,
)
from segpipe.manifests.limits import Limits
from segpipe.manifests.manifest import Manifest
from segpipe.manifests.partition import DATE_PREFIX, Partition
from segpipe.masks.refusal import MaskRefused
from segpipe.names import Looks, visible
from segpipe.storage.failures import storage_errors
from segpipe.storage.files import Folder
from segpipe.storage.sources import AllowedRoots

_ANY_DAY = "2000-01-01"
_Note = Callable[[Unread], None]


def _unnoted(unread: Unread) -> None:
    """For callers that do not ask what is not read."""


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """A manifest file as its folder lists it.

    Attributes:
        folder: relative mask URLs are resolved against it; of part files, the folder that holds
            the folder of part files.
        name: path of the file below ``folder``.
        shown: its name in tables and messages.
        stored: the file system's entry: size, and time of writing or ETag.
    """

    folder: Folder
    name: str
    shown: str
    stored: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Entry:
    """A file or folder as its folder lists it.

    Attributes:
        is_link: whether it is a link that is not followed.
        stored: the file system's entry; of links that are followed, of what they lead to.
    """

    name: str
    is_folder: bool
    is_link: bool
    stored: Mapping[str, Any]


@dataclass
class Delivered:
    """What lies in the folders of a partition.

    Attributes:
        files: of the manifest, sorted by name.
        unread: what is no manifest, and may have been meant as one.
        unfinished: folders in which a writer has not finished, or died.
    """

    files: list[ManifestEntry] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)


class Landing:
    """The folder manifests arrive in: ``model_run=<M>/date=<YYYY-MM-DD>/*.parquet``.

    A manifest is a Parquet file, or a folder of part files, as Spark and Dask write them. Links
    are followed where they lead into the landing folder or an allowed root.

    Args:
        roots: where links may lead, besides ``folder``.
    """

    def __init__(self, folder: Folder, roots: AllowedRoots | None = None) -> None:
        self.folder = folder
        self._roots = (roots or AllowedRoots(())).with_root(folder.url)

    def model_runs(self, unread: _Note = _unnoted) -> dict[str, list[str]]:
        """Model run -> names of its folders; writers may encode one name in several ways.

        Args:
            unread: called for other folders and manifests in their place.

        Raises:
            StorageError: if the landing folder cannot be listed.
        """
        found: dict[str, list[str]] = {}
        for entry in self._entries(self.folder):
            name = entry.name
            model_run = model_run_of(name) if entry.is_folder else None
            if entry.is_link:
                _note(unread, _link(name, entry))
                continue
            if model_run is None:
                _note(unread, unread_above(name, is_folder=entry.is_folder))
                continue
            try:
                Partition(model_run, _ANY_DAY)
            except SettingsError as error:
                unread(Unread(name, f"another name: {error}"))
                continue
            found.setdefault(model_run, []).append(name)
        return found

    def partitions(self, unread: _Note = _unnoted) -> Iterator[Partition]:
        """All partitions that have a folder, sorted; other folders are skipped.

        Args:
            unread: called for what is skipped.

        Raises:
            StorageError: if a folder cannot be listed.
        """
        for partition, _ in self.landed(unread=unread):
            yield partition

    def landed(
        self,
        unreadable: Callable[[str, StorageError], None] | None = None,
        unread: _Note = _unnoted,
    ) -> Iterator[tuple[Partition, list[str]]]:
        """All partitions that have a folder, each with the paths of its folders.

        Args:
            unreadable: called for model runs whose folders cannot be listed, which are skipped.
            unread: called for folders and manifests that are named otherwise or lie elsewhere.

        Raises:
            StorageError: if the landing folder cannot be listed; or a model run's folder, if
                ``unreadable`` is None.
        """
        for model_run, names in sorted(self.model_runs(unread).items()):
            try:
                days = self._days(names, unread)
            except StorageError as error:
                if unreadable is None:
                    raise
                unreadable(model_run, error)
                continue
            for day, folders in sorted(days.items()):
                yield Partition(model_run, day), folders

    def days(self, model_run: str) -> list[str]:
        """The days for which a model run has folders, ``YYYY-MM-DD``, sorted."""
        return sorted(self._days(self.model_runs().get(model_run, [])))

    def _days(self, names: list[str], unread: _Note = _unnoted) -> dict[str, list[str]]:
        """Day -> paths of its folders; writers may spell one day in several ways."""
        days: dict[str, list[str]] = {}
        for name in names:
            for entry in self._entries(self.folder.folder(name)):
                shown = f"{name}/{entry.name}"
                day = day_of(entry.name) if entry.is_folder else None
                if entry.is_link:
                    _note(unread, _link(shown, entry))
                elif day is None:
                    _note(unread, unread_day(name, entry.name, is_folder=entry.is_folder))
                else:
                    days.setdefault(day, []).append(shown)
        return days

    def first_day(self) -> str | None:
        """The earliest day any model run has a folder for, ``YYYY-MM-DD``; None if none has.

        Raises:
            StorageError: if a folder cannot be listed.
        """
        return min(
            (day for names in self.model_runs().values() for day in self._days(names)), default=None
        )

    def delivered(self, folders: Sequence[str]) -> Delivered:
        """What lies in a partition's folders.

        Args:
            folders: their paths, see :meth:`landed`.

        Raises:
            StorageError: if a folder cannot be listed.
        """
        found = Delivered()
        for path in folders:
            self._deliver(found, path)
        return found

    def parts(self, path: str, name: str) -> Delivered:
        """What lies in a folder of part files.

        Args:
            path: of the folder that holds it, below the landing folder.

        Raises:
            StorageError: if it cannot be listed.
        """
        found = Delivered()
        self._deliver(found, path, name)
        return found

    def _deliver(self, found: Delivered, path: str, parts: str | None = None) -> None:
        """Add a day's folder, or the part files of one of its folders.

        Args:
            parts: name of the folder of part files.
        """
        folder = self.folder.folder(path)
        place = path if parts is None else f"{path}/{parts}"
        entries = self._entries(folder if parts is None else folder.folder(parts))
        for entry in entries:
            name, is_folder = entry.name, entry.is_folder
            if entry.is_link:
                _note(found.unread.append, _link(f"{place}/{name}", entry, beside_manifests=True))
            elif is_folder and name == UNFINISHED_FOLDER:
                found.unfinished.append(place)
            elif is_manifest(name) and not is_folder:
                file = name if parts is None else f"{parts}/{name}"
                found.files.append(ManifestEntry(folder, file, f"{path}/{file}", entry.stored))
            elif is_manifest(name) and parts is None:
                self._deliver(found, path, name)
            else:
                _note(
                    found.unread.append,
                    unread_delivery(
                        place, name, is_folder=is_folder, among_parts=parts is not None
                    ),
                )
        if parts is not None and not entries:
            found.unread.append(Unread(place, "part files, *.parquet, in it"))

    def unread_of(self, partition: Partition) -> list[Unread]:
        """What is not read in the landing folder, the model run's folders and the day's, sorted.

        Raises:
            StorageError: if a folder cannot be listed.
        """
        unread: list[Unread] = []
        names = self.model_runs(unread.append).get(partition.model_run, [])
        folders = self._days(names, unread.append).get(partition.date, [])
        return sorted([*unread, *self.delivered(folders).unread])

    def manifest(self, partition: Partition, limits: Limits | None = None) -> Manifest:
        """The manifest of a partition: all its Parquet files, sorted by name.

        Args:
            limits: on the manifest and its rows; None for the defaults.

        Raises:
            NothingLandedError: if nothing lies where it was expected.
            ManifestError: if what lies there is not read for its name, it is still being written,
                or one of its files cannot be used.
        """
        unread: list[Unread] = []
        model_runs = self.model_runs(unread.append)
        names = model_runs.get(partition.model_run)
        if names is None:
            known = ", ".join(sorted(model_runs)) or "none yet"
            raise NothingLandedError(
                f"there is no model run {partition.model_run!r} in {self.folder.shown} "
                f"(model runs: {known}){_nearest(partition.model_run, model_runs)}"
                f"{not_read(unread)}"
            )
        days = self._days(names, unread.append)
        found = self.delivered(days.get(partition.date, []))
        if found.unfinished:
            raise ManifestError(unfinished(partition, found.unfinished))
        if not found.files:
            place = self.folder.folder(names[0], f"{DATE_PREFIX}{partition.date}").shown
            kind = ManifestError if found.unread else NothingLandedError
            raise kind(
                f"there is no manifest for {partition}: expected *.parquet files in {place}"
                f"{_nearest(partition.date, [day for day in days if day != partition.date])}"
                f"{not_read([*unread, *found.unread])}"
            )
        files = [(file.folder, file.name, file.shown) for file in found.files]
        return Manifest.open(files, limits)

    def _entries(self, folder: Folder) -> list[_Entry]:
        """Files and folders in a folder, by name."""
        with storage_errors(f"listing {folder.shown}"):
            try:
                entries = folder.filesystem.ls(folder.path, detail=True)
            except (FileNotFoundError, NotADirectoryError):
                folder.check_bucket()
                return []
        own = folder.path.rstrip("/")
        found = []
        for stored in entries:
            path = str(stored["name"]).rstrip("/")
            if path == own:  # some stores list an empty object that marks the folder itself
                continue
            is_link = folder.is_local and bool(stored.get("islink"))
            if is_link:
                target = self._followed(folder, path)
                stored, is_link = target or stored, target is None
            kind = stored["type"]
            if is_link or kind in ("file", "directory"):
                name = path.rpartition("/")[2]
                found.append(_Entry(name, kind == "directory", is_link, stored))
        return sorted(found, key=attrgetter("name"))

    def _followed(self, folder: Folder, path: str) -> Mapping[str, Any] | None:
        """The entry of what a link leads to; None if that is not there, or not allowed."""
        try:
            target = self._roots.resolve(path, folder.url)
            return dict(folder.filesystem.info(target.path))
        except (MaskRefused, OSError):
            return None


def _note(unread: _Note, one: Unread | None) -> None:
    if one is not None:
        unread(one)


def _nearest(name: str, known: Sequence[str] | Mapping[str, object]) -> str:
    nearest = Looks(known).nearest(name, cutoff=0.5)
    return "" if nearest is None else f"; the nearest there is {visible(nearest)}"


def unfinished(manifest: object, folders: Sequence[str]) -> str:
    """What to say of a manifest with unfinished folders."""
    return (
        f"the manifest of {manifest} is not complete: {', '.join(folders)} holds "
        f"{UNFINISHED_FOLDER}, in which its writer keeps what is not finished. Wait for it; or, if "
        "it died, write the manifest again or remove that folder"
    )


def not_read(unread: Sequence[Unread]) -> str:
    """The end of a message: what is not read; empty if nothing is left out."""
    return f"; {len(unread)} not read: {listed(sorted(unread))}" if unread else ""


def _link(shown: str, entry: _Entry, *, beside_manifests: bool = False) -> Unread | None:
    target = str(entry.stored.get("destination"))
    return unread_link(shown, target, beside_manifests=beside_manifests)
