"""The views of a prediction: laws that hold for any prediction, and one worked example."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segpipe.demo.scenes import seed_example
from segpipe.errors import SettingsError
from segpipe.predictions.class_pdf import class_pdf_of
from segpipe.predictions.metadata import canonical_metadata
from segpipe.predictions.prediction import Segment
from segpipe.predictions.view import View
from segpipe.views.consolidation import Consolidated, Consolidation
from tests.fixtures.thoroughness import at_most

MERGING = (View.INSTANCE, View.SEMANTIC)
STREET = {
    "Background": "stuff",
    "Building": "stuff",
    "Tree": "stuff",
    "Wall": "stuff",
    "Fence": "stuff",
    "Pavement": "stuff",
    "Person": "thing",
    "Handbag": "thing",
    "Bird": "thing",
}
THING, STUFF, CROWD = {"isthing": True}, {"isthing": False}, {"isthing": True, "iscrowd": True}
IGNORED = {"ignore": True}


def areas_of(mask: np.ndarray) -> np.ndarray:
    """Pixels of each of the 256 values."""
    return np.bincount(mask.ravel(), minlength=256)


def view_of(
    view: View,
    segments: Sequence[Segment],
    taxonomy: Mapping[str, str] | None = None,
    areas: Mapping[int, int] | None = None,
) -> Consolidated:
    """A view; every segment has ten pixels where nothing else is said."""
    pixels = np.zeros(256, np.int64)
    for index, area in (areas or {segment.index: 10 for segment in segments}).items():
        pixels[index] = area
    return Consolidation(view, taxonomy or {}).of(segments, pixels)


def by_index(view: Consolidated) -> dict[int, str]:
    return {segment.index: segment.label for segment in view.segments}


# --- the worked example


def test_the_seed_example_as_instances() -> None:
    scene = seed_example()
    view = Consolidation(View.INSTANCE, STREET).of(scene.segments, areas_of(scene.mask))
    assert view.lookup[:11].tolist() == [0, 0, 0, 0, 0, 0, 6, 7, 8, 9, 10]
    assert by_index(view) == {
        0: "Background", 6: "Person", 7: "Handbag", 8: "Bird", 9: "Bird", 10: "Bird",
    }  # fmt: skip
    assert view.segments[1:] == scene.segments[6:]
    assert view.undecided == ()
    background = view.segments[0].metadata
    # Building, Tree, Wall, Fence, Pavement; Background itself has no confidence.
    counted = areas_of(scene.mask)[1:6]
    mean = float(np.average([0.1, 0.3, 0.3, 0.7, 0.42], weights=counted))
    assert background["confidence"] == pytest.approx(mean, rel=1e-12)
    assert {key: background[key] for key in background if key != "confidence"} == {
        "confidence_min": 0.1,
        "confidence_max": 0.7,
        "isthing": False,
        "n_merged": 6,
        "source_indexes": [0, 1, 2, 3, 4, 5],
    }


def test_the_seed_example_as_classes() -> None:
    scene = seed_example()
    view = Consolidation(View.SEMANTIC, STREET).of(scene.segments, areas_of(scene.mask))
    assert view.lookup[:11].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 8, 8]
    assert list(by_index(view).values()) == list(STREET)
    assert view.segments[:8] == scene.segments[:8]
    assert view.segments[8].metadata == {
        "confidence": 0.8,
        "confidence_min": 0.8,
        "confidence_max": 0.8,
        "n_merged": 3,
        "source_indexes": [8, 9, 10],
    }


def test_the_seed_example_says_itself_what_is_a_thing_where_there_is_no_taxonomy() -> None:
    scene = seed_example()
    told = [
        Segment(s.label, s.index, {**s.metadata, "isthing": STREET[s.label] == "thing"})
        for s in scene.segments
    ]
    view = view_of(View.INSTANCE, told)
    assert view.lookup[:11].tolist() == [0, 0, 0, 0, 0, 0, 6, 7, 8, 9, 10]
    assert view.segments[0].label == "Background"  # as the prediction spells it
    classes = view_of(View.SEMANTIC, told)
    assert by_index(classes) == dict(enumerate(sorted(STREET)))


# --- laws

PDFS = st.one_of(
    st.dictionaries(
        st.sampled_from(["car", "road", "sky", "Background"]), st.integers(1, 9), min_size=1
    ).map(lambda counts: {name: n / sum(counts.values()) for name, n in counts.items()}),
    st.sampled_from(['{"car": 0.5, "tree": 0.5}', [0.5, 0.5], {"car": 7}, "report.pdf", None]),
)
FLAGS = st.sampled_from([True, False, 1, 0, "true", "False", None, "maybe"])
METADATA = st.fixed_dictionaries(
    {},
    optional={
        "isthing": FLAGS,
        "iscrowd": FLAGS,
        "ignore": FLAGS,
        "confidence": st.one_of(st.floats(0, 1), st.sampled_from([0, 1, "0.25", "high", None])),
        "class_pdf": PDFS,
        "pdf": PDFS,
        "camera": st.sampled_from(["left", "right", 1, True, ["left"]]),
        "n_merged": st.integers(0, 3),
        "source_indexes": st.lists(st.integers(0, 255), max_size=3),
    },
)
LABELS = st.sampled_from(["car", "road", "sky", "void", "Background", "background", "tree"])
TAXONOMIES = st.one_of(
    st.just({}),
    st.dictionaries(
        st.sampled_from(["car", "road", "sky", "void", "tree"]),
        st.sampled_from(["thing", "stuff"]),
        max_size=5,
    ),
    st.just({**{f"class {n}": "thing" for n in range(250)}, "car": "thing", "Background": "stuff"}),
)
FEW_OR_ALL = st.one_of(
    st.sets(st.integers(0, 255), max_size=8),
    st.sets(st.sampled_from([0, 1, 2, 254, 255])),
    st.just(set(range(256))),
)


@st.composite
def predictions(draw: st.DrawFn) -> tuple[list[Segment], np.ndarray]:
    """Segments with any metadata, and areas: some without pixels, some pixels without Segment."""
    indexes = sorted(draw(FEW_OR_ALL))
    if len(indexes) == 256:  # too many to draw one by one
        kinds = draw(st.lists(st.tuples(LABELS, METADATA), min_size=1, max_size=4))
        segments = [Segment(*kinds[index % len(kinds)][:1], index, kinds[index % len(kinds)][1])
                    for index in indexes]  # fmt: skip
    else:
        segments = [Segment(draw(LABELS), index, draw(METADATA)) for index in indexes]
    areas = np.zeros(256, np.int64)
    for index in indexes:
        areas[index] = draw(st.sampled_from([0, 1, 7, 10**8])) if len(indexes) < 256 else index
    for value in draw(st.sets(st.integers(0, 255), max_size=3)):
        areas[value] += 1  # perhaps a value no Segment explains
    return segments, areas


def renamed(areas: np.ndarray, lookup: np.ndarray) -> np.ndarray:
    """Areas of the values of a view."""
    result = np.zeros(256, np.int64)
    np.add.at(result, lookup, areas)
    return result


def is_ignored(segment: Segment) -> bool:
    """Whether its metadata says so, in any of the forms drawn above."""
    return str(segment.metadata.get("ignore")).lower() in ("true", "1")


def canonical(segments: Sequence[Segment]) -> list[tuple[int, str, dict[str, Any]]]:
    return [(s.index, s.label, canonical_metadata(s.metadata)) for s in segments]


@settings(max_examples=at_most(100, 300), deadline=None)
@given(predictions(), TAXONOMIES, st.sampled_from(MERGING))
def test_consolidating_twice_equals_once(
    prediction: tuple[list[Segment], np.ndarray], taxonomy: dict[str, str], view: View
) -> None:
    segments, areas = prediction
    consolidation = Consolidation(view, taxonomy)
    once = consolidation.of(segments, areas)
    after = renamed(areas, once.lookup)
    twice = consolidation.of(once.segments, after)
    present = np.flatnonzero(after)
    assert (twice.lookup[present] == present).all()
    assert twice.segments == once.segments
    assert canonical(twice.segments) == canonical(once.segments)


@settings(max_examples=at_most(100, 300), deadline=None)
@given(predictions(), TAXONOMIES, st.sampled_from(list(View)))
def test_every_pixel_and_every_segment_is_accounted_for(
    prediction: tuple[list[Segment], np.ndarray], taxonomy: dict[str, str], view: View
) -> None:
    segments, areas = prediction
    made = Consolidation(view, taxonomy).of(segments, areas)
    assert made.lookup.dtype == np.uint8
    assert made.lookup.shape == (256,)
    indexes = [segment.index for segment in made.segments]
    assert indexes == sorted(set(indexes))
    # Every Segment's value leads to one Segment of the view, and every Segment of it to some.
    lands = {segment.index: int(made.lookup[segment.index]) for segment in segments}
    assert set(lands.values()) == set(indexes)
    # A value no Segment explains stays alone.
    unexplained = set(np.flatnonzero(areas).tolist()) - lands.keys()
    apart = [int(made.lookup[value]) for value in unexplained]
    assert len(set(apart)) == len(apart)
    assert not set(apart) & set(indexes)
    # What is merged is recorded, unless the prediction came with such records of its own.
    if not any("n_merged" in segment.metadata for segment in segments):
        for segment in made.segments:
            sources = sorted(value for value, index in lands.items() if index == segment.index)
            if "n_merged" in segment.metadata:
                assert segment.metadata["source_indexes"] == sources
                assert segment.metadata["n_merged"] == len(sources)
            else:
                assert sources == [segment.index]


@settings(max_examples=at_most(80, 200), deadline=None)
@given(predictions(), TAXONOMIES)
def test_areas_per_label_are_preserved_by_the_semantic_view(
    prediction: tuple[list[Segment], np.ndarray], taxonomy: dict[str, str]
) -> None:
    segments, areas = prediction
    made = Consolidation(View.SEMANTIC, taxonomy).of(segments, areas)
    after = renamed(areas, made.lookup)

    def per_label(given: Sequence[Segment], pixels: np.ndarray) -> Counter[str]:
        total: Counter[str] = Counter({segment.label: 0 for segment in given})
        for segment in given:
            total[segment.label] += int(pixels[segment.index])
        return total

    assert per_label(made.segments, after) == per_label(segments, areas)


@settings(max_examples=at_most(100, 300), deadline=None)
@given(predictions(), TAXONOMIES)
def test_classes_of_the_instance_view_are_the_classes_of_the_prediction_for_things(
    prediction: tuple[list[Segment], np.ndarray], taxonomy: dict[str, str]
) -> None:
    segments, areas = prediction
    instance = Consolidation(View.INSTANCE, taxonomy).of(segments, areas)
    semantic = Consolidation(View.SEMANTIC, taxonomy)
    direct = semantic.of(segments, areas)
    through = semantic.of(instance.segments, renamed(areas, instance.lookup))
    to_classes = through.lookup[instance.lookup]
    merged = {s.label for s in instance.segments if s.label.casefold() == "background"}
    # Labels of which the instance view merged no Segment into background are things throughout.
    background = {s.index for s in segments if instance.lookup[s.index] == 0}
    stuff = {s.label for s in segments if s.index in background} | merged
    things = {s.label for s in segments} - stuff
    of_direct = {(s.label, is_ignored(s)): s for s in direct.segments}
    of_through = {(s.label, is_ignored(s)): s for s in through.segments}
    assert len(of_direct) == len(direct.segments)
    for label, ignored in of_direct:
        if label not in things:
            continue
        one, other = of_direct[label, ignored], of_through[label, ignored]
        values = [s.index for s in segments if direct.lookup[s.index] == one.index]
        assert {int(to_classes[value]) for value in values} == {other.index}
        if taxonomy.keys() >= things and label in taxonomy and not ignored:
            assert one.index == other.index
        told = [canonical_metadata(segment.metadata) for segment in (one, other)]
        if 0 in values or one.index != other.index:  # moved: the second records where from
            for metadata in told:
                metadata.pop("n_merged", None)
                metadata.pop("source_indexes", None)
        assert told[0] == told[1]


@settings(max_examples=100, deadline=None)
@given(predictions(), TAXONOMIES, st.randoms(use_true_random=False), st.sampled_from(list(View)))
def test_the_order_of_segments_changes_nothing(
    prediction: tuple[list[Segment], np.ndarray], taxonomy: dict[str, str], random: Any, view: View
) -> None:
    segments, areas = prediction
    shuffled = list(segments)
    random.shuffle(shuffled)
    one, other = (Consolidation(view, taxonomy).of(s, areas) for s in (segments, shuffled))
    assert one.segments == other.segments
    assert (one.lookup == other.lookup).all()


# --- what is a thing


def test_ignore_goes_before_crowd_before_the_taxonomy_before_isthing() -> None:
    taxonomy = {"car": "thing", "road": "stuff"}
    segments = [
        Segment("car", 1, {"isthing": False}),
        Segment("road", 2, {"isthing": True}),
        Segment("car", 3, {"iscrowd": 1}),
        Segment("road", 4, {"ignore": "true", "iscrowd": True}),
        Segment("kite", 5, STUFF),
    ]
    view = view_of(View.INSTANCE, segments, taxonomy)
    assert view.lookup[:6].tolist() == [0, 1, 0, 0, 4, 0]
    assert by_index(view) == {0: "background", 1: "car", 4: "road"}


def test_what_nothing_speaks_of_is_kept_as_a_thing_and_named() -> None:
    segments = [Segment("road", 1), Segment("kite", 2, {"isthing": "yes"}), Segment("road", 3)]
    view = view_of(View.INSTANCE, segments)
    assert list(view.segments) == segments
    assert view.undecided == ("kite", "road", "road")
    assert view_of(View.SEMANTIC, segments).undecided == ()


def test_a_segment_called_background_is_background_without_being_told() -> None:
    segments = [Segment("Background", 0), Segment("cell", 1), Segment("cell", 2)]
    view = view_of(View.INSTANCE, segments)
    assert list(view.segments) == segments
    assert view.undecided == ("cell", "cell")


@pytest.mark.parametrize("label", ["background", "Background"])
def test_a_taxonomy_that_calls_background_a_thing_is_refused(label: str) -> None:
    with pytest.raises(SettingsError, match=f"calls '{label}' a thing"):
        Consolidation(View.INSTANCE, {label: "thing"})
    Consolidation(View.SEMANTIC, {label: "thing"})


# --- indexes


def test_a_thing_at_index_0_moves_aside_so_that_0_is_background_everywhere() -> None:
    segments = [Segment("car", 0, {**THING, "plate": "x"}), Segment("road", 1, STUFF)]
    view = view_of(View.INSTANCE, segments)
    assert view.lookup[:2].tolist() == [2, 0]
    car = view.segments[1]
    assert (car.index, car.metadata) == (
        2,
        {"isthing": True, "plate": "x", "n_merged": 1, "source_indexes": [0]},
    )
    alone = view_of(View.INSTANCE, [Segment("car", 0, THING)])
    assert by_index(alone) == {1: "car"}


def test_an_index_given_up_by_stuff_is_used_only_where_there_is_no_other() -> None:
    segments = [Segment("car", index, THING) for index in range(256)]
    segments[77] = Segment("road", 77, STUFF)
    view = view_of(View.INSTANCE, segments)
    assert view.lookup[0] == 77
    assert view.lookup[77] == 0
    assert len(view.segments) == 256


def test_256_things_stay_where_they_are() -> None:
    segments = [Segment("car", index, THING) for index in range(256)]
    view = view_of(View.INSTANCE, segments)
    assert list(view.segments) == segments
    assert (view.lookup == np.arange(256)).all()


def test_256_labels_have_256_classes() -> None:
    segments = [Segment(f"class {255 - index:03}", index) for index in range(256)]
    view = view_of(View.SEMANTIC, segments)
    assert (view.lookup == np.arange(256)[::-1]).all()
    assert [s.label for s in view.segments] == [f"class {index:03}" for index in range(256)]


def test_no_background_is_invented_where_everything_is_a_thing() -> None:
    segments = [Segment("car", 3, THING), Segment("dog", 9, THING)]
    assert list(view_of(View.INSTANCE, segments).segments) == segments


def test_labels_have_the_same_class_in_every_image_of_a_taxonomy() -> None:
    taxonomy = {"sky": "stuff", "car": "thing", "road": "stuff"}
    one = view_of(View.SEMANTIC, [Segment("road", 0), Segment("car", 9)], taxonomy)
    other = view_of(View.SEMANTIC, [Segment("car", 0), Segment("sky", 1)], taxonomy)
    assert by_index(one) == {1: "car", 2: "road"}
    assert by_index(other) == {0: "sky", 1: "car"}


def test_labels_beyond_the_taxonomy_come_after_it_in_alphabetical_order() -> None:
    segments = [Segment("zebra", 0), Segment("car", 1), Segment("Ant", 2), Segment("ant", 3)]
    view = view_of(View.SEMANTIC, segments, {"car": "thing", "bus": "thing"})
    assert by_index(view) == {0: "car", 2: "Ant", 3: "ant", 4: "zebra"}


def test_a_taxonomy_of_more_than_256_labels_cannot_number_classes() -> None:
    taxonomy = {f"class {n}": "thing" for n in range(257)}
    with pytest.raises(SettingsError, match=r"257 labels.*256"):
        Consolidation(View.SEMANTIC, taxonomy)
    assert by_index(view_of(View.INSTANCE, [Segment("class 256", 5)], taxonomy)) == {5: "class 256"}


def test_ignored_segments_stay_marked_and_apart() -> None:
    segments = [
        Segment("road", 1, STUFF),
        Segment("road", 2, {**STUFF, **IGNORED}),
        Segment("void", 254, {"ignore": 1}),
        Segment("void", 255, {"ignore": "true"}),
    ]
    instance = view_of(View.INSTANCE, segments)
    assert by_index(instance) == {0: "background", 2: "road", 254: "void", 255: "void"}
    assert instance.segments[1:] == tuple(segments[1:])
    semantic = view_of(View.SEMANTIC, segments)
    assert by_index(semantic) == {0: "road", 2: "road", 254: "void"}
    assert semantic.segments[1].metadata == segments[1].metadata
    assert semantic.segments[2].metadata == {
        "ignore": True, "n_merged": 2, "source_indexes": [254, 255],
    }  # fmt: skip


def test_void_at_0_gives_way_to_the_class_whose_number_it_is() -> None:
    void = Segment("void", 0, IGNORED)
    taxonomy = {"person": "thing", "sky": "stuff"}
    view = view_of(View.SEMANTIC, [void, Segment("sky", 7)], taxonomy)
    assert by_index(view) == {1: "sky", 255: "void"}
    assert view.segments[1].metadata == {"ignore": True, "n_merged": 1, "source_indexes": [0]}
    assert by_index(view_of(View.SEMANTIC, [void, Segment("sky", 7)])) == {0: "void", 1: "sky"}


def test_pixels_no_segment_explains_are_never_merged_into_one() -> None:
    segments = [Segment("road", 1, STUFF), Segment("car", 2, THING)]
    areas = {0: 5, 1: 5, 2: 5, 3: 5}
    for view in MERGING:
        lookup = view_of(view, segments, areas=areas).lookup[:4].tolist()
        assert len(set(lookup)) == 4


# --- metadata


def merged(*members: tuple[Mapping[str, Any], int]) -> dict[str, Any]:
    """Metadata of one label's Segments, given as metadata and area, in the semantic view."""
    segments = [Segment("car", index, metadata) for index, (metadata, _) in enumerate(members)]
    areas = {index: area for index, (_, area) in enumerate(members)}
    (segment,) = view_of(View.SEMANTIC, segments, areas=areas).segments
    return dict(segment.metadata)


