"""Chunks in processes of their own: the same results, and an end in every case."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing import forkserver
from pathlib import Path

import pytest

from segpipe.errors import ChunkError, StorageError
from segpipe.workers import forking
from segpipe.workers.chunks import Workers
from segpipe.workers.processes import map_processes
from tests.fixtures.processes import all_end


def square(number: int) -> int:
    time.sleep(0.02 if number % 3 == 0 else 0)
    return number * number


def own_process(_: int) -> int:
    time.sleep(0.05)
    return os.getpid()


def the_variable(_: int) -> str | None:
    return os.environ.get("SEGPIPE_TESTED")


def note_process(number: int, folder: Path) -> int:
    (folder / str(os.getpid())).touch()
    return number


def refuse_five(number: int) -> int:
    if number == 5:
        raise StorageError("the disk is full")
    return number


def die_once(number: int, mark: Path) -> int:
    """The first process that is given 3 is killed, as for want of memory."""
    if number == 3 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def die_always(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def numbers(taken: list[int], most: int = 1000) -> Iterator[int]:
    for number in range(most):
        taken.append(number)
        yield number


def test_results_come_in_the_order_of_the_chunks() -> None:
    assert list(map_processes(square, range(30), 2)) == [n * n for n in range(30)]


def test_chunks_are_worked_on_by_other_processes() -> None:
    workers = set(map_processes(own_process, range(20), 2))
    assert len(workers) == 2
    assert os.getpid() not in workers


def test_while_the_others_begin_chunks_are_worked_on_here_and_then_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unused = forkserver.ForkServer()
    monkeypatch.setattr(forking, "_server", unused)
    workers: list[int] = []

    def until_both_have_begun() -> Iterator[int]:
        while len(set(workers)) < 3:
            yield 0

    for worker in map_processes(own_process, until_both_have_begun(), 2, begin_here=True):
        workers.append(worker)
    unused._stop()  # type: ignore[attr-defined]
    here = workers.count(os.getpid())
    assert here > 1
    assert set(workers[:here]) == {os.getpid()}
    assert len(set(workers[here:])) == 2


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks at processes in /proc")
def test_others_that_are_not_needed_any_more_are_ended_before_they_have_begun(
    tmp_path: Path,
) -> None:
    work = partial(note_process, folder=tmp_path)
    assert list(map_processes(work, range(3), 2, begin_here=True)) == [0, 1, 2]
    assert [path.name for path in tmp_path.iterdir()] == [str(os.getpid())]
    assert own_workers() == []


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks at threads in /proc")
def test_processes_are_forked_from_one_that_has_loaded_the_fast_path_and_works_on_nothing() -> None:
    list(map_processes(square, range(3), 2))
    (server,) = [one for one in children("self") if b"segpipe.workers.warm" in command(one)]
    # Threads of numpy's BLAS and of Arrow's jemalloc know of forks, and are made anew after one.
    names = {path.read_text().strip() for path in Path(f"/proc/{server}/task").glob("*/comm")}
    assert names - {"jemalloc_bg_thd"} == {Path(f"/proc/{server}/comm").read_text().strip()}
    libraries = Path(f"/proc/{server}/maps").read_text()
    assert "llvmlite" in libraries
    assert own_workers() == []


def test_processes_have_the_environment_of_when_their_pool_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SEGPIPE_TESTED", "before")  # the one they are forked from may be made now
    assert set(map_processes(the_variable, range(3), 2)) == {"before"}
    monkeypatch.setenv("SEGPIPE_TESTED", "since")
    assert set(map_processes(the_variable, range(3), 2)) == {"since"}
    monkeypatch.delenv("SEGPIPE_TESTED")
    assert set(map_processes(the_variable, range(3), 2)) == {None}


def test_no_chunks_give_no_results() -> None:
    assert list(map_processes(square, [], 2)) == []


def test_chunks_are_taken_as_they_are_needed_not_all_at_once() -> None:
    taken: list[int] = []
    results = map_processes(square, numbers(taken), 2)
    assert next(results) == 0
    assert len(taken) <= 5
    results.close()  # type: ignore[attr-defined]


def test_an_error_is_raised_when_its_turn_comes() -> None:
    taken: list[int] = []
    results = map_processes(refuse_five, numbers(taken), 2)
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(StorageError, match="the disk is full"):
        next(results)
    assert len(taken) < 15


@pytest.mark.slow
def test_a_process_that_is_killed_costs_its_chunk_a_second_try(tmp_path: Path) -> None:
    work = partial(die_once, mark=tmp_path / "died")
    assert list(map_processes(work, range(12), 2)) == list(range(12))
    assert (tmp_path / "died").exists()


def own_workers() -> list[int]:
    """The worker processes of this one that run: children of the server they are forked from."""
    servers = [one for one in children("self") if b"forkserver" in command(one)]
    return [worker for server in servers for worker in children(server)]


def children(process: int | str) -> list[int]:
    listings = Path(f"/proc/{process}/task").glob("*/children")
    return [int(child) for listing in listings for child in listing.read_text().split()]


def command(process: int) -> bytes:
    return Path(f"/proc/{process}/cmdline").read_bytes()


def killing_all(chunks: int) -> Iterator[int]:
    """Numbers; before the sixth, all worker processes are killed, and the pool has noticed."""
    for number in range(chunks):
        if number == 5:
            killed = own_workers()
            assert len(killed) == 2
            for process in killed:
                os.kill(process, signal.SIGKILL)
            time.sleep(1)
        yield number


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks at processes in /proc")
def test_a_chunk_that_a_broken_pool_does_not_take_is_not_lost() -> None:
    assert list(map_processes(square, killing_all(12), 2)) == [n * n for n in range(12)]


def test_a_chunk_that_kills_its_process_each_time_is_named() -> None:
    results = map_processes(die_always, range(12), 2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ChunkError, match=r"^3: the process that worked on it died twice.*KILL"):
        next(results)


@pytest.fixture
def begun_processes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Of each time processes are begun, the first chunk they are given; here, so as to be quick."""
    firsts: list[int] = []

    def here(
        work: Callable[[int], int], chunks: Iterator[int], processes: int, *, begin_here: bool
    ) -> Iterator[int]:
        assert (processes, begin_here) == (2, True)
        for place, chunk in enumerate(chunks):
            if place == 0:
                firsts.append(chunk)
            yield work(chunk)

    monkeypatch.setattr("segpipe.workers.processes.map_processes", here)
    return firsts


