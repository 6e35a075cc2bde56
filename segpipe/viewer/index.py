"""The index of a root: a snapshot of its rows, which is renewed as runs publish.

Requests read one snapshot. Whether a newer one is due is a question for a single file of the
catalog's log, asked at most once a second; a newer one is made beside the old one, in a thread.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from segpipe.errors import SegpipeError, shortened
from segpipe.predictions.view import View
from segpipe.root import Root
from segpipe.validation.rules import CATALOGUE
from segpipe.viewer.blocks import BINS, BINS_KEY, notes_of
from segpipe.viewer.kept_files import KeptFiles
from segpipe.viewer.memory import give_back
from segpipe.viewer.rows import (
    ACCEPTED,
    IGNORED,
    Dictionaries,
    Rows,
    joined,
    rows_of,
)  # fmt: skip
from segpipe.viewer.rows import (
    REJECTED as REJECTED_ROWS,
)
from segpipe.viewer.snapshot import Group, Snapshot, together
from segpipe.viewer.sources import (
    PUBLISHED,
    VALIDATED,
    Blocks,
    MaterializedPartition,
    Partitions,
    Source,
    catalog_sources,
)

_logger = logging.getLogger("segpipe.viewer")
_CHECKED_EVERY = 1.0
_LISTED_EVERY = 5.0
# Of blocks that have to be made first: how long the first page waits for them.
_FIRST_SECONDS = 0.25
_MOST_NOTES = 20
# Requests that wait for all rows at a time; the others get those there are.
_MOST_WAITING = 3
_READ_AGAIN = 30.0


class Index:
    """The snapshot of a root, kept up to date.

    Args:
        kept: where blocks are kept.
    """

    def __init__(self, root: Root, kept: KeptFiles) -> None:
        self._root = root
        self.blocks = Blocks(root, kept)
        self._partitions = Partitions(root)
        self._names = Dictionaries.empty()
        # In order, so that rows sorted by rule stay in place while others are added.
        self._names.rules.numbers(sorted(CATALOGUE))
        self._snapshot: Snapshot | None = None
        self._said: Sequence[str] = ()  # of partitions, in the snapshot
        self._ready = threading.Event()
        self._whole = threading.Event()
        self._waiting = threading.BoundedSemaphore(_MOST_WAITING)
        self._building = threading.Lock()
        self._asked = threading.Lock()
        self._checked = self._listed = self._read_all = 0.0
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to read what there is, in a thread."""
        self._renew_if_due()

    def snapshot(self, *, whole: float = 0.0) -> Snapshot:
        """The newest snapshot there is; the first call waits for the first.

        Args:
            whole: seconds to wait for one with all rows, for what cannot be answered otherwise.

        Raises:
            SegpipeError: if the root cannot be read at all.
        """
        self._renew_if_due()
        self._ready.wait()
        # Few may wait: the others are answered with what there is.
        if whole and self._snapshot is not None and self._waiting.acquire(blocking=False):
            try:
                self._whole.wait(whole)
            finally:
                self._waiting.release()
        found = self._snapshot
        if found is None:
            self.renew()
            found = self._snapshot
            assert found is not None
        return found

    def renew(self) -> None:
        """Bring the snapshot up to date, and wait for that.

        Raises:
            SegpipeError: if the root cannot be read at all.
        """
        with self._building:
            self._build()

    def _renew_if_due(self) -> None:
        with self._asked:
            now = time.monotonic()
            running = self._thread is not None and self._thread.is_alive()
            if running or now - self._checked < _CHECKED_EVERY:
                return
            self._checked = now
            self._thread = threading.Thread(target=self._renewed, name="segpipe-index", daemon=True)
            self._thread.start()

    def _renewed(self) -> None:
        try:
            if self._is_due():
                self.renew()
        except SegpipeError as error:
            _logger.warning("the index is as it was: %s", error)
        except Exception:
            _logger.exception("the index could not be renewed")
        finally:
            self._ready.set()
            self._checked = time.monotonic()

    def _is_due(self) -> bool:
        found = self._snapshot
        if found is None or time.monotonic() - self._listed > _LISTED_EVERY:
            return True
        table = self._root.catalog.table
        return table.is_newer_than(-1 if found.version is None else found.version)

    def _build(self) -> None:
        before = self._snapshot
        table = self._root.catalog.table.open(any_columns=True)
        version = None if table is None else int(table.version())
        partitions, notes = self._partitions.now()
        self._listed = time.monotonic()
        published = catalog_sources(table, self._root.catalog.table.shown)
        found = sorted(
            [*published, *self._partitions.sources(partitions)], key=lambda one: one.order
        )
        by_run: dict[tuple[str, str], list[Source]] = defaultdict(list)
        for source in found:
            by_run[source.dataset, source.model_run].append(source)
        again = time.monotonic() - self._read_all > _READ_AGAIN
        groups_before = () if before is None else before.groups
        # What could not be read is tried again after a while, as where a network had failed.
        known = {one.made_of: one for one in groups_before if not (one.notes and again)}
        if (
            before is not None
            and before.is_whole
            and set(known) == set(map(tuple, by_run.values()))
        ):
            if before.version != version or self._said != notes:
                self._said = notes
                self._replace([*before.groups], version, partitions, notes)
            return
        self._read_all, self._said = time.monotonic(), notes
        reading = _Reading(self.blocks, self._names)
        if before is None:
            self._first(published, version, partitions, reading)
        groups = []
        for (dataset, model_run), sources in by_run.items():
            group = known.get(tuple(sources))
            groups.append(group or self._group(dataset, model_run, sources, reading))
            reading.forget(sources)
        self._replace(groups, version, partitions, notes)

    def _first(
        self,
        published: Sequence[Source],
        version: int | None,
        partitions: Sequence[MaterializedPartition],
        reading: _Reading,
    ) -> None:
        """Snapshots of what has been read so far, so that the first page need not wait."""
        started, patience = time.monotonic(), _FIRST_SECONDS
        for count, source in enumerate(published, 1):
            reading.read(source)
            if time.monotonic() - started > patience and count < len(published):
                words = (
                    f"the index is being made: {count} of {len(published)} files of the catalog "
                    "have been read; numbers and orders are of those"
                )
                groups = [
                    _together(*whose, sources, reading.rows_of(sources), reading)
                    for whose, sources in _by_run(published[:count]).items()
                ]
                self._replace(groups, version, partitions, [words], whole=False)
                patience *= 4

    def _replace(
        self,
        groups: list[Group],
        version: int | None,
        partitions: Sequence[MaterializedPartition],
        notes: Sequence[str],
        *,
        whole: bool = True,
    ) -> None:
        notes = [*notes, *(note for group in groups for note in group.notes)]
        more = len(notes) - _MOST_NOTES
        said = [shortened(note) for note in notes[:_MOST_NOTES]]
        if more > 0:
            said.append(f"and {more} more like these")
        rows, parts = together(groups)
        give_back()
        made = Snapshot(version, rows, parts, self._names, partitions, said, whole)
        _ = made.order, made.rank, made.pair_starts, made.rule_starts
        self._snapshot = made
        self._ready.set()
        if whole:
            self._whole.set()

    def _group(
        self, dataset: str, model_run: str, sources: Sequence[Source], reading: _Reading
    ) -> Group:
        published = [one for one in sources if one.kind == PUBLISHED]
        parts = reading.rows_of(published)
        whole = joined([rows for _, rows in parts])
        accepted = reading.rows_of([one for one in sources if one.kind == VALIDATED])
        rejected = reading.rows_of(
            [one for one in sources if one.kind not in (PUBLISHED, VALIDATED)]
        )
        as_given = self._root.settings.policies.of(model_run).publish_as is View.GIVEN
        whole, left = _matched(whole, [rows for _, rows in accepted], as_given=as_given)
        counted = [(source, len(rows)) for source, rows in parts]
        counted += [(source, len(rows)) for (source, _), rows in zip(accepted, left, strict=True)]
        counted += [(source, len(rows)) for source, rows in rejected]
        rows = joined([whole, *left, *(rows for _, rows in rejected)])
        notes = reading.notes_of(sources)
        bins = reading.bins_of(published)
        return Group(dataset, model_run, tuple(sources), rows, counted, notes, bins)


