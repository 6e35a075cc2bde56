"""Publishing and maintenance at the same time, in every order of their operations on files.

The catalog was changed ten days ago for the last time: what a vacuum with the default retention
takes are the files of versions 1 and 4, and two masks. Those are the very masks that are published
again and the very versions that are restored while it does so.
"""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from segpipe.publishing.catalog import Catalog
from tests.fixtures.aged_catalog import catalog_in, catalog_of_five_versions
from tests.fixtures.stepping import Actor, Schedule, interleave
from tests.fixtures.thoroughness import at_most

Task = dict[str, Any]
INSERT: Task = {"do": "publish", "items": {"c": 5, "d": 0}, "update": False, "run_id": "insert"}
UPDATE: Task = {"do": "publish", "items": {"a": 0, "b": 5}, "update": True, "run_id": "update"}
FIRST: Task = {"do": "restore", "version": 1, "run_id": "first"}
FOURTH: Task = {"do": "restore", "version": 4, "run_id": "fourth"}
VACUUM: Task = {"do": "vacuum", "hours": 168}
VACUUM_ALL: Task = {"do": "vacuum", "hours": 0}
OPTIMIZE: Task = {"do": "optimize", "run_id": "tidy"}
UNPUBLISH: Task = {"do": "unpublish", "items": ["b"], "run_id": "without b"}
TOGETHER = [
    *([publisher, other] for publisher in (INSERT, UPDATE)
      for other in (FIRST, FOURTH, VACUUM, OPTIMIZE, UNPUBLISH)),
    *([VACUUM, other] for other in (FIRST, FOURTH, OPTIMIZE, UNPUBLISH, VACUUM)),
    *([FOURTH, other] for other in (OPTIMIZE, UNPUBLISH)),
    *([VACUUM_ALL, other] for other in (UPDATE, FIRST, OPTIMIZE, UNPUBLISH)),
    [UPDATE, VACUUM, FOURTH],
    [INSERT, VACUUM, FIRST],
]  # fmt: skip
OLD_ENTRY = re.compile(r"^(look|open) .*/_delta_log/0{19}[0-5]\.json$")
Choose = Callable[[int, int, Sequence[int]], int]
#: Of a task that was looked at, as JSON: where it is worth stopping.
_STOPS: dict[str, list[int]] = {}


@pytest.fixture(scope="module")
def ten_days_old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return catalog_of_five_versions(tmp_path_factory.mktemp("interleaved"))


def violations(
    catalog: Catalog, tasks: Sequence[Task], answers: Sequence[dict[str, Any]]
) -> list[str]:
    """What is wrong after tasks that ran at the same time; nothing should be."""
    found: list[str] = []
    # Without retention, the versions of a moment ago may be vacuumed.
    oldest = 5 if VACUUM_ALL not in tasks else catalog.version() or 0
    for task, answer in zip(tasks, answers, strict=True):
        error = answer.get("error", "")
        if error and not (task["do"] == "restore" and "cannot be restored" in error):
            found.append(f"{task['do']} failed: {error}")
        if not error and task["do"] == "publish":
            said = answer["said"]
            found += [f"mismatch {m}" for m in said["mismatches"]]
            if int(said["at"]) >= oldest:
                found += untrue(catalog, said["receipts"], int(said["at"]))
    try:
        for row in catalog.read(["reference_id", "mask_sha256"]).to_pylist():
            if not catalog.masks.has(row["mask_sha256"]):
                found.append(f"the mask of {row['reference_id']} is gone")
        found += inconsistent(catalog, oldest)
    except Exception as error:
        found.append(f"unreadable: {error}")
    return found


def untrue(catalog: Catalog, receipts: list[dict[str, Any]], version: int) -> list[str]:
    """Receipts that the version they speak of does not confirm."""
    rows = catalog.read(["reference_id", "fingerprint"], version=version).to_pylist()
    held = {row["reference_id"]: row["fingerprint"] for row in rows}
    wanted = {
        receipt["reference_id"]: receipt["previous_fingerprint"]
        if receipt["outcome"] == "ignored"
        else receipt["fingerprint"]
        for receipt in receipts
    }
    return [
        f"{receipt['reference_id']} is said to be {receipt['outcome']}"
        for receipt in receipts
        if receipt["outcome"] == "failed"
        or held.get(receipt["reference_id"]) != wanted[receipt["reference_id"]]
    ]


