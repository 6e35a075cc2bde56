"""The power is cut at any instant of a run, and the run is made again.

What the runs of ``power_cut_runs`` write and sync is recorded once. From the recording the states
are built that a cut may leave (``power_cut``), each in the root itself, where the run that was cut
is made again and the laws are held: what receipts said is there, nothing needs a hand, and all is
as if nothing had been cut.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from segpipe.root import Root
from tests.fixtures.power_cut import Disk, State
from tests.fixtures.power_cut_runs import MARK, RUNS, Content, content, land, torn
from tests.fixtures.recording import Recorder
from tests.fixtures.thoroughness import at_most

CUTS = int(os.environ.get("SEGPIPE_POWER_CUTS", "40"))
SLOW_CUTS = int(os.environ.get("SEGPIPE_POWER_CUTS", at_most(150, 10_000)))
#: What is there before the first run, and never written to.
_GIVEN = ("manifests", "segpipe.toml")
_TABLES = ("validated.parquet", "segments.parquet", "rejected.parquet", "_summary.json")


@dataclass(frozen=True)
class Cut:
    """A state that a cut left.

    Attributes:
        name: what to ask for to have it again.
        run: the run that was under way; all before it had said that they succeeded.
    """

    name: str
    run: int
    state: State


class Recorded:
    """The runs, recorded in a root.

    Attributes:
        folder: the root.
        after: what the catalog held after each run.
        versions: the catalog's version then.
    """

    def __init__(self, folder: Path, recorder: Recorder) -> None:
        self.folder = folder
        land(folder)
        command = [sys.executable, "-m", "tests.fixtures.power_cut_runs", str(folder)]
        recording = recorder(folder, command)
        self._operations = recording.operations
        ended = [json.loads(line) for line in recording.output.splitlines()]
        self.versions: list[int] = [version for version, _ in ended]
        self.after: list[Content] = [held for _, held in ended]
        assert len(self.after) == len(RUNS)
        self.tables = _tables_in(folder)

    def cuts(self, count: int, seed: int) -> Iterator[Cut]:
        """So many different states, of cuts at instants that are spread over the runs."""
        seen: set[bytes] = set()
        for turn in range(1000):
            chance = random.Random(f"{seed} {turn}")
            wanted = min(len(self._operations), count - len(seen))
            instants = (
                {chance.choice(of_run) for of_run in self._instants()} if turn == 0 else set()
            )
            while len(instants) < wanted:
                instants.add(chance.randrange(len(self._operations)))
            for cut in self._cuts_at(sorted(instants), f"{seed} {turn}"):
                digest = _digest_of(cut)
                if digest not in seen:
                    seen.add(digest)
                    yield cut
                    if len(seen) == count:
                        return
        raise AssertionError(f"there are only {len(seen)} different states")

    def _instants(self) -> list[range]:
        """Of each run, the instants at which it can be cut."""
        marks = [n for n, one in enumerate(self._operations) if one.path.startswith(MARK)]
        firsts = [0, *(mark + 1 for mark in marks)]
        return [range(*ends) for ends in pairwise(firsts)]

    def _cuts_at(self, instants: list[int], seed: str) -> Iterator[Cut]:
        disk, done, run = Disk(self.folder, only=_GIVEN), 0, 0
        for instant in instants:
            for operation in self._operations[done:instant]:
                if operation.path.startswith(MARK):
                    run += 1
                else:
                    disk.do(operation)
            done = instant
            name = f"{seed} {instant}"
            if run < len(RUNS):
                yield Cut(name, run, disk.after_a_cut(random.Random(name)))


def _digest_of(cut: Cut) -> bytes:
    digest = hashlib.sha256(str(cut.run).encode())
    for path, data in sorted(cut.state.items()):
        digest.update(f"{path}\0{'' if data is None else len(data)}\0".encode() + (data or b""))
    return digest.digest()


def _tables_in(folder: Path) -> dict[str, bytes]:
    """The validated tables: path -> contents."""
    found = (path for name in _TABLES for path in folder.glob(f"validated/**/{name}"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def lay_out(folder: Path, state: State) -> None:
    """Put a root into a state; what was given stays as it is, down to its inodes."""
    for path in folder.iterdir():
        if path.name in _GIVEN:
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    for name, data in state.items():
        if name.split("/")[0] in _GIVEN:
            continue
        if data is None:
            (folder / name).mkdir()
        else:
            (folder / name).write_bytes(data)


def hold_the_laws(recorded: Recorded, cut: Cut) -> None:
    """Open what a cut left, make its run again, and look at everything."""
    folder, root = recorded.folder, Root.open(recorded.folder)
    lay_out(folder, cut.state)
    before = recorded.after[cut.run - 1] if cut.run else {}
    after = recorded.after[cut.run]
    told = _runs_with_receipts(folder)
    publishing = {run for run in (0, 1, 2, 6) if run < cut.run}
    assert publishing <= told, "receipts are missing"

    chance = random.Random(cut.name)
    if chance.random() < 0.5:  # else the run itself is the first to look
        held = content(root)
        possible = [after] if cut.run in told else [before, after]
        for item in before.keys() | after.keys() | held.keys():
            assert held.get(item) in [one.get(item) for one in possible], f"{item} is lost"
    RUNS[cut.run](root, chance.choice((f"run-{cut.run}", "again")))
    _as_if_nothing_had_been_cut(recorded, cut, Root.open(folder))


def _runs_with_receipts(folder: Path) -> set[int]:
    """The runs whose receipts are there; every receipts table can be read."""
    found = set()
    for path in folder.glob("catalog/receipts/**/*.parquet"):
        with path.open("rb") as handle:
            assert pq.read_table(handle).num_rows
        found.add(int(path.stem.removeprefix("run-")))
    return found


def _as_if_nothing_had_been_cut(recorded: Recorded, cut: Cut, root: Root) -> None:
    held = content(root)
    assert held == recorded.after[cut.run], "the catalog holds something else"
    for _, sha256, *_ in held.values():
        assert hashlib.sha256(root.masks.read(sha256)).hexdigest() == sha256, "a mask is damaged"
    tables = _tables_in(recorded.folder)
    assert tables == {path: recorded.tables[path] for path in tables}, "a table is damaged"
    confirmed = recorded.versions[cut.run - 1] if cut.run else -1
    assert all(version > confirmed for version in torn(root)), "a confirmed version was set aside"
    versions = [one.version for one in root.catalog.history() if one.operation != "torn"]
    assert versions == list(range(len(versions)))[::-1], f"history has gaps: {versions}"


def cut_and_run_again(recorded: Recorded, count: int, seed: int) -> None:
    """Hold the laws against so many states; fails with the first that do not."""
    violations: list[str] = []
    kinds: Counter[str] = Counter()
    runs: Counter[int] = Counter()
    started = time.perf_counter()
    for cut in recorded.cuts(count, seed):
        runs[cut.run] += 1
        try:
            hold_the_laws(recorded, cut)
        except Exception as error:
            words = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:300]}"
            kinds[words[:60]] += 1
            violations.append(f"cut {cut.name!r} of run {cut.run}: {words}")
    seconds = (time.perf_counter() - started) / count
    shown = "\n".join([*violations[:20], *map(str, kinds.most_common(30))])
    print(f"{count} states ({dict(runs)}), {len(violations)} violations, {seconds:.3f} s per state")
    assert not violations, f"{len(violations)} of {count} states, such as\n{shown}"
    assert set(runs) == set(range(len(RUNS))), runs


@pytest.fixture(scope="module")
def recorded(recorder: Recorder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    """The runs, where possible in memory: what is held against is in the recording."""
    memory = Path("/dev/shm")
    place = memory if os.access(memory, os.W_OK) else tmp_path_factory.mktemp("power")
    with tempfile.TemporaryDirectory(dir=place, prefix="segpipe-power-") as folder:
        root = Path(folder).resolve() / "root"
        root.mkdir()
        yield Recorded(root, recorder)


@pytest.mark.timeout(1200)
def test_a_cut_of_the_power_at_any_instant_costs_nothing_but_a_rerun(recorded: Recorded) -> None:
    cut_and_run_again(recorded, CUTS, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(6 * 3600)
def test_many_cuts_of_the_power_cost_nothing_but_a_rerun(recorded: Recorded) -> None:
    cut_and_run_again(recorded, SLOW_CUTS, seed=2)
