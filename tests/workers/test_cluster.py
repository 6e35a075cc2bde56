"""Masks validated by a Dask cluster: the same tables as here, whatever happens to its workers.

A real scheduler and real workers, each in a folder of its own; they share the root alone.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from segpipe.errors import ChunkError, SettingsError, StorageError
from segpipe.root import Root
from segpipe.settings import Settings
from segpipe.storage.files import Folder
from segpipe.validation.materialization import materialize
from segpipe.workers import cluster
from segpipe.workers.chunks import Workers
from tests.fixtures.landing import PARTITION, LandingWriter
from tests.fixtures.places import PROJECT

pytest.importorskip("distributed")

ROWS = 60


class Cluster:
    """A scheduler and workers on this machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        self.workers: list[subprocess.Popen[bytes]] = []
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        options = ["--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard", "--no-show"]
        self._start("scheduler", options, "distributed.cli.dask_scheduler")

    @property
    def address(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def add_worker(self) -> subprocess.Popen[bytes]:
        """Another worker, in an empty working directory."""
        options = [self.address, "--nthreads", "1", "--no-dashboard", "--no-nanny"]
        worker = self._start(f"worker-{len(self.workers)}", options, "distributed.cli.dask_worker")
        self.workers.append(worker)
        return worker

    def _start(self, name: str, options: list[str], module: str) -> subprocess.Popen[bytes]:
        folder = self._folder / name
        folder.mkdir(parents=True)
        log = (self._folder / f"{name}.log").open("wb")
        place = {"PYTHONPATH": os.pathsep.join([str(PROJECT)])}
        process = subprocess.Popen(
            [sys.executable, "-m", module, *options],
            cwd=folder,
            stdout=log,
            stderr=log,
            env={**os.environ, **place},
        )
        self._processes.append(process)
        return process

    def end(self) -> None:
        """Stop everything."""
        for process in reversed(self._processes):
            process.terminate()
        for process in self._processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def two_workers(folder: Path) -> Iterator[Cluster]:
    started = Cluster(folder)
    try:
        started.add_worker()
        started.add_worker()
        yield started
    finally:
        started.end()


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two that stay."""
    yield from two_workers(tmp_path_factory.mktemp("cluster") / "two")


@pytest.fixture
def own_workers(tmp_path: Path) -> Iterator[Cluster]:
    """Two that can be killed."""
    yield from two_workers(tmp_path / "cluster")


@pytest.fixture
def landed(landing: LandingWriter) -> Root:
    """A partition of accepted, rejected and repeated rows."""
    rows = [landing.row(f"item-{n}", (n % 7, n % 5, 8)) for n in range(ROWS)]
    rows[3]["mask_url"] = "masks/nowhere.png"
    rows[40]["height"] = 99
    landing.manifest([*rows, rows[10], {**rows[20], "segments": rows[21]["segments"]}])
    settings = Settings.load(str(landing.root))
    return Root(replace(settings, rows_per_chunk=4))


def tables_of(root: Root, scheduler: str, out: Path) -> dict[str, bytes]:
    """Materialize into a place of its own."""
    materialize(
        root.manifest(PARTITION),
        root.validation(PARTITION.model_run),
        Folder(str(out)),
        workers=Workers(1, scheduler),
        rows_per_chunk=root.settings.rows_per_chunk,
    )
    return {path.name: path.read_bytes() for path in out.iterdir() if path.name != "_inputs.json"}


def test_tables_are_byte_for_byte_those_made_here(
    landed: Root, workers: Cluster, tmp_path: Path
) -> None:
    here = tables_of(landed, "", tmp_path / "here")
    there = tables_of(landed, workers.address, tmp_path / "there")
    assert set(here) == {
        "validated.parquet", "segments.parquet", "rejected.parquet", "_summary.json"
    }  # fmt: skip
    assert there == here


class Work:
    """A chunk's work, with the workers seen so far left as files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, number: int) -> int:
        (self.folder / f"{number}-{os.getpid()}").touch()
        time.sleep(0.1)
        return number * number


def runs_of(folder: Path) -> dict[int, set[int]]:
    """Chunk -> processes that began it."""
    runs: dict[int, set[int]] = {}
    for path in folder.iterdir():
        number, pid = map(int, path.name.split("-"))
        runs.setdefault(number, set()).add(pid)
    return runs


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_its_chunks_alone(
    own_workers: Cluster, tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    seen.mkdir()
    results = cluster.map_cluster(Work(seen), range(40), own_workers.address)
    first = [next(results) for _ in range(10)]
    while len({pid for pids in runs_of(seen).values() for pid in pids}) < 2:
        first.append(next(results))
    own_workers.workers[0].send_signal(signal.SIGKILL)
    assert [*first, *results] == [n * n for n in range(40)]
    again = [number for number, pids in runs_of(seen).items() if len(pids) > 1]
    assert len(again) <= 4  # those it had: one begun, and those waiting for it


@pytest.mark.slow
def test_workers_that_come_later_take_part(own_workers: Cluster, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    seen.mkdir()
    results = cluster.map_cluster(Work(seen), range(400), own_workers.address)
    next(results)
    late = own_workers.add_worker().pid
    for _ in results:
        if any(late in pids for pids in runs_of(seen).values()):
            break
    else:
        pytest.fail("the third worker was given nothing")
    results.close()  # type: ignore[attr-defined]


class EndWorker:
    """Work that one chunk never survives."""

    def __call__(self, number: int) -> int:
        if number == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return number


@pytest.mark.slow
def test_a_chunk_that_ends_every_worker_is_named(own_workers: Cluster) -> None:
    for _ in range(3):
        own_workers.add_worker()
    with pytest.raises(ChunkError, match=r"^3: every worker that was given it died"):
        list(cluster.map_cluster(EndWorker(), range(8), own_workers.address))


@pytest.mark.slow
def test_a_cluster_whose_workers_are_gone_is_not_waited_for_for_ever(
    own_workers: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_WORKERLESS_SECONDS", 2)
    monkeypatch.setattr(cluster, "_LOOK_SECONDS", 1)
    # Two workers die of the chunk, and Dask gives it to four before it gives it up.
    with pytest.raises(ChunkError, match=r"no worker for 2 s.*start\s+workers and run again"):
        list(cluster.map_cluster(EndWorker(), range(8), own_workers.address))


class TimeOut:
    """Work that gives up waiting for something."""

    def __call__(self, number: int) -> int:
        raise TimeoutError("the lock was not free")


def test_work_that_times_out_is_not_taken_for_a_cluster_that_does(workers: Cluster) -> None:
    with pytest.raises(TimeoutError, match="the lock was not free"):
        list(cluster.map_cluster(TimeOut(), range(3), workers.address))


class Refuse:
    """Work that fails as storage does."""

    def __call__(self, number: int) -> int:
        if number == 2:
            raise StorageError("the disk is full")
        return number


def test_an_error_of_the_work_is_raised_when_its_turn_comes(workers: Cluster) -> None:
    results = cluster.map_cluster(Refuse(), range(50), workers.address)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(StorageError, match="the disk is full"):
        next(results)


def test_workers_of_another_version_are_refused(
    workers: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "__version__", "99")
    with pytest.raises(SettingsError, match="install the same version everywhere"):
        list(cluster.map_cluster(abs, [1], workers.address))


def test_a_scheduler_nobody_is_at_is_a_mistake_in_the_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cluster, "_CONNECT_SECONDS", 1)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    with pytest.raises(SettingsError, match="cannot be reached"):
        list(cluster.map_cluster(abs, [1], address))


@pytest.mark.parametrize("address", ["host:8786", "tcp://host", "tcp://user@host:1", "http://h:1"])
def test_what_is_no_schedulers_address_is_refused(address: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"expected the address of a Dask scheduler"):
        Settings.load(str(tmp_path)).with_workers(None, address)
    (tmp_path / "segpipe.toml").write_text(f'scheduler = "{address}"\n')
    with pytest.raises(SettingsError, match=r"expected the address of a Dask scheduler"):
        Settings.load(str(tmp_path))
