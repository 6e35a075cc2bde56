"""Upgrading a catalog of an older format.

No data file is read or rewritten: the table's schema gets the columns that the format brings, null
in what was published before, and last its property says the format. Where an upgrade is cut off in
between, the table is still of the older format, and the next upgrade completes it. Restoring the
version before undoes it. A publisher that is under way, of whatever segpipe, based its plan on the
older schema: its commit is refused by the log, and it looks at the table again.
"""

from __future__ import annotations

from dataclasses import dataclass

from deltalake import CommitProperties, DeltaTable

from segpipe.errors import CatalogError
from segpipe.publishing.history import NOTE
from segpipe.publishing.maintenance import committed
from segpipe.publishing.stored_predictions import StoredPredictions
from segpipe.publishing.table_columns import described, missing_columns
from segpipe.publishing.table_format import format_of
from segpipe.tables.schemas import FORMAT, FORMAT_KEY
from segpipe.validation.validated import SEGMENT_LIST


@dataclass(frozen=True)
class Upgrade:
    """What an upgrade does, or would do.

    Attributes:
        before: the version of the catalog that was upgraded; restoring it undoes the upgrade.
        found: the format it was of.
        columns: the columns that Segments get.
        predictions: how many are published, whose values there are null.
        done: the version that is upgraded; None for a dry run, or where there was nothing to do.
    """

    before: int
    found: int
    columns: tuple[str, ...]
    predictions: int
    done: int | None = None

    @property
    def needed(self) -> bool:
        """Whether the catalog was of an older format."""
        return self.found != FORMAT


def upgrade(catalog: StoredPredictions, run_id: str, *, dry_run: bool) -> Upgrade:
    """Upgrade a catalog to FORMAT; one that is of it already is left alone.

    Args:
        run_id: recorded in the history.
        dry_run: say what would be done, and change nothing.

    Raises:
        OtherFormatError: if it is of a newer one.
        CatalogError: if there is none, or it cannot be read.
        StorageError: if it cannot be written.
    """
    table = catalog.table.open()
    if table is None:
        raise CatalogError(f"{catalog!r} holds nothing yet")
    planned = _planned(catalog, table)
    if dry_run or not planned.needed:
        return planned
    begun: list[Upgrade] = []

    def add_columns(table: DeltaTable) -> None:
        begun[:] = [_planned(catalog, table)]
        if begun[0].needed and begun[0].columns:
            table.alter.add_columns(
                list(described().fields),
                commit_properties=_notes(run_id, columns=", ".join(begun[0].columns)),
                post_commithook_properties=catalog.table.hooks,
            )

    def set_format(table: DeltaTable) -> None:
        if format_of(table) != FORMAT:
            table.alter.set_table_properties(
                {FORMAT_KEY: str(FORMAT)},
                raise_if_not_exists=False,
                commit_properties=_notes(run_id, format=str(FORMAT)),
                post_commithook_properties=catalog.table.hooks,
            )

    committed(catalog, add_columns)
    done = committed(catalog, set_format)
    found = begun[0]
    return Upgrade(found.before, found.found, found.columns, found.predictions, done)


def _planned(catalog: StoredPredictions, table: DeltaTable) -> Upgrade:
    columns = tuple(field.name for field in missing_columns(table, SEGMENT_LIST))
    rows = catalog.table.read(table, ["dataset"]).num_rows
    return Upgrade(table.version(), format_of(table) or 0, columns, rows)


def _notes(run_id: str, **notes: str) -> CommitProperties:
    given = {"operation": "upgrade", "run_id": run_id, **notes}
    return CommitProperties(custom_metadata={f"{NOTE}{key}": one for key, one in given.items()})