def wait(number: int) -> int:
    time.sleep(0.02 if number else 0.2)
    return number


def test_processes_are_begun_once_the_rest_is_known_to_take_long(
    begun_processes: list[int],
) -> None:
    results = Workers(2).map(wait, range(1000), 1000)
    assert [next(results) for _ in range(6)] == [0, 1, 2, 3, 4, 5]
    assert begun_processes == [2]  # the first only made what all need


def test_what_is_done_soon_is_done_here(begun_processes: list[int]) -> None:
    assert list(Workers(2).map(wait, range(20), 20)) == list(range(20))
    assert list(Workers(1).map(square, range(9), 10**6)) == [n * n for n in range(9)]
    assert begun_processes == []


WORK = """
    import os, time
    from pathlib import Path

    def work(number):
        folder = Path(__file__).parent
        (folder / f"{os.getpid()}.pid").touch()
        (folder / f"{number}.begun").touch()
        time.sleep(0.3)
        (folder / f"{number}.ended").touch()
        return number
"""
SCRIPT = """
    import sys
    from segpipe.workers.processes import map_processes
    from work import work

    try:
        for number in map_processes(work, range(1000), 2):
            print(number, flush=True)
    except KeyboardInterrupt:
        sys.exit(130)
"""


def started(folder: Path) -> subprocess.Popen[str]:
    """A script without any guard that works on chunks in processes; two results are out."""
    script = folder / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    (folder / "work.py").write_text(textwrap.dedent(WORK))
    process = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert [process.stdout.readline().strip() for _ in range(2)] == ["0", "1"]
    return process


def workers_of(folder: Path) -> list[int]:
    return [int(path.stem) for path in folder.glob("*.pid")]


def test_ctrl_c_leaves_what_has_begun_and_begins_no_more(tmp_path: Path) -> None:
    process = started(tmp_path)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process of the group
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert len(list(tmp_path.glob("*.begun"))) < 12
    assert all_end(workers_of(tmp_path))


def test_processes_end_when_the_one_that_wants_their_results_is_killed(tmp_path: Path) -> None:
    process = started(tmp_path)
    workers = workers_of(tmp_path)
    assert len(workers) == 2
    process.kill()
    process.wait()
    assert all_end(workers)
