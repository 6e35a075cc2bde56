"""Ids to values, and instances to one mask: nothing lost that is not said."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segpipe.formats.identifiers import Over256, Region, index_mask
from segpipe.formats.ids import Ids
from segpipe.formats.overlaps import Instance, Overlaps, overlap_findings, paint


def mosaic(count: int) -> np.ndarray:
    """An H x W picture of ``count`` ids, far apart; the k-th has at least k % 5 + 1 pixels."""
    sizes = [k % 5 + 1 for k in range(count)]
    flat = np.repeat(np.arange(count, dtype=np.uint32) * 1000 + 7, sizes)
    width = 50
    padded = np.concatenate([flat, np.full(-flat.size % width, flat[-1], np.uint32)])
    return padded.reshape(-1, width)


def regions(ids: np.ndarray, labels: int = 3, scored: bool = True) -> dict[int, Region]:
    return {
        id: Region(
            id, f"label {id % labels}", {"isthing": True},
            confidence=(id % 97) / 97 if scored else None,
        )
        for id in Ids.of(ids).areas
    }  # fmt: skip


def test_up_to_256_ids_are_renumbered_in_order_and_lose_nothing() -> None:
    ids = mosaic(256)
    areas = Ids.of(ids).areas
    done = index_mask(Ids.of(ids), regions(ids), Over256.REFUSE, "x")
    assert done.mask is not None
    assert [segment.index for segment in done.segments] == list(range(256))
    np.testing.assert_array_equal(np.array(list(areas))[done.mask.pixels], ids)


def test_more_than_256_ids_are_refused_with_the_numbers_and_the_options() -> None:
    ids = mosaic(300)
    done = index_mask(Ids.of(ids), regions(ids), Over256.REFUSE, "x.png")
    assert done.mask is None
    (finding,) = done.findings
    assert finding.rule == "INDEX-OVERFLOW"
    assert "x.png: 300 ids" in finding.message
    assert "keep-best" in finding.message
    assert "semantic (3 labels)" in finding.message


@pytest.mark.parametrize("scored", [True, False])
def test_keep_best_keeps_the_best_and_merges_the_rest_into_a_crowd_per_label(scored: bool) -> None:
    ids = mosaic(400)
    areas, named = Ids.of(ids).areas, regions(ids, scored=scored)
    done = index_mask(Ids.of(ids), named, Over256.KEEP_BEST, "x")
    assert done.mask is not None
    crowds = [s for s in done.segments if s.metadata.get("iscrowd")]
    kept = [s for s in done.segments if not s.metadata.get("iscrowd")]
    assert (len(kept), len(crowds)) == (253, 3)  # 256 values, one per label for the crowds
    assert sum(s.metadata["n_merged"] for s in crowds) == 400 - 253
    merged = {id for s in crowds for id in s.metadata["source_ids"]}
    best = set(areas) - merged

    def rank(id: int) -> tuple[float, int]:
        return (named[id].confidence or 0.0 if scored else 0.0, areas[id])

    assert min(map(rank, best)) >= max(map(rank, merged))
    assert np.bincount(done.mask.pixels.ravel(), minlength=256).sum() == ids.size
    for segment in crowds:
        own = sum(areas[id] for id in segment.metadata["source_ids"])
        assert int((done.mask.pixels == segment.index).sum()) == own


def test_what_is_fixed_is_never_merged() -> None:
    ids = mosaic(300)
    named = regions(ids)
    first = min(named)
    named[first] = Region(first, "void", {"ignore": True}, confidence=0.0, fixed=True)
    done = index_mask(Ids.of(ids), named, Over256.KEEP_BEST, "x")
    assert [s.label for s in done.segments if s.metadata.get("ignore")] == ["void"]


def test_semantic_merges_every_label() -> None:
    ids = mosaic(300)
    areas = Ids.of(ids).areas
    done = index_mask(Ids.of(ids), regions(ids), Over256.SEMANTIC, "x")
    assert done.mask is not None
    assert sorted(s.label for s in done.segments) == ["label 0", "label 1", "label 2"]
    for segment in done.segments:
        own = [id for id in areas if f"label {id % 3}" == segment.label]
        assert int((done.mask.pixels == segment.index).sum()) == sum(areas[id] for id in own)


@pytest.mark.parametrize("over", [Over256.KEEP_BEST, Over256.SEMANTIC])
def test_more_labels_than_values_are_refused_whatever_is_asked(over: Over256) -> None:
    ids = mosaic(300)
    done = index_mask(Ids.of(ids), regions(ids, labels=10**9), over, "x")
    assert done.mask is None
    assert "300 ids of 300 labels" in done.findings[0].message


@given(st.lists(st.integers(0, 2**24 - 1), min_size=1, max_size=60), st.integers(1, 9))
def test_ids_of_any_size_come_back_from_the_mask(ids: list[int], width: int) -> None:
    picture = np.array((ids * width)[: len(ids) // width * width or 1], np.uint32)
    picture = picture.reshape(-1, min(width, picture.size))
    areas = Ids.of(picture).areas
    done = index_mask(Ids.of(picture), regions(picture), Over256.REFUSE, "x")
    assert done.mask is not None
    np.testing.assert_array_equal(np.array(list(areas), np.uint32)[done.mask.pixels], picture)


def instance(mask: np.ndarray, score: float | None) -> Instance:
    return Instance(int(mask.sum()), score, lambda: mask)


BOXES = st.lists(
    st.tuples(
        st.integers(0, 9), st.integers(0, 9), st.integers(1, 9), st.integers(1, 9),
        st.sampled_from([0.1, 0.5, 0.5, 0.9]),
    ),
    max_size=8,
)  # fmt: skip


@given(BOXES, st.sampled_from(Overlaps))
def test_every_pixel_belongs_to_one_instance_that_covers_it_or_to_none(
    boxes: list[tuple[int, int, int, int, float]], overlaps: Overlaps
) -> None:
    instances = []
    for x, y, w, h, score in boxes:
        mask = np.zeros((12, 12), np.bool_)
        mask[y : y + h, x : x + w] = True
        instances.append((mask, score))
    painted = paint([instance(*one) for one in instances], 12, 12, overlaps)
    covered = np.zeros((12, 12), int)
    for mask, _ in instances:
        covered += mask
    assert sum(painted.visible) == int((covered > 0).sum())
    assert painted.overlapping == int((covered > 1).sum())
    for y, x in np.ndindex(12, 12):
        place = int(painted.instance_ids[y, x])
        over = [k for k, (mask, _) in enumerate(instances) if mask[y, x]]
        if not over:
            assert place == 0
        elif overlaps is Overlaps.SCORE:
            assert place - 1 == min(over, key=lambda k: (-instances[k][1], k))
        elif overlaps is Overlaps.LAST:
            assert place - 1 == max(over)
        else:
            assert place - 1 == min(over, key=lambda k: (int(instances[k][0].sum()), k))


def whole(value: bool = True) -> np.ndarray:
    return np.full((4, 4), value)


def test_a_hidden_instance_is_told_and_an_error_is_one_only_on_request() -> None:
    corner = np.zeros((4, 4), np.bool_)
    corner[0, 0] = True
    two = [instance(whole(), 0.9), instance(corner, 0.1)]
    for overlaps, rules in (
        (Overlaps.SCORE, ["OVERLAP-HIDDEN"]),
        (Overlaps.AREA, []),
        (Overlaps.ERROR, ["OVERLAP-REFUSED"]),
    ):
        painted = paint(two, 4, 4, overlaps)
        found = overlap_findings(painted, two, overlaps, "image 1")
        assert [one.rule for one in found] == rules
    apart = [instance(corner, None), instance(~corner, None)]
    assert overlap_findings(paint(apart, 4, 4, Overlaps.ERROR), apart, Overlaps.ERROR, "x") == ()


def test_a_missing_score_paints_by_area_and_says_so() -> None:
    corner = np.zeros((4, 4), np.bool_)
    corner[0, 0] = True
    two = [instance(corner, 0.1), instance(whole(), None)]
    painted = paint(two, 4, 4, Overlaps.SCORE)
    assert painted.visible == (1, 15)
    (told,) = overlap_findings(painted, two, Overlaps.SCORE, "image 1")
    assert "not every instance has a score" in told.message
