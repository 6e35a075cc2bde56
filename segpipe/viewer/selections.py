"""Selections of predictions under names, as the page and Python save them.

They are kept beside the index, so that an address with one works in a server started later.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from segpipe.errors import shortened
from segpipe.viewer.kept_files import KeptFiles
from segpipe.viewer.refusal import RequestRefused
from segpipe.viewer.snapshot import Snapshot

#: The page's own selection, as it is at the moment.
SELECTED = "selected"
_LONGEST_NAME, _MOST = 100, 100_000


class Chosen(NamedTuple):
    """A prediction that was selected; model run and day are None where any is meant."""

    id: str
    model_run: str | None
    date: str | None


class Selections:
    """The selections of a root."""

    def __init__(self, kept: KeptFiles) -> None:
        self._kept = kept
        self._known: dict[str, tuple[Chosen, ...]] = {}
        self._lock = threading.Lock()

    def save(self, name: str, chosen: Sequence[Chosen]) -> None:
        """Keep a selection under a name, instead of the one of that name before.

        Raises:
            RequestRefused: if it has no name, or too many predictions.
        """
        if not name.strip() or len(name) > _LONGEST_NAME or not name.isprintable():
            raise RequestRefused(
                f"a selection needs a name of at most {_LONGEST_NAME} printable characters"
            )
        if len(chosen) > _MOST:
            raise RequestRefused(f"{len(chosen)} are selected, at most {_MOST} can be kept")
        data = orjson.dumps([list(one) for one in chosen])
        kept = name != SELECTED and self._kept.put(_file(name), data) is not None
        with self._lock:
            self._known.pop(name, None)  # of a file, another server may write a newer one
            if not kept:  # of the page that is open; or the disk is full
                self._known[name] = tuple(chosen)

    def of(self, name: str) -> tuple[Chosen, ...]:
        """The selection of a name.

        Raises:
            RequestRefused: if there is none.
        """
        with self._lock:
            found = self._known.get(name)
        if found is not None:
            return found
        data = self._kept.get(_file(name))
        if data is None:
            raise RequestRefused(f"there is no selection {shortened(name, 60)!r}", 404)
        try:
            return tuple(Chosen(*one) for one in orjson.loads(data))
        except (ValueError, TypeError):  # a damaged file
            raise RequestRefused(f"there is no selection {shortened(name, 60)!r}", 404) from None


def _file(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()


def of_selection(snapshot: Snapshot, chosen: Sequence[Chosen]) -> NDArray[np.bool_]:
    """N bools: the rows of a snapshot that are selected."""
    mask = np.zeros(len(snapshot), bool)
    by_run: dict[tuple[str | None, str | None], list[str]] = {}
    for one in chosen:
        by_run.setdefault((one.model_run, one.date), []).append(one.id)
    for (run, date), ids in by_run.items():
        found = pc.is_in(snapshot.rows.ids, value_set=pa.array(ids, pa.string()))
        own = found.to_numpy(zero_copy_only=False)
        if run is not None:
            runs = np.array([group.model_run == run for group in snapshot.groups], bool)
            own = own & np.repeat(runs, np.diff(snapshot.group_starts))
        if date is not None:
            number = snapshot.names.dates.known(date)
            own = own & (False if number is None else snapshot.rows.date == number)
        mask |= own
    return mask


def chosen_of(value: Any, chosen: Callable[[str], Chosen]) -> tuple[str, list[Chosen]]:
    """Name and predictions of a request to save a selection.

    Raises:
        RequestRefused: if it is none.
    """
    fits = isinstance(value, dict) and set(value) == {"name", "keys"}
    fits = fits and isinstance(value["name"], str) and isinstance(value["keys"], list)
    if not fits or not all(isinstance(key, str) for key in value["keys"]):
        raise RequestRefused("expected {name, keys}, the keys of predictions")
    if len(value["keys"]) > _MOST:
        raise RequestRefused(f"{len(value['keys'])} are selected, at most {_MOST} can be kept")
    return value["name"], [chosen(key) for key in value["keys"]]