def test_confidence_is_the_mean_weighted_by_area_of_those_that_have_one() -> None:
    metadata = merged(({"confidence": 0.5}, 30), ({"confidence": 0.9}, 10), ({}, 1000))
    assert metadata["confidence"] == pytest.approx(0.6, rel=1e-15)
    assert (metadata["confidence_min"], metadata["confidence_max"]) == (0.5, 0.9)
    assert metadata["n_merged"] == 3


def test_segments_without_pixels_weigh_nothing_unless_none_has_any() -> None:
    assert merged(({"confidence": 0.5}, 30), ({"confidence": 0.9}, 0))["confidence"] == 0.5
    assert merged(({"confidence": 0.25}, 0), ({"confidence": 0.75}, 0))["confidence"] == 0.5
    assert "confidence" not in merged(({}, 3), ({}, 4))


def test_a_mean_is_never_outside_its_extremes() -> None:
    metadata = merged(*[({"confidence": 0.1}, area) for area in (1, 3, 7)])
    assert metadata["confidence"] == metadata["confidence_min"] == metadata["confidence_max"] == 0.1
    huge = merged(({"confidence": 1.7e308}, 10**8), ({"confidence": 1.7e308}, 10**8))
    assert huge["confidence"] == 1.7e308


def test_other_keys_are_kept_where_all_agree() -> None:
    metadata = merged(
        ({"camera": "left", "day": 1, "night": True, "pose": "up", "deep": {"a": [1, 2.0]}}, 5),
        ({"camera": "left", "day": 2, "night": 1, "deep": {"a": [1.0, 2]}}, 5),
    )
    assert metadata == {
        "camera": "left", "deep": {"a": [1, 2]}, "n_merged": 2, "source_indexes": [0, 1],
    }  # fmt: skip


