"""Reads masks and images, from allowed roots only.

A manifest is data from somewhere else: what it names is read only from the roots its operator
allowed, whatever ``..``, symbolic links or absolute URLs it uses.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import fsspec
from fsspec.implementations.local import LocalFileSystem

from segpipe.errors import StorageError
from segpipe.masks.decoding import MAX_BYTES
from segpipe.masks.image_size import ImageSize, SizeUnknown, read_image_size
from segpipe.masks.refusal import MaskRefused
from segpipe.names import visible
from segpipe.storage.files import is_misread, open_filesystem
from segpipe.storage.local_paths import is_file_url, is_url, local_path
from segpipe.storage.near_files import NearFiles
from segpipe.storage.object_store import ObjectStore, open_object_store
from segpipe.storage.redaction import redacted
from segpipe.storage.store_options import one_scheme
from segpipe.storage.web import check_address, is_web, open_web_header, read_web

# Bytes fetched at a time from remote images, of which only the header is wanted.
_HEADER_BLOCK = 65_536
_BLOCK = 1 << 20
_OPEN_TO_READ = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_WITHOUT_WAITING = getattr(os, "O_NONBLOCK", 0)  # for somebody who writes into a pipe
_LOCAL = LocalFileSystem()
_MISSING = "missing"
# Folders whose links are resolved already, at most.
_FOLDERS_KNOWN = 10_000


@dataclass(frozen=True, slots=True)
class Source:
    """A file that may be read: its filesystem (None on the web), its path or URL there, its URL
    fit to be shown, the object store it is in, if it is in one, its URL as it was given, and its
    place, which allowed roots are compared with."""

    filesystem: fsspec.AbstractFileSystem | None
    path: str
    shown: str
    objects: ObjectStore | None = None
    given: str = ""
    place: str = ""


class Fetched(NamedTuple):
    """The result of reading a file.

    Attributes:
        data: its bytes; none where it was refused.
        identity: what tells it from what it may be changed to; None where its storage does not.
        refusal: why it was not read.
    """

    data: bytes
    identity: str | None
    refusal: MaskRefused | None = None


@dataclass(frozen=True)
class AllowedRoots:
    """The folders masks and images may be read from.

    Args:
        roots: fsspec URLs or local paths; a file is allowed when it lies below one of them.
        storage_options: for the filesystems of these roots (credentials, endpoints).
    """

    roots: tuple[str, ...]
    storage_options: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def _root_places(self) -> tuple[str, ...]:
        return tuple(map(_place, self.roots))

    @cached_property
    def _web_hosts(self) -> frozenset[str]:
        return frozenset(
            (urlsplit(root).hostname or "").lower() for root in self.roots if is_web(root)
        )

    def with_root(self, url: str) -> AllowedRoots:
        """The same with one more root."""
        return AllowedRoots((*self.roots, url), self.storage_options)

    def resolve(self, url: str, relative_to: str) -> Source:
        """The file a manifest means.

        Args:
            url: absolute URL or path, or relative to the folder the manifest lies in.
            relative_to: URL of that folder.

        Raises:
            MaskRefused: URL-REFUSED, when it lies outside every allowed root.
        """
        absolute = url if _is_absolute(url) else f"{relative_to.rstrip('/')}/{url}"
        try:
            place = self._place(absolute)
        except (ValueError, OSError) as error:
            raise _refused(redacted(url), f"it is not a usable URL ({error})") from None
        if self._allows(place):
            shown = visible(redacted(absolute))
            if "://" not in place:
                # Not through a URL: a file's name may hold whatever URLs give a meaning to.
                return Source(_LOCAL, place, shown, given=url, place=place)
            if is_web(place):
                check_address(place, self._web_hosts)
                return Source(None, place, shown, given=url)
            filesystem, path = open_filesystem(place, self.storage_options)
            objects = open_object_store(place, path, self.storage_options)
            return Source(filesystem, path, shown, objects, given=url, place=place)
        roots = ", ".join(map(redacted, self.roots)) or "none"
        raise _refused(
            redacted(absolute),
            f"{_whereabouts(absolute, place)} outside the allowed roots ({roots}); to allow it, "
            f"add {_folder_of(place)} to allowed_roots in segpipe.toml or pass it as --allow-root",
        )

    def _place(self, url: str) -> str:
        """:func:`_place`, with a folder's links resolved once for all the files in it."""
        folder, _, name = url.rpartition("/")
        if is_url(url) or name in ("", ".", "..") or "\0" in url:
            return _place(url)
        real = self._real_folders.get(folder)
        if real is None:
            if len(self._real_folders) >= _FOLDERS_KNOWN:
                self._real_folders.clear()
            real = self._real_folders[folder] = os.path.realpath(folder or "/")
        place = f"{real.rstrip('/')}/{name}"
        return os.path.realpath(place) if os.path.islink(place) else place

    @cached_property
    def _real_folders(self) -> dict[str, str]:
        return {}

    def read(self, source: Source, max_bytes: int = MAX_BYTES) -> bytes:
        """The whole file, if it has at most ``max_bytes``.

        Raises:
            MaskRefused: FILE-MISSING, TOO-LARGE, or URL-REFUSED for a redirect.
            StorageError: when the storage itself fails, which says nothing about the mask.
        """
        fetched = self.fetch(source, max_bytes)
        if fetched.refusal is not None:
            raise fetched.refusal
        return fetched.data

    def fetch(self, source: Source, max_bytes: int = MAX_BYTES) -> Fetched:
        """The whole file and its identity, looked up once.

        Raises:
            StorageError: when the storage itself fails, which says nothing about the mask.
        """
        if source.filesystem is None:
            try:
                return Fetched(read_web(source.path, max_bytes), None)
            except MaskRefused as refusal:
                return Fetched(b"", None, refusal)
        identity: str | None = None
        try:
            if isinstance(source.filesystem, LocalFileSystem):
                try:
                    descriptor = os.open(source.path, _OPEN_TO_READ | _WITHOUT_WAITING)
                except OSError:
                    status = os.stat(source.path)
                    identity = _identity_of(status)  # from before it is tried again
                    _check_regular(source, status)
                    # Regular files are worth waiting for: another process may have a lease on one.
                    descriptor = os.open(source.path, _OPEN_TO_READ)
                try:
                    status = os.fstat(descriptor)
                    identity = _identity_of(status)
                    return Fetched(_read_local(source, descriptor, status, max_bytes), identity)
                finally:
                    os.close(descriptor)
            if source.objects is not None:
                found = source.objects.fetch(source.path, max_bytes)
                identity = found.identity
                if found.data is None:
                    _check_size(found.size, max_bytes, source)
                return Fetched(found.data or b"", identity)
            _check_size(int(source.filesystem.size(source.path) or 0), max_bytes, source)
            return Fetched(bytes(source.filesystem.cat_file(source.path)), None)
        except MaskRefused as refusal:
            return Fetched(b"", identity, refusal)
        except OSError as error:
            return Fetched(b"", identity or _MISSING, self._missing(error, source))

    def _missing(self, error: OSError, source: Source) -> MaskRefused:
        """What to say of a file that cannot be read, with what may have been meant.

        Raises:
            StorageError: where the error says something of the storage instead.
        """
        missing = _not_there(error, source)
        if isinstance(error, PermissionError):
            return missing
        words = self._nearby(source)
        if not words and source.filesystem is not None:
            instead = self._near_files.instead_of(
                source.path, source.place, source.objects, self._allows
            )
            words, missing.remedy = instead.words, instead.remedy
        missing.message += words
        return missing

    @cached_property
    def _near_files(self) -> NearFiles:
        return NearFiles()

    def _allows(self, place: str) -> bool:
        return any(_contains(root, place) for root in self._root_places)

    def _nearby(self, source: Source) -> str:
        """Of a file that is not there: what its URL may have been meant to name."""
        if source.filesystem is None:
            return ""
        if source.objects is None and os.path.basename(source.path) != os.path.basename(
            source.given
        ):
            return f" (it is a link to {visible(source.path)})"
        if source.objects is not None and "//" in source.given.partition("://")[2]:
            return "; empty parts of a key, //, are left out, as on a disk"
        for words, other in (
            ("nothing is percent-decoded in", unquote(source.given)),
            ("'\\' separates no folders in", source.given.replace("\\", "/")),
        ):
            if other == source.given or is_url(source.given):
                continue
            place = f"{source.path[: -len(source.given)]}{other}"
            if not source.path.endswith(source.given) or ".." in other.split("/"):
                continue
            with suppress(OSError):
                found = self.identity(Source(source.filesystem, place, "", source.objects))
                if found not in (None, _MISSING):
                    return f"; there is one at {visible(other)}: {words} a path, write it so"
        return ""

    def identity(self, source: Source) -> str | None:
        """What tells a file from what it may be changed to, without reading it; None where its
        storage does not tell enough.

        Raises:
            StorageError: when the storage itself fails.
        """
        if source.filesystem is None:
            return None
        try:
            if isinstance(source.filesystem, LocalFileSystem):
                return _identity_of(os.stat(source.path))
            return None if source.objects is None else source.objects.identity(source.path)
        except OSError as error:
            _not_there(error, source)
            return _MISSING

    def image_size(self, source: Source) -> ImageSize:
        """Height and width of an image from its header.

        Only the header is fetched, not the whole image.

        Raises:
            SizeUnknown: naming the image and what is the matter with it.
        """
        try:
            if source.filesystem is None:
                return read_image_size(open_web_header(source.path, _HEADER_BLOCK))
            if isinstance(source.filesystem, LocalFileSystem):
                _check_regular(source, os.stat(source.path))
            if source.objects is not None and is_misread(source.path):
                return read_image_size(io.BytesIO(source.objects.read(source.path)))
            with source.filesystem.open(source.path, "rb", block_size=_HEADER_BLOCK) as file:
                return read_image_size(file)
        except SizeUnknown as error:
            raise SizeUnknown(f"the image {source.shown} {error}") from None
        except MaskRefused as refusal:
            raise SizeUnknown(refusal.message) from None
        except OSError as error:
            try:
                words = self._missing(error, source).message
            except StorageError as failure:
                words = str(failure)
            raise SizeUnknown(words) from None