def _by_run(sources: Iterable[Source]) -> dict[tuple[str, str], list[Source]]:
    found: dict[tuple[str, str], list[Source]] = defaultdict(list)
    for source in sorted(sources, key=lambda one: one.order):
        found[source.dataset, source.model_run].append(source)
    return found


class _Reading:
    """Blocks as rows while an index is made; each is read once."""

    def __init__(self, blocks: Blocks, names: Dictionaries) -> None:
        self._blocks, self._names = blocks, names
        self._notes: dict[Source, str] = {}
        self._rows: dict[Source, Rows | None] = {}
        self._bins: dict[Source, np.ndarray] = {}

    def read(self, source: Source) -> Rows | None:
        """The rows of a source; None, which is noted, where it cannot be read."""
        if source in self._rows:
            return self._rows[source]
        rows = None
        try:
            block = self._blocks.of(source, remember=False)
            outcome = {PUBLISHED: None, VALIDATED: ACCEPTED}.get(source.kind, REJECTED_ROWS)
            rows = rows_of(block, self._names, outcome, source.date)
            if source.kind == PUBLISHED:
                self._bins[source] = np.array(notes_of(block, BINS_KEY), np.int64)
        except SegpipeError as error:
            self._notes[source] = f"left out: {error}"
        except (OSError, pa.ArrowException, KeyError, ValueError) as error:
            _logger.warning("%s cannot be read: %s", source.path, error)
            self._notes[source] = f"left out, as it cannot be read: {source.kind} {source.path}"
        self._rows[source] = rows
        return rows

    def rows_of(self, sources: Sequence[Source]) -> list[tuple[Source, Rows]]:
        """Sources that can be read, with their rows."""
        found = [(source, self.read(source)) for source in sources]
        return [(source, rows) for source, rows in found if rows is not None]

    def notes_of(self, sources: Sequence[Source]) -> tuple[str, ...]:
        """Words for those of some sources that could not be read."""
        return tuple(self._notes[one] for one in sources if one in self._notes)

    def bins_of(self, sources: Sequence[Source]) -> np.ndarray:
        """The histogram of confidences of some sources."""
        return sum((self._bins[one] for one in sources if one in self._bins), np.zeros(BINS, int))

    def forget(self, sources: Sequence[Source]) -> None:
        """Let go of what has been put together."""
        for source in sources:
            self._rows.pop(source, None)


