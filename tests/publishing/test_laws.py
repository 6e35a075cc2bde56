"""The laws of publishing, held against a dict by a machine that publishes, crashes and undoes.

The model is what DESIGN says in words: one prediction per item, and the table of outcomes. The
machine may do anything to the catalog at any time; after every step the catalog must hold exactly
what the model holds, and every receipt must be the one the model foretold.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from segpipe.masks.decoding import decode_mask
from segpipe.masks.encoding import canonical_png
from segpipe.publishing import maintenance
from segpipe.publishing.catalog import Catalog
from segpipe.publishing.destination import Destination
from segpipe.publishing.outcomes import Provenance
from segpipe.publishing.publication import Publication, publish
from segpipe.publishing.vacuum import vacuum
from segpipe.storage.files import Folder
from segpipe.storage.mask_store import MaskStore
from segpipe.validation.validated import PredictionBatch
from tests.fixtures.prediction_batches import CONTENTS, PRINTS, Wanted, prediction_batch
from tests.fixtures.thoroughness import at_most

#: Identities that sort, truncate, escape or compare badly where something is careless.
LONG = "a long prefix that outlives every statistic of a column/" * 3
ITEMS = ["a", "A", "b", "it's", "é", "日本", f"{LONG}1", f"{LONG}2", "\U0010ffff" * 30, "z"]
MODEL_RUNS = ["unet", "it's/.. é"]
DAYS = ["2026-01-05", "2026-01-06"]


class Crash(BaseException):
    """The process ends here: nothing of segpipe may catch this."""


def test_the_contents_are_as_many_predictions() -> None:
    assert len(set(PRINTS)) == len(CONTENTS)


@dataclass
class Batches:
    """Validated predictions as ``publish`` reads them, straight from a dict."""

    wanted: Wanted
    masks: MaskStore

    def __len__(self) -> int:
        return len(self.wanted)

    def read_anew(self) -> None:
        """There are no sources to read again."""

    def batches(self, rows: int) -> Iterator[PredictionBatch]:
        for part in parts(self.wanted, rows):
            yield prediction_batch(part, self.masks)


def parts(wanted: Wanted, rows: int) -> list[Wanted]:
    """The batches these predictions are published in."""
    entries = list(wanted.items())
    return [dict(entries[start : start + rows]) for start in range(0, len(entries), rows)]


@dataclass(frozen=True)
class Row:
    """A published prediction, as far as outcomes depend on it."""

    content: int
    run_id: str
    partition: str
    previous: str | None


#: Model run -> reference id -> what is published.
Held = dict[str, dict[str, Row]]
#: Reference id -> outcome and previous fingerprint.
Receipts = dict[str, tuple[str, str | None]]


def apply(held: Held, wanted: Wanted, by: Provenance) -> tuple[Held, Receipts]:
    """DESIGN, section 3, in plain Python: what is held after a batch, and its receipts."""
    rows = dict(held.get(by.model_run, {}))
    told: Receipts = {}
    for id, content in wanted.items():
        row = rows.get(id)
        new = Row(content, by.run_id, by.partition, None)
        if row is None:
            told[id], rows[id] = ("inserted", None), new
        elif row.content == content:
            # What this very run did before it was interrupted is still what it did.
            did = "inserted" if row.previous is None else "replaced"
            own = row.run_id == by.run_id
            told[id] = (did, row.previous) if own else ("unchanged", PRINTS[content])
        elif by.update:
            before = PRINTS[row.content]
            told[id], rows[id] = ("replaced", before), replace(new, previous=before)
        else:
            told[id] = ("ignored", PRINTS[row.content])
    return {**held, by.model_run: rows}, told


def told_by(receipts: pa.Table) -> Receipts:
    """A receipts table as the model says it."""
    rows = receipts.to_pylist()
    assert [r["fingerprint"] for r in rows if r["fingerprint"] not in PRINTS] == []
    told = {r["reference_id"]: (r["outcome"], r["previous_fingerprint"]) for r in rows}
    assert len(told) == len(rows)
    return told


@contextmanager
def replaced(thing: object, name: str, function: Callable[..., Any]) -> Iterator[None]:
    """An attribute replaced while the block runs."""
    with mock.patch.object(thing, name, function):
        yield


wanted_predictions = st.dictionaries(
    st.sampled_from(ITEMS), st.integers(0, len(CONTENTS) - 1), min_size=1, max_size=6
)
#: Small steps and large: with two model runs, two days, and batches of any size.
model_runs = st.sampled_from([MODEL_RUNS[0], MODEL_RUNS[0], MODEL_RUNS[1]])
days = st.sampled_from(DAYS)
rows_per_batch = st.sampled_from([2, 3, 100])


@dataclass(frozen=True)
class Interrupted:
    """A publishing run that ended half-way."""

    wanted: Wanted
    by: Provenance
    rows: int


# Preconditions have names, and a function makes the machine: Hypothesis parses the source of
# lambdas and classes to describe them, amid the test, and Python 3.11.7 may fail at that where the
# garbage collector or a thread interrupts it (https://github.com/python/cpython/issues/106905).


def a_run_was_interrupted(machine: PublishingMachine) -> bool:
    return machine.interrupted is not None


def the_first_model_run_holds_something(machine: PublishingMachine) -> bool:
    return bool(machine.held.get(MODEL_RUNS[0]))


def there_is_an_earlier_version(machine: PublishingMachine) -> bool:
    return bool(machine.earlier())


def there_is_a_version(machine: PublishingMachine) -> bool:
    return bool(machine.versions)


class PublishingMachine(RuleBasedStateMachine):
    """Anything that may happen to a catalog."""

    def __init__(self) -> None:
        super().__init__()
        self.place = Path(tempfile.mkdtemp(prefix="segpipe-laws-"))
        self.inbox = MaskStore(Folder(str(self.place / "inbox")))
        self.masks = MaskStore(Folder(str(self.place / "masks")))
        # Flushing the disks of the machine for every commit would be most of the time.
        self.no_sync = mock.patch.object(Folder, "sync", lambda folder, names=None: None)
        self.no_sync.start()
        self.catalog = self.opened()
        self.receipts = Folder(str(self.place / "receipts"))
        self.validated = Folder(str(self.place / "validated"))
        self.held: Held = {}
        self.versions: dict[int, Held] = {}
        self.runs = 0
        self.clock = datetime(2026, 1, 7, tzinfo=UTC)
        self.interrupted: Interrupted | None = None

    def teardown(self) -> None:
        self.no_sync.stop()
        shutil.rmtree(self.place)

    def opened(self) -> Catalog:
        """The catalog as another process would open it."""
        return Catalog(Folder(str(self.place / "catalog")), self.masks)

    def provenance(self, model_run: str, day: str, update: bool) -> Provenance:
        self.runs += 1
        # Clocks go backwards, too.
        self.clock += timedelta(seconds=1 if self.runs % 3 else -3600)
        return Provenance("default", model_run, day, f"run-{self.runs}", self.clock, update)

    def note_version(self) -> None:
        """What is held now can be restored by its version."""
        version = self.catalog.version()
        if version is not None:
            self.versions[version] = self.held

    def earlier(self) -> list[int]:
        """Versions that can be restored, but for the newest."""
        newest = self.catalog.version()
        return sorted(version for version in self.versions if version != newest)

    # --- publishing ------------------------------------------------------------------------

    def publish_all(
        self, wanted: Wanted, by: Provenance, rows: int, destination: Destination | None = None
    ) -> Publication:
        return publish(
            Batches(wanted, self.inbox),
            destination or self.catalog,
            self.inbox,
            self.receipts,
            by,
            verify_masks=None,
            rows_per_batch=rows,
        )

    def publish_and_check(self, wanted: Wanted, by: Provenance, rows: int) -> None:
        """Dry run, publish, and hold both against the model."""
        expected: Receipts = {}
        held = self.held
        for part in parts(wanted, rows):
            held, told = apply(held, part, by)
            expected |= told
        version = self.catalog.version()
        foreseen: Receipts = {}
        for part in parts(wanted, rows):
            batch = prediction_batch(part, self.inbox)
            foreseen |= told_by(self.catalog.publish(batch, self.inbox, by, dry_run=True))
        assert foreseen == expected
        assert self.catalog.version() == version
        self.the_catalog_holds_what_the_model_holds()

        publication = self.publish_all(wanted, by, rows)
        assert publication.receipts is not None
        with Path(publication.receipts).open("rb") as handle:
            assert told_by(pq.read_table(handle)) == expected
        counted = [outcome for outcome, _ in expected.values()]
        assert publication.outcomes == {
            outcome: counted.count(outcome)
            for outcome in ("inserted", "unchanged", "ignored", "replaced", "failed")
        }
        assert publication.verification is not None
        assert publication.verification.mismatches == ()
        assert publication.verification.masks == len(wanted)
        if held.get(by.model_run) == self.held.get(by.model_run) and version is not None:
            assert self.catalog.version() == version, "a commit that changes nothing"
        self.held = held
        self.note_version()

    @rule(
        wanted=wanted_predictions,
        model_run=model_runs,
        day=days,
        update=st.booleans(),
        rows=rows_per_batch,
    )
    def publish(self, wanted: Wanted, model_run: str, day: str, update: bool, rows: int) -> None:
        self.publish_and_check(wanted, self.provenance(model_run, day, update), rows)

    @rule(data=st.data(), changes=st.integers(0, 2), day=days, update=st.booleans())
    def publish_nearly_what_is_there(
        self, data: st.DataObject, changes: int, day: str, update: bool
    ) -> None:
        model_run = MODEL_RUNS[0]
        wanted = {id: row.content for id, row in self.held.get(model_run, {}).items()}
        wanted |= data.draw(
            st.dictionaries(
                st.sampled_from(ITEMS),
                st.integers(0, len(CONTENTS) - 1),
                min_size=0 if wanted else 1,
                max_size=max(1, changes),
            )
        )
        self.publish_and_check(wanted, self.provenance(model_run, day, update), 4)

    # --- crashes ---------------------------------------------------------------------------

    @rule(
        wanted=wanted_predictions,
        day=days,
        update=st.booleans(),
        rows=rows_per_batch,
        point=st.sampled_from(["masks", "half the masks", "commit", "answer", "receipts"]),
        at=st.integers(0, 2),
    )
    def publish_crashes(
        self, wanted: Wanted, day: str, update: bool, rows: int, point: str, at: int
    ) -> None:
        by = self.provenance(MODEL_RUNS[0], day, update)
        batches = parts(wanted, rows)
        at = min(at, len(batches) - 1)
        begun = iter(range(len(batches)))
        catalog = self.opened()
        original = {
            "masks": catalog._to_write,
            "commit": catalog._commit,
            "answer": catalog._commit,
            "receipts": catalog.verify,
            "half the masks": catalog._to_write,
        }[point]

        def crash(*given: Any, **more: Any) -> Any:
            if next(begun) < at:
                return original(*given, **more)
            if point == "half the masks":
                rows, planned, masks = given
                half = len(rows) // 2
                original(rows.slice(0, half), _sliced(planned, half), masks, **more)
            if point == "answer":
                original(*given, **more)
            raise Crash(point)

        def _sliced(planned: Any, count: int) -> Any:
            return replace(
                planned,
                **{one.name: getattr(planned, one.name).slice(0, count) for one in fields(planned)},
            )

        name = {
            "masks": "_to_write",
            "half the masks": "_to_write",
            "commit": "_commit",
            "answer": "_commit",
            "receipts": "verify",
        }[point]
        before = self.catalog.version()
        try:
            with replaced(catalog, name, crash):
                self.publish_all(wanted, by, rows, catalog)
        except Crash:
            pass
        else:
            raise AssertionError("the crash did not happen")
        for part in batches[: at + (point in ("answer", "receipts"))]:
            self.held, _ = apply(self.held, part, by)
        receipts = self.place.glob(f"receipts/**/{by.run_id}.parquet")
        assert list(receipts) == [], "receipts of a run that did not end"
        if before is not None or self.catalog.version() is not None:
            self.note_version()
        self.interrupted = Interrupted(wanted, by, rows)

    @precondition(a_run_was_interrupted)
    @rule(same_run=st.booleans())
    def rerun(self, same_run: bool) -> None:
        assert self.interrupted is not None
        crashed = self.interrupted
        by = crashed.by
        if not same_run:
            by = self.provenance(by.model_run, by.partition, by.update)
        self.publish_and_check(crashed.wanted, by, crashed.rows)
        self.interrupted = None

    # --- two at once -----------------------------------------------------------------------

    @rule(
        data=st.data(),
        first=wanted_predictions,
        first_updates=st.booleans(),
        second_updates=st.booleans(),
        second_model_run=model_runs,
    )
    def another_run_publishes_between_plan_and_commit(
        self,
        data: st.DataObject,
        first: Wanted,
        first_updates: bool,
        second_updates: bool,
        second_model_run: str,
    ) -> None:
        # At least one item that both speak of: the others could not go wrong.
        both = st.dictionaries(
            st.sampled_from(sorted(first)), st.integers(0, len(CONTENTS) - 1), min_size=1
        )
        second = {**data.draw(both), **data.draw(wanted_predictions)}
        self.publish_between(first, second, first_updates, second_updates, second_model_run)

    def publish_between(
        self,
        first: Wanted,
        second: Wanted,
        first_updates: bool,
        second_updates: bool,
        second_model_run: str = MODEL_RUNS[0],
    ) -> None:
        """The first run has its plan; the second publishes; the first commits."""
        other = self.provenance(second_model_run, DAYS[1], second_updates)
        told: Receipts = {}

        def interlope() -> None:
            batch = prediction_batch(second, self.inbox)
            told.update(told_by(self.opened().publish(batch, self.inbox, other)))

        def foretold() -> None:
            self.held, expected = apply(self.held, second, other)
            assert told == expected

        self.interrupted_by(interlope, foretold, first, first_updates)

    @precondition(the_first_model_run_holds_something)
    @rule(data=st.data(), first=wanted_predictions, updates=st.booleans())
    def unpublishing_happens_between_plan_and_commit(
        self, data: st.DataObject, first: Wanted, updates: bool
    ) -> None:
        present = sorted(self.held[MODEL_RUNS[0]])
        ids = data.draw(st.lists(st.sampled_from(present), min_size=1, unique=True))
        self.unpublish_between(first, ids, updates)

    def unpublish_between(self, first: Wanted, ids: Sequence[str], updates: bool) -> None:
        """The first run has its plan; items are unpublished; the first commits."""

        def interlope() -> None:
            removed = maintenance.unpublish(
                self.opened(), "default", MODEL_RUNS[0], "unpublishing", reference_ids=ids
            )
            assert removed == len(ids)

        self.interrupted_by(interlope, lambda: self.forget(ids), first, updates)

    @precondition(there_is_an_earlier_version)
    @rule(data=st.data(), first=wanted_predictions, updates=st.booleans())
    def restoring_happens_between_plan_and_commit(
        self, data: st.DataObject, first: Wanted, updates: bool
    ) -> None:
        self.restore_between(first, data.draw(st.sampled_from(self.earlier())), updates)

    def restore_between(self, first: Wanted, version: int, updates: bool) -> None:
        """The first run has its plan; a version is restored; the first commits."""

        def foretold() -> None:
            self.held = self.versions[version]

        self.interrupted_by(
            lambda: maintenance.restore(self.opened(), version, "restoring"),
            foretold,
            first,
            updates,
        )

    @precondition(there_is_a_version)
    @rule(first=wanted_predictions, updates=st.booleans())
    def optimizing_happens_between_plan_and_commit(self, first: Wanted, updates: bool) -> None:
        self.optimize_between(first, updates)

    def optimize_between(self, first: Wanted, updates: bool) -> None:
        """The first run has its plan; the table is compacted; the first commits."""
        self.interrupted_by(
            lambda: maintenance.optimize(self.opened(), "optimizing"), lambda: None, first, updates
        )

    def interrupted_by(
        self,
        interlope: Callable[[], object],
        foretold: Callable[[], None],
        wanted: Wanted,
        update: bool,
    ) -> None:
        """Publish, with something else happening after the plan was made.

        A run that has nothing to commit has ended with its plan, so that it came first.
        """
        by = self.provenance(MODEL_RUNS[0], DAYS[0], update)
        catalog = self.opened()
        commit = catalog._commit
        came_first: list[bool] = []

        def interrupted(table: Any, rows: pa.Table, provenance: Provenance) -> str | None:
            if not came_first:
                came_first.append(rows.num_rows == 0)
                interlope()
            return commit(table, rows, provenance)

        batch = prediction_batch(wanted, self.inbox)
        with replaced(catalog, "_commit", interrupted):
            told = told_by(catalog.publish(batch, self.inbox, by))
        steps: list[Callable[[], None]] = [foretold]

        def own() -> None:
            self.held, expected = apply(self.held, wanted, by)
            assert told == expected

        steps.insert(0 if came_first == [True] else 1, own)
        for step in steps:
            step()
        self.note_version()

    # --- undoing and tidying ---------------------------------------------------------------

    def forget(self, ids: Sequence[str]) -> None:
        rows = self.held.get(MODEL_RUNS[0], {})
        self.held = {
            **self.held,
            MODEL_RUNS[0]: {id: row for id, row in rows.items() if id not in ids},
        }

    @precondition(there_is_an_earlier_version)
    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        version = data.draw(st.sampled_from(self.earlier()))
        new = maintenance.restore(self.catalog, version, "restoring")
        assert new == self.catalog.version()
        self.held = self.versions[version]
        self.note_version()

    @precondition(there_is_a_version)
    @rule(
        ids=st.none() | st.lists(st.sampled_from(ITEMS), min_size=1, max_size=4),
        day=st.none() | days,
        model_run=model_runs,
    )
    def unpublish(self, ids: list[str] | None, day: str | None, model_run: str) -> None:
        if ids is None and day is None:
            day = DAYS[0]
        rows = self.held.get(model_run, {})
        leaving = {
            id
            for id, row in rows.items()
            if (ids is None or id in ids) and (day is None or row.partition == day)
        }
        version = self.catalog.version()
        removed = maintenance.unpublish(
            self.catalog, "default", model_run, "u", reference_ids=ids, partition=day
        )
        assert removed == len(leaving)
        if not leaving:
            assert self.catalog.version() == version
        self.held = {
            **self.held,
            model_run: {id: row for id, row in rows.items() if id not in leaving},
        }
        self.note_version()

    @precondition(there_is_a_version)
    @rule()
    def optimize(self) -> None:
        maintenance.optimize(self.catalog, "optimizing")
        self.note_version()

    @precondition(there_is_a_version)
    @rule(everything=st.booleans())
    def vacuum(self, everything: bool) -> None:
        orphan = self.masks.put(canonical_png(np.array([[7, 7]], np.uint8)))
        for path in (self.place / "masks").rglob("*.png"):
            os.utime(path, (1_000_000_000, 1_000_000_000))
        hours = 0 if everything else 168
        would = vacuum(self.catalog, self.validated, retention_hours=hours)
        assert self.masks.has(orphan)
        self.the_catalog_holds_what_the_model_holds()
        did = vacuum(self.catalog, self.validated, retention_hours=hours, dry_run=False)
        assert not self.masks.has(orphan)
        assert (would.table_files, would.mask_files, would.mask_bytes) == (
            did.table_files,
            did.mask_files,
            did.mask_bytes,
        )
        if everything:
            self.versions = {}
        self.note_version()

    # --- what must hold --------------------------------------------------------------------

    @invariant()
    def the_catalog_holds_what_the_model_holds(self) -> None:
        catalog = self.opened()
        rows = catalog.read().to_pylist()
        found = {(row["model_run"], row["reference_id"]): row for row in rows}
        assert len(found) == len(rows), "an item is held twice"
        expected = {
            (model_run, id): row
            for model_run, held in self.held.items()
            for id, row in held.items()
        }
        assert found.keys() == expected.keys()
        for identity, row in found.items():
            own = expected[identity]
            content = CONTENTS[own.content]
            assert row["fingerprint"] == PRINTS[own.content]
            assert row["previous_fingerprint"] == own.previous
            assert (row["run_id"], row["partition"]) == (own.run_id, own.partition)
            assert row["annotation_id"] == content.annotation_id
            assert np.array_equal(
                decode_mask(self.masks.read(row["mask_sha256"])).pixels, content.mask
            )
            assert [(s["index"], s["label"], s["confidence"]) for s in row["segments"]] == [
                (segment.index, segment.label, segment.confidence) for segment in content.segments
            ]

    @invariant()
    def earlier_versions_stay_readable(self) -> None:
        if not self.versions:
            return
        version = min(self.versions)
        rows = self.catalog.read(
            ["model_run", "reference_id", "fingerprint", "mask_sha256"], version=version
        ).to_pylist()
        assert {(row["model_run"], row["reference_id"], row["fingerprint"]) for row in rows} == {
            (model_run, id, PRINTS[row.content])
            for model_run, held in self.versions[version].items()
            for id, row in held.items()
        }
        assert all(self.masks.has(row["mask_sha256"]) for row in rows)


@pytest.mark.parametrize("examples", [2, pytest.param(at_most(15, 25), marks=pytest.mark.slow)])
def test_whatever_happens_the_catalog_holds_what_the_model_holds(examples: int) -> None:
    def machine() -> PublishingMachine:
        return PublishingMachine()

    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=int(os.environ.get("SEGPIPE_LAW_EXAMPLES", examples)),
            stateful_step_count=15,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.fixture
def machine() -> Iterator[PublishingMachine]:
    """The machine, to be driven by hand."""
    made = PublishingMachine()
    yield made
    made.the_catalog_holds_what_the_model_holds()
    made.earlier_versions_stay_readable()
    made.teardown()


@pytest.mark.parametrize("second_updates", [False, True])
@pytest.mark.parametrize("first_updates", [False, True])
@pytest.mark.parametrize("there", ["nothing", "anything", "nothing of theirs"])
def test_another_run_between_plan_and_commit_in_every_combination(
    machine: PublishingMachine, there: str, first_updates: bool, second_updates: bool
) -> None:
    """Every item is a combination of what is there, what the first run says and the second."""
    present: Wanted = {}
    first: Wanted = {}
    second: Wanted = {}
    for number, (held, mine, theirs) in enumerate(
        product((None, 0, 1, 2), (None, 0, 1), (None, 0, 1))
    ):
        item = f"item {number:02d}"
        for wanted, content in ((present, held), (first, mine), (second, theirs)):
            if content is not None:
                wanted[item] = content
    if there != "anything":
        # Only inserts: two plain appends do not conflict in Delta, so this is the hardest.
        taken = set(present)
        first = {id: content for id, content in first.items() if id not in taken}
        second = {id: content for id, content in second.items() if id not in taken}
        present = {} if there == "nothing" else {"other": 0}
    if present:
        by = machine.provenance(MODEL_RUNS[0], DAYS[0], False)
        machine.publish_and_check(present, by, 100)
    machine.publish_between(first, second, first_updates, second_updates)


@pytest.mark.parametrize("updates", [False, True])
@pytest.mark.parametrize("between", ["unpublish", "restore", "optimize"])
def test_maintenance_between_plan_and_commit_is_taken_into_account(
    machine: PublishingMachine, between: str, updates: bool
) -> None:
    """The first run finds a there as it says, b otherwise, and c not; then they change."""
    for wanted in ({"a": 1, "b": 1, "z": 1}, {"a": 0, "b": 0, "c": 0}):
        machine.publish_and_check(wanted, machine.provenance(MODEL_RUNS[0], DAYS[0], True), 100)
    first = {"a": 0, "b": 2, "new": 0}
    if between == "unpublish":
        machine.unpublish_between(first, ["a", "b"], updates)
    elif between == "restore":
        machine.restore_between(first, machine.earlier()[0], updates)
    else:
        machine.optimize_between(first, updates)
