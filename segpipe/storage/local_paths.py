"""Local paths and ``file:`` URLs, and aliases for libraries that do not take every folder's name.

A path means the folder of that very name: nothing in it is decoded or expanded. A ``file:`` URL is
percent-decoded, as every URL is, and becomes a path where it is first met.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote

from segpipe.errors import StorageError

_FILE = "file:"
# Characters that libraries behind URLs leave alone. Letters and digits are those of any script.
_PLAIN = re.compile(r"[\w \-.,+=@~()/]*")


def is_file_url(url: str) -> bool:
    """Whether a URL is of the scheme ``file``, in whatever case."""
    return url[:5].lower() == _FILE


def is_url(url: str) -> bool:
    """Whether this is a URL and no path."""
    return "://" in url or is_file_url(url)


def local_path(url: str) -> str | None:
    """The path that a path or a ``file:`` URL means; None for URLs of other schemes.

    Raises:
        ValueError: for a file of another host, or a ``file:`` URL without an absolute path.
    """
    if not is_file_url(url):
        return None if "://" in url else url
    # By hand: a library would take '#' and '?' of a file's name for something else.
    rest = url[len(_FILE) :]
    if rest.startswith("//"):
        host, slash, path = rest[2:].partition("/")
        if host.lower() not in ("", "localhost"):
            raise ValueError(f"file: on another host, {host}")
        rest = slash + path
    if not rest.startswith("/"):
        raise ValueError(f"a {_FILE} URL needs an absolute path, such as file:///data/masks")
    return unquote(rest, errors="surrogateescape")


def is_plain(path: str) -> bool:
    """Whether a path holds nothing that a library could take for part of a URL or an escape."""
    return _PLAIN.fullmatch(path) is not None


def plain_alias(folder: str) -> str:
    """A plain path to a local folder: the folder's own, or that of a link to it.

    The link has the same name in all processes of a user on this machine.

    Raises:
        StorageError: if there is no place for the link.
    """
    if is_plain(folder):
        return folder
    place = plain_place()
    link = place / f"folder-{_digest(folder)}"
    _link(link, folder, place)
    return str(link)


def plain_mirror(folder: str) -> str:
    """A plain path to what is in a local folder, for libraries that resolve links to the folder.

    It is the folder's own, or that of a folder of links to its entries. What a library creates
    directly in it would not be created in ``folder``: see :func:`mirror_entry`.

    Args:
        folder: without links; need not exist.

    Raises:
        StorageError: if there is no place for the links.
    """
    if is_plain(folder):
        return folder
    place = plain_place()
    mirror = place / f"entries-{_digest(folder)}"
    mirror.mkdir(mode=0o700, exist_ok=True)
    with suppress(FileNotFoundError):
        for name in os.listdir(folder):
            _link(mirror / name, f"{folder}/{name}", place)
    return str(mirror)


def mirror_entry(folder: str, name: str) -> None:
    """Create a folder below ``folder``, and its link in the folder's :func:`plain_mirror`.

    Raises:
        StorageError: if it cannot be created.
    """
    try:
        os.makedirs(f"{folder}/{name}", exist_ok=True)
    except OSError as error:
        raise StorageError(f"{folder}/{name} cannot be made: {error.strerror}") from None
    plain_mirror(folder)


def _digest(folder: str) -> str:
    return hashlib.sha256(os.fsencode(folder)).hexdigest()[:24]


def _link(link: Path, target: str, place: Path) -> None:
    with suppress(OSError):
        if os.readlink(link) == target:
            return
    temporary = place / f".{os.urandom(8).hex()}"
    try:
        os.symlink(target, temporary)
        os.replace(temporary, link)
    except OSError as error:
        with suppress(OSError):
            os.unlink(temporary)
        raise StorageError(f"the link {link} cannot be made: {error.strerror}") from None


def plain_place() -> Path:
    """A temporary folder with a plain path, of this user's own: nobody else may write to it.

    Raises:
        StorageError: if there is none.
    """
    user = os.getuid() if hasattr(os, "getuid") else 0
    for parent in _temporary_folders():
        place = Path(os.path.realpath(parent)) / f"segpipe-{user}"
        if not is_plain(str(place)):
            continue
        try:
            place.mkdir(mode=0o700, exist_ok=True)
            status = place.lstat()
        except OSError:
            continue
        own = stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o022
        if (
            own
            and os.access(place, os.W_OK)
            and (not hasattr(os, "getuid") or status.st_uid == user)
        ):
            return place
    raise StorageError(
        "a folder's name holds characters that the libraries behind segpipe cannot take, and no "
        "temporary folder is there for a link to it: set TMPDIR to a folder that is there, is "
        "yours to write to, and has only letters, digits and '-' in its path"
    )


def _temporary_folders() -> Iterator[str]:
    with suppress(FileNotFoundError):  # where Python finds none that can be written to
        yield tempfile.gettempdir()
    yield from ("/tmp", "/var/tmp")
