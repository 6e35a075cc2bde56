"""What there is instead of a file that is not there: a name that looks the same, or no folder."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from itertools import islice
from typing import NamedTuple

from segpipe.names import Looks, shown, stem, visible
from segpipe.storage.object_store import ObjectStore
from segpipe.storage.redaction import redacted

# A folder may hold a million masks: its first names are compared, and it is said that it has more.
_NAMES_COMPARED = 10_000
_FOLDERS_KNOWN = 16
# Of many threads that miss files in one folder, one lists it.
_LISTING = threading.Lock()


class Instead(NamedTuple):
    """What to add to a message, and what to do; empty where nothing is known."""

    words: str = ""
    remedy: str = ""


class _Listing:
    """The first names in a folder.

    Attributes:
        there: whether there is such a folder.
        empty: whether nothing is in it.
        complete: whether these are all names.
    """

    def __init__(self, names: Sequence[str], *, there: bool = True, complete: bool = True) -> None:
        self.there, self.empty, self.complete = there, not names, complete
        self._looks = Looks(names)
        self._by_stem = {stem(name): name for name in names}

    def alike(self, name: str) -> str | None:
        """A name that looks like another, or has an extension that the other lacks."""
        alike = self._looks.alike(name)
        if alike is None and stem(name) == name and self._by_stem.get(name) != name:
            return self._by_stem.get(name)
        return alike


class NearFiles:
    """Folders in which files were not found. Each is listed once, as far as its first names.

    Only disks and object stores are looked at, and only within the allowed roots. Folders that
    cannot be listed are passed over in silence: what was asked for is a file.
    """

    def __init__(self) -> None:
        self._listings: dict[str, _Listing | None] = {}

    def instead_of(
        self, path: str, place: str, objects: ObjectStore | None, allowed: Callable[[str], bool]
    ) -> Instead:
        """What there is instead of a file.

        Args:
            path: of the file, in its file system.
            place: the same as it is compared with allowed roots.
            objects: the store it is in; None for a disk.
            allowed: whether a place may be read from.
        """
        if objects is None and "://" in place:
            return Instead()

        def listing_of(folder: str, place: str) -> _Listing | None:
            return self._listing(folder, place, objects) if allowed(place) else None

        folder, name = _parent(path), path.rpartition("/")[2]
        place = _parent(place)
        listing = listing_of(folder, place)
        if listing is None:
            return Instead()
        if not listing.there:
            return _no_folder(folder, place, listing_of)
        where = visible(redacted(place))
        if listing.empty:
            return Instead(
                f"; its folder is empty ({where})",
                f"The folder {where} is empty: mount the disk that belongs there, or copy the "
                "files into it.",
            )
        alike = listing.alike(name)
        if alike is not None:
            return Instead(f"; {shown(name)} is not in its folder, {shown(alike)} is: write it so")
        if not listing.complete:
            return Instead(
                f"; names that look the same were sought among the first {_NAMES_COMPARED:,} of "
                "its folder only"
            )
        return Instead()

    def _listing(self, folder: str, place: str, objects: ObjectStore | None) -> _Listing | None:
        """What is in a folder; None where it cannot be looked at."""
        with _LISTING:
            if place not in self._listings:
                if len(self._listings) >= _FOLDERS_KNOWN:
                    self._listings.clear()
                self._listings[place] = _listed(folder, objects)
            return self._listings[place]


def _no_folder(
    folder: str, place: str, listing_of: Callable[[str, str], _Listing | None]
) -> Instead:
    """Of a folder that is not there: the outermost of those that are not."""
    above = listing_of(_parent(folder), _parent(place))
    while above is not None and not above.there:
        folder, place = _parent(folder), _parent(place)
        above = listing_of(_parent(folder), _parent(place))
    where, name = visible(redacted(place)), folder.rpartition("/")[2]
    alike = None if above is None else above.alike(name)
    if alike is not None:
        say = f"the folder {shown(name)} is not there, {shown(alike)} is: write it so"
        return Instead(f"; {say}", f"Of {where}, {say}.")
    what = "is nothing below" if "://" in place else "is no folder"
    return Instead(
        f"; there {what} {where}",
        f"There {what} {where}: mount its disk, copy the files to that place, or correct the "
        "folder's name in the manifest.",
    )


def _listed(folder: str, objects: ObjectStore | None) -> _Listing | None:
    try:
        if objects is not None:
            keys, complete = objects.names(folder, _NAMES_COMPARED)
            return _Listing(keys, there=bool(keys), complete=complete)
        with os.scandir(folder) as entries:
            names = [entry.name for entry in islice(entries, _NAMES_COMPARED + 1)]
        return _Listing(names[:_NAMES_COMPARED], complete=len(names) <= _NAMES_COMPARED)
    except (FileNotFoundError, NotADirectoryError):
        return _Listing((), there=False)
    except OSError:
        return None


def _parent(path: str) -> str:
    return path.rpartition("/")[0] or "/"
