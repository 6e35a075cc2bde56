"""Delivering a manifest file under its name, so that none replaces another's unseen."""

from __future__ import annotations

import hashlib
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from segpipe.errors import ManifestError, SettingsError, StorageError
from segpipe.manifests.columns import FINDINGS_COLUMN
from segpipe.storage.files import Folder

#: Key in a manifest's Parquet metadata: a digest of what its rows come from.
SOURCE_KEY = b"segpipe.source"
_LONGEST_NAME = 200


@dataclass(frozen=True)
class Delivery:
    """A manifest file that is going to be written.

    Attributes:
        folder: of the partition.
        file: its name.
        source_digest: of what the rows come from; a file of the same source is replaced.
        replace: whether a file of any origin is replaced.
    """

    folder: Folder
    file: str
    source_digest: str | None = None
    replace: bool = False

    @classmethod
    def named(cls, folder: Folder, name: str, source: str | None, *, replace: bool) -> Delivery:
        """A delivery by name; ``.parquet`` may be left out.

        Raises:
            SettingsError: if the name cannot be a manifest's.
            ManifestError: if there is a file of that name and nothing says that it may be replaced.
            StorageError: if the storage does not say.
        """
        stem = name.removesuffix(".parquet") if isinstance(name, str) else ""
        if (
            not stem.strip()
            or stem.startswith((".", "_"))
            or any(letter in "/\\" or not letter.isprintable() for letter in stem)
            or len(stem.encode("utf-8", "replace")) > _LONGEST_NAME
        ):
            raise SettingsError(
                f"manifest name {name!r}: expected a file's name, with none of / \\ and control "
                "characters, that begins with neither . nor _ (such files are not read)"
            )
        made = cls(folder, f"{stem}.parquet", digest_of(source) if source else None, replace)
        if made._taken():
            raise ManifestError(made._taken_words("is there already"))
        return made

    def replaced_rows(self) -> int | None:
        """Rows of the file that is there; None where there is none that can be read."""
        found = _read(self.folder, self.file)
        return None if found is None else found.num_rows

    def deliver(self, path: Path, rows: int, sync: Callable[[], None]) -> None:
        """Put a finished file under its name; whole or not at all.

        Args:
            path: the file, on this machine; kept where the storage fails.
            rows: number of its rows, for messages.
            sync: called before; what the rows refer to survives a cut of the power then.

        Raises:
            ManifestError: if another writer has taken the name meanwhile. The rows are then in a
                file beside it that is not read, which the message names.
            StorageError: if the file cannot be written.
        """
        with self._kept(path, rows, self.file):
            sync()
            if self.replace:
                self._put(path, self.file)
                return
            if self.folder.put_new(self.file, path):
                return
            taken = self._taken()
            if not taken:
                self._put(path, self.file)
        if taken:
            self._set_aside(path, rows)

    def _set_aside(self, path: Path, rows: int) -> None:
        beside = f"{self.file.removesuffix('.parquet')}-{uuid.uuid4().hex[:8]}.parquet"
        with self._kept(path, rows, beside):
            self._put(path, f"_{beside}")
        raise ManifestError(
            self._taken_words("was written by another writer meanwhile")
            + f". The {rows} rows of this one are in {self.folder.shown}/_{beside}, which is not "
            f"read: rename it to {beside} to deliver them"
        )

    @contextmanager
    def _kept(self, path: Path, rows: int, target: str) -> Iterator[None]:
        """Says where the rows are if the storage fails."""
        try:
            yield
        except StorageError as error:
            raise StorageError(
                f"{error}. The {rows} rows are kept in {path}: copy that file to "
                f"{self.folder.shown}/{target}, or run again"
            ) from None

    def _put(self, path: Path, file: str) -> None:
        with path.open("rb") as source, self.folder.open_output(file) as output:
            shutil.copyfileobj(source, output, 1 << 20)

    def _taken(self) -> bool:
        """Whether there is a file that must not be replaced."""
        if self.replace or self.folder.stored(self.file) is None:
            return False
        return self.source_digest is None or self.source_digest != source_in(self.folder, self.file)

    def _taken_words(self, what: str) -> str:
        stored, rows = self.folder.stored(self.file), self.replaced_rows()
        details = [] if rows is None else [f"{rows} rows"]
        if stored is not None:
            details.append(f"{stored.modified:%Y-%m-%d %H:%M} UTC")
        shown = f" ({', '.join(details)})" if details else ""
        return (
            f"{self.folder.shown}/{self.file} {what}{shown}: name=... (--name) puts this delivery "
            "beside it, replace=True (--replace) in its place"
        )


def digest_of(source: str) -> str:
    """A source as it is recorded: no path of anybody's machine."""
    return hashlib.sha256(source.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def source_in(folder: Folder, file: str) -> str | None:
    """The digest of its source that a manifest file holds."""
    found = _read(folder, file)
    digest = (found.metadata or {}).get(SOURCE_KEY) if found is not None else None
    return None if digest is None else digest.decode("ascii", "replace")


def is_import_of_unknown_source(folder: Folder, file: str) -> bool:
    """Whether a file was imported before imports recorded their source."""
    found = _read(folder, file)
    if found is None or SOURCE_KEY in (found.metadata or {}):
        return False
    return FINDINGS_COLUMN in found.schema.to_arrow_schema().names


def _read(folder: Folder, file: str) -> pq.FileMetaData | None:
    """The footer of a file; None where there is none, or it is damaged."""
    if folder.stored(file) is None:
        return None
    try:
        with folder.open_input(file) as handle:
            return pq.ParquetFile(handle).metadata
    except (pa.ArrowException, OSError, ValueError):
        return None
