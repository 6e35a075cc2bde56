"""Publishing in real processes that are killed, race each other, or find the world in their way.

The processes are those of ``tests/fixtures/publishing_process.py``.
"""

from __future__ import annotations

import os
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from graphlib import TopologicalSorter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

import segpipe
from segpipe.errors import CatalogError, SegpipeError, StorageError
from segpipe.manifests.partition import Partition
from segpipe.masks.encoding import canonical_png
from segpipe.publishing.catalog import Catalog
from segpipe.publishing.history import history
from segpipe.publishing.maintenance import restore
from segpipe.publishing.outcomes import Provenance
from segpipe.publishing.publication import publish
from segpipe.root import Root
from segpipe.storage.files import Folder
from segpipe.storage.mask_store import MaskStore
from tests.fixtures.landing import PARTITION, LandingWriter, MakeProvenance, striped_mask
from tests.fixtures.published import outcomes, published, receipts
from tests.fixtures.publishing_process import Child
from tests.fixtures.small_disk import SmallDisk
from tests.fixtures.thoroughness import at_most, slow_after

KILLS = int(os.environ.get("SEGPIPE_KILLS", "3"))
SLOW_KILLS = int(os.environ.get("SEGPIPE_KILLS", "200"))


OLD, NEW = Partition("unet", "2026-01-04"), Partition("unet", "2026-01-05")
ITEMS = 28
ROWS = 4


@dataclass
class World:
    """Two days of predictions for the same items, of which every third says the same."""

    root: Root

    def fingerprints(self, partition: Partition) -> dict[str, str]:
        """What a partition's predictions are, in their order."""
        rows = pq.ParquetFile(Path(self.root.tables(partition).path) / "validated.parquet").read()
        return dict(
            zip(*(rows[n].to_pylist() for n in ("reference_id", "fingerprint")), strict=True)
        )

    def publish(self, catalog: Path, date: str, run_id: str, *, update: bool = False) -> Any:
        """As the child does, in this process."""
        partition = Partition("unet", date)
        by = Provenance("default", "unet", date, run_id, datetime.now(UTC), update)
        return publish(
            self.root.validated(partition),
            catalog_in(catalog),
            self.root.masks,
            Folder(f"{catalog}/receipts"),
            by,
            verify_masks=None,
            rows_per_batch=ROWS,
        )


def catalog_in(folder: Path) -> Catalog:
    """A catalog with masks of its own, so that publishing stores them."""
    return Catalog(Folder(str(folder)), MaskStore(Folder(f"{folder}/masks")))


def held(folder: Path) -> dict[str, str]:
    """Reference id -> fingerprint; fails on an item held twice."""
    rows = catalog_in(folder).read(["reference_id", "fingerprint"]).to_pylist()
    found = {row["reference_id"]: row["fingerprint"] for row in rows}
    assert len(found) == len(rows), "an item is held twice"
    return found


@pytest.fixture
def world(landing: LandingWriter, root: Root) -> World:
    for partition, label in ((OLD, "old"), (NEW, "new")):
        rows = [
            landing.row(
                f"item {n:02d}",
                (0, n + 1),
                partition,
                label="same" if n % 3 == 0 else label,
            )
            for n in range(ITEMS)
        ]
        landing.manifest(rows, partition)
        root.materialize(partition)
    return World(root)


def warmed_up(child: Child, world: World, aside: Path) -> Child:
    """The child, having published somewhere else once: the first time takes much longer."""
    child.wait_until_ready()
    child.tell(
        root=world.root.settings.root, date=OLD.date, catalog=str(aside), run_id="w", rows=ITEMS
    )
    assert "receipts" in child.answer()
    shutil.rmtree(aside)
    return child


def kill_at(child: Child, seconds: float, **work: object) -> None:
    """Tell a child to publish and kill it after so long."""
    child.tell(**work)
    time.sleep(seconds)
    child.kill()


