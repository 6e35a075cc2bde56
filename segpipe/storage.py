"""Files under any fsspec URL: whole or not at all, and masks named by their content."""

from __future__ import annotations

import errno
import hashlib
import math
import os
import re
import tempfile
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.parse import quote

import fsspec
from fsspec.implementations.local import LocalFileSystem

from segpipe.errors import SettingsError, StorageError
from segpipe.object_store import filesystem_options, open_object_store

Item = TypeVar("Item")
Result = TypeVar("Result")

# Requests to an object store under way at a time.
_AT_ONCE = 16
# A mask that was stored is not looked for again for so long; far less than any vacuum waits.
_TRUSTED_SECONDS = 3600.0
_MOST_REMEMBERED = 100_000
# Windows would translate line ends.
_BINARY = getattr(os, "O_BINARY", 0)
#: Age at which a mask that is stored again counts as new again.
RENEWED_AFTER = timedelta(days=1)
_USER_INFORMATION = re.compile(r"^(?:[^/@?#]*@|[^/@?#:]*:[^@]*@)")


def redacted(url: str) -> str:
    """The URL without what may be a secret: query, fragment and user information.

    A ``#`` or ``?`` in a plain path is part of a file's name and stays.
    """
    if "://" not in url:
        return url
    # By hand: a URL that the library refuses to split may hold a secret all the same, and a
    # password may hold any character.
    scheme, _, rest = url.partition("://")
    rest = _USER_INFORMATION.sub("", rest)
    bare, question, _ = rest.partition("?")
    return f"{scheme}://{bare.partition('#')[0]}" + ("?..." if question else "")


def folder_name(text: str) -> str:
    """A name from data as one path component that cannot climb, hide or collide.

    Letters, digits, ``-``, ``_`` and inner dots stay; everything else is percent-encoded, so
    ``urllib.parse.unquote`` gives the text back.
    """
    encoded = quote(text, safe="")
    return encoded.replace(".", "%2E", 1) if encoded.startswith(".") else encoded


@contextmanager
def storage_errors(doing: str) -> Iterator[None]:
    """Turn an OSError into a StorageError that says what failed and what to do."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(f"{doing} failed: {_words(error)}") from error
    except Exception as error:
        # What speaks to object stores raises classes of its own; they hold requests and headers.
        if type(error).__module__.partition(".")[0] not in _STORE_LIBRARIES:
            raise
        raise StorageError(f"{doing} failed: {_store_words(error)}") from None


# What may be a secret in the words of a library's error: user information and query strings.
_SECRETS = re.compile(r"(?<=//)[^/@\s]+@|\?\S+")


# Top-level packages behind fsspec's object stores.
_STORE_LIBRARIES = frozenset(
    {"botocore", "aiobotocore", "s3fs", "aiohttp", "google", "gcsfs", "azure", "adlfs", "obstore"}
)


def _store_words(error: Exception) -> str:
    if "Credentials" in type(error).__name__:
        return (
            "no usable credentials were found. Put them into the environment (for S3 "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE), or give the machine a "
            "role"
        )
    return _SECRETS.sub("...", str(error) or type(error).__name__)


def _words(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full. Free some space and run again; nothing was left half-written"
    if error.errno == errno.EFBIG:
        return "the file is larger than this place allows. Nothing was left half-written"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "no permission to write or read there. Choose another place or change its rights"
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return "a file is where a folder is needed"
    if error.errno == errno.ENAMETOOLONG:
        return "a name is too long for this file system (255 bytes at most)"
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    words = error.strerror or str(error) or type(error).__name__
    return _SECRETS.sub("...", words)


def open_filesystem(
    url: str, storage_options: Mapping[str, Any] | None = None
) -> tuple[fsspec.AbstractFileSystem, str]:
    """The fsspec filesystem of a URL and the path within it.

    Raises:
        SettingsError: when the URL's scheme is unknown or needs a package that is not installed.
    """
    if "://" not in url:
        # Not as a URL: a file's name may hold whatever URLs give a meaning to.
        return LocalFileSystem(), os.path.abspath(os.path.expanduser(url))
    try:
        filesystem, path = fsspec.core.url_to_fs(
            url, **filesystem_options(url, storage_options or {})
        )
    except (ImportError, ValueError) as error:
        raise SettingsError(f"cannot open {redacted(url)}: {error}") from None
    return filesystem, str(path)


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file as its file system lists it."""

    path: str
    size: int
    modified: datetime


def _stored(path: str, info: Mapping[str, Any]) -> StoredFile:
    """From fsspec's description; the file systems name the time of writing differently."""
    value = info.get("mtime") or info.get("LastModified") or info.get("created")
    modified = datetime.now(UTC)  # where a store does not tell: never old enough to be removed
    if isinstance(value, (int, float)):
        modified = datetime.fromtimestamp(value, UTC)
    elif isinstance(value, datetime):
        modified = value if value.tzinfo else value.replace(tzinfo=UTC)
    return StoredFile(path, int(info["size"]), modified)