def test_a_confidence_that_is_no_number_is_a_key_like_any_other() -> None:
    assert merged(({"confidence": "high"}, 5), ({"confidence": "high"}, 5))["confidence"] == "high"
    assert "confidence" not in merged(({"confidence": "high"}, 5), ({"confidence": "low"}, 5))
    assert merged(({"confidence": "high"}, 5), ({"confidence": "0.5"}, 5))["confidence"] == 0.5


def test_background_is_stuff_and_no_crowd_whatever_it_was_made_of() -> None:
    view = view_of(View.INSTANCE, [Segment("person", 1, CROWD), Segment("person", 2, CROWD)])
    assert view.segments == (
        Segment("background", 0, {"isthing": False, "n_merged": 2, "source_indexes": [1, 2]}),
    )


def test_one_stuff_segment_becomes_background_and_keeps_what_it_knows() -> None:
    view = view_of(View.INSTANCE, [Segment("road", 4, {**STUFF, "confidence": 0.5, "wet": True})])
    assert view.segments == (
        Segment(
            "background",
            0,
            {
                "isthing": False,
                "confidence": 0.5,
                "wet": True,
                "n_merged": 1,
                "source_indexes": [4],
            },
        ),
    )


def test_a_crowd_and_a_thing_of_one_label_are_one_class_but_not_one_instance() -> None:
    segments = [
        Segment("person", 1, {"isthing": True, "iscrowd": False}),
        Segment("person", 2, CROWD),
    ]
    assert by_index(view_of(View.INSTANCE, segments)) == {0: "background", 1: "person"}
    (person,) = view_of(View.SEMANTIC, segments).segments
    assert person.metadata == {"isthing": True, "n_merged": 2, "source_indexes": [1, 2]}


