"""What survives a cut of the power, and the order in which a publication gets there.

A file system keeps what was written in memory for a while, and may write it to the disk in any
order: names before contents, the last file before the first. Only what was *synced* is certain. So
nothing refers to what is not synced yet:

1. The masks of a batch are written and synced, files and folders.
2. The Delta library writes the data files of a commit and its log entry. It syncs nothing.
3. The data files, the log entry and their folders are synced.
4. The version is confirmed: noted, synced, as the newest that is certain.
5. The receipts are written and synced.
6. Success is said.

Between 2 and 4 a cut may leave a log entry without its data files, or a part of it: nothing has
said yet that it was published, and the next run publishes it again.

Of validated tables and views, the masks are synced, then each table before it takes its name, then
the summary. Manifests and exports are synced before they take their names, and their masks before
that. In an object store, what was put is certain once the store has answered.

Where a file system has no syncing (``EINVAL``, ``ENOTSUP``) there is nothing to wait for. One that
fails to write (``EIO``) raises ``OSError``.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from functools import cache

#: Files that are synced one by one; of more, their file system is synced, all of it. Measured on
#: ext4: a file takes 2 ms, and the file system 2 ms, or 12 ms with 1000 new files, but it also has
#: to write what others have waiting there, 0.2 s for 150 MB.
ONE_BY_ONE = 4
_WITHOUT_SYNCING = frozenset(
    {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EROFS}
)
_FUSE = 0x65735546
# Folders whose own names, and those of the folders above, this process has synced.
_durable_folders: set[str] = set()


def sync_descriptor(descriptor: int) -> None:
    """Make what was written to an open file or folder certain, not yet its name.

    Raises:
        OSError: if it cannot be written.
    """
    try:
        if sys.platform == "darwin":
            import fcntl

            # fsync leaves it in the memory of the disk.
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
        else:
            os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _WITHOUT_SYNCING:
            raise


def sync_folder(folder: str) -> None:
    """Make the names in a folder certain.

    Raises:
        OSError: if it cannot be written.
    """
    if not hasattr(os, "O_DIRECTORY"):
        return  # Windows opens no folders
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except PermissionError:
        return  # above the root, a folder that others may not read
    try:
        sync_descriptor(descriptor)
    finally:
        os.close(descriptor)


def make_folders(folder: str) -> None:
    """Make a folder and those above it, with certain names.

    Raises:
        OSError: if it cannot be made.
    """
    if not os.path.isdir(folder):
        make_folders(os.path.dirname(os.path.abspath(folder)))
        try:
            os.mkdir(folder)
        except FileExistsError:
            if not os.path.isdir(folder):
                raise
        _durable_folders.discard(os.path.abspath(folder))
    _sync_names_above(folder)


def sync_files(paths: Iterable[str]) -> None:
    """Make files certain, and their names; files that were removed meanwhile are passed over.

    Raises:
        OSError: if one cannot be written.
    """
    few = dict.fromkeys(paths)
    folders = dict.fromkeys(map(os.path.dirname, few))
    if len(few) > ONE_BY_ONE and all(map(syncs_at_once, folders)):
        _sync_file_systems(folders)
        return
    for path in few:
        with suppress(FileNotFoundError):
            _sync_file(path)
    for folder in folders:
        with suppress(FileNotFoundError):
            sync_folder(folder)
            _sync_names_above(folder)


def sync_tree(folder: str) -> None:
    """Make a folder certain, with all files and folders in it.

    Raises:
        OSError: if something cannot be written.
    """
    if syncs_at_once(folder):
        _sync_file_systems([folder])
        return
    for place, _, names in os.walk(folder):
        for name in names:
            _sync_file(os.path.join(place, name))
        sync_folder(place)
    _sync_names_above(folder)


def syncs_at_once(folder: str) -> bool:
    """Whether the file system of a folder, which need not exist, can be synced as a whole.

    Not on Windows, and not with FUSE: its servers are told to sync a file, but not to sync all.
    """
    libc = _libc()
    if libc is None:
        return hasattr(os, "sync")
    status = ctypes.create_string_buffer(512)
    while libc.statfs(os.fsencode(folder), status) != 0:
        if ctypes.get_errno() != errno.ENOENT:
            return False
        folder = os.path.dirname(os.path.abspath(folder))
    return ctypes.c_long.from_buffer(status).value != _FUSE


@cache
def _libc() -> ctypes.CDLL | None:
    """The C library, where it has ``syncfs``: on Linux."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    return libc if hasattr(libc, "syncfs") else None


def _sync_file_systems(folders: Iterable[str]) -> None:
    libc, done = _libc(), set()
    if libc is None:
        os.sync()
        for folder in folders:
            sync_folder(folder)  # on a Mac, only this empties the disk's own memory
        return
    for folder in folders:
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            continue
        try:
            device = os.fstat(descriptor).st_dev
            if device in done:
                continue
            if libc.syncfs(descriptor) != 0:
                number = ctypes.get_errno()
                if number not in _WITHOUT_SYNCING:
                    raise OSError(number, os.strerror(number), folder)
            done.add(device)
        finally:
            os.close(descriptor)


def _sync_file(path: str) -> None:
    # Windows syncs only what is open for writing.
    descriptor = os.open(path, os.O_RDWR if sys.platform == "win32" else os.O_RDONLY)
    try:
        sync_descriptor(descriptor)
    finally:
        os.close(descriptor)


def _sync_names_above(folder: str) -> None:
    """Make the names of a folder and of all above it certain, once in this process."""
    made = []
    folder = os.path.abspath(folder)
    while folder not in _durable_folders and (above := os.path.dirname(folder)) != folder:
        sync_folder(above)
        made.append(folder)
        folder = above
    _durable_folders.update(made)
