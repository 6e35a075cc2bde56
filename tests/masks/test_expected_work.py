"""The fast path is opened by work: by masks and pixels to come, or by those so far."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segpipe.formats.exports import ExportFormat
from segpipe.masks import fast_path
from segpipe.masks.decoding import decode_mask
from segpipe.masks.encoding import canonical_png
from segpipe.masks.fast_path import expecting, is_loaded
from segpipe.masks.refusal import MaskRefused
from segpipe.pictures.contact_sheet import contact_sheets
from segpipe.predictions.view import View
from segpipe.root import Root
from tests.fixtures.imports import imported, save
from tests.fixtures.landing import HEIGHT, PARTITION, WIDTH, LandingWriter
from tests.fixtures.streets import STREET, TAXONOMY

pytest.importorskip("numba")
pytest.importorskip("deflate")

SMALL, LARGE = (canonical_png(np.eye(side, dtype=np.uint8)) for side in (10, 100))


@pytest.fixture(autouse=True)
def not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has met no mask, in which loading is worth the pixels of 100 large ones."""
    monkeypatch.setattr(fast_path, "_packages", None)
    monkeypatch.setattr(fast_path, "_tried", False)
    monkeypatch.setattr(fast_path, "_met", fast_path._Met())
    monkeypatch.setattr(fast_path, "WORK_WORTH_LOADING", 1_000_000)
    monkeypatch.setattr(fast_path, "_WORK_OF_A_MASK", 0)


def opens_for(number: int, mask: bytes) -> bool:
    """Whether the first of so many masks opens it, in a process that has not."""
    fast_path._packages, fast_path._tried = None, False
    with expecting(number):
        decode_mask(mask)
        return is_loaded()


def test_a_hundred_large_masks_are_as_much_work_as_ten_thousand_small_ones() -> None:
    assert not opens_for(99, LARGE) and opens_for(100, LARGE)
    assert not opens_for(9_999, SMALL) and opens_for(10_000, SMALL)


def test_a_mask_is_some_work_whatever_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_path, "_WORK_OF_A_MASK", 900)
    assert not opens_for(91, LARGE) and opens_for(92, LARGE)
    assert not opens_for(999, SMALL) and opens_for(1000, SMALL)


def test_masks_that_turn_out_larger_open_it_while_enough_of_them_are_to_come() -> None:
    with expecting(250):
        for _ in range(140):
            decode_mask(SMALL)
        assert not is_loaded()
        decode_mask(LARGE)
        assert is_loaded()


def test_it_is_not_opened_for_the_last_mask_of_many() -> None:
    with expecting(200):
        for _ in range(199):
            decode_mask(SMALL)
        decode_mask(LARGE)
        assert not is_loaded()


def test_it_opens_in_a_process_that_goes_on_and_on_and_expects_nothing() -> None:
    for _ in range(99):
        decode_mask(LARGE)
    assert not is_loaded()
    decode_mask(LARGE)
    assert is_loaded()


def test_it_is_not_opened_for_what_is_refused_by_its_size() -> None:
    with expecting(10**9), pytest.raises(MaskRefused, match="over the limit"):
        decode_mask(LARGE, max_pixels=100)
    assert not is_loaded()


def test_every_step_that_decodes_masks_opens_it_by_their_number_and_size(
    landing: LandingWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    landing.manifest([landing.row(name, [4, 5, 6, 7], segments=STREET) for name in "abc"])
    (landing.root / "segpipe.toml").write_text(TAXONOMY)
    for name in "abc":
        save(tmp_path / "source" / f"{name}.png", np.zeros((HEIGHT, WIDTH), np.uint8))
    monkeypatch.setattr(fast_path, "WORK_WORTH_LOADING", 3 * HEIGHT * WIDTH)
    root = Root.open(str(landing.root))
    steps: dict[str, Callable[[], object]] = {
        "validation": lambda: root.materialize(PARTITION),
        "view": lambda: root.materialize_view(PARTITION, view=View.SEMANTIC),
        "contact sheet": lambda: contact_sheets(root.validated(PARTITION), root.settings),
        "export": lambda: root.export(ExportFormat.MASK_FOLDER, tmp_path / "out", "unet"),
        "import": lambda: imported(
            "mask-folder", tmp_path / "source", tmp_path / "other", "--objects", "cell"
        ),
    }
    for name, step in steps.items():
        if name == "export":
            root.publish(PARTITION)
        fast_path._packages, fast_path._tried, fast_path._met = None, False, fast_path._Met()
        step()
        assert (is_loaded(), fast_path._met.masks) == (True, 1), name
