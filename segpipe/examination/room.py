"""How much room there is where a local folder is, and what kind of file system that is."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

_TIGHT_BYTES, _NO_BYTES = 500_000_000, 65_536
_TIGHT_FILES = 10_000
_NETWORK = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "lustre", "glusterfs", "beegfs")

_MOUNTS = Path("/proc/self/mountinfo")
# As the kernel writes spaces, tabs, line ends and backslashes in it.
_OCTAL = re.compile(rb"\\([0-3][0-7]{2})")


@dataclass(frozen=True)
class Room:
    """Room in a file system.

    Attributes:
        bytes: that may still be written; None where the system does not say.
        files: that may still be made; None where there is no limit, or it is not said.
    """

    bytes: int | None
    files: int | None

    @property
    def is_full(self) -> bool:
        """Whether nothing can be written."""
        return (self.bytes is not None and self.bytes < _NO_BYTES) or self.files == 0

    @property
    def is_tight(self) -> bool:
        """Whether it may not suffice for a run."""
        few = self.files is not None and self.files < _TIGHT_FILES
        return self.is_full or few or (self.bytes is not None and self.bytes < _TIGHT_BYTES)

    def __str__(self) -> str:
        if self.bytes is None:
            return "free space not known"
        words = f"{size_words(self.bytes)} free"
        if self.files is not None and self.files < _TIGHT_FILES:
            words += f", room for {self.files:,} more files (inodes)"
        return words


def room_of(folder: str) -> Room:
    """The room where a folder of this machine is."""
    try:
        status = os.statvfs(folder)
    except (OSError, AttributeError):
        return Room(None, None)
    # Some file systems make inodes as they need them, and say that there are none.
    files = status.f_favail if status.f_files else None
    return Room(status.f_bavail * status.f_frsize, files)


@dataclass(frozen=True)
class FileSystem:
    """What a folder of this machine is on.

    Attributes:
        kind: such as ``ext4``; empty where it is not known.
    """

    kind: str

    @property
    def is_in_memory(self) -> bool:
        """Whether it is gone when the machine restarts."""
        return self.kind in ("tmpfs", "ramfs")

    @property
    def is_remote(self) -> bool:
        """Whether it is another machine's."""
        return self.kind in _NETWORK or self.kind.startswith("fuse.")


def file_system_of(folder: str, mounts: Path = _MOUNTS) -> FileSystem:
    """The file system of a folder that exists.

    Args:
        mounts: the kernel's list of what is mounted where, as proc_pid_mountinfo(5) has it.
    """
    if not sys.platform.startswith("linux"):
        return FileSystem("")
    try:
        # Names of folders are bytes, of whatever encoding.
        lines = mounts.read_bytes().split(b"\n")
    except OSError:
        return FileSystem("")
    place, kind, longest = os.fsencode(os.path.realpath(folder)), b"", -1
    for line in filter(None, lines):
        before, _, after = line.partition(b" - ")
        mount = _OCTAL.sub(lambda found: bytes([int(found[1], 8)]), before.split(b" ")[4])
        inside = place == mount or place.startswith(mount.rstrip(b"/") + b"/")
        if inside and len(mount) >= longest:  # of several at one place, the last is seen
            kind, longest = after.split(b" ")[0], len(mount)
    return FileSystem(os.fsdecode(kind))


def size_words(count: int) -> str:
    """Bytes as ``1.5 GB``, ``20 MB`` or less."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.{0 if count >= 10 * size else 1}f} {unit}"
    return f"{count} bytes"