def test_a_label_that_is_thing_and_stuff_is_told_apart_by_its_segments() -> None:
    segments = [Segment("kite", 1, THING), Segment("kite", 2, STUFF)]
    assert by_index(view_of(View.INSTANCE, segments)) == {0: "background", 1: "kite"}
    assert by_index(view_of(View.SEMANTIC, segments)) == {0: "kite"}


def test_a_view_of_a_view_counts_what_the_first_was_made_from() -> None:
    birds = [Segment("bird", n, {**THING, "confidence": c}) for n, c in ((0, 0.5), (8, 0.7))]
    pixels = np.zeros(256, np.int64)
    pixels[[0, 8]] = 10
    instance = Consolidation(View.INSTANCE, {}).of(birds, pixels)
    (through,) = (
        Consolidation(View.SEMANTIC, {})
        .of(instance.segments, renamed(pixels, instance.lookup))
        .segments
    )
    (direct,) = Consolidation(View.SEMANTIC, {}).of(birds, pixels).segments
    assert through == direct
    assert through.metadata["source_indexes"] == [0, 8]


def test_background_made_of_classes_counts_every_segment_behind_them() -> None:
    stuff = [("road", 3, 0.2), ("road", 5, 0.8), ("sky", 9, 0.5)]
    segments = [Segment(label, n, {**STUFF, "confidence": c}) for label, n, c in stuff]
    pixels = np.zeros(256, np.int64)
    pixels[[3, 5, 9]] = 10, 30, 40
    semantic = Consolidation(View.SEMANTIC, {}).of(segments, pixels)
    instance = Consolidation(View.INSTANCE, {})
    after = renamed(pixels, semantic.lookup)
    (through,) = instance.of(semantic.segments, after).segments
    (direct,) = instance.of(segments, pixels).segments
    assert through.metadata["n_merged"] == direct.metadata["n_merged"] == 3
    for key, expected in (("confidence", 0.575), ("confidence_min", 0.2), ("confidence_max", 0.8)):
        assert through.metadata[key] == pytest.approx(expected)
        assert direct.metadata[key] == pytest.approx(expected)


