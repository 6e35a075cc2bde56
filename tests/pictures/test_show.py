"""`segpipe show`: what there is of an item, whatever became of it, in words and as a picture."""

from __future__ import annotations

import io
import json
import shutil
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from segpipe.cli.catalog import show
from segpipe.errors import SegpipeError
from segpipe.manifests.partition import Partition
from segpipe.pictures import comparison_pictures
from segpipe.pictures.blending import MARK
from segpipe.pictures.comparison_pictures import Side, side_by_side
from segpipe.pictures.item_picture import ShownItem
from segpipe.pictures.overlay import LegendEntry, overlay
from segpipe.predictions.prediction import Segment
from segpipe.root import Root
from tests.fixtures.landing import PARTITION, LandingWriter

NEXT = Partition("unet", "2026-01-06")
OTHER = Partition("other", "2026-01-05")


def red(item: ShownItem) -> int:
    return int((np.asarray(item.picture) == MARK).all(axis=2).sum())


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Root:
    """``a`` published, and another way on the next day; ``b`` and ``twice`` rejected."""
    landing = LandingWriter(tmp_path_factory.mktemp("show") / "root")
    unexplained = {**landing.row("b", values=(0, 1, 7)), "segments": landing.row("c")["segments"]}
    twice = [landing.row("twice", name="one"), landing.row("twice", (0, 1), name="two")]
    colour = landing.row("colour")
    picture = np.zeros((60, 80, 3), np.uint8)
    picture[20:40, 30:50] = (250, 10, 10)
    Image.fromarray(picture).save(landing.folder(PARTITION) / "masks" / "colour.png")
    sized = {**landing.row("sized"), "height": 12, "width": 16}
    landing.manifest([landing.row("a"), landing.row("c"), unexplained, *twice, colour, sized])
    landing.manifest([landing.row("a", (0, 2), NEXT)], NEXT)
    landing.manifest([landing.row("a", (0, 1), OTHER), landing.row("d", (0, 1), OTHER)], OTHER)
    (landing.root / "segpipe.toml").write_text("workers = 1\n[policy]\nmax_rejection_rate = 0.9\n")
    root = Root.open(landing.root)
    for partition in (PARTITION, NEXT, OTHER):
        root.materialize(partition)
    root.publish(PARTITION)
    return root


@pytest.fixture
def copied(given: Root, tmp_path: Path) -> LandingWriter:
    """The same, to be changed."""
    shutil.copytree(given.settings.root, tmp_path / "root")
    return LandingWriter(tmp_path / "root")


def test_what_is_published_comes_first_then_what_was_validated_and_is_not(given: Root) -> None:
    item = given.show("a")
    assert [(one.model_run, one.outcome, one.date) for one in item.versions] == [
        ("other", "validated", "2026-01-05"),
        ("unet", "published", "2026-01-05"),
        ("unet", "validated", "2026-01-06"),
    ]
    heads = [line for line in item.lines() if line.startswith("a ")]
    assert heads == [
        "a  other  2026-01-05: validated, not published  8 x 6",
        "a  unet  8 x 6",
        "a  unet  2026-01-06: validated, not published  8 x 6",
    ]
    assert len(item.rows) == 1
    assert [one.date for one in given.show("a", "unet", "2026-01-06").versions] == ["2026-01-06"]
    assert [one.outcome for one in given.show("c").versions] == ["published"]