def inconsistent(catalog: Catalog, oldest: int) -> list[str]:
    """Versions of the history that do not follow from the ones before."""
    history = catalog.history()
    newest = catalog.version() or 0
    if [one.version for one in history] != list(range(newest, -1, -1)):
        return [f"the history has the versions {[one.version for one in history]}"]
    held = {
        version: catalog.read(["reference_id"], version=version).num_rows
        for version in range(oldest, newest + 1)
    }
    return [
        f"version {now.version} ({now.operation} {now.notes}) has {held[now.version]} rows"
        for now, before in pairwise(history)
        if now.version > oldest
        and now.operation != "restore"
        and held[now.version] - held[before.version]
        != int(now.notes.get("inserted", 0)) - int(now.notes.get("removed", 0))
    ]


def run(
    template: Path, actors: Sequence[Actor], tasks: Sequence[Task], choose: Choose
) -> tuple[Schedule, list[str]]:
    root = template.with_name("root")
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(template, root)
    places = {"root": str(root), "inbox": str(template.with_name("inbox"))}
    schedule = interleave(actors, [{**task, **places} for task in tasks], choose)
    left = [f"{path} was left" for path in root.rglob(".*") if path.is_file()]
    left += map(str, root.glob("masks/.removals/*"))
    return schedule, [*violations(catalog_in(root), tasks, schedule.answers), *left]


def seeded(seed: int, length: int) -> Choose:
    """One goes on until its turn ends at a step that is drawn; every fourth seed draws each step.

    Few turns find more than many: most faults need one to stand still while another does it all.
    """
    draw = random.Random(seed)
    ends = {draw.randrange(length) for _ in range(1 + seed % 4)}

    def choose(step: int, last: int, going: Sequence[int]) -> int:
        if step == 0 or step in ends or seed % 4 == 3:
            return draw.choice(going)
        return last

    return choose


def stopped_once(who: int, at: int) -> Choose:
    """One goes first, and stops after so many operations until all others are done."""

    def choose(step: int, last: int, going: Sequence[int]) -> int:
        others = [one for one in going if one != who]
        return who if step < at or not others else others[0]

    return choose


def stops(template: Path, actors: Sequence[Actor], task: Task) -> list[int]:
    """Before which of its operations a task is worth stopping.

    Before all, except to do the same again, or to look at log entries that nothing changes.
    """
    if (known := _STOPS.get(json.dumps(task))) is not None:
        return known
    schedule, found = run(template, actors, [task], lambda step, last, going: 0)
    assert not found, told(found, [task], schedule, "alone")
    steps = [step for _, step in schedule.steps]
    return _STOPS.setdefault(
        json.dumps(task),
        [
            place
            for place, step in enumerate(steps)
            if step != steps[place - 1] and not OLD_ENTRY.search(step)
        ],
    )


def told(found: list[str], tasks: Sequence[Task], schedule: Schedule, how: object) -> str:
    who = " and ".join(json.dumps(task) for task in tasks)
    return "\n".join([f"{who}, {how}:", *found, *(f"{p} {step}" for p, step in schedule.steps)])


@pytest.mark.parametrize("seed", range(8))
def test_whatever_order_two_take_their_steps_in_the_catalog_is_whole(
    ten_days_old: Path, actors: Sequence[Actor], seed: int
) -> None:
    tasks = TOGETHER[seed % len(TOGETHER)]
    schedule, found = run(ten_days_old, actors, tasks, seeded(seed, 300 * len(tasks)))
    assert not found, told(found, tasks, schedule, f"seed {seed}")


@pytest.mark.slow
@pytest.mark.parametrize("tasks", TOGETHER, ids=lambda tasks: "-".join(t["do"] for t in tasks))
def test_wherever_one_is_stopped_while_the_others_do_it_all_the_catalog_is_whole(
    ten_days_old: Path, actors: Sequence[Actor], tasks: Sequence[Task]
) -> None:
    for who, task in enumerate(tasks):
        for at in stops(ten_days_old, actors, task)[:: at_most(12, 1)]:
            schedule, found = run(ten_days_old, actors, tasks, stopped_once(who, at))
            assert not found, told(found, tasks, schedule, f"{who} stopped at {at}")


@pytest.mark.slow
def test_many_seeded_orders_leave_the_catalog_whole(
    ten_days_old: Path, actors: Sequence[Actor]
) -> None:
    for seed in range(24, 24 + at_most(40, 500)):
        tasks = TOGETHER[seed % len(TOGETHER)]
        schedule, found = run(ten_days_old, actors, tasks, seeded(seed, 300 * len(tasks)))
        assert not found, told(found, tasks, schedule, f"seed {seed}")
