"""The manifest files that a path or URL names, outside a landing folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from segpipe.errors import ManifestError
from segpipe.manifests.landing import Landing, not_read, unfinished
from segpipe.manifests.layout import is_manifest
from segpipe.storage.files import Folder
from segpipe.storage.local_paths import local_path
from segpipe.storage.redaction import redacted
from segpipe.storage.sources import AllowedRoots


def manifest_files(given: str) -> Iterator[tuple[Folder, str, str]]:
    """The manifest files an argument names: itself, or all in a folder.

    Yields:
        Folder, file name, and name for messages, of each.

    Raises:
        ManifestError: if there is none.
    """
    try:
        local = local_path(given)
    except ValueError as error:
        raise ManifestError(f"{redacted(given)} is no manifest: {error}") from None
    if local is None:
        parent, _, name = given.rpartition("/")
        folder = Folder(parent)
        if not folder.exists(name):
            raise ManifestError(f"there is no manifest {redacted(given)}")
        yield folder, name, given
        return
    path = Path(local)
    if not path.exists():
        raise ManifestError(f"there is no manifest {redacted(given)}")
    if not path.is_dir():
        yield Folder(str(path.parent.absolute())), path.name, str(path)
        return
    absolute = path.absolute()
    has_parts = is_manifest(absolute.name)
    # Masks that part files name are relative to the folder that holds the folder of part files.
    day = absolute.parent if has_parts else absolute
    # Whoever names the folder may read what its links lead to.
    landing = Landing(Folder(str(day.parent)), AllowedRoots(("/",)))
    found = landing.parts(day.name, absolute.name) if has_parts else landing.delivered([day.name])
    if found.unfinished:
        raise ManifestError(unfinished(given, found.unfinished))
    if not found.files:
        raise ManifestError(
            f"there are no .parquet files in the folder {given}; name the manifest files of one "
            f"model run and day, or the folder they lie in{not_read(found.unread)}"
        )
    for file in found.files:
        below = Path(file.name).relative_to(absolute.name) if has_parts else file.name
        yield file.folder, file.name, str(path / below)
