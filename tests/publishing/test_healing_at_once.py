"""Several processes open a torn table at once: one sets aside, all go on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segpipe.manifests.partition import Partition
from segpipe.publishing import log_damage
from segpipe.publishing.history import history
from segpipe.root import Root
from tests.fixtures.damaged_tables import (
    Damage,
    added,
    again,
    checkpoint_of,
    entry,
    half,
    log,
    lost,
    zeroed,
)
from tests.fixtures.forked_python import ForkedProgram
from tests.fixtures.landing import LandingWriter
from tests.fixtures.processes import wait_until
from tests.fixtures.published import published
from tests.fixtures.published_days import NEXT_DAY

PROCESSES = 6
# Ready, then at a sign all at once: the first thing they do with the catalog is to write to it.
_PUBLISHES = """
import json, sys, time
from pathlib import Path
from segpipe.manifests.partition import Partition
from segpipe.root import Root
import segpipe.publishing.catalog
place, date, gate = json.loads(sys.stdin.readline())
root = Root.open(place)
Path(f"{gate}.{date}").touch()
while not Path(gate).exists():
    time.sleep(0.001)
done = root.publish(Partition("unet", date))
print(json.dumps([done.outcomes["inserted"], done.remarks]))
"""

TORN: dict[str, Callable[[Root], Any]] = {
    "entry cut": lambda root: half(entry(root, 2)),
    "entry zeroed": lambda root: zeroed(entry(root, 2)),
    "data lost": lambda root: lost(added(root, 2)[0]),
}


def published_at_once(root: Root, dates: list[str], tmp_path: Path) -> list[tuple[int, list[str]]]:
    """What processes that each publish a day of their own inserted and said."""
    gate = tmp_path / "gate"
    started = [ForkedProgram(_PUBLISHES) for _ in dates]
    try:
        for program, date in zip(started, dates, strict=True):
            program.stdin.write(json.dumps([root.settings.root, date, str(gate)]) + "\n")
            program.stdin.flush()
        ready = [Path(f"{gate}.{date}") for date in dates]
        assert wait_until(lambda: all(path.exists() for path in ready), 100)
        gate.touch()
        return [tuple(json.loads(program.stdout.readline())) for program in started]
    finally:
        for program in started:
            program.close()


@pytest.fixture
def days(unconfirmed: Root, landing: LandingWriter) -> list[str]:
    """The torn day and others, ready to be published."""
    dates = [NEXT_DAY.date, *(f"2026-02-{n:02}" for n in range(1, PROCESSES))]
    for number, date in enumerate(dates[1:]):
        partition = Partition("unet", date)
        landing.manifest([landing.row(f"item {number}", (0, 7), partition)], partition)
        unconfirmed.materialize(partition)
    return dates


@pytest.mark.slow
@pytest.mark.parametrize("tear", TORN.values(), ids=TORN)
def test_of_processes_that_open_a_torn_table_at_once_one_sets_it_aside_and_all_go_on(
    unconfirmed: Root, days: list[str], tmp_path: Path, tear: Callable[[Root], Any]
) -> None:
    tear(unconfirmed)
    said = published_at_once(unconfirmed, days, tmp_path)
    remarks = [remark for _, remarks in said for remark in remarks]
    assert len(remarks) == 1
    assert "version 2 of the catalog" in remarks[0]
    assert [path.name for path in log(unconfirmed).glob("*.torn*")] == [f"{2:020d}.json.torn"]
    assert [inserted for inserted, _ in said] == [2, *[1] * (PROCESSES - 1)]
    items = {f"item {number}" for number in range(PROCESSES - 1)}
    assert set(published(again(unconfirmed))) == {"a", "b", "c", "d", *items}
    told = [v.version for v in history(again(unconfirmed).catalog) if v.operation != "torn"]
    assert told == list(range(PROCESSES + 1, -1, -1))


def test_a_checkpoint_that_is_set_aside_while_another_looks_at_it_is_not_damaged(
    unconfirmed: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = unconfirmed.catalog.table.log
    assert table is not None
    file = checkpoint_of(unconfirmed)
    names = log_damage.checkpoints_in(str(log(unconfirmed)))
    assert names == [file.name]
    file.rename(f"{file}.torn")
    monkeypatch.setattr(log_damage, "checkpoints_in", lambda _: names)  # of before
    assert table.damaged_checkpoints() == []


@pytest.mark.slow
@pytest.mark.parametrize("damage", [half, zeroed], ids=["cut", "zeroed"])
def test_of_processes_that_open_beside_a_torn_checkpoint_one_sets_it_aside_and_all_go_on(
    unconfirmed: Root, days: list[str], tmp_path: Path, damage: Damage
) -> None:
    file = checkpoint_of(unconfirmed)
    damage(file)
    said = published_at_once(unconfirmed, days, tmp_path)
    assert [path.name for path in log(unconfirmed).glob("*.checkpoint.parquet.torn*")] == [
        f"{file.name}.torn"
    ]
    assert sum(file.name in remark for _, remarks in said for remark in remarks) == 1
    items = {f"item {number}" for number in range(PROCESSES - 1)}
    assert set(published(again(unconfirmed))) == {"a", "b", "c", "d", *items}