def _identity_of(status: os.stat_result) -> str:
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"


def _read_local(source: Source, descriptor: int, status: os.stat_result, max_bytes: int) -> bytes:
    _check_regular(source, status)
    _check_size(status.st_size, max_bytes, source)
    data = os.read(descriptor, status.st_size + 1)
    if len(data) == status.st_size:
        return data
    # Read in parts, or grown or cut meanwhile: what there is until its end.
    parts = [data]
    while parts[-1] and sum(map(len, parts)) <= max_bytes:
        parts.append(os.read(descriptor, _BLOCK))
    data = b"".join(parts)
    _check_size(len(data), max_bytes, source)
    return data


def _check_regular(source: Source, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):  # reading a pipe would wait for a writer, for ever
        raise _missing(f"there is no regular file at {source.shown}", source)


def _not_there(error: OSError, source: Source) -> MaskRefused:
    """What an error says of a file.

    Raises:
        StorageError: where it says something of the storage instead.
    """
    if isinstance(error, (FileNotFoundError, IsADirectoryError, NotADirectoryError)):
        return _missing(f"there is no file at {source.shown}", source)
    if isinstance(error, PermissionError):
        return _missing(f"no permission to read {source.shown}", source)
    if isinstance(error, StorageError):
        raise error
    if error.errno in (errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL):
        return _missing(f"there can be no file at {source.shown} ({error.strerror})", source)
    raise StorageError(f"reading {source.shown} failed: {error.strerror or error}") from None


