"""Where a person looks, class PDFs are seen: least sure, charts, drift, legends and text."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pyarrow.parquet as pq
import pytest

from segpipe import ManifestWriter, Segment
from segpipe.manifests.partition import Partition
from segpipe.pictures.charts import entropy_histogram
from segpipe.pictures.confidences import Unsure, least_sure
from segpipe.pictures.contact_sheet import contact_sheets
from segpipe.pictures.overlay import LegendEntry, overlay
from segpipe.pipeline.checks import label_drift
from segpipe.root import Root
from segpipe.validation.distributions import Distribution, Drift, distribution_of, drift_between

FIRST, SECOND = Partition("unet", "2026-01-05"), Partition("unet", "2026-01-06")
LABELS = ["Sky", "Road", "Car", "Person"]


def scores(*pixels: tuple[float, ...]) -> np.ndarray:
    """A row of ten pixels for each distribution."""
    return np.repeat(np.array(pixels, np.float64).T[:, :, None], 10, axis=2)


def root_with(path: Path, given: dict[str, np.ndarray], partition: Partition = FIRST) -> Root:
    with ManifestWriter(path, partition.model_run, partition.date) as writer:
        for name, one in given.items():
            writer.add_scores(name, one, LABELS)
    root = Root.open(str(path))
    assert root.materialize(partition).rejected == 0
    return root


def entropy(*pixel: float) -> float:
    return -sum(one * math.log(one) for one in pixel if one)


EVEN, SURE, BETWEEN = (0.3, 0.25, 0.25, 0.2), (0.01, 0.97, 0.01, 0.01), (0.1, 0.3, 0.6, 0.0)


def test_the_least_sure_have_the_highest_entropy_and_confidence_decides_among_the_rest(
    tmp_path: Path,
) -> None:
    mask = np.repeat(np.arange(2, dtype=np.uint8), 4)[:, None].repeat(4, axis=1)
    with ManifestWriter(tmp_path, "unet", "2026-01-05") as writer:
        writer.add_scores("between", scores(SURE, BETWEEN), LABELS)
        writer.add_scores("even", scores(EVEN, SURE), LABELS)
        for name, low in (("low", 0.05), ("high", 0.8)):
            confident = [{"confidence": low}, {"confidence": 0.9}]
            writer.add(
                name, mask, [Segment("Sky", 0, confident[0]), Segment("Car", 1, confident[1])]
            )
        writer.add("none", mask, [Segment("Sky", 0), Segment("Car", 1)])
    root = Root.open(str(tmp_path))
    root.materialize(FIRST)
    found = least_sure(root.tables(FIRST), 9)
    assert [(one.reference_id, one.label) for one in found] == [
        ("even", "Sky"), ("between", "Car"), ("low", "Sky"), ("high", "Sky"),
    ]  # fmt: skip
    assert found[0].entropy == pytest.approx(entropy(*EVEN))
    assert [one.words for one in found[:3]] == ["1.38 nats", "0.90 nats", "0.05"]
    assert found[2] == Unsure("low", "Sky", 0, 0.05, None)
    assert least_sure(root.tables(FIRST), 2) == found[:2]
    assert contact_sheets(root.validated(FIRST), root.settings).unsure is not None


def test_entropies_are_counted_and_their_mean_is_that_of_the_segments(tmp_path: Path) -> None:
    root = root_with(tmp_path, {"a": scores(EVEN, SURE), "b": scores(BETWEEN)})
    found = distribution_of(root.tables(FIRST))
    expected = [entropy(*one) for one in (EVEN, SURE, BETWEEN)]
    assert found.mean_entropy == pytest.approx(sum(expected) / 3)
    bins = np.flatnonzero(found.entropies).tolist()
    assert bins == sorted(int(one * 20) for one in expected)
    assert sum(found.entropies) == 3


def test_drift_tells_the_mean_entropies_and_labels_alike(tmp_path: Path) -> None:
    root_with(tmp_path, {"a": scores(SURE)})
    root = root_with(tmp_path, {"a": scores(BETWEEN)}, SECOND)
    drift = drift_between(*(distribution_of(root.tables(one)) for one in (FIRST, SECOND)))
    expected = (entropy(*SURE), entropy(*BETWEEN))
    assert drift.mean_entropies == pytest.approx(expected)
    result = label_drift(FIRST, drift, 1.0)
    assert result.metadata["mean_entropy"].value == pytest.approx(expected[1])
    assert result.metadata["mean_entropy_before"].value == pytest.approx(expected[0])
    assert result.metadata["entropy_drift"].value == pytest.approx(expected[1] - expected[0])
    assert result.description is not None
    assert "Mean entropy of the class PDFs: 0.90 nats (+0.73)" in result.description


@pytest.mark.parametrize(
    ("means", "words"),
    [
        ((None, None), None),
        ((0.5, None), "no class PDFs any more"),
        ((None, 0.5), "0.50 nats (there were no class PDFs)"),
    ],
)
def test_where_only_one_partition_has_class_pdfs_that_is_said(
    means: tuple[float | None, float | None], words: str | None
) -> None:
    description = label_drift(FIRST, Drift(0.0, {}, means), 1.0).description or ""
    assert words in description if words is not None else "class PDF" not in description


def test_a_partition_before_that_an_earlier_segpipe_wrote_has_no_entropies(tmp_path: Path) -> None:
    root = root_with(tmp_path, {"a": scores(SURE)})
    file = Path(root.tables(FIRST).path) / "segments.parquet"
    table = pq.read_table(file, partitioning=None)
    pq.write_table(table.drop_columns(["class_pdf", "entropy", "margin"]), file)
    found = distribution_of(root.tables(FIRST))
    assert (found.mean_entropy, found.entropies) == (None, ())
    assert found.pixels == {"Road": 10}


@pytest.mark.parametrize("counts", [(5,), (0, 0, 3, 9), (1,) * 21, (2,) * 185])
def test_the_entropy_chart_shows_all_segments_on_an_axis_of_half_nats(
    counts: tuple[int, ...],
) -> None:
    number = sum(counts)
    mean = len(counts) / 40
    svg = entropy_histogram(Distribution({"a": 1}, {"a": number + 4}, (0,) * 20, 0, counts, mean))
    assert svg is not None
    parsed = ElementTree.fromstring(svg)
    name = "{http://www.w3.org/2000/svg}"
    _, *bars = parsed.iter(f"{name}rect")
    highest = max(float(bar.attrib["height"]) for bar in bars)
    tallest = max(sum(counts[i : i + -(-len(counts) // len(bars))]) for i in range(len(counts)))
    heights = sum(float(bar.attrib["height"]) for bar in bars)
    assert heights / highest * tallest >= number * 0.9
    assert all(float(bar.attrib["x"]) + float(bar.attrib["width"]) <= 582 for bar in bars)
    words = [text.text for text in parsed.iter(f"{name}text")]
    assert f"{number:,} segments, 4 more without a class PDF" in words
    assert f"mean {mean:.2f}" in words


def test_without_class_pdfs_there_is_no_entropy_chart() -> None:
    assert entropy_histogram(Distribution({"a": 1}, {"a": 1}, (1,) * 20, 0)) is None


def test_a_legend_gets_a_line_for_the_three_likeliest_classes() -> None:
    mask = np.zeros((60, 60), np.uint8)
    top = [("Road", 0.62), ("Sidewalk" * 4, 0.3), ("a\nb", 0.05)]
    without = overlay(mask, [LegendEntry(0, "Road", 0.62)])
    with_pdf = overlay(mask, [LegendEntry(0, "Road", 0.62, None, top)])
    assert with_pdf.width > without.width
    line = np.asarray(with_pdf)[4 + 17 : 4 + 34, 60 + 20 :]
    assert (line < 150).any(), "nothing is drawn in the second line"
    assert not (np.asarray(with_pdf)[:, -4:] < 150).any(), "it is cut at the edge"


def test_show_names_the_three_likeliest_classes_and_how_many_more(tmp_path: Path) -> None:
    root = root_with(tmp_path, {"a": scores(BETWEEN, SURE)})
    root.publish(FIRST.model_run, FIRST.date)
    lines = list(root.show("a").lines())
    assert lines[1].split() == ["1", "Road", "0.97", "50.0", "%", '{"confidence":0.97}']
    assert lines[2].split("       ")[1] == (
        f"Road 0.97, Car 0.01, Person 0.01 and 1 more; entropy {entropy(*SURE):.2f} nats"
    )
    assert "Car 0.60, Road 0.30, Sky 0.10" in lines[4]


def test_metadata_that_are_no_pdf_are_shown_as_they_are(tmp_path: Path) -> None:
    mask = np.zeros((4, 4), np.uint8)
    metadata: dict[str, Any] = {"pdf": {"Sky": 1.0}, "class_pdf": None, "pose": "left"}
    with ManifestWriter(tmp_path, "unet", "2026-01-05") as writer:
        writer.add("a", mask, [Segment("Sky", 0, metadata)])
        writer.add("b", mask, [Segment("Sky", 0, {"pdf": "report.pdf"})])
    root = Root.open(str(tmp_path))
    root.materialize(FIRST)
    root.publish(FIRST.model_run, FIRST.date)
    assert json.loads(list(root.show("a").lines())[1].split("%")[1]) == {"pose": "left"}
    _, segment, finding, _ = root.show("b").lines()
    assert segment.endswith('100.0 %  {"pdf":"report.pdf"}')
    assert finding.startswith("  EMPTY-MASK")
