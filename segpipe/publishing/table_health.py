"""Whether a catalog's table wants to be optimized: how many files and log entries it has."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from segpipe.publishing.log_entries import LOG
from segpipe.publishing.stored_predictions import StoredPredictions
from segpipe.publishing.table_format import FILE_SIZE, TABLE

#: More data files than this, of which the half could be written as few, slow down every read.
MOST_SMALL_FILES = 1000
#: More entries of the log than this slow down every opening.
MOST_ENTRIES = 2000
_ENTRY = re.compile(r"\d{20}\.json")


@dataclass(frozen=True)
class TableHealth:
    """Figures of a table's newest version.

    Attributes:
        version: of the table.
        files, bytes: its data files, and their size together.
        small_files: those below half the size that optimizing writes.
        log_entries: versions whose entries are kept, and can be read and restored.
    """

    version: int
    files: int
    bytes: int
    small_files: int
    log_entries: int

    @property
    def is_healthy(self) -> bool:
        """Whether reading and opening it are as fast as they can be, about."""
        return self.small_files <= MOST_SMALL_FILES and self.log_entries <= MOST_ENTRIES

    def __str__(self) -> str:
        return (
            f"{self.files} files ({self.small_files} small, {self.bytes / 1e6:.1f} MB), "
            f"{self.log_entries} versions in the log"
        )


def table_health(catalog: StoredPredictions) -> TableHealth | None:
    """The figures of a catalog; None if nothing was published yet.

    Raises:
        CatalogError, StorageError: if it cannot be read.
    """
    table = catalog.table.open()
    if table is None:
        return None
    sizes = pa.table(table.get_add_actions(flatten=True)).column("size_bytes")
    log = catalog.folder.folder(TABLE, LOG)
    names = [posixpath.basename(one.path) for one in log.files()]
    entries = [name for name in names if _ENTRY.fullmatch(name)]
    small = pc.sum(pc.less(sizes, FILE_SIZE // 2)).as_py() or 0
    return TableHealth(table.version(), len(sizes), pc.sum(sizes).as_py() or 0, small, len(entries))