def test_a_prediction_without_segments_has_a_view_without_segments() -> None:
    for view in View:
        assert view_of(view, []).segments == ()


# --- class PDFs


@settings(max_examples=at_most(80, 200), deadline=None)
@given(predictions(), TAXONOMIES, st.sampled_from(MERGING))
def test_merged_pdfs_sum_to_1(
    prediction: tuple[list[Segment], np.ndarray], taxonomy: dict[str, str], view: View
) -> None:
    segments, areas = prediction
    for segment in Consolidation(view, taxonomy).of(segments, areas).segments:
        pdf = class_pdf_of(segment.metadata, tuple(taxonomy))
        if pdf is not None:
            assert pdf.total == pytest.approx(1, abs=1e-9)


def test_a_merged_pdf_is_weighted_by_area_over_the_segments_that_have_one() -> None:
    segments = [
        Segment("car", 1, {"class_pdf": {"car": 0.9, "road": 0.1}}),
        Segment("car", 2, {"pdf": '{"car": 0.5, "sky": 0.5}'}),
        Segment("car", 3),
    ]
    (merged,) = view_of(View.SEMANTIC, segments, areas={1: 30, 2: 10, 3: 999}).segments
    assert merged.metadata.keys() == {"class_pdf", "n_merged", "source_indexes"}
    pdf = class_pdf_of(merged.metadata)
    assert pdf is not None
    assert pdf.as_metadata() == pytest.approx({"car": 0.8, "road": 0.075, "sky": 0.125})
    (hidden,) = view_of(View.SEMANTIC, segments, areas={}).segments
    assert hidden.metadata["class_pdf"] == pytest.approx({"car": 0.7, "road": 0.05, "sky": 0.25})


