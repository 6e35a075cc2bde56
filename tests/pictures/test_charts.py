"""Charts show the numbers they are given, whatever labels are called; colours belong to labels."""

from __future__ import annotations

from collections.abc import Mapping
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segpipe.pictures.charts import confidence_histogram, label_areas
from segpipe.pictures.label_colours import label_colours
from segpipe.validation.distributions import BINS, Distribution

_SVG = "{http://www.w3.org/2000/svg}"
NO_CONFIDENCES = (0,) * BINS


def distribution(
    pixels: Mapping[str, int], confidences: tuple[int, ...] = NO_CONFIDENCES, without: int = 0
) -> Distribution:
    return Distribution(dict(pixels), dict.fromkeys(pixels, 1), confidences, without)


def bars(svg: str) -> list[tuple[str, float, float]]:
    """Colour, width and height of every bar, in order."""
    _, *rest = ElementTree.fromstring(svg).iter(f"{_SVG}rect")
    return [(r.attrib["fill"], float(r.attrib["width"]), float(r.attrib["height"])) for r in rest]


def words(svg: str) -> list[str]:
    return [text.text or "" for text in ElementTree.fromstring(svg).iter(f"{_SVG}text")]


def test_bars_are_as_long_as_the_labels_shares_the_largest_first() -> None:
    colours = {"road": (255.0, 0.0, 0.0), "car": (0.0, 0.0, 255.0), "tree": (0.0, 255.0, 0.0)}
    svg = label_areas(distribution({"car": 10, "road": 60, "tree": 30}), colours)
    (red, road, _), (green, tree, _), (blue, car, _) = bars(svg)
    assert (red, green, blue) == ("#ff0000", "#00ff00", "#0000ff")
    assert road == pytest.approx(2 * tree, abs=0.02)
    assert road == pytest.approx(6 * car, abs=0.05)
    assert [word for word in words(svg) if word in colours] == ["road", "tree", "car"]
    assert "60.0 %  ·  1 segment" in words(svg)


def test_the_shares_of_the_partition_before_are_marked_on_the_same_scale() -> None:
    now, before = distribution({"road": 50, "car": 50}), distribution({"road": 25, "car": 75})
    svg = label_areas(now, {}, before)
    marks = [float(line.attrib["x1"]) for line in ElementTree.fromstring(svg).iter(f"{_SVG}line")]
    origin = min(float(r.attrib.get("x", 999)) for r in ElementTree.fromstring(svg).iter(f"{_SVG}rect"))  # fmt: skip  # noqa: E501
    (_, first, _), (_, second, _) = bars(svg)  # equal shares, by name: car, then road
    assert first == second
    on_bars = [mark - origin for mark in marks[1:]]
    assert on_bars == [pytest.approx(first * 1.5, abs=0.1), pytest.approx(first / 2, abs=0.1)]


def test_many_labels_are_cut_and_the_rest_is_counted() -> None:
    svg = label_areas(distribution({f"label {n}": 1000 - n for n in range(500)}), {})
    assert len(bars(svg)) == 15
    (told,) = (word for word in words(svg) if "more labels" in word)
    assert told.startswith("and 485 more labels: 96.")
    assert len(svg) < 30_000


def test_a_partition_without_segments_says_so() -> None:
    assert "there are no segments" in words(label_areas(distribution({}), {}))
    assert confidence_histogram(distribution({"a": 5}, without=5)) is None


def test_the_histogram_has_a_bar_per_bin_and_the_median() -> None:
    confidences = (*NO_CONFIDENCES[:10], 30, *NO_CONFIDENCES[:4], 10, *NO_CONFIDENCES[:4])
    svg = confidence_histogram(distribution({"a": 1}, confidences, without=3))
    assert svg is not None
    heights = [height for _, _, height in bars(svg)]
    assert [place for place, height in enumerate(heights) if height] == [10, 15]
    assert heights[10] == pytest.approx(3 * heights[15], abs=0.05)
    # 20 of 30 segments into the bin from 0.5 to 0.55.
    assert "median 0.53" in words(svg)
    assert "40 segments, 3 more without a confidence" in words(svg)


@given(
    st.dictionaries(st.text(max_size=300), st.integers(0, 10**12), max_size=40),
    st.tuples(*[st.integers(0, 10**9)] * BINS),
)
@settings(max_examples=150, deadline=None)
def test_any_labels_and_numbers_give_whole_pictures_that_hold_no_markup(
    pixels: dict[str, int], confidences: tuple[int, ...]
) -> None:
    given = distribution({"<script>alert(1)</script>&": 3, **pixels}, confidences)
    for svg in (label_areas(given, label_colours(given.pixels)), confidence_histogram(given)):
        if svg is None:
            assert not any(confidences)
            continue
        root = ElementTree.fromstring(svg)  # well-formed
        assert {node.tag.removeprefix(_SVG) for node in root.iter()} <= {
            "svg", "rect", "line", "text",
        }  # fmt: skip
        width, height = float(root.attrib["width"]), float(root.attrib["height"])
        for rect in root.iter(f"{_SVG}rect"):
            x, y = (float(rect.attrib.get(name, 0)) for name in ("x", "y"))
            assert x + float(rect.attrib["width"]) <= width + 0.01
            assert 0 <= y <= y + float(rect.attrib["height"]) <= height + 0.01
        assert len(svg.encode()) < 30_000
