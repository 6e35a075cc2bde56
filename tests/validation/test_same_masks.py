"""Which items have the very same mask, told row by row."""

from __future__ import annotations

from hashlib import sha256
from time import perf_counter

import pytest

from segpipe.validation import duplicates
from segpipe.validation.duplicates import SameMasks


def mask(number: int) -> str:
    return sha256(str(number).encode()).hexdigest()


def test_the_first_item_with_a_mask_is_named_for_all_that_follow() -> None:
    same = SameMasks()
    assert same.other_item(mask(1), "a") is None
    assert same.other_item(mask(2), "b") is None
    assert same.other_item(mask(1), "c") == "a"
    assert same.other_item(mask(1), "d") == "a"
    assert same.other_item(mask(1), "a") is None  # the item itself


def test_masks_seen_long_ago_are_forgotten_the_oldest_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(duplicates, "_LOOK_BACK", 2)
    same = SameMasks()
    for number, item in enumerate("abc"):
        assert same.other_item(mask(number), item) is None
    assert same.other_item(mask(1), "d") == "b"  # and counts as seen just now
    assert same.other_item(mask(3), "e") is None
    assert same.other_item(mask(2), "f") is None
    assert same.other_item(mask(3), "g") == "e"


def test_looking_takes_no_longer_after_many_masks_than_after_few() -> None:
    same, many = SameMasks(), 100_000
    masks = [mask(number) for number in range(5 * many)]
    seconds = []
    for begin in range(0, len(masks), many):
        begun = perf_counter()
        for one in masks[begin : begin + many]:
            same.other_item(one, one)
        seconds.append(perf_counter() - begun)
    # Forgetting used to cost fifty times as much as remembering.
    assert min(seconds[3:]) < 10 * max(seconds[:2])
