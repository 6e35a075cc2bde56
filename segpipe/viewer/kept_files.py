"""Files the viewer makes once and keeps: in the root's own cache folder, below a bound.

All of it may be deleted at any time, and several servers may share it: a file appears whole under
a name that says what it was made of.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

from segpipe.settings import Settings
from segpipe.storage.redaction import redacted

_PLACE = "cache/viewer"
# How many files are written before it is looked whether they are too many.
_WRITTEN_BETWEEN = 64


class KeptFiles:
    """A folder of files with a bound.

    Args:
        folder: made where it is not there.
        most_bytes: of all files; those used longest ago are removed beyond it.
    """

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self.folder, self._most = folder, most_bytes
        self._written = 0
        self._lock = threading.Lock()

    def path(self, name: str) -> Path:
        """Where a file is; ``name`` is a digest, or made of digests."""
        return self.folder / name[:2] / name

    def get(self, name: str) -> bytes | None:
        """A file's bytes; None where it is not kept."""
        path = self.path(name)
        try:
            data = path.read_bytes()
            os.utime(path)
        except OSError:
            return None
        return data

    def put(self, name: str, data: bytes | memoryview) -> Path | None:
        """Keep a file; None where that cannot be done, as on a full disk."""
        path = self.path(name)
        temporary = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".new-", delete=False) as out:
                temporary = out.name
                out.write(data)
            os.replace(temporary, path)
        except OSError:
            if temporary is not None:
                with suppress(OSError):
                    os.unlink(temporary)
            return None
        with self._lock:
            self._written += 1
            full = self._written % _WRITTEN_BETWEEN == 0
        if full:
            self.prune()
        return path

    def prune(self) -> None:
        """Remove what was used longest ago, until a tenth of the bound is free."""
        found = []
        for folder, _, names in os.walk(self.folder):
            for name in names:
                with suppress(OSError):
                    status = os.stat(os.path.join(folder, name))
                    found.append((status.st_mtime, status.st_size, os.path.join(folder, name)))
        size = sum(one[1] for one in found)
        if size <= self._most:
            return
        for _, bytes_, path in sorted(found):
            with suppress(OSError):
                os.unlink(path)
            size -= bytes_
            if size <= self._most * 9 // 10:
                break


def cache_place(settings: Settings) -> tuple[Path, str | None]:
    """Where a root's files are kept, and what is to be said of it where that is elsewhere.

    Returns:
        ``cache/viewer`` of a root on this machine that can be written; else a folder among the
        temporary ones that belongs to this user alone.
    """
    root = settings.root
    if "://" not in root:
        place = Path(root) / _PLACE
        try:
            place.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=place, prefix=".new-"):
                return place, None
        except OSError:
            why = f"{redacted(root)} cannot be written"
    else:
        why = f"{redacted(root)} is not on this machine"
    digest = hashlib.sha256(root.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    owner = os.getuid() if hasattr(os, "getuid") else "user"
    shared = Path(tempfile.gettempdir()) / f"segpipe-viewer-{owner}-{digest}"
    place = shared if _is_own(shared) else Path(tempfile.mkdtemp(prefix="segpipe-viewer-"))
    return place, f"{why}: thumbnails and the index are kept in {place}"


def _is_own(folder: Path) -> bool:
    """Whether a folder among everybody's temporary ones is this user's; it is made if missing."""
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        return True
    status = folder.lstat()
    own = not hasattr(os, "getuid") or status.st_uid == os.getuid()
    return stat.S_ISDIR(status.st_mode) and own and not status.st_mode & 0o022
