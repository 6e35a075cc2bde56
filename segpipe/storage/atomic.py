"""Local files that appear whole or not at all, whatever happens: a kill, or a cut of the power."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from segpipe.storage.durability import sync_descriptor, sync_folder

# Windows would translate line ends.
_BINARY = getattr(os, "O_BINARY", 0)


def replace_file(target: str, data: bytes, *, synced: bool) -> None:
    """Write bytes to a file that takes the target's name once it is whole.

    For masks by the million: building ``Path`` objects would cost as much as writing the files.

    Args:
        synced: sync file and name; otherwise whoever refers to it syncs it before.
    """
    temporary = f"{target[: target.rindex('/')]}/.{os.urandom(16).hex()}.tmp"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, 0o666)
    try:
        try:
            written = os.write(descriptor, data)
            while written < len(data):
                written += os.write(descriptor, memoryview(data)[written:])
            if synced:
                sync_descriptor(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, target)
        if synced:
            sync_folder(os.path.dirname(target))
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


@contextmanager
def replacing_file(target: Path) -> Iterator[IO[bytes]]:
    """A file beside the target that takes its name when the block ends without an error.

    File and name are synced then; that of the folder is not.
    """
    temporary = target.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as output:
            yield output
            output.flush()
            sync_descriptor(output.fileno())
        temporary.replace(target)
        sync_folder(str(target.parent))
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def new_file(target: Path, source: Path) -> bool:
    """Copy a file to a target that appears whole, unless there is one; whether it was copied.

    File and name are synced then; that of the folder is not.
    """
    temporary = target.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with source.open("rb") as given, temporary.open("xb") as copy:
            shutil.copyfileobj(given, copy, 1 << 20)
            copy.flush()
            sync_descriptor(copy.fileno())
        try:
            os.link(temporary, target)
        except FileExistsError:
            return False
        except OSError:
            # A file system without links, such as a memory card's.
            if target.exists():
                return False
            temporary.replace(target)
        sync_folder(str(target.parent))
        return True
    finally:
        with suppress(OSError):
            temporary.unlink()
