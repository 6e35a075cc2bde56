"""What was stored and is not yet in the catalog, kept with the registry.

The client sends a call as many requests. Each is answered when it is here, and the catalog gets
them together, in one version. A process that is killed in between leaves them to the next one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from segpipe.nucleus_server.database import Database
from segpipe.validation.validated import PredictionBatch

_SEGMENTS = "segments"


@dataclass(frozen=True)
class Entry:
    """Segmentations that were stored together.

    Attributes:
        place: its number in the journal.
        run: the run id under which they were published, or were about to be; None before.
        fit: those for the catalog; None if there is none.
        unfit: reference id -> why what is stored is not fit for the catalog, which drops what it
            has for the item.
    """

    place: int
    dataset: str
    owner: str
    update: bool
    run: str | None
    fit: PredictionBatch | None
    unfit: Mapping[str, str]

    @property
    def reference_ids(self) -> set[str]:
        """Of all its items."""
        fit = [] if self.fit is None else self.fit.rows["reference_id"].to_pylist()
        return {*fit, *self.unfit}


class Journal:
    """The entries of a database, in the order they were made."""

    def __init__(self, database: Database) -> None:
        self._rows = database.rows

    def add(
        self,
        dataset: str,
        owner: str,
        fit: PredictionBatch | None,
        unfit: Mapping[str, str],
        *,
        update: bool,
    ) -> None:
        """Add an entry; a part of the caller's transaction."""
        self._rows(
            "INSERT INTO journal (dataset, owner, changes, fit, unfit) VALUES (?, ?, ?, ?, ?)",
            *(dataset, owner, update, None if fit is None else _written(fit)),
            json.dumps(dict(unfit)),
        )

    def owners(self) -> list[tuple[str, str]]:
        """Datasets and owners that there are entries of."""
        rows = self._rows("SELECT dataset, owner FROM journal GROUP BY 1, 2 ORDER BY min(place)")
        return [(row["dataset"], row["owner"]) for row in rows]

    def entries(self, dataset: str, owner: str) -> list[Entry]:
        """The entries of an owner in a dataset."""
        statement = "SELECT * FROM journal WHERE dataset = ? AND owner = ? ORDER BY place"
        return [
            Entry(
                row["place"],
                dataset,
                owner,
                bool(row["changes"]),
                row["run"],
                None if row["fit"] is None else _read(row["fit"]),
                json.loads(row["unfit"]),
            )
            for row in self._rows(statement, dataset, owner)
        ]

    def name_run(self, entries: list[Entry], run: str) -> None:
        """Note the run id under which entries are about to be published."""
        for one in entries:
            self._rows("UPDATE journal SET run = ? WHERE place = ?", run, one.place)

    def remove(self, entries: list[Entry]) -> None:
        """Remove entries that the catalog has; a part of the caller's transaction."""
        for one in entries:
            self._rows("DELETE FROM journal WHERE place = ?", one.place)

    def reference_ids(self, dataset: str, owner: str) -> set[str]:
        """Items for which the registry is ahead of the catalog."""
        return set().union(*(one.reference_ids for one in self.entries(dataset, owner)))


def _written(batch: PredictionBatch) -> bytes:
    table = batch.rows.append_column(_SEGMENTS, batch.segments)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _read(data: bytes) -> PredictionBatch:
    table = pa.ipc.open_stream(data).read_all()
    segments = pa.concat_arrays(table[_SEGMENTS].chunks)
    return PredictionBatch(table.drop_columns([_SEGMENTS]), segments)