def kill_and_rerun(
    world: World, folder: Path, children: Callable[[], Child], kills: int, seed: int
) -> Counter[int]:
    """Kill publishing at random instants; returns how many batches each had committed."""
    instants = random.Random(seed)
    old, new = world.fingerprints(OLD), world.fingerprints(NEW)
    before = folder / "before"
    world.publish(before, OLD.date, "earlier")
    # How long it takes without a kill, for both kinds.
    lasts: dict[bool, float] = {}
    child = warmed_up(children(), world, folder / "aside")
    for update in (False, True):
        whole = folder / f"whole-{update}"
        if update:
            shutil.copytree(before, whole)
        started = time.perf_counter()
        child.tell(
            root=world.root.settings.root, date=NEW.date, catalog=str(whole), run_id="w",
            update=update,
        )  # fmt: skip
        assert "receipts" in child.answer()
        lasts[update] = time.perf_counter() - started
    child.end()

    committed: Counter[int] = Counter()
    waiting = children()
    for round in range(kills):
        update = round % 2 == 1
        catalog = folder / f"killed-{round}"
        if update:
            shutil.copytree(before, catalog)
        victim, waiting = waiting, children()
        warmed_up(victim, world, folder / "aside")
        kill_at(
            victim,
            # One in each stretch of the time, so that all of it is hit however few they are.
            (round // 2 + instants.random()) / -(-kills // 2) * lasts[update],
            root=world.root.settings.root,
            date=NEW.date,
            catalog=str(catalog),
            run_id="killed",
            update=update,
        )
        victim.end()
        committed[check_after_kill(catalog, old if update else {}, new)] += 1
        same_run = instants.random() < 0.5
        rerun = "killed" if same_run else "rerun"
        by_whom = rows_by_run(catalog)
        publication = world.publish(catalog, NEW.date, rerun, update=update)
        assert publication.verification.mismatches == ()
        assert publication.verification.masks == ITEMS
        told = {row["reference_id"]: row for row in receipts(publication)}
        assert told.keys() == new.keys()
        for id, receipt in told.items():
            expected = expected_receipt(
                old[id] if update else None,
                new[id],
                committed_before=by_whom.get(id) == "killed",
                same_run=same_run,
            )
            assert (receipt["outcome"], receipt["previous_fingerprint"]) == expected
        assert held(catalog) == new
        versions = [v for v in history(catalog_in(catalog)) if "inserted" in v.notes]
        wrote = [v for v in versions if v.notes["run_id"] in ("killed", "rerun")]
        count = sum(int(v.notes["inserted"]) + int(v.notes["replaced"]) for v in wrote)
        assert count == sum(old.get(id) != new[id] for id in new) if update else count == ITEMS
        shutil.rmtree(catalog)
    return committed


def rows_by_run(folder: Path) -> dict[str, str]:
    """Reference id -> the run that published what is there."""
    rows = catalog_in(folder).read(["reference_id", "run_id"]).to_pylist()
    return {row["reference_id"]: row["run_id"] for row in rows}


def check_after_kill(catalog: Path, old: dict[str, str], new: dict[str, str]) -> int:
    """The table is what it was with whole batches done, in order; returns how many."""
    after = held(catalog)
    ids = list(new)
    states = [
        {**old, **{id: new[id] for id in ids[: ROWS * done]}} for done in range(ITEMS // ROWS + 1)
    ]
    assert after in states, "batches are visible in part or out of order"
    masks = catalog_in(catalog).masks
    for row in catalog_in(catalog).read(["mask_sha256", "mask_path"]).to_pylist():
        assert masks.has(row["mask_sha256"])
    left = list(catalog.glob("receipts/**/killed.parquet"))
    assert left == [] or after == new, "receipts before the work was done"
    return states.index(after)


def expected_receipt(
    old: str | None, new: str, *, committed_before: bool, same_run: bool
) -> tuple[str, str | None]:
    """What the rerun must say of an item."""
    if old == new:
        return "unchanged", new
    if committed_before and not same_run:
        return "unchanged", new
    return ("inserted", None) if old is None else ("replaced", old)


def test_a_run_killed_at_any_instant_and_run_again_is_as_if_nothing_had_happened(
    world: World, tmp_path: Path, children: Callable[[], Child]
) -> None:
    committed = kill_and_rerun(world, tmp_path, children, KILLS, seed=1)
    # Kills that all land before the first or after the last commit would prove nothing; of three,
    # two may find the same number of commits.
    assert len(committed) >= min(3, KILLS - 1), committed


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_many_runs_killed_at_any_instant_and_run_again(
    world: World, tmp_path: Path, children: Callable[[], Child]
) -> None:
    committed = kill_and_rerun(world, tmp_path, children, SLOW_KILLS, seed=2)
    # Some numbers of commits are seldom: what is between two of them is short.
    assert len(committed) >= min(ITEMS // ROWS - 2, SLOW_KILLS // 4), committed


# --- two at once ---------------------------------------------------------------------------------


def race(world: World, folder: Path, children: Callable[[], Child], rounds: int) -> None:
    """Two processes publish overlapping batches at once, one of them with update."""
    first, second = children(), children()
    first.wait_until_ready()
    second.wait_until_ready()
    contents = {"first": world.fingerprints(OLD), "second": world.fingerprints(NEW)}
    rows = {"first": 3, "second": 7}
    for round in range(rounds):
        catalog = folder / f"race-{round}"
        for name, child, partition in (("first", first, OLD), ("second", second, NEW)):
            child.tell(
                root=world.root.settings.root, date=partition.date, catalog=str(catalog),
                run_id=name, update=name == "second", rows=rows[name],
            )  # fmt: skip
        answers = {"first": first.answer(), "second": second.answer()}
        for answer in answers.values():
            assert "error" not in answer, answer
            assert answer["mismatches"] == []
        told = {name: by_item(answer["receipts"]) for name, answer in answers.items()}
        assert held(catalog) == contents["second"], "the one with update always wins"
        masks = catalog_in(catalog).masks
        shas = catalog_in(catalog).read(["mask_sha256"])["mask_sha256"].to_pylist()
        assert all(masks.has(sha256) for sha256 in shas)
        serial_order(contents, told, rows)
        shutil.rmtree(catalog)


def by_item(path: str) -> dict[str, dict[str, Any]]:
    """Receipts by reference id."""
    with Path(path).open("rb") as handle:
        return {row["reference_id"]: row for row in pq.read_table(handle).to_pylist()}


def serial_order(
    contents: dict[str, dict[str, str]],
    told: dict[str, dict[str, dict[str, Any]]],
    rows: dict[str, int],
) -> None:
    """Find an order of the two runs' batches, one after the other, that explains all receipts.

    Raises ``CycleError`` where there is none.
    """
    order: TopologicalSorter[tuple[str, int]] = TopologicalSorter()
    batch = {
        name: {id: place // rows[name] for place, id in enumerate(contents[name])} for name in told
    }
    for name in told:
        for before, after in pairwise(sorted(set(batch[name].values()))):
            order.add((name, after), (name, before))
    for id, mine in contents["first"].items():
        theirs = contents["second"][id]
        said = {
            name: (receipts[id]["outcome"], receipts[id]["previous_fingerprint"])
            for name, receipts in told.items()
        }
        first_then_second = {
            "first": ("inserted", None),
            "second": ("unchanged", mine) if mine == theirs else ("replaced", mine),
        }
        second_then_first = {
            "second": ("inserted", None),
            "first": ("unchanged" if mine == theirs else "ignored", theirs),
        }
        assert said in (first_then_second, second_then_first), id
        places = ("first", batch["first"][id]), ("second", batch["second"][id])
        before, after = places if said == first_then_second else places[::-1]
        order.add(after, before)
    order.prepare()


def test_two_processes_at_once_are_as_one_after_the_other(
    world: World, tmp_path: Path, children: Callable[[], Child]
) -> None:
    race(world, tmp_path, children, 3)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_processes_at_once_many_times(
    world: World, tmp_path: Path, children: Callable[[], Child]
) -> None:
    race(world, tmp_path, children, at_most(40, 200))


def test_the_search_for_a_serial_order_refuses_receipts_that_have_none() -> None:
    """One item says the first run's batch came first, the other the second's."""
    contents = {"first": {"a": "1", "b": "1"}, "second": {"a": "2", "b": "2"}}

    def receipt(outcome: str, previous: str | None) -> dict[str, Any]:
        return {"outcome": outcome, "previous_fingerprint": previous}

    told = {
        "first": {"a": receipt("inserted", None), "b": receipt("ignored", "2")},
        "second": {"a": receipt("replaced", "1"), "b": receipt("inserted", None)},
    }
    with pytest.raises(ValueError, match="cycle"):
        serial_order(contents, told, {"first": 2, "second": 2})
    # In batches of one item, the second run's a came after the first's, and its b before.
    serial_order(
        {name: dict(reversed(rows.items())) for name, rows in contents.items()},
        {name: dict(reversed(rows.items())) for name, rows in told.items()},
        {"first": 1, "second": 1},
    )


# --- storage in the way --------------------------------------------------------------------------


def answers_of(disk: SmallDisk, *works: dict[str, object]) -> list[dict[str, Any]]:
    """What a child on the disk answers to each work."""
    child = Child(beside=disk.shell)
    try:
        child.wait_until_ready()
        answers = []
        for work in works:
            child.tell(**work)
            answers.append(child.answer())
        return answers
    finally:
        child.end()


@pytest.mark.parametrize("kilobytes", slow_after(1, {str(k): k for k in (48, 90, 140, 220)}))
def test_a_disk_that_fills_up_while_committing_costs_nothing_but_a_rerun(
    world: World, tmp_path: Path, kilobytes: int
) -> None:
    with SmallDisk(tmp_path / "disk", f"{kilobytes}k") as disk:
        work = {
            "root": world.root.settings.root,
            "date": NEW.date,
            "catalog": f"{disk.place}/catalog",
        }
        reading: dict[str, object] = {**work, "run_id": "", "read": True}
        full, between = answers_of(disk, {**work, "run_id": "full"}, reading)
        disk.do(f"mount -o remount,size=50m '{disk.place}'")
        again, after = answers_of(disk, {**work, "run_id": "again"}, reading)
    assert full["error"] == "StorageError", full
    assert "full" in full["words"].lower() or "no space" in full["words"].lower(), full
    new = world.fingerprints(NEW)
    ids = list(new)
    assert dict(between["held"]).items() <= new.items()
    assert len(between["held"]) % ROWS == 0
    assert sorted(dict(between["held"])) == ids[: len(between["held"])]
    assert again["outcomes"]["unchanged"] == len(between["held"])
    assert again["outcomes"]["inserted"] == ITEMS - len(between["held"])
    assert again["mismatches"] == []
    assert len(after["held"]) == ITEMS
    assert dict(after["held"]) == new


def test_a_read_only_catalog_is_refused_in_words_and_stays_readable(
    world: World, tmp_path: Path
) -> None:
    with SmallDisk(tmp_path / "disk", "50m") as disk:
        work = {"root": world.root.settings.root, "catalog": f"{disk.place}/catalog"}
        answers_of(disk, {**work, "date": OLD.date, "run_id": "before"})
        disk.make_read_only()
        new: dict[str, object] = {**work, "date": NEW.date}
        refused, after = answers_of(
            disk,
            {**new, "run_id": "refused", "update": True},
            {**new, "run_id": "", "read": True},
        )
    assert refused["error"] == "StorageError"
    assert "no permission to write" in refused["words"] or "Read-only" in refused["words"]
    assert dict(after["held"]) == world.fingerprints(OLD)


def test_the_log_alone_read_only_is_refused_in_words(
    two_versions: Root, monkeypatch: pytest.MonkeyPatch, provenance: MakeProvenance
) -> None:
    """The rows' file can be written, the commit cannot: nothing becomes visible."""
    log = Path(two_versions.catalog.uri) / "_delta_log"
    before = published(two_versions)
    if os.geteuid() == 0:
        # Nothing is read-only to root: a file in the way of the folder says the same.
        aside = log.with_name("aside")
        log.rename(aside)
        shutil.copytree(aside, log)
        following = log / f"{two_versions.catalog.version() + 1:020d}.json"  # type: ignore[operator]
        following.mkdir()
        try:
            with pytest.raises(SegpipeError):
                two_versions.publish(PARTITION, provenance=provenance(update=True))
        finally:
            following.rmdir()
    else:
        log.chmod(0o555)
        try:
            with pytest.raises(StorageError):
                two_versions.publish(PARTITION, provenance=provenance(update=True))
        finally:
            log.chmod(0o755)
    assert published(two_versions) == before
    assert outcomes(two_versions.publish(PARTITION, provenance=provenance(update=True))) == {
        "replaced": 1,
        "unchanged": 1,
    }


# --- time and other hands ------------------------------------------------------------------------


@pytest.fixture
def two_versions(landing: LandingWriter, root: Root, provenance: MakeProvenance) -> Root:
    """A published root whose partition now says something else of item a."""
    landing.manifest([landing.row("a", (0, 1)), landing.row("b", (0, 2))])
    root.materialize(PARTITION)
    root.publish(PARTITION, provenance=provenance())
    landing.manifest([landing.row("a", (0, 9)), landing.row("b", (0, 2))])
    root.materialize(PARTITION)
    return root


def test_a_clock_that_goes_backwards_changes_no_outcome(
    two_versions: Root, provenance: MakeProvenance
) -> None:
    long_ago = datetime(2001, 1, 1, tzinfo=UTC)
    before = published(two_versions)
    ignored = two_versions.publish(PARTITION, provenance=provenance(time=long_ago))
    assert outcomes(ignored) == {"ignored": 1, "unchanged": 1}
    publication = two_versions.publish(PARTITION, provenance=provenance(time=long_ago, update=True))
    assert outcomes(publication) == {"replaced": 1, "unchanged": 1}
    replaced = next(row for row in receipts(publication) if row["outcome"] == "replaced")
    assert (replaced["previous_fingerprint"], replaced["time"]) == (before["a"], long_ago)
    row = two_versions.catalog.read(where="reference_id = 'a'").to_pylist()[0]
    assert row["published_at"] == long_ago
    assert publication.verification is not None
    assert publication.verification.mismatches == ()


def with_columns(root: Root, change: Callable[[pa.Table], pa.Table]) -> None:
    """The table written anew by someone else, with other columns."""
    write_deltalake(
        root.catalog.uri,
        change(root.catalog.read()),
        mode="overwrite",
        schema_mode="overwrite",
        partition_by=["dataset", "model_run"],
    )


@pytest.mark.parametrize("update", [False, True])
def test_a_table_with_a_column_added_is_read_and_published_to_as_before(
    landing: LandingWriter, two_versions: Root, provenance: MakeProvenance, update: bool
) -> None:
    def reviewed(table: pa.Table) -> pa.Table:
        return table.append_column("reviewed_by", pa.array(["me"] * len(table)))

    with_columns(two_versions, reviewed)
    before = published(two_versions)
    landing.manifest([landing.row(id, (0, 9)) for id in ("a", "b", "c")])
    two_versions.materialize(PARTITION)
    publication = two_versions.publish(PARTITION, provenance=provenance(update=update))
    changed = "replaced" if update else "ignored"
    assert outcomes(publication) == {"inserted": 1, changed: 2}
    assert published(two_versions).keys() == before.keys() | {"c"}
    if not update:
        assert published(two_versions).items() >= before.items()
        rows = DeltaTable(two_versions.catalog.uri).to_pyarrow_table(
            columns=["reference_id", "reviewed_by"]
        )
        assert sorted(rows.to_pylist(), key=lambda row: str(row["reference_id"])) == [
            {"reference_id": "a", "reviewed_by": "me"},
            {"reference_id": "b", "reviewed_by": "me"},
            {"reference_id": "c", "reviewed_by": None},
        ]


def without_image_url(table: pa.Table) -> pa.Table:
    return table.drop_columns(["image_url"])


def with_height_as_text(table: pa.Table) -> pa.Table:
    place = table.schema.get_field_index("height")
    return table.set_column(place, "height", table["height"].cast(pa.string()))


@pytest.mark.parametrize("change", [without_image_url, with_height_as_text])
@pytest.mark.parametrize("update", [False, True])
def test_a_table_whose_columns_were_removed_or_changed_is_refused_and_left_alone(
    landing: LandingWriter,
    two_versions: Root,
    provenance: MakeProvenance,
    change: Callable[[pa.Table], pa.Table],
    update: bool,
) -> None:
    with_columns(two_versions, change)
    version = two_versions.catalog.version()
    column = "image_url" if change is without_image_url else "height"
    landing.manifest([landing.row(id, (0, 9)) for id in ("a", "c")])
    two_versions.materialize(PARTITION)
    with pytest.raises(CatalogError, match=column):
        two_versions.publish(PARTITION, provenance=provenance(update=update))
    with pytest.raises(CatalogError, match=column):
        two_versions.catalog.read()
    assert DeltaTable(two_versions.catalog.uri).version() == version


def test_a_catalog_of_another_format_is_refused_with_what_to_do(
    two_versions: Root, provenance: MakeProvenance
) -> None:
    table = DeltaTable(two_versions.catalog.uri)
    table.alter.set_table_properties({"segpipe.format": "3"}, raise_if_not_exists=False)
    version = table.version()
    for attempt in (
        lambda: two_versions.publish(PARTITION, provenance=provenance()),
        lambda: two_versions.publish(PARTITION, provenance=provenance(), dry_run=True),
        two_versions.catalog.read,
        lambda: segpipe.open_catalog(two_versions.settings.root),
    ):
        with pytest.raises(CatalogError, match=r"is of format 3.*install a newer segpipe"):
            attempt()
    assert DeltaTable(two_versions.catalog.uri).version() == version


def test_a_root_whose_catalog_is_something_else_is_one_sentence(
    landing: LandingWriter, root: Root, provenance: MakeProvenance
) -> None:
    landing.manifest([landing.row("a")])
    root.materialize(PARTITION)
    (landing.root / "catalog").write_text("a file")
    with pytest.raises(SegpipeError, match="a file is where a folder is needed"):
        root.publish(PARTITION, provenance=provenance())
    assert (landing.root / "catalog").read_text() == "a file"
    with pytest.raises(CatalogError, match="nothing was published there yet"):
        segpipe.open_catalog(str(landing.root / "manifests"))


def test_an_item_written_twice_by_another_hand_is_refused_with_the_way_out(
    two_versions: Root, provenance: MakeProvenance
) -> None:
    catalog = two_versions.catalog
    whole = catalog.version()
    write_deltalake(catalog.uri, catalog.read(where="reference_id = 'a'"), mode="append")
    for update in (False, True):
        with pytest.raises(CatalogError, match=r"two predictions for one item.*restore"):
            two_versions.publish(PARTITION, provenance=provenance(update=update))
    assert catalog.version() == (whole or 0) + 1
    assert whole is not None
    restore(catalog, whole, "mending")
    assert outcomes(two_versions.publish(PARTITION, provenance=provenance(update=True))) == {
        "replaced": 1,
        "unchanged": 1,
    }


def _lost(path: Path) -> None:
    path.unlink()


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:20])


def _other_pixels(path: Path) -> None:
    path.write_bytes(canonical_png(striped_mask((0, 1, 0, 1, 0, 1))))


def _other_size(path: Path) -> None:
    path.write_bytes(canonical_png(np.repeat(striped_mask((0, 1)), 2, axis=0)))


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (_lost, "its mask cannot be read"),
        (_cut, "its mask cannot be read"),
        (_other_pixels, "not what was published"),
        (_other_size, "not what was published"),
    ],
)
def test_reading_back_names_the_item_whose_mask_was_harmed(
    landing: LandingWriter,
    root: Root,
    provenance: MakeProvenance,
    harm: Callable[[Path], None],
    words: str,
) -> None:
    landing.manifest([landing.row(id, (0, n + 1)) for n, id in enumerate("abc")])
    root.materialize(PARTITION)
    root.publish(PARTITION, provenance=provenance())
    row = root.catalog.read(where="reference_id = 'a'").to_pylist()[0]
    harm(landing.root / row["mask_path"])
    publication = root.publish(PARTITION, provenance=provenance(), verify_masks=None)
    assert outcomes(publication) == {"unchanged": 3}
    assert publication.verification is not None
    assert publication.verification.masks == 3
    assert [m.reference_id for m in publication.verification.mismatches] == ["a"]
    assert words in publication.verification.mismatches[0].words