def _check_size(size: int, limit: int, source: Source) -> None:
    if size > limit:
        raise MaskRefused(
            "TOO-LARGE",
            f"{source.shown} has {size:,} bytes, over the limit of {limit:,} (max_bytes in the "
            "policy)",
            found=f"{size} bytes",
            expected=f"at most {limit} bytes",
        )


def _missing(message: str, source: Source) -> MaskRefused:
    return MaskRefused("FILE-MISSING", message, found="nothing", expected=source.shown)


def _whereabouts(absolute: str, place: str) -> str:
    """How a refused file comes to lie where it lies: through a link, or as its URL says."""
    path = None if "://" in place else local_path(absolute)
    if path is None or os.path.normpath(path) == place:
        return "it lies"
    return f"a link leads to {visible(place)}, which lies"


def _folder_of(place: str) -> str:
    """What to allow, so that a file is read."""
    if is_web(place):
        return redacted(place.rpartition("/")[0])
    return visible(redacted(place).rpartition("/")[0]) or "/"


def _refused(shown: str, why: str) -> MaskRefused:
    shown = visible(shown)
    return MaskRefused(
        "URL-REFUSED", f"{shown} is not read: {why}", found=shown, expected="an allowed root"
    )


def _is_absolute(url: str) -> bool:
    return url.startswith("/") or is_url(url) or os.path.isabs(url)


def is_remote(url: str, folder: str) -> bool:
    """Whether a file a manifest names is somewhere else than on a local disk."""
    absolute = url if _is_absolute(url) else folder
    return "://" in absolute and not is_file_url(absolute)


def recorded(url: str, folder: str) -> str:
    """A manifest's URL as tables hold it: as it was given, without what may be a secret."""
    if "://" in folder and not _is_absolute(url):
        bare, question, _ = url.partition("?")
        return f"{bare}?..." if question else bare
    return redacted(url)


def _place(url: str) -> str:
    """The URL in a form in which "lies below" is a comparison of text: no links, no ``..``."""
    path = local_path(url)
    if path is not None:
        if "\0" in path:
            raise ValueError("it holds a NUL character")
        return os.path.realpath(path)
    scheme, _, rest = one_scheme(url).partition("://")
    if "::" in url:
        raise ValueError("it chains file systems with '::'")
    scheme = scheme.lower()
    bare, question, query = rest.partition("?")
    bare = _normalised(bare, keep_empty=scheme in ("http", "https"))
    return f"{scheme}://{bare}{question}{query}"


def _normalised(bare: str, *, keep_empty: bool) -> str:
    """A URL's host and path without ``.``, ``..`` and, as on a disk, empty parts.

    Args:
        keep_empty: for servers, to which empty parts may mean something.
    """
    host, *parts = bare.split("/")
    if not {"", ".", ".."}.isdisjoint(parts):
        kept: list[str] = []
        for part in parts:
            if part == "..":
                if not kept:
                    raise ValueError("its '..' leads out of the bucket or host")
                kept.pop()
            elif part != "." and (part or keep_empty):
                kept.append(part)
        parts = kept
    bare = "/".join([host, *parts])
    if any(part in ("..", ".") for part in unquote(bare).split("/")):
        raise ValueError("it holds '..'")
    return bare


def _contains(root: str, place: str) -> bool:
    return place == root or place.startswith(root.rstrip("/") + "/")
