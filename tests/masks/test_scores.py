"""Masks of probabilities: argmax, and means that have the same bits however they are computed."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import pytest
from numpy.typing import NDArray

from segpipe.masks.fast_path import disabled, load_fast_path
from segpipe.masks.scores import VOID_INDEX, ScoredMask, scored_mask

PATHS: dict[str, Callable[[], AbstractContextManager[None]]] = {"numpy": disabled}
if load_fast_path():
    PATHS["compiled"] = nullcontext


def softmax(classes: int, height: int, width: int, seed: int = 0) -> NDArray[np.float32]:
    """Smooth scores with noise, as a network's."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    logits = np.stack(
        [4 * np.cos(x * one / width + one + y * (one % 5) / height) for one in range(classes)]
    )
    odds = np.exp(logits + random.normal(0, 0.3, logits.shape))
    return (odds / odds.sum(axis=0)).astype(np.float32)


def scored(scores: NDArray[np.floating], void_below: float | None = None) -> ScoredMask:
    found = scored_mask(scores, void_below)
    assert found is not None
    return found


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
@pytest.mark.parametrize("shape", [(1, 3, 4), (2, 1, 1), (19, 97, 211), (256, 20, 700)])
def test_pixels_go_to_the_highest_class_and_means_are_those_of_numpy(
    path: str, dtype: str, shape: tuple[int, int, int]
) -> None:
    given = softmax(*shape).astype(dtype)
    with PATHS[path]():
        found = scored(given)
    expected = given.argmax(axis=0)
    assert (found.mask == expected).all()
    assert (found.areas == np.bincount(expected.ravel(), minlength=256)).all()
    for value in range(shape[0]):
        if found.areas[value]:
            own = given[:, expected == value].astype(np.float64).mean(axis=1)
            assert found.means[value] == pytest.approx(own, abs=1e-12)
        else:
            assert not found.means[value].any()


@pytest.mark.skipif(len(PATHS) < 2, reason="segpipe[fast] is not installed")
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("void_below", [None, 0.4])
def test_compiled_or_not_and_in_any_memory_layout_every_bit_is_the_same(
    dtype: type[np.floating], void_below: float | None
) -> None:
    given = softmax(21, 300, 451).astype(dtype)
    channels_last = np.ascontiguousarray(given.transpose(1, 2, 0)).transpose(2, 0, 1)
    backwards = np.ascontiguousarray(given[:, ::-1])[:, ::-1]
    once = scored(given, void_below)
    with disabled():
        others = [scored(given, void_below)]
    others += [scored(channels_last, void_below), scored(backwards, void_below)]
    for other in others:
        assert other.mask.tobytes() == once.mask.tobytes()
        assert other.areas.tobytes() == once.areas.tobytes()
        assert other.means.tobytes() == once.means.tobytes()


@pytest.mark.parametrize("path", PATHS)
def test_of_equal_probabilities_the_lowest_class_wins(path: str) -> None:
    given = np.full((4, 5, 6), 0.25, np.float32)
    given[:, 2, 3] = [0.1, 0.4, 0.1, 0.4]
    with PATHS[path]():
        found = scored(given)
    assert found.mask[2, 3] == 1
    assert (found.mask == 0).sum() == 29


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_pixels_below_a_bound_are_void_and_those_at_it_are_not(
    path: str, dtype: type[np.floating]
) -> None:
    given = np.array([[[0.9, 0.85, 0.1]], [[0.1, 0.15, 0.9]]], dtype)
    with PATHS[path]():
        found = scored(given, 0.9)
    assert found.mask.tolist() == [[0, VOID_INDEX, 1]]
    assert found.areas[VOID_INDEX] == 1


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("pixel", "taken"),
    [
        ([0.5, 0.5], True),
        ([1, -0.0], True),
        ([0.5, 0.5009], True),
        ([0.5, 0.5011], False),
        ([0.5, 0.4989], False),
        ([1.0001, -0.0001], False),
        ([np.nan, 1], False),
        ([1, np.nan], False),
        ([np.inf, 0], False),
        ([np.inf, -np.inf], False),
        ([0, 0], False),
    ],
)
def test_one_pixel_that_is_no_distribution_is_found(
    path: str, pixel: list[float], taken: bool
) -> None:
    given = softmax(2, 200, 901)
    given[:, 199, 900] = pixel
    with PATHS[path]():
        assert (scored_mask(given) is not None) == taken


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("shape", [(19, 512, 1024), (19, 1, 512 * 1024)])
def test_no_second_copy_of_the_scores_is_made(path: str, shape: tuple[int, int, int]) -> None:
    given = np.full(shape, 1 / shape[0], np.float16)
    with PATHS[path]():
        scored_mask(given[:, :1, :700])
        tracemalloc.start()
        scored(given)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < given.nbytes / 4
