"""Trying out a place of storage as segpipe uses it, leaving nothing behind."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from time import perf_counter

from segpipe.errors import StorageError
from segpipe.storage.failures import AccessRefusedError, BucketMissingError
from segpipe.storage.files import Folder
from segpipe.storage.object_store import open_object_store

#: How the names of probes begin; no part of segpipe takes such a file for one of its own.
PREFIX = ".segpipe-doctor-"
_FIRST = b"Written by `segpipe doctor`, which removes it. It may be removed at any time.\n"
_SECOND = _FIRST + b"Written once more.\n"


@dataclass
class Probe:
    """What a place of storage could be seen to do.

    Attributes:
        listed: what is in it can be listed.
        written: files can be written, and read as they were written.
        kept_apart: of two who create one file, one is refused.
        removed: the probe is gone.
        read_only: it was refused to write.
        full: there was no room to write.
        failure: the first thing that failed, in words.
        behind: the place's clock is so many seconds behind this machine's; None if not known.
        seconds: how long a small file took to be written so that it survives a cut of the power.
        name: of the file.
    """

    name: str
    listed: bool = False
    written: bool = False
    kept_apart: bool = False
    removed: bool = True
    read_only: bool = False
    full: bool = False
    failure: str = ""
    behind: float | None = None
    seconds: float = 0.0


def check_reachable(folder: Folder) -> None:
    """Ask an object store whether the bucket is there, once: libraries repeat what fails for
    minutes.

    Raises:
        StorageError: if it does not answer, or there is no such bucket.
    """
    if folder.objects is None:
        return
    once = open_object_store(folder.url, folder.path, folder.storage_options, retrying=False)
    try:
        if once is not None:
            once.check_bucket()
    except BucketMissingError as error:
        raise StorageError(str(error.strerror)) from error
    except OSError as error:
        raise StorageError(f"{folder.shown} does not answer: {error.strerror or error}") from error


def probed(folder: Folder) -> Probe:
    """List a folder, write a file in it in each of the ways segpipe does, and remove it.

    Args:
        folder: one that exists; or one of an object store.
    """
    probe = Probe(f"{PREFIX}{uuid.uuid4().hex}")
    try:
        check_listed(folder)
        probe.listed = True
        with _removing(folder, probe):
            _write(folder, probe)
    except StorageError as error:
        probe.failure = probe.failure or str(error)
        cause = error.__cause__
        refused = isinstance(cause, AccessRefusedError) or getattr(cause, "errno", None) in (
            errno.EACCES, errno.EPERM, errno.EROFS,
        )  # fmt: skip
        probe.read_only = probe.listed and refused
        probe.full = getattr(cause, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
    return probe


def check_listed(folder: Folder) -> None:
    """List a folder.

    Raises:
        StorageError: if it cannot be listed.
    """
    if folder.objects is not None:
        try:
            folder.objects.names(folder.path, 1)
        except OSError as error:
            words = f"listing {folder.shown} failed: {error.strerror or error}"
            raise StorageError(words) from error
        return
    try:
        if folder.is_local:
            os.listdir(folder.path)
        elif folder.filesystem.exists(folder.path):
            folder.filesystem.ls(folder.path, detail=False)
    except PermissionError as error:
        raise StorageError(f"{folder.shown} cannot be listed: no permission") from error
    except OSError as error:
        words = f"{folder.shown} cannot be listed: {error.strerror or error}"
        raise StorageError(words) from error


def _write(folder: Folder, probe: Probe) -> None:
    name, before = probe.name, datetime.now(UTC)
    if not folder.write_new(name, _FIRST):
        raise StorageError(f"writing {folder.shown}/{name} failed: it is said to be there already")
    probe.removed = False
    stored = folder.stored(name)
    # Stores tell whole seconds.
    if stored is not None and stored.modified < before:
        probe.behind = max(0.0, (before - stored.modified).total_seconds() - 1)
    elif stored is not None:
        probe.behind = min(0.0, -(stored.modified - datetime.now(UTC)).total_seconds())
    _check_content(folder, name, _FIRST)
    probe.kept_apart = not folder.write_new(name, _FIRST)
    began = perf_counter()
    folder.write(name, _SECOND)
    probe.seconds = perf_counter() - began
    _check_content(folder, name, _SECOND)
    probe.written = True


def _check_content(folder: Folder, name: str, expected: bytes) -> None:
    found = folder.read(name)
    if found != expected:
        raise StorageError(
            f"{folder.shown}/{name} holds {len(found)} bytes after {len(expected)} others were "
            "written: this place does not keep what is written to it"
        )


@contextmanager
def _removing(folder: Folder, probe: Probe) -> Iterator[None]:
    try:
        yield
    finally:
        # Also where the answer was lost: it may be there.
        try:
            folder.remove(probe.name)
            probe.removed = folder.stored(probe.name) is None
        except (StorageError, OSError) as error:
            if not probe.removed:
                probe.failure = probe.failure or str(error)
        with suppress(StorageError, OSError):
            if not probe.removed:
                folder.remove(probe.name)
