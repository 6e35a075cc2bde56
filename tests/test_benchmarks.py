"""The benchmarks run: what they measure may differ from machine to machine, but not whether."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from benchmarks import __main__ as performance
from benchmarks.cases import cases
from benchmarks.chart import chart
from benchmarks.goals import Goal, goals_table
from benchmarks.landing import made
from benchmarks.masks import CONSTANT, KINDS, NOISE, SHAPES, SMALL, Recipe, Shape
from benchmarks.peers import figures, process
from tests.fixtures.places import PROJECT

PAGE = PROJECT / "docs" / "performance.md"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["benchmarks.scale", "--masks", "200"], "requests"),
        (["benchmarks.rows", "--rows", "1000", "--workers", "1"], "1,000 accepted of 1,000"),
        (["benchmarks.partitions", "--masks", "100", "--rows", "2", "--rounds", "1"], "MiB"),
        (["benchmarks.nucleus", "--masks", "30", "--rounds", "1"], "0 uploads"),
        (["benchmarks.automation", "--partitions", "200"], "nothing changed"),
        (["benchmarks.publishing", "--help"], "usage"),
        (["benchmarks.querying", "--runs", "2", "--rows", "100"], "200 predictions"),
        (["benchmarks.object_store", "--help"], "usage"),
        (["benchmarks.consolidation", "--help"], "usage"),
        (["benchmarks.runs", "--help"], "usage"),
        (["benchmarks.ranges", "--partitions", "2"], "nothing changed"),
        (["benchmarks.ranges", "--workers", "--rows", "400", "--rounds", "1"], "400"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_benchmark_reports_what_it_measured(command: list[str], words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=PROJECT, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert words in done.stdout


@pytest.mark.slow
def test_figures_are_put_between_their_marks_and_the_prose_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(performance, "_QUICK", 128)
    page, begin, end = tmp_path / PAGE.name, performance._BEGIN, performance._END
    page.write_text(f"prose\n{begin}\nof before\n{end}\nmore prose\n")
    performance.main(
        ["--quick", "--write", "--docs", str(tmp_path), "--peers", str(tmp_path / "none")]
    )
    written = page.read_text()
    assert written.startswith(f"prose\n{begin}\n\nMeasured on ")
    assert written.endswith(f"\n{end}\nmore prose\n")
    assert "of before" not in written
    assert "## Stages" in written
    assert "its environment is not there" in written  # a peer that cannot run is not left out
    assert all(peer in written for peer in (*process.PEERS, *figures.ABSENT))
    ElementTree.parse(tmp_path / "performance.svg")


@pytest.mark.slow
def test_a_peer_is_measured_in_its_own_process_and_one_that_is_not_there_is_told() -> None:
    peers = {peer.name: peer for peer in figures.measure(sys.executable, SMALL, divisor=20)}
    coco, supervision = (
        peers["pycocotools, encode + area + box"],
        peers["supervision, boxes + areas"],
    )
    assert coco.ratio is not None
    assert coco.ratio > 1
    assert coco.version
    assert supervision.ratio is None
    assert "No module named 'supervision'" in supervision.trouble


def test_the_page_has_the_marks_that_figures_are_put_between() -> None:
    page = PAGE.read_text()
    assert 0 < page.index(performance._BEGIN) < page.index(performance._END)


def test_every_size_and_kind_is_measured() -> None:
    assert [(case.shape, case.kind) for case in cases()] == [
        (shape, kind) for shape in SHAPES for kind in KINDS
    ]


@pytest.mark.parametrize("shape", SHAPES[:2], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_masks_are_of_their_size_and_the_same_for_the_same_seed(shape: Shape, kind: str) -> None:
    recipe = Recipe(7, shape, kind)
    mask = recipe.mask(3)
    assert mask.shape == (shape.height, shape.width)
    assert mask.dtype == np.uint8
    assert np.array_equal(mask, Recipe(7, shape, kind).mask(3))
    assert not np.array_equal(mask, recipe.mask(4))
    assert not np.array_equal(mask, Recipe(8, shape, kind).mask(3))
    values = np.unique(mask).size
    assert {NOISE: values == 256, CONSTANT: values == 1}.get(kind, 5 <= values <= 20)


def test_a_folder_of_masks_is_gone_afterwards() -> None:
    with made(2, Recipe(9, kind=CONSTANT), keep=False) as masks:
        assert [path.exists() for path in masks.paths] == [True, True]
    assert not masks.folder.exists()


def test_goals_are_judged_on_the_right_side_of_their_limits() -> None:
    found = [Goal("a", 1, 0.99), Goal("b", 1, 1.01), Goal("c", 5, 5, at_least=True)]
    verdicts = [line.split("|")[-2].strip() for line in goals_table(found).splitlines()[2:]]
    assert verdicts == ["reached", "**missed**", "reached"]


def test_the_chart_is_well_formed_whatever_the_names() -> None:
    drawn = ElementTree.fromstring(chart([("a <b> & c", 2.0), ("segpipe", 0.5)]))
    words = [one.text for one in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert "a <b> & c" in words
