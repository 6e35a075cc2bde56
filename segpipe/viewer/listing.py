"""Rows in order, a page at a time; a cursor stays valid while runs publish."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segpipe.viewer.filters import Filters
from segpipe.viewer.keys import decoded, encoded
from segpipe.viewer.refusal import RequestRefused
from segpipe.viewer.snapshot import Snapshot

_MOST_REMEMBERED = 6
Select = Callable[[Snapshot, Filters], NDArray[np.bool_]]


@dataclass(frozen=True)
class Listed:
    """The rows that filters leave, in their order.

    Attributes:
        rows: their places in the snapshot.
        values: what they are ordered by before their identity; NaN comes last.
    """

    rows: NDArray[np.int32]
    values: NDArray[np.float64] | None


def listed(
    snapshot: Snapshot,
    filters: Filters,
    select: Select,
    changes: Callable[[Snapshot], NDArray[np.float32]],
) -> Listed:
    """The rows that filters leave, in their order; that of the last requests is remembered.

    Args:
        select: the filters, on a snapshot.
        changes: of each row of a snapshot, how much it differs from the version before.
    """
    with snapshot.lock:
        found = snapshot.remembered.get(filters)
    if found is not None:
        return found  # type: ignore[no-any-return]
    mask = select(snapshot, filters)
    if filters.sort == "id":
        rows, values = snapshot.order[mask[snapshot.order]], None
    else:
        chosen = np.flatnonzero(mask).astype(np.int32)
        values = _values(snapshot, filters.sort, chosen, changes)
        order = np.lexsort((snapshot.rank[chosen], values))
        rows, values = chosen[order], values[order]
    made = Listed(rows, values)
    if filters.ids is not None:  # the selection of a name may be another one by the next request
        return made
    with snapshot.lock:
        snapshot.remembered[filters] = made
        while len(snapshot.remembered) > _MOST_REMEMBERED:
            del snapshot.remembered[next(iter(snapshot.remembered))]
    return made


def _values(
    snapshot: Snapshot,
    sort: str,
    rows: NDArray[np.int32],
    changes: Callable[[Snapshot], NDArray[np.float32]],
) -> NDArray[np.float64]:
    """What rows are ordered by, ascending."""
    columns = snapshot.rows
    if sort == "least-sure":
        return columns.confidence[rows].astype(np.float64)
    if sort == "most-segments":
        return -columns.n_segments[rows].astype(np.float64)
    if sort == "newest":
        return -columns.published[rows].astype(np.float64)
    if sort == "largest-change":
        return -changes(snapshot)[rows].astype(np.float64)
    found = np.full(rows.size, np.nan)
    has = columns.rules[rows] > 0
    if has.any():
        found[has] = columns.rule[snapshot.rule_starts[rows[has]]]
    return found


def after(snapshot: Snapshot, found: Listed, cursor: str | None) -> int:
    """Where in a list the rows after a cursor begin.

    Raises:
        RequestRefused: if it is no cursor.
    """
    if not cursor:
        return 0
    value = decoded(cursor, "cursor")
    fits = isinstance(value, list) and len(value) == 7
    fits = fits and (value[0] is None or isinstance(value[0], (int, float)))
    kinds = (str, str, str, int, str, int)
    if not fits or not all(map(isinstance, value[1:], kinds)):
        raise RequestRefused("the cursor is not one of this page: it is cut or changed")
    number = math.inf if value[0] is None else float(value[0])
    wanted = number, _bytewise(tuple(value[1:]))
    low, high = 0, len(found.rows)
    while low < high:
        middle = (low + high) // 2
        row = int(found.rows[middle])
        if (_number(found, middle), _bytewise(snapshot.identity(row))) <= wanted:
            low = middle + 1
        else:
            high = middle
    return low


def cursor_of(snapshot: Snapshot, found: Listed, place: int) -> str:
    """The cursor of what comes after a place in a list."""
    number = _number(found, place)
    identity = snapshot.identity(int(found.rows[place]))
    return encoded([None if math.isinf(number) else number, *identity])


def _number(found: Listed, place: int) -> float:
    if found.values is None:
        return math.inf
    value = float(found.values[place])
    return math.inf if math.isnan(value) else value


def _bytewise(identity: tuple[object, ...]) -> tuple[object, ...]:
    return tuple(
        one.encode("utf-8", "surrogatepass") if isinstance(one, str) else one for one in identity
    )