def _together(
    dataset: str,
    model_run: str,
    sources: Sequence[Source],
    parts: Sequence[tuple[Source, Rows]],
    reading: _Reading,
) -> Group:
    rows = joined([rows for _, rows in parts])
    counted = [(source, len(rows)) for source, rows in parts]
    notes = reading.notes_of(sources)
    return Group(dataset, model_run, tuple(sources), rows, counted, notes, reading.bins_of(sources))


def _matched(
    published: Rows, accepted: Sequence[Rows], *, as_given: bool
) -> tuple[Rows, list[Rows]]:
    """Accepted rows beside the published ones of their model run.

    Args:
        as_given: whether predictions are published as they are validated; otherwise the published
            one is a view of an accepted one of its day.

    Returns:
        The published rows with the findings of what they were made of; of each partition, the
        accepted rows that are not published as they are, ``ignored`` where another one is.
    """
    ids = pa.concat_arrays([pa.array([], pa.string()), *(rows.ids for rows in accepted)])
    if not len(ids):
        return published, list(accepted)
    found = pc.fill_null(pc.index_in(ids, value_set=published.ids), -1).to_numpy()
    there = found >= 0
    at = np.where(there, found, 0)
    column: Callable[[str], np.ndarray] = lambda name: np.concatenate(  # noqa: E731
        [getattr(rows, name) for rows in accepted]
    )
    if not len(published):
        same = there
    elif as_given:
        same = there & (published.key[at] == column("key"))
    else:
        same = there & (published.date[at] == column("date"))
    outcome = np.where(there, IGNORED, ACCEPTED).astype(np.uint8)
    left, start = [], 0
    counts = np.zeros(len(published), np.uint16)
    own = column("rules")
    counts[at[same]] = own[same]
    for rows in accepted:
        stop = start + len(rows)
        left.append(rows.chosen(~same[start:stop], outcome[start:stop]))
        start = stop
    starts = np.concatenate(([0], np.cumsum(counts, dtype=np.int64)))
    rules = np.zeros(int(starts[-1]), np.uint16)
    given, ends = column("rule"), np.cumsum(own, dtype=np.int64)
    for row in np.flatnonzero(same & (own > 0)):
        begin = int(starts[at[row]])
        if counts[at[row]] == own[row]:
            rules[begin : begin + own[row]] = given[ends[row] - own[row] : ends[row]]
    return published.with_rules(counts, rules), left
