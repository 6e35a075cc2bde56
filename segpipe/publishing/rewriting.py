"""Splits replaced rows into commits that each rewrite a bounded number of rows.

A file of the table is never changed: replacing one of its rows rewrites all of them. Replaced rows
are therefore committed in parts that touch few files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
from deltalake import DeltaTable


@dataclass(frozen=True, slots=True)
class FileSpan:
    """One file's entry in the log.

    Attributes:
        first, last: the smallest and the largest reference id.
        rows: number of rows.
    """

    first: str
    last: str
    rows: int


def file_spans(table: DeltaTable, dataset: str, model_run: str) -> list[FileSpan]:
    """The files of a model run.

    The log may shorten long ids: use this for planning, not to find out which rows exist.
    """
    actions = pa.table(table.get_add_actions(flatten=True))
    names = ("partition.dataset", "partition.model_run", "num_records")
    columns = [*names, "min.reference_id", "max.reference_id"]
    if not set(columns) <= set(actions.column_names):  # a table without statistics
        return []
    return [
        FileSpan(row["min.reference_id"], row["max.reference_id"], row["num_records"] or 0)
        for row in actions.select(columns).to_pylist()
        if (row["partition.dataset"], row["partition.model_run"]) == (dataset, model_run)
        and row["min.reference_id"] is not None
        and row["max.reference_id"] is not None
    ]


def parts(reference_ids: Sequence[str], files: Sequence[FileSpan], most_rows: int) -> list[int]:
    """How many of the ids go into each part, in order.

    The files that a part rewrites hold at most ``most_rows`` rows, unless the files of a single id
    hold more. An id whose files are all part of the rewrite already always joins the part. A table
    whose files all span the same ids is therefore rewritten once, not once for every id.

    Args:
        reference_ids: sorted.
    """
    waiting = iter(sorted(files, key=lambda file: file.first))
    upcoming = next(waiting, None)
    reached: list[FileSpan] = []  # files that begin at or before the current id
    counts: list[int] = []
    touched = 0
    for id in reference_ids:
        new: list[FileSpan] = []
        while upcoming is not None and upcoming.first <= id:
            new.append(upcoming)
            upcoming = next(waiting, None)
        new = [file for file in new if file.last >= id]
        reached += new
        more = sum(file.rows for file in new)
        if counts and (not more or touched + more <= most_rows):
            counts[-1] += 1
            touched += more
        else:
            reached = [file for file in reached if file.last >= id]
            touched = sum(file.rows for file in reached)
            counts.append(1)
    return counts


def slices(rows: pa.Table, files: Sequence[FileSpan], most_rows: int) -> Iterator[pa.Table]:
    """The rows, sorted by ``reference_id``, split as :func:`parts` says."""
    rows = rows.sort_by("reference_id")
    start = 0
    for count in parts(rows["reference_id"].to_pylist(), files, most_rows):
        yield rows.slice(start, count)
        start += count
