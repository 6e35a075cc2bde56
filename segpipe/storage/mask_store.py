"""The content-addressed store of canonical mask files."""

from __future__ import annotations

import hashlib
import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from segpipe.errors import StorageError
from segpipe.storage.atomic import replace_file
from segpipe.storage.durability import ONE_BY_ONE, make_folders, syncs_at_once
from segpipe.storage.failures import storage_errors
from segpipe.storage.files import AT_ONCE, Folder
from segpipe.storage.removal import remove_announced, wait_for_removals

# A mask that was stored is not looked for again for so long; far less than any vacuum waits.
_TRUSTED_SECONDS = 3600.0
_MOST_REMEMBERED = 100_000
#: Age at which a mask that is stored again counts as new again.
RENEWED_AFTER = timedelta(days=1)


class MaskStore:
    """Immutable mask files, named by the SHA-256 of their bytes: ``<first two>/<sha256>.png``.

    Two hex digits, not four: 65 536 folders make writing many times slower on local disks.

    Args:
        folder: holds the files.
        known_as: how tables name the folder: relative to the root where it is below it, else its
            URL.
    """

    def __init__(self, folder: Folder, known_as: str = "masks") -> None:
        self.folder = folder
        self._known_as = known_as
        # Where the file system cannot be synced as a whole, each mask is, as it is stored.
        self._synced = folder.is_local and not syncs_at_once(folder.path)
        self._made: set[str] = set()
        # Masks this process has just stored in an object store, where looking costs a request.
        self._stored: dict[str, float] = {}
        # Masks on a disk whose bytes this process has written or checked: their files' identity.
        self._right: dict[str, tuple[int, int, int]] = {}

    def __repr__(self) -> str:
        return f"MaskStore({self.folder.shown!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return MaskStore, (self.folder, self._known_as)

    @staticmethod
    def name_of(sha256: str) -> str:
        """Path of a mask below the store's folder."""
        return f"{sha256[:2]}/{sha256}.png"

    def path_of(self, sha256: str) -> str:
        """How tables name a mask's file."""
        return f"{self._known_as}/{self.name_of(sha256)}"

    def has(self, sha256: str) -> bool:
        """Whether the mask is in the store."""
        return self.folder.stored(self.name_of(sha256)) is not None

    def keep(self, sha256: str) -> bool:
        """Whether the mask is in the store; if so, it counts as new. See :meth:`kept`."""
        if time.monotonic() - self._stored.get(sha256, -math.inf) < _TRUSTED_SECONDS:
            return True
        name = self.name_of(sha256)
        stored = self.folder.stored(name)
        if stored is None:
            return False
        if stored.modified < datetime.now(UTC) - RENEWED_AFTER:
            try:
                self._renew(name, None)
            except (StorageError, FileNotFoundError):
                return False  # it was taken this very moment
        return True

    def is_right(self, sha256: str) -> bool:
        """Whether the mask is in the store with the bytes its name promises.

        After a power cut a file may have its length and other bytes. What this process wrote or
        checked is remembered; a file that changes on a disk is checked again.

        Raises:
            StorageError: if an object store fails.
        """
        name = self.name_of(sha256)
        if self.folder.objects is None and not self.folder.is_local:
            return self.has(sha256) and _digest(self.read(sha256)) == sha256
        if self.folder.is_local:
            path = self.folder.path_of(name)
            try:
                identity = _identity(path)
                if self._right.get(sha256) == identity:
                    return True
                right = _digest(Path(path).read_bytes()) == sha256
            except OSError:
                return False
            if right:
                self._remember_right(sha256, identity)
            return right
        if time.monotonic() - self._stored.get(sha256, -math.inf) < _TRUSTED_SECONDS:
            return True
        if not self.has(sha256) or _digest(self.read(sha256)) != sha256:
            return False
        self._remember(sha256)
        return True

    def kept(self, sha256s: Sequence[str], keep: Callable[[str], bool] | None = None) -> list[bool]:
        """Of each mask, whether it is in the store; no vacuum takes it for a day.

        Args:
            keep: :meth:`keep`, or something that also stores the mask.

        Raises:
            StorageError: if the store does not answer.
        """
        while True:
            there = self.folder.each(keep or self.keep, sha256s)
            if not wait_for_removals(self.folder, sha256s):
                return there
            self._stored.clear()

    def remove_older(self, sha256s: Sequence[str], before: datetime) -> Iterator[str]:
        """Remove masks, but those that were renewed meanwhile; the ones that went.

        Raises:
            StorageError: if one cannot be removed.
        """

        def remove(sha256: str) -> bool:
            name = self.name_of(sha256)
            stored = self.folder.stored(name)
            if stored is None or stored.modified >= before:
                return False
            self.folder.remove_once(name)
            return True

        return remove_announced(self.folder, sha256s, remove)

    def put(self, data: bytes) -> str:
        """Store PNG bytes unless they are there already; returns their SHA-256 (hex).

        Raises:
            StorageError: if they cannot be written.
        """
        sha256 = _digest(data)
        self._put(sha256, data)
        return sha256

    @contextmanager
    def several(self) -> Iterator[Callable[[bytes], str]]:
        """:meth:`put` for a number of masks, which are all stored when the block ends.

        Where each waits for a network, several are under way at once.

        Raises:
            StorageError: if one of them cannot be written.
        """
        if self.folder.is_local:
            yield self.put
            return
        under_way: deque[Future[None]] = deque()
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="segpipe-storage") as pool:

            def put(data: bytes) -> str:
                sha256 = _digest(data)
                if len(under_way) >= 2 * AT_ONCE:
                    under_way.popleft().result()
                under_way.append(pool.submit(self._put, sha256, data))
                return sha256

            try:
                yield put
                while under_way:
                    under_way.popleft().result()
            finally:
                for waiting in under_way:
                    waiting.cancel()

    def _put(self, sha256: str, data: bytes) -> None:
        name = self.name_of(sha256)
        with storage_errors(f"writing {self.folder.shown}/{name}"):
            objects = self.folder.objects
            if objects is not None and objects.create(self.folder.path_of(name), data):
                self._remember(sha256)
                return
            stored = self.folder.stored(name)
            # A file of another length or other bytes is the relic of a power cut: write it again.
            if stored is None or stored.size != len(data) or not self.is_right(sha256):
                self._write(name, data)
                if self.folder.is_local:
                    self._remember_right(sha256, _identity(self.folder.path_of(name)))
            elif stored.modified < datetime.now(UTC) - RENEWED_AFTER:
                # A young file is safe from being vacuumed before a table refers to it.
                self._renew(name, data)
                if wait_for_removals(self.folder, [sha256]) and self.folder.stored(name) is None:
                    self._write(name, data)

    def _remember_right(self, sha256: str, identity: tuple[int, int, int]) -> None:
        if len(self._right) >= _MOST_REMEMBERED:
            self._right.clear()
        self._right[sha256] = identity

    def _remember(self, sha256: str) -> None:
        if len(self._stored) >= _MOST_REMEMBERED:
            self._stored.clear()
        self._stored[sha256] = time.monotonic()

    def sync(self, sha256s: Iterable[str] | None = None) -> None:
        """Make masks survive a cut of the power, before something refers to them.

        Args:
            sha256s: of the masks; all that were stored where None.

        Raises:
            StorageError: if they cannot be written.
        """
        if sha256s is not None and len(few := set(sha256s)) <= ONE_BY_ONE:
            self.folder.sync(set(map(self.name_of, few)))
        elif not self._synced:
            self.folder.sync()

    def read(self, sha256: str) -> bytes:
        """The PNG bytes of a mask.

        Raises:
            StorageError: if it is not there.
        """
        return self.folder.read(self.name_of(sha256))

    def _write(self, name: str, data: bytes) -> None:
        if self.folder.objects is not None:
            self.folder.objects.write(self.folder.path_of(name), data)
            return
        if not self.folder.is_local:
            self.folder.filesystem.pipe_file(self.folder.path_of(name), data)
            return
        target = self.folder.path_of(name)
        parent = os.path.dirname(target)
        if parent not in self._made:
            self._make(parent)
            self._made.add(parent)
        try:
            replace_file(target, data, synced=self._synced)
        except FileNotFoundError:  # the folder made before was removed meanwhile
            self._make(parent)
            replace_file(target, data, synced=self._synced)

    def _make(self, folder: str) -> None:
        if self._synced:
            make_folders(folder)
        else:
            os.makedirs(folder, exist_ok=True)

    def _renew(self, name: str, data: bytes | None) -> None:
        if self.folder.is_local:
            with suppress(PermissionError):
                os.utime(self.folder.path_of(name))
        else:
            self._write(name, self.folder.read(name) if data is None else data)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _identity(path: str) -> tuple[int, int, int]:
    """Size, time of change in ns and inode of a file."""
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns, status.st_ino
