"""Hostile manifests, through the real command, in processes with bounds on memory and time.

Each is refused as a whole, with words, or its rows are accepted and rejected one by one.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import pytest

from tests.fixtures.bounded_runs import BoundedRuns, bounded_runs
from tests.fixtures.hostile_manifests import (
    HostileManifest,
    a_dozen,
    hostile_manifests,
    write_mask,
)
from tests.fixtures.thoroughness import at_most

MEMORY, SECONDS = 1_000_000_000, 60
#: Seed of the zoo; another one makes other damaged files, sizes and codecs.
SEED = int(os.environ.get("SEGPIPE_ZOO_SEED", "1"))


def wrong_with(case: HostileManifest, folder: Path, runs: BoundedRuns) -> str | None:
    """What is wrong with the way a case ends; None if nothing is."""
    path, out = folder / "m.parquet", folder / "out"
    case.write(path)
    done = runs.run("validate", path, "--out", out, "--workers", 1, memory=MEMORY, seconds=SECONDS)
    shutil.rmtree(out, ignore_errors=True)
    said = f"{case.name}: exit status {done.status}, {done.peak:,} bytes, {done.seconds:.1f} s"
    if done.bound:
        return f"{said}: beyond its {done.bound}"
    if done.status not in case.statuses:
        return f"{said}, expected one of {case.statuses}: {done.output[-2000:]}"
    if "Traceback" in done.output or len(done.output) > 30_000:
        return f"{said}: {done.output[-2000:]}"
    if done.status == 2 and not done.output.startswith("error: "):
        return f"{said}: {done.output[-2000:]}"
    return None


def all_wrong(cases: Iterable[HostileManifest], folder: Path) -> tuple[int, list[str]]:
    """Number of cases, and what is wrong with any."""
    write_mask(folder)
    wrong = []
    count = 0
    with bounded_runs() as runs:
        for case in cases:
            count += 1
            found = wrong_with(case, folder, runs)
            if found is not None:
                wrong.append(found)
    return count, wrong


@pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_a_dozen_hostile_manifests_stay_within_bounds(tmp_path: Path, every: int) -> None:
    count, wrong = all_wrong(islice(a_dozen(SEED), 0, None, every), tmp_path)
    assert not wrong, "\n".join(wrong)
    assert count == 12 // every


@pytest.mark.slow
def test_a_zoo_of_200_hostile_manifests_stays_within_bounds(tmp_path: Path) -> None:
    every = at_most(8, 1)
    count, wrong = all_wrong(islice(hostile_manifests(SEED), 0, None, every), tmp_path)
    assert not wrong, "\n".join(wrong)
    assert count >= 200 // every