def test_pictures_beyond_a_bound_are_counted(given: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = given.show("a").picture
    monkeypatch.setattr("segpipe.pictures.item_picture._MOST_PIXELS", 1000)
    assert whole.height / 3 < given.show("a").picture.height < whole.height


def test_a_damaged_table_is_told_by_name(copied: LandingWriter) -> None:
    for path in copied.root.glob("validated/**/rejected.parquet"):
        path.write_bytes(b"torn")
    root = Root.open(copied.root)
    with pytest.raises(SegpipeError, match=r"rejected\.parquet is damaged .* with --force"):
        root.show("a")
    for partition in (PARTITION, NEXT, OTHER):
        root.materialize(partition, force=True)
    assert len(root.show("a").versions) == 3


def test_a_rejected_item_is_shown_with_what_was_found_and_the_pixels_that_offend(
    given: Root,
) -> None:
    item = given.show("b")
    (version,) = item.versions
    assert version.outcome == "rejected"
    lines = list(item.lines())
    assert lines[0] == (
        "b  unet  2026-01-05: rejected, model_run=unet/date=2026-01-05/predictions.parquet row 2"
    )
    assert any("VALUE-NO-SEGMENT (reject): " in line for line in lines)
    assert any(line.startswith("    -> ") for line in lines)
    third = 320 * 80  # of the mask as it is drawn, without what the numbers and lines cover
    assert red(item) > 0.7 * third
    assert red(given.show("a")) == 0
    plain = given.show("a", "unet", "2026-01-06").picture
    assert item.picture.height > plain.height + 17, "the findings in words"


def test_masks_that_cannot_be_decoded_and_those_of_another_size_have_a_picture(
    given: Root,
) -> None:
    colour = np.asarray(given.show("colour").picture)
    assert (colour == MARK).all(axis=2).sum() > 20 * 20 * 10, "the pixels with colours"
    sizes = np.asarray(given.show("sized").picture)
    rows, columns = np.nonzero((sizes == (213, 94, 0)).all(axis=2))
    others = np.nonzero((sizes == (0, 114, 178)).all(axis=2))
    big = rows > 60  # below the words
    ratio = (np.ptp(others[1][others[0] > 60])) / np.ptp(columns[big])
    assert 1.9 < ratio < 2.1, "mask and image to scale"


def test_each_version_of_a_duplicate_is_shown(given: Root) -> None:
    item = given.show("twice")
    assert [one.manifest_row for one in item.versions] == [3, 4]
    assert all(one.findings[0].rule == "REF-DUPLICATE" for one in item.versions)
    top, below = np.split(np.asarray(item.picture), 2)
    assert top.shape == below.shape
    assert (top != below).any()


def test_a_rejected_item_whose_manifest_is_gone_or_of_other_items_has_its_findings_alone(
    copied: LandingWriter,
) -> None:
    copied.manifest([copied.row(f"new {n}", (0, 1)) for n in range(7)])
    rewritten = Root.open(copied.root).show("b")
    for path in copied.folder(PARTITION).glob("*.parquet"):
        path.unlink()
    gone = Root.open(copied.root).show("b")
    for item in (rewritten, gone):
        assert red(item) == 0
        assert item.picture.height > 50
        assert item.versions[0].findings


def test_two_model_runs_stand_side_by_side_with_their_difference(given: Root) -> None:
    item = given.show("a", "unet", against="other")
    lines = list(item.lines())
    at = lines.index("unet against other:")
    assert lines[at + 1 : at + 4] == [
        "  50% of the pixels have another label",
        "    33%  class 2 -> class 1",
        "    17%  class 1 -> class 0",
    ]
    assert item.picture.width > 3 * 320
    with pytest.raises(SegpipeError, match="no prediction for 'd' by model run 'unet'"):
        given.show("d", "unet", against="other")
    with pytest.raises(SegpipeError, match="name the first, --model-run"):
        given.show("a", against="other")


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[list[LegendEntry]]:
    """The legends of comparisons' panels, as they are drawn."""
    drawn: list[list[LegendEntry]] = []

    def noted(mask: NDArray[np.uint8], legend: list[LegendEntry], *rest: Any, **also: Any) -> Any:
        drawn.append(legend)
        return overlay(mask, legend, *rest, **also)

    monkeypatch.setattr(comparison_pictures, "overlay", noted)
    return drawn


def test_a_comparisons_legends_name_confidence_likeliest_classes_and_area(
    given: Root, drawn: list[list[LegendEntry]]
) -> None:
    mask = np.repeat(np.array([[1], [0], [0], [0]], np.uint8), 8, axis=1)
    pdf = {"class_pdf": {"Road": 0.7, "Car": 0.3}}
    segments = [Segment("Road", 1, pdf), Segment("Car", 0, {"confidence": 0.9})]
    sides = [Side(name, mask, segments) for name in "AB"]
    side_by_side("where they differ", sides, None, given.settings, 320)
    assert [(one.label, one.confidence, one.area_fraction) for one in drawn[0]] == [
        ("Car", 0.9, 0.75), ("Road", None, 0.25),
    ]  # fmt: skip
    assert list(drawn[0][1].likeliest) == [("Road", 0.7), ("Car", 0.3)]


def test_a_comparisons_legends_read_class_pdfs_that_are_lists(
    tmp_path: Path, drawn: list[list[LegendEntry]]
) -> None:
    landing = LandingWriter(tmp_path / "root")
    given = (PARTITION, 0.7, ("road", "car")), (OTHER, 0.6, ("car", "road"))
    for partition, probability, labels in given:
        row = landing.row("a", (0, 1), partition)
        lists = json.dumps({"class_pdf": [probability, 1 - probability]})
        cells = [{**cell, "metadata": lists} for cell in row["segments"]]
        cells = [{**one, "label": label} for one, label in zip(cells, labels, strict=True)]
        landing.manifest([{**row, "segments": cells}], partition)
    settings = 'workers = 1\n[policy.taxonomy]\nroad = "stuff"\ncar = "thing"\n'
    (landing.root / "segpipe.toml").write_text(settings)
    root = Root.open(landing.root)
    for partition in (PARTITION, OTHER):
        root.materialize(partition)
    assert root.show("a", "unet", against="other").picture.height > 0
    root.compare("unet", "other", pictures=tmp_path / "pictures", agreement=True)
    firsts = [dict(legend[0].likeliest)["road"] for legend in drawn if legend[0].likeliest]
    assert firsts == pytest.approx([0.7, 0.6, 0.7, 0.6])


def test_a_legend_counts_the_pixels_of_a_large_mask_without_a_larger_copy() -> None:
    mask = np.zeros((1024, 1024), np.uint8)
    side = Side("A", mask, [Segment("Road", 0, {})])
    tracemalloc.start()
    try:
        (entry,) = comparison_pictures._legend(side)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert entry.area_fraction == 1
    assert peak < 2 * mask.nbytes


def test_a_picture_replaces_a_file_only_where_it_is_told_to(given: Root, tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_text("mine")
    with pytest.raises(SegpipeError, match=r"a\.png is there already: .*force"):
        given.show("c").save(file)
    assert file.read_text() == "mine"
    given.show("c").save(file, force=True)
    assert Image.open(file).size == given.show("c").picture.size


def test_in_a_notebook_it_shows_itself_as_large_as_it_is_asked_for(given: Root) -> None:
    png = given.show("c", longest_side=64)._repr_png_()
    assert Image.open(io.BytesIO(png)).size == given.show("c", longest_side=64).picture.size


def test_the_command_names_its_picture_so_that_it_replaces_none(
    given: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for force in (False, False, True):
        show(given.settings.root, "c", None, None, None, 64, None, None, force=force)
    said = capsys.readouterr().err.splitlines()
    assert said == [f"picture written to overlay{n}.png" for n in ("", "-2", "")]
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["overlay-2.png", "overlay.png"]
