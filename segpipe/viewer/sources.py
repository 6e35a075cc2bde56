"""What an index is made of: the catalog's data files and the partitions' tables as they are."""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from urllib.parse import unquote

import pyarrow as pa
from deltalake import DeltaTable

from segpipe.errors import SegpipeError
from segpipe.publishing.table_format import TABLE
from segpipe.queries.stored_tables import published_files
from segpipe.root import Root
from segpipe.storage.files import StoredFile
from segpipe.validation.summary import SUMMARY_FILE, Summary
from segpipe.viewer.blocks import catalog_block, rejected_block, validated_block
from segpipe.viewer.kept_files import KeptFiles

# Part of the names of kept blocks: another number where blocks come out otherwise.
_FORMAT = 1
_SUMMARIES = re.compile(
    rf"model_run=(?P<model_run>[^/]+)/date=(?P<date>[^/]+)/{re.escape(SUMMARY_FILE)}"
)
_MOST_OPEN = 96
PUBLISHED, VALIDATED, REJECTED = "published", "validated", "rejected"


@dataclass(frozen=True)
class Source:
    """A data file of the catalog, or the accepted or rejected rows of a partition.

    Attributes:
        kind: published, validated or rejected.
        date: of the partition; None for a file of the catalog.
        path: of the file below the table; of the partition's folder below ``validated``.
        digest: of the partition's table; empty for a file of the catalog, which never changes.
    """

    kind: str
    dataset: str
    model_run: str
    date: str | None
    path: str
    digest: str = ""

    @property
    def order(self) -> tuple[str, ...]:
        """Sources in this order: published before validated before rejected."""
        return self.dataset, self.model_run, self.kind, self.date or "", self.path


class Blocks:
    """The blocks of a root's sources, made once and kept as files that are mapped when needed."""

    def __init__(self, root: Root, kept: KeptFiles) -> None:
        self._table = root.settings.folder("catalog").folder(TABLE)
        self._validated = root.settings.folder("validated")
        self._kept = kept
        self._open: OrderedDict[Source, pa.Table] = OrderedDict()
        self._lock = Lock()

    def of(self, source: Source, *, remember: bool = True) -> pa.Table:
        """The block of a source.

        Args:
            remember: whether it stays mapped, for rows of it that are looked up.

        Raises:
            SegpipeError, OSError, pa.ArrowException: if it has to be made and cannot be read.
        """
        with self._lock:
            if source in self._open:
                self._open.move_to_end(source)
                return self._open[source]
        block = self._found(source)
        if remember:
            with self._lock:
                self._open[source] = block
                while len(self._open) > _MOST_OPEN:
                    self._open.popitem(last=False)
        return block

    def is_kept(self, source: Source) -> bool:
        """Whether its block has been made."""
        return self._kept.path(self._name(source)).exists()

    def _name(self, source: Source) -> str:
        parts = (str(_FORMAT), source.kind, source.path, source.digest, self._table.url)
        return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()

    def _found(self, source: Source) -> pa.Table:
        name = self._name(source)
        path = self._kept.path(name)
        try:
            return pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        except (OSError, pa.ArrowException):
            block = self._made(source)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, block.schema) as writer:
            writer.write_table(block)
        self._kept.put(name, memoryview(sink.getvalue()))
        return block

    def _made(self, source: Source) -> pa.Table:
        if source.kind == PUBLISHED:
            return catalog_block(self._table, source.path)
        folder = self._validated.folder(*source.path.split("/"))
        made = validated_block if source.kind == VALIDATED else rejected_block
        return made(folder, source.digest)


def catalog_sources(table: DeltaTable | None, shown: str) -> list[Source]:
    """The data files of a version of the catalog.

    Raises:
        CatalogError: if another tool has changed it so that they cannot be read.
    """
    if table is None:
        return []
    return [
        Source(
            PUBLISHED, str(file.values.get("dataset")), str(file.values.get("model_run")), None,
            file.path,
        )
        for file in published_files(table, shown)
    ]  # fmt: skip


@dataclass(frozen=True)
class MaterializedPartition:
    """A partition's summary.

    Attributes:
        path: of its folder below ``validated``.
    """

    model_run: str
    date: str
    path: str
    summary: Summary


class Partitions:
    """The summaries of the materialized partitions; one that is as it was is not read again."""

    def __init__(self, root: Root) -> None:
        self._folder = root.settings.folder("validated")
        self._dataset = root.settings.dataset
        self._known: dict[str, tuple[StoredFile, Summary]] = {}

    def now(self) -> tuple[list[MaterializedPartition], list[str]]:
        """The partitions, and words for those whose summary cannot be read.

        Raises:
            StorageError: if the folder cannot be listed.
        """
        found: list[MaterializedPartition] = []
        notes: list[str] = []
        for stored in self._folder.files():
            path = stored.path[len(self._folder.path) + 1 :]
            match = _SUMMARIES.fullmatch(path)
            if match is None:
                continue
            folder = path.rpartition("/")[0]
            known = self._known.get(path)
            if known is None or known[0] != stored:
                try:
                    known = stored, Summary.read(self._folder.folder(*folder.split("/")))
                except SegpipeError as error:
                    notes.append(str(error))
                    continue
                self._known[path] = known
            run, date = unquote(match["model_run"]), unquote(match["date"])
            found.append(MaterializedPartition(run, date, folder, known[1]))
        return found, notes

    def sources(self, partitions: Sequence[MaterializedPartition]) -> list[Source]:
        """The accepted and the rejected rows of partitions."""
        found = []
        for one in partitions:
            place = self._dataset, one.model_run, one.date, one.path
            if one.summary.accepted:
                found.append(Source(VALIDATED, *place, one.summary.validated_digest))
            if one.summary.rejected:
                found.append(Source(REJECTED, *place, one.summary.rejected_digest))
        return found