def test_reading_back_names_the_item_whose_row_was_changed_by_another_hand(
    landing: LandingWriter, root: Root, provenance: MakeProvenance
) -> None:
    landing.manifest([landing.row(id, (0, n + 1)) for n, id in enumerate("abc")])
    root.materialize(PARTITION)
    by = provenance()
    batch = next(root.validated(PARTITION).batches(10))
    told = root.catalog.publish(batch, root.masks, by)
    table = DeltaTable(root.catalog.uri)
    table.update(updates={"fingerprint": "'0000'"}, predicate="reference_id = 'b'")
    table.delete("reference_id = 'c'")
    found = root.catalog.verify(told, by, masks=None)
    assert found.receipts == 3
    assert {m.reference_id: m.words[:15] for m in found.mismatches} == {
        "b": "the receipt say",
        "c": "the destination",
    }


def test_materializing_again_mends_a_lost_mask(
    landing: LandingWriter, root: Root, provenance: MakeProvenance
) -> None:
    landing.manifest([landing.row("a"), landing.row("b", (0, 5))])
    root.materialize(PARTITION)
    root.publish(PARTITION, provenance=provenance())
    for path in Path(root.masks.folder.path).rglob("*.png"):
        path.unlink()
    broken = root.publish(PARTITION, provenance=provenance(), verify_masks=None).verification
    assert broken is not None
    assert [m.reference_id for m in broken.mismatches] == ["a", "b"]
    root.materialize(PARTITION)
    mended = root.publish(PARTITION, provenance=provenance(), verify_masks=None).verification
    assert mended is not None
    assert mended.mismatches == ()