def test_lists_are_mixed_in_the_order_of_the_taxonomy() -> None:
    taxonomy = {"road": "stuff", "car": "thing"}
    segments = [Segment("car", n, {"class_pdf": [1 - n / 4, n / 4]}) for n in (2, 4)]
    (merged,) = view_of(View.SEMANTIC, segments, taxonomy).segments
    assert merged.metadata["class_pdf"] == {"road": 0.25, "car": 0.75}


@pytest.mark.parametrize("count", [1, 2])
def test_stuff_is_summed_where_the_instance_view_makes_it_background(count: int) -> None:
    taxonomy = {"road": "stuff", "sky": "stuff", "car": "thing"}
    pdf = {"road": 0.5, "sky": 0.25, "car": 0.25}
    stuff = [Segment("road", 1, {"class_pdf": pdf}), Segment("sky", 2, {"class_pdf": pdf})]
    car = Segment("car", 3, {"class_pdf": pdf})
    view = view_of(View.INSTANCE, [*stuff[:count], car], taxonomy)
    assert view.segments[0].metadata["class_pdf"] == {"background": 0.75, "car": 0.25}
    assert view.segments[1] == car  # a Segment that is not merged says what it said
    told = [Segment(s.label, s.index, {**s.metadata, "isthing": False}) for s in stuff[:count]]
    assert view_of(View.INSTANCE, told).segments[0].metadata["class_pdf"]["background"] >= 0.5


def test_what_is_no_pdf_is_merged_as_any_other_key() -> None:
    same = [Segment("car", n, {"class_pdf": {"car": 7}}) for n in (1, 2)]
    (merged,) = view_of(View.SEMANTIC, same).segments
    assert merged.metadata["class_pdf"] == {"car": 7}
    (merged,) = view_of(View.SEMANTIC, [same[0], Segment("car", 2, {"pdf": "a.pdf"})]).segments
    assert merged.metadata.keys() == {"n_merged", "source_indexes"}
