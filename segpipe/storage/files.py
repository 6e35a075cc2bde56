"""Folders and files under any fsspec URL, written atomically."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.parse import quote

import fsspec
from fsspec.implementations.local import LocalFileSystem

from segpipe.errors import SettingsError
from segpipe.storage.atomic import new_file, replacing_file
from segpipe.storage.durability import make_folders, sync_files, sync_tree
from segpipe.storage.failures import storage_errors
from segpipe.storage.local_paths import is_file_url, local_path
from segpipe.storage.object_store import (
    check_store_url,
    filesystem_options,
    open_object_store,
    require_packages,
)
from segpipe.storage.redaction import SECRETS, redacted
from segpipe.storage.store_options import one_scheme

Item = TypeVar("Item")
Result = TypeVar("Result")
# Requests to an object store under way at a time.
AT_ONCE = 16


def folder_name(text: str) -> str:
    """A name from data as one path component that cannot climb, hide or collide.

    Letters, digits, ``-``, ``_`` and inner dots stay; everything else is percent-encoded, so
    ``urllib.parse.unquote`` gives the text back.
    """
    encoded = quote(text, safe="")
    return encoded.replace(".", "%2E", 1) if encoded.startswith(".") else encoded


def open_filesystem(
    url: str, storage_options: Mapping[str, Any] | None = None
) -> tuple[fsspec.AbstractFileSystem, str]:
    """The fsspec filesystem of a URL and the path within it.

    Raises:
        SettingsError: when the URL's scheme is unknown or needs a package that is not installed,
            or it is no URL of its scheme.
    """
    if is_file_url(url):
        return LocalFileSystem(), os.path.abspath(_local(url))
    if "://" not in url:
        # Not as a URL: a file's name may hold whatever URLs give a meaning to.
        return LocalFileSystem(), os.path.abspath(os.path.expanduser(url))
    check_store_url(url)
    require_packages(url)
    scheme, separator, rest = one_scheme(url).partition("://")
    url = f"{scheme.lower()}{separator}{rest}"
    options = filesystem_options(url, storage_options or {})
    try:
        if scheme == "gs":
            # Not the class that fsspec knows, which asks gRPC what kind of bucket this is before
            # anything else, and where nobody answers that, as in emulators, for a minute.
            from gcsfs.core import GCSFileSystem

            return GCSFileSystem(**options), str(GCSFileSystem._strip_protocol(url))
        filesystem, path = fsspec.core.url_to_fs(url, **options)
    except (ImportError, ValueError) as error:
        words = SECRETS.sub("...", str(error))
        raise SettingsError(f"cannot open {redacted(url)}: {words}") from None
    return filesystem, str(path)


def _local(url: str) -> str:
    try:
        path = local_path(url)
    except ValueError as error:
        raise SettingsError(f"cannot open {redacted(url)}: {error}") from None
    assert path is not None
    return path


def is_misread(key: str) -> bool:
    """Whether fsspec's file systems would take part of an object's key for a query or a version."""
    return not {"?", "#"}.isdisjoint(key)


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file as its file system lists it."""

    path: str
    size: int
    modified: datetime


def _stored(path: str, info: Mapping[str, Any]) -> StoredFile:
    # Where a store does not tell when it was written: never old enough to be removed.
    return StoredFile(path, int(info["size"]), written_at(info) or datetime.now(UTC))


# As fsspec's file systems name it: on a disk and Google's, on S3, on Azure, elsewhere.
_TIMES = ("mtime", "LastModified", "last_modified", "created")


def written_at(info: Mapping[str, Any]) -> datetime | None:
    """When a file was written, of fsspec's description of it; None where that does not tell."""
    value = next((info[name] for name in _TIMES if info.get(name)), None)
    if isinstance(value, (int, float)):
        return datetime.fromtimestamp(value, UTC)
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    return None


