"""Chunks on threads: the same results as without, in the same order."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator

import pytest

from segpipe.workers.chunks import default_workers, map_threads, seldom_collected


@pytest.mark.parametrize("workers", [0, 1, 2, 3, 8])
def test_results_come_in_the_order_of_the_chunks(workers: int) -> None:
    def slow_first(number: int) -> int:
        time.sleep(0.02 if number % 3 == 0 else 0)
        return number * number

    assert list(map_threads(slow_first, range(20), workers)) == [n * n for n in range(20)]


@pytest.mark.parametrize("workers", [1, 3])
def test_no_chunks_give_no_results(workers: int) -> None:
    assert list(map_threads(str, [], workers)) == []


def test_chunks_are_worked_on_at_the_same_time() -> None:
    meet = threading.Barrier(3, timeout=10)
    assert len(list(map_threads(lambda _: meet.wait(), range(3), 3))) == 3


@pytest.mark.parametrize("workers", [1, 2])
def test_chunks_are_taken_as_they_are_needed_not_all_at_once(workers: int) -> None:
    taken: list[int] = []

    def chunks() -> Iterator[int]:
        for number in range(1000):
            taken.append(number)
            yield number

    results = map_threads(abs, chunks(), workers)
    assert next(results) == 0
    assert len(taken) <= 2 * workers


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_is_raised_when_its_turn_comes_and_later_chunks_are_not_begun(
    workers: int,
) -> None:
    begun: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        if number == 5:
            raise ValueError("chunk 5")
        return number

    results = map_threads(work, range(1000), workers)
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="chunk 5"):
        next(results)
    assert max(begun) <= 5 + 2 * workers


def test_chunks_that_wait_when_another_fails_are_never_begun() -> None:
    begun: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        if number == 0:
            raise ValueError("chunk 0")
        time.sleep(0.3)
        return number

    # Four chunks are handed out; the two threads are busy with 1 and, mostly, 2 when 0 has failed.
    with pytest.raises(ValueError, match="chunk 0"):
        list(map_threads(work, range(1000), 2))
    assert set(begun) <= {0, 1, 2}


def test_a_reader_that_stops_early_leaves_no_threads() -> None:
    before = threading.active_count()
    results = map_threads(abs, range(1000), 3)
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_an_error_of_the_source_of_chunks_reaches_the_reader() -> None:
    def chunks() -> Iterator[int]:
        yield 1
        raise OSError("the manifest is damaged")

    with pytest.raises(OSError, match="damaged"):
        list(map_threads(abs, chunks(), 2))


def test_there_is_at_least_one_worker_and_at_most_eight() -> None:
    assert 1 <= default_workers() <= 8


def test_the_collector_is_as_it_was_once_the_last_of_several_chunks_is_done() -> None:
    before = gc.get_threshold()
    first, second = seldom_collected(), seldom_collected()
    first.__enter__()
    seldom = gc.get_threshold()
    second.__enter__()
    first.__exit__(None, None, None)  # while another thread's chunk goes on
    assert gc.get_threshold() == seldom != before
    second.__exit__(None, None, None)
    assert gc.get_threshold() == before