class Folder:
    """A folder under any fsspec URL. Files in it are written whole or not at all."""

    def __init__(self, url: str, storage_options: Mapping[str, Any] | None = None) -> None:
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
        return Folder("/".join([self.url, *names]), self.storage_options)

    def path_of(self, name: str) -> str:
        """The filesystem path of a file in this folder."""
        return f"{self.path}/{name}"

    def exists(self, name: str) -> bool:
        """Whether the file is there.

        Raises:
            StorageError: if the storage does not say.
        """
        with storage_errors(f"looking for {self.shown}/{name}"):
            return bool(self.filesystem.exists(self.path_of(name)))

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
            found = self.filesystem.find(self.path, detail=True)
        for path, info in found.items():
            yield _stored(str(path), info)

    def read(self, name: str) -> bytes:
        """The whole file.

        Raises:
            StorageError: if it cannot be read.
        """
        with storage_errors(f"reading {self.shown}/{name}"):
            if self.objects is not None:
                return self.objects.read(self.path_of(name))
            return bytes(self.filesystem.cat_file(self.path_of(name)))

    def open_input(self, name: str) -> IO[bytes]:
        """The file, opened for reading."""
        with storage_errors(f"reading {self.shown}/{name}"):
            handle: IO[bytes] = self.filesystem.open(self.path_of(name), "rb")
            return handle

    def write(self, name: str, data: bytes) -> None:
        """Write a file so that readers see the old content or the new, never a part.

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
                target.parent.mkdir(parents=True, exist_ok=True)
                with _replacing(target) as output:
                    yield output
            else:
                # Object stores have no rename: a local file, then one upload, which is atomic.
                with tempfile.NamedTemporaryFile(prefix="segpipe-") as output:
                    yield output
                    output.flush()
                    self.filesystem.put_file(output.name, self.path_of(name))

    def each(self, work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """``work`` on every item, in order; several at once where each waits for a network.

        At most one list of results is held: meant for small ones, such as a verdict per file.
        """
        if self.is_local or len(items) < 2:
            return list(map(work, items))
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="segpipe-storage") as pool:
            return list(pool.map(work, items))

    def remove(self, name: str) -> None:
        """Remove a file if it is there."""
        doing = f"removing {self.shown}/{name}"
        with storage_errors(doing), suppress(FileNotFoundError):
            self.filesystem.rm_file(self.path_of(name))

    def sync(self) -> None:
        """Make what was written survive a power cut, once, before a commit refers to it."""
        if self.is_local and hasattr(os, "sync"):
            os.sync()


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
        self._made: set[str] = set()
        # Masks this process has just stored in an object store, where looking costs a request.
        self._stored: dict[str, float] = {}

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
        """Whether the mask is in the store; if so, it counts as new, and no vacuum takes it."""
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

    def remove_if_older(self, sha256: str, before: datetime) -> bool:
        """Remove a mask unless it was renewed meanwhile; whether it went.

        Raises:
            StorageError: if it cannot be removed.
        """
        name = self.name_of(sha256)
        stored = self.folder.stored(name)
        if stored is None or stored.modified >= before:
            return False
        self.folder.remove(name)
        return True

    def put(self, data: bytes) -> str:
        """Store PNG bytes unless they are there already; returns their SHA-256 (hex).

        Raises:
            StorageError: if they cannot be written.
        """
        sha256 = hashlib.sha256(data).hexdigest()
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
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="segpipe-storage") as pool:

            def put(data: bytes) -> str:
                sha256 = hashlib.sha256(data).hexdigest()
                if len(under_way) >= 2 * _AT_ONCE:
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
            # A file of another length can only be the relic of a power cut: write it again.
            if stored is None or stored.size != len(data):
                self._write(name, data)
            elif stored.modified < datetime.now(UTC) - RENEWED_AFTER:
                # A young file is safe from being vacuumed before a table refers to it.
                self._renew(name, data)

    def _remember(self, sha256: str) -> None:
        if len(self._stored) >= _MOST_REMEMBERED:
            self._stored.clear()
        self._stored[sha256] = time.monotonic()

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
            os.makedirs(parent, exist_ok=True)
            self._made.add(parent)
        try:
            _replace(target, data)
        except FileNotFoundError:  # the folder made before was removed meanwhile
            os.makedirs(parent, exist_ok=True)
            _replace(target, data)

    def _renew(self, name: str, data: bytes | None) -> None:
        if self.folder.is_local:
            with suppress(PermissionError):
                os.utime(self.folder.path_of(name))
        else:
            self._write(name, self.folder.read(name) if data is None else data)


def _replace(target: str, data: bytes) -> None:
    """:func:`_replacing` for bytes at hand; by the million, paths as objects cost as much as the
    files."""
    temporary = f"{target[: target.rindex('/')]}/.{os.urandom(16).hex()}.tmp"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, 0o666)
    try:
        try:
            written = os.write(descriptor, data)
            while written < len(data):
                written += os.write(descriptor, memoryview(data)[written:])
        finally:
            os.close(descriptor)
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


@contextmanager
def _replacing(target: Path) -> Iterator[IO[bytes]]:
    """A file beside the target that takes its name when the block ends without an error."""
    temporary = target.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as output:
            yield output
        temporary.replace(target)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
