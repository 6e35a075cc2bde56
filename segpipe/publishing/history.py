"""The catalog's history: who published what when, and what changed between two versions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from segpipe.errors import CatalogError
from segpipe.publishing.log_commits import TORN_OPERATION
from segpipe.publishing.stored_predictions import StoredPredictions
from segpipe.tables.columns import SEGMENT_COLUMNS
from segpipe.tables.schemas import IDENTITY
from segpipe.tables.text import html_table, text_table

#: Prefix of segpipe's keys in the metadata of the table's commits.
NOTE = "segpipe."
_OPERATIONS = {
    "CREATE TABLE": "create",
    TORN_OPERATION: "torn",
    "DELETE": "unpublish",
    "MERGE": "publish",
    "OPTIMIZE": "optimize",
    "RESTORE": "restore",
    "VACUUM END": "vacuum",
    "VACUUM START": "vacuum",
    "WRITE": "publish",
}
_IDENTITY = [field.name for field in IDENTITY]
_FIRST_FORMAT = {name for name, column in SEGMENT_COLUMNS.items() if column.since == 1}
_ITEMS_AT_ONCE = 500
# "index label" -> the Segment's columns.
_Segments = Mapping[str, Any]

#: One row per item that differs between two versions.
DIFFERENCES = pa.schema(
    [
        *IDENTITY,
        pa.field("change", pa.string()),
        pa.field("fingerprint_before", pa.string()),
        pa.field("fingerprint_after", pa.string()),
        pa.field("segments_added", pa.list_(pa.string())),
        pa.field("segments_removed", pa.list_(pa.string())),
        pa.field("segments_changed", pa.list_(pa.string())),
    ]
)


@dataclass(frozen=True)
class Version:
    """One commit of the catalog.

    Attributes:
        operation: create, publish, unpublish, withdraw for predictions that the endpoint replaced
            by ones the catalog does not take, restore, optimize, vacuum, mend for damaged files
            that were taken out, widen for columns of declared metadata, upgrade for those of a new
            format; ``torn`` for one that a cut of the power damaged, and that is not part of the
            table.
        notes: model run, partition, run id, update, and counts, as far as the commit has them.
    """

    version: int
    time: datetime
    operation: str
    notes: Mapping[str, str]


class History(list[Version]):
    """Versions, newest first; displayed as a table."""

    _COLUMNS = ("version", "time (UTC)", "operation", "notes")

    def _rows(self) -> Iterator[tuple[object, ...]]:
        for one in self:
            notes = ", ".join(f"{name} {value}" for name, value in one.notes.items() if value)
            yield one.version, f"{one.time:%Y-%m-%d %H:%M:%S}", one.operation, notes

    def __repr__(self) -> str:
        return text_table(self._COLUMNS, self._rows()) if self else "nothing was published yet"

    def _repr_html_(self) -> str:
        return html_table(self._COLUMNS, self._rows()) if self else repr(self)


def history(catalog: StoredPredictions, most: int | None = None) -> History:
    """The catalog's versions, newest first; empty if nothing has been published yet.

    Versions that were torn are told beside those that took their place.

    Args:
        most: how many of the newest, not counting torn ones; all if None.
    """
    return History(_version(commit) for commit in catalog.table.commits(most))


def _version(commit: Mapping[str, Any]) -> Version:
    given = commit["operation"]
    noted = None if given == TORN_OPERATION else commit.get(f"{NOTE}operation")
    operation = noted or _OPERATIONS.get(given, "other")
    notes = {
        key.removeprefix(NOTE): str(value)
        for key, value in sorted(commit.items())
        if key.startswith(NOTE) and key != f"{NOTE}operation"
    }
    return Version(
        int(commit["version"]),
        datetime.fromtimestamp(commit["timestamp"] / 1000, UTC),
        str(operation),
        notes,
    )


def diff(catalog: StoredPredictions, before: int, after: int) -> pa.Table:
    """What changed between two versions: DIFFERENCES, one row per item, sorted by identity.

    ``change`` is ``added``, ``replaced`` or ``removed``; segments are named ``index label``.

    Raises:
        CatalogError: if a version does not exist or its files were vacuumed.
    """
    old, new = (_fingerprints(catalog, version) for version in (before, after))
    rows = old.join(new, keys=_IDENTITY, join_type="full outer", right_suffix="_after")
    same = pc.fill_null(pc.equal(rows["fingerprint"], rows["fingerprint_after"]), False)
    changed = rows.filter(pc.invert(same)).sort_by([(name, "ascending") for name in _IDENTITY])
    return pa.Table.from_pylist(list(_differences(catalog, changed, before, after)), DIFFERENCES)


def _fingerprints(catalog: StoredPredictions, version: int) -> pa.Table:
    return catalog.read([*_IDENTITY, "fingerprint"], version=version)


def _differences(
    catalog: StoredPredictions, changed: pa.Table, before: int, after: int
) -> Iterator[dict[str, Any]]:
    for start in range(0, changed.num_rows, _ITEMS_AT_ONCE):
        rows = changed.slice(start, _ITEMS_AT_ONCE)
        replaced = rows.filter(
            pc.and_(pc.is_valid(rows["fingerprint"]), pc.is_valid(rows["fingerprint_after"]))
        )
        old, new = (_segments(catalog, replaced, version) for version in (before, after))
        for row in rows.to_pylist():
            was, now = row.pop("fingerprint"), row.pop("fingerprint_after")
            change = "added" if was is None else "removed" if now is None else "replaced"
            segments = {}
            if change == "replaced":
                segments = _changed_segments(*(whole[tuple(row.values())] for whole in (old, new)))
            yield {
                **row,
                "change": change,
                "fingerprint_before": was,
                "fingerprint_after": now,
                **segments,
            }


def _changed_segments(old: _Segments, new: _Segments) -> dict[str, list[str]]:
    return {
        "segments_added": [name for name in new if name not in old],
        "segments_removed": [name for name in old if name not in new],
        "segments_changed": [
            name for name in new if name in old and _given(new[name]) != _given(old[name])
        ],
    }


def _given(segment: Mapping[str, Any]) -> dict[str, Any]:
    """A Segment without the columns made of its metadata, which either version may lack."""
    return {name: value for name, value in segment.items() if name in _FIRST_FORMAT}


def _segments(
    catalog: StoredPredictions, items: pa.Table, version: int
) -> dict[tuple[str, str, str], _Segments]:
    """Identity -> the item's Segments at a version.

    Args:
        items: their identities, one row each.
    """
    found: dict[tuple[str, str, str], _Segments] = {}
    whose = items.group_by(["dataset", "model_run"]).aggregate([("reference_id", "list")])
    for group in whose.to_pylist():
        dataset, model_run = group["dataset"], group["model_run"]
        ids = group["reference_id_list"]
        rows = catalog.read_items(
            dataset, model_run, ids, ["reference_id", "segments"], version=version
        ).to_pylist()
        if len(rows) != len(ids):
            raise CatalogError(
                f"version {version} holds {len(rows)} predictions for {len(ids)} items of "
                f"{model_run!r}: it was changed by something other than segpipe"
            )
        for row in rows:
            named = {f"{s['index']} {s['label']}": s for s in row["segments"]}
            found[dataset, model_run, row["reference_id"]] = named
    return found