def test_a_mask_is_stored_again_where_even_its_folder_went_meanwhile(tmp_path: Path) -> None:
    masks = MaskStore(Folder(str(tmp_path / "masks")))
    sha256 = masks.put(canonical_png(striped_mask((0, 1))))
    shutil.rmtree(tmp_path / "masks")
    assert masks.put(canonical_png(striped_mask((0, 1)))) == sha256
    assert masks.has(sha256)


def test_dry_run_foresees_the_predictions_whose_mask_is_lost(
    landing: LandingWriter, root: Root, provenance: MakeProvenance
) -> None:
    """A dry run says what publishing would do, failures included."""
    landing.manifest([landing.row("a"), landing.row("b", (0, 5))])
    root.materialize(PARTITION)
    rows = next(root.validated(PARTITION).batches(10)).rows
    root.masks.folder.remove(MaskStore.name_of(rows["mask_sha256"][0].as_py()))
    foreseen = root.publish(PARTITION, provenance=provenance(), dry_run=True)
    assert outcomes(root.publish(PARTITION, provenance=provenance())) == {
        "inserted": 1,
        "failed": 1,
    }
    assert outcomes(foreseen) == {"inserted": 1, "failed": 1}


def test_an_item_replaced_twice_since_does_not_make_a_true_receipt_false(
    landing: LandingWriter, root: Root, provenance: MakeProvenance
) -> None:
    """Reading back must not accuse a receipt because others were faster and updated the item."""
    receipts_of_first: pa.Table | None = None
    first = provenance(update=True)
    for value in (1, 2, 3):
        landing.manifest([landing.row("a", (0, value))])
        root.materialize(PARTITION)
        by = first if value == 1 else provenance(update=True)
        told = root.catalog.publish(next(root.validated(PARTITION).batches(10)), root.masks, by)
        if receipts_of_first is None:
            receipts_of_first = told
    assert receipts_of_first is not None
    assert root.catalog.verify(receipts_of_first, first, masks=None).mismatches == ()