def _local_files(folder: str) -> Iterator[StoredFile]:
    """All files below, without those that are renamed or removed at this moment.

    Not fsspec's ``find``, which leaves out whole folders that it may not read.
    """
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        try:
            if entry.is_dir():
                yield from _local_files(entry.path)
                continue
            status = entry.stat()
        except FileNotFoundError:
            continue
        modified = datetime.fromtimestamp(status.st_mtime, UTC)
        yield StoredFile(entry.path, status.st_size, modified)


class Folder:
    """A folder under any fsspec URL. Files in it are written whole or not at all."""

    def __init__(self, url: str, storage_options: Mapping[str, Any] | None = None) -> None:
        url = _local(url) if is_file_url(url) else one_scheme(url)
        self.url = url.rstrip("/") or "/"
        self.storage_options = dict(storage_options or {})
        self.filesystem, path = open_filesystem(self.url, self.storage_options)
        self.path = path.rstrip("/")
        self.is_local = isinstance(self.filesystem, LocalFileSystem)
        #: For what is done once per mask; None where the folder is not in an object store.
        self.objects = open_object_store(self.url, self.path, self.storage_options)

    def __repr__(self) -> str:
        return f"Folder({self.shown!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        # What holds connections is opened again where it is used.
        return Folder, (self.url, self.storage_options)

    @property
    def shown(self) -> str:
        """Its URL without what may be a secret, for messages and tables."""
        return redacted(self.url)

    def folder(self, *names: str) -> Folder:
        """A folder below this one; ``names`` are trusted path components."""
        # What is opened already is not opened again: each of thousands of partitions has a folder.
        below = Folder.__new__(Folder)
        vars(below).update(vars(self))
        below.url = "/".join([self.url.rstrip("/"), *names]).rstrip("/")
        below.path = "/".join([self.path, *names]).rstrip("/")
        return below

    def path_of(self, name: str) -> str:
        """The filesystem path of a file in this folder."""
        return f"{self.path}/{name}"

    def exists(self, name: str) -> bool:
        """Whether the file is there.

        Raises:
            StorageError: if the storage does not say.
        """
        with storage_errors(f"looking for {self.shown}/{name}"):
            if self.objects is not None:
                return self.stored(name) is not None
            return bool(self.filesystem.exists(self.path_of(name)))

    def check_bucket(self) -> None:
        """Look whether the bucket that the folder is in is there.

        Raises:
            StorageError: if there is none.
        """
        if self.objects is not None:
            with storage_errors(f"looking into {self.shown}"):
                self.objects.check_bucket()

    def stored(self, name: str) -> StoredFile | None:
        """Size and age of a file; None where there is none."""
        path = self.path_of(name)
        try:
            if self.is_local:
                status = os.stat(path)
                return StoredFile(
                    path, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC)
                )
            if self.objects is not None:
                return StoredFile(path, *self.objects.stored(path))
            return _stored(path, self.filesystem.info(path))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def files(self) -> Iterator[StoredFile]:
        """All files below, however deep.

        Raises:
            StorageError: if they cannot be listed.
        """
        with storage_errors(f"listing {self.shown}"):
            if self.is_local:
                yield from _local_files(self.path)
                return
            found = self.filesystem.find(self.path, detail=True)
        for path, info in found.items():
            yield _stored(str(path), info)

    def read(self, name: str) -> bytes:
        """The whole file.

        Raises:
            StorageError: if it cannot be read.
        """
        with storage_errors(f"reading {self.shown}/{name}"):
            if self.is_local:
                return Path(self.path_of(name)).read_bytes()
            if self.objects is not None:
                return self.objects.read(self.path_of(name))
            return bytes(self.filesystem.cat_file(self.path_of(name)))

    def open_input(self, name: str, ahead: int | None = None) -> IO[bytes]:
        """The file, opened for reading.

        Args:
            ahead: bytes that are read ahead from an object store; None for megabytes.
        """
        if self.objects is not None and is_misread(self.path_of(name)):
            return io.BytesIO(self.read(name))
        with storage_errors(f"reading {self.shown}/{name}"):
            options = {} if ahead is None or self.is_local else {"block_size": ahead}
            handle: IO[bytes] = self.filesystem.open(self.path_of(name), "rb", **options)
            return handle

    def write(self, name: str, data: bytes) -> None:
        """Write a file so that readers see the old content or the new, never a part.

        It survives a cut of the power; see :mod:`segpipe.storage.durability`.

        Raises:
            StorageError: if it cannot be written; the old content is then still there.
        """
        with self.open_output(name) as output:
            output.write(data)

    @contextmanager
    def open_output(self, name: str) -> Iterator[IO[bytes]]:
        """A file to write to that appears under its name when the block ends without an error.

        Raises:
            StorageError: if it cannot be written; nothing is left behind then.
        """
        with storage_errors(f"writing {self.shown}/{name}"):
            if self.is_local:
                target = Path(self.path_of(name))
                make_folders(str(target.parent))
                with replacing_file(target) as output:
                    yield output
            else:
                # Object stores have no rename: a local file, then one upload, which is atomic.
                with tempfile.NamedTemporaryFile(prefix="segpipe-") as output:
                    yield output
                    output.flush()
                    if self.objects is not None:
                        self.objects.write_from(self.path_of(name), Path(output.name))
                    else:
                        self.filesystem.put_file(output.name, self.path_of(name))

    def put_new(self, name: str, source: Path) -> bool:
        """Put a file of this machine there, unless there is one of that name; whether it was put.

        Of several that put one name at the same time, one does.

        Raises:
            StorageError: if it cannot be written; nothing is left behind then.
        """
        target = self.path_of(name)
        with storage_errors(f"writing {self.shown}/{name}"):
            if self.is_local:
                make_folders(os.path.dirname(target))
                return new_file(Path(target), source)
            if self.objects is not None:
                return self.objects.create_from(target, source)
            if self.filesystem.exists(target):
                return False
            self.filesystem.put_file(str(source), target)
            return True

    def write_new(self, name: str, data: bytes) -> bool:
        """Write a file, unless there is one of that name; whether it was written. See ``put_new``.

        Raises:
            StorageError: if it cannot be written; nothing is left behind then.
        """
        doing = f"writing {self.shown}/{name}"
        with storage_errors(doing), tempfile.NamedTemporaryFile(prefix="segpipe-") as made:
            made.write(data)
            made.flush()
            return self.put_new(name, Path(made.name))

    def each(self, work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """``work`` on every item, in order; several at once where each waits for a network.

        At most one list of results is held: meant for small ones, such as a verdict per file.
        """
        if self.is_local or len(items) < 2:
            return list(map(work, items))
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="segpipe-storage") as pool:
            return list(pool.map(work, items))

    def remove(self, name: str) -> None:
        """Remove a file if it is there."""
        doing = f"removing {self.shown}/{name}"
        with storage_errors(doing), suppress(FileNotFoundError):
            if self.objects is not None:
                self.objects.remove(self.path_of(name))
            else:
                self.filesystem.rm_file(self.path_of(name))

    def remove_once(self, name: str) -> None:
        """:meth:`remove`, never tried again by a library: once this ends, nothing is removed.

        Raises:
            StorageError: if it cannot be removed, or that is not known.
        """
        objects = open_object_store(self.url, self.path, self.storage_options, retrying=False)
        if objects is None:
            self.remove(name)
            return
        doing = f"removing {self.shown}/{name}"
        with storage_errors(doing), suppress(FileNotFoundError):
            objects.remove(self.path_of(name))

    def sync(self, names: Collection[str] | None = None) -> None:
        """Make files survive a cut of the power, before something refers to them.

        Args:
            names: of the files; all that is below the folder where None.

        Raises:
            StorageError: if they cannot be written.
        """
        if not self.is_local:
            return  # an object store has said that it keeps them
        with storage_errors(f"syncing {self.shown}"):
            if names is None:
                sync_tree(self.path)
            else:
                sync_files(map(self.path_of, names))
