"""Probabilities per class, as a model's softmax gives them, written as predictions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from segpipe import ManifestWriter
from segpipe.errors import ManifestError, SettingsError
from segpipe.manifests.partition import Partition
from segpipe.root import Root
from tests.fixtures.imports import imported, judged, rules, write

PARTITION = Partition("unet", "2026-01-05")
LABELS = ["Sky", "Road", "Car"]


def writer(root: Path) -> ManifestWriter:
    return ManifestWriter(root, model_run="unet", date="2026-01-05")


def scores(height: int = 4, width: int = 6) -> NDArray[np.float32]:
    """Sky above Road, with 0.7 and 0.6; no Car."""
    given = np.empty((3, height, width), np.float32)
    given[:, : height // 2] = np.array([0.7, 0.2, 0.1])[:, None, None]
    given[:, height // 2 :] = np.array([0.3, 0.6, 0.1])[:, None, None]
    return given


def logits() -> NDArray[np.float32]:
    return np.log(scores()) + 3


def segments_of(root: Path) -> list[list[dict[str, Any]]]:
    path = root / "manifests" / "model_run=unet" / "date=2026-01-05" / "predictions.parquet"
    rows = pq.read_table(path, partitioning=None)["segments"].to_pylist()
    return [[{**one, "metadata": json.loads(one["metadata"])} for one in row] for row in rows]


def refusal(root: Path, given: Any, labels: Any = LABELS, **how: Any) -> str:
    """The message of what is refused; the item after it is written nonetheless."""
    with writer(root) as manifest:
        with pytest.raises(ManifestError) as refused:
            manifest.add_scores("frame-1", given, labels, **how)
        manifest.add_scores("frame-2", scores(), LABELS)
    assert len(segments_of(root)) == 1
    return str(refused.value)


def test_scores_become_a_mask_and_segments_with_confidence_and_class_pdf(tmp_path: Path) -> None:
    with writer(tmp_path) as manifest:
        manifest.add_scores("a", scores(), LABELS, camera="left", annotation_id="x")
    (found,) = segments_of(tmp_path)
    assert [(one["label"], one["index"]) for one in found] == [("Sky", 0), ("Road", 1)]
    sky = found[0]["metadata"]
    assert sky["confidence"] == pytest.approx(0.7, abs=1e-7)
    assert sky["class_pdf"] == pytest.approx({"Sky": 0.7, "Road": 0.2, "Car": 0.1}, abs=1e-7)
    assert sky["confidence"] == sky["class_pdf"]["Sky"]
    root = Root.open(str(tmp_path))
    summary = root.materialize(PARTITION)
    assert (summary.accepted, dict(summary.findings)) == (1, {})
    batch = next(root.validated(PARTITION).batches(1))
    assert batch.rows["camera"].to_pylist() == ["left"]
    assert [one["area_px"] for one in batch.segments[0].as_py()] == [12, 12]


def test_what_numpy_can_make_an_array_of_is_taken(tmp_path: Path) -> None:
    class Tensor:
        def __array__(self, dtype: Any = None, copy: Any = None) -> NDArray[np.float32]:
            return scores()

    with writer(tmp_path) as manifest:
        manifest.add_scores("a", Tensor(), tuple(LABELS))
        manifest.add_scores("b", scores(), np.array(LABELS))  # type: ignore[arg-type]
    first, second = segments_of(tmp_path)
    assert first == second


def test_pixels_below_a_bound_are_an_ignored_segment(tmp_path: Path) -> None:
    with writer(tmp_path) as manifest:
        manifest.add_scores("a", scores(), LABELS, 0.65)
    (found,) = segments_of(tmp_path)
    assert [(one["label"], one["index"]) for one in found] == [("Sky", 0), ("void", 255)]
    assert found[1]["metadata"] == {"ignore": True}
    root = Root.open(str(tmp_path))
    summary = root.materialize(PARTITION)
    assert (summary.accepted, dict(summary.findings)) == (1, {})


def test_a_mean_that_tolerance_carried_above_1_is_1(tmp_path: Path) -> None:
    given = np.zeros((2, 2, 2), np.float32)
    given[0] = 1.0005
    with writer(tmp_path) as manifest:
        manifest.add_scores("a", given, ["Sky", "Road"])
    ((sky,),) = segments_of(tmp_path)
    assert sky["metadata"] == {"confidence": 1, "class_pdf": {"Sky": 1, "Road": 0}}


def changed(at: tuple[int, int, int], value: float) -> NDArray[np.float32]:
    given = scores()
    given[at] = value
    return given


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (logits(), ["logits", "apply softmax", "not 1"]),
        (logits() - 9, ["logits", "apply softmax", "row 0, column 0"]),
        (np.abs(logits()) + 2, ["logits", "apply softmax"]),
        (np.log(scores()), ["log-probabilities", "numpy.exp"]),
        (scores() * 100, ["percent", "divide by 100"]),
        (scores() * 255, ["divide by 255"]),
        (changed((1, 3, 4), np.nan), ["1 NaN", "row 3, column 4", "'Road'"]),
        (changed((2, 0, 5), np.inf), ["1 infinite", "row 0, column 5", "'Car'"]),
        (changed((2, 1, 2), 0.2), ["row 1, column 2", "sum up to 1.1, not 1"]),
        (changed((2, 1, 2), -0.0001) + 0, ["-0.0001", "row 1, column 2", "'Car'"]),
        (scores() * 0, ["sum up to 0, not 1"]),
        (scores().astype(np.longdouble), ["float16, float32 or float64"]),
        (np.zeros((4, 6), np.uint8), ["uint8", "is given to add"]),
        (scores()[0], ["(4, 6)", "numpy.stack([1 - p, p])"]),
        (scores()[None], ["(1, 3, 4, 6)", "scores[0]"]),
        (scores()[:, :0], ["(3, 0, 6)"]),
        (scores().transpose(1, 2, 0), ["(4, 6, 3)", "H x W x C", "numpy.moveaxis"]),
        (scores()[:2], ["2 classes", "3 labels"]),
        (scores().tolist(), ["list", "__array__"]),
        (np.ma.masked_less(scores(), 0.2), ["masked out"]),
    ],
)
def test_what_is_no_distribution_is_named_with_its_place_and_never_changed(
    tmp_path: Path, given: Any, words: list[str]
) -> None:
    message = refusal(tmp_path, given)
    assert "'frame-1'" in message
    for word in words:
        assert word in message


def test_the_worst_pixel_is_named_in_an_array_of_many_blocks(tmp_path: Path) -> None:
    given = scores(300, 801)
    given[2, 20, 700] = 0.2
    given[2, 299, 800] = 0.9
    message = refusal(tmp_path, given)
    assert "row 299, column 800 sum up to 1.8" in message


def test_classes_last_is_named_where_the_shape_does_not_say_so(tmp_path: Path) -> None:
    given = np.random.default_rng(0).dirichlet([1, 1, 1], (3, 5)).astype(np.float32)
    message = refusal(tmp_path, given)
    assert "H x W x C" in message
    with writer(tmp_path / "other") as manifest:  # what the message says to do
        manifest.add_scores("a", np.moveaxis(given, -1, 0), LABELS)


def test_softmax_as_the_message_says_makes_logits_into_scores(tmp_path: Path) -> None:
    given = logits()
    assert "softmax" in refusal(tmp_path, given)
    odds = np.exp(given)
    with writer(tmp_path / "other") as manifest:
        manifest.add_scores("a", odds / odds.sum(axis=0), LABELS)
    (found,) = segments_of(tmp_path / "other")
    assert found[0]["metadata"]["confidence"] == pytest.approx(0.7, abs=1e-6)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (["Sky", "Road"], ["3 classes", "2 labels"]),
        (["Sky", "Road", "Sky"], ["'Sky' twice", "0 and 2"]),
        (["Sky", "Road", 2], ["2 (int)"]),
        ("Sky", ["expected a list"]),
        ({"Sky": 0, "Road": 1, "Car": 2}, ["expected a list"]),
        (None, ["expected a list"]),
    ],
)
def test_labels_that_do_not_name_each_class_once_are_refused(
    tmp_path: Path, labels: Any, words: list[str]
) -> None:
    message = refusal(tmp_path, scores(), labels)
    for word in words:
        assert word in message


def test_more_classes_than_a_mask_has_values_are_refused(tmp_path: Path) -> None:
    names = [f"class {one}" for one in range(257)]
    given = np.full((257, 2, 2), 1 / 257, np.float32)
    assert "257 classes" in refusal(tmp_path, given, names)
    odd = "no value of the mask"
    assert odd in refusal(tmp_path / "2", given[:256] * 257 / 256, names[:256], void_below=0.5)
    with writer(tmp_path / "other") as manifest:
        manifest.add_scores("a", given[:256] * 257 / 256, names[:256])


@pytest.mark.parametrize("bound", [-0.1, 1.5, 90, float("nan"), "0.5", True])
def test_a_bound_that_is_no_probability_is_refused(tmp_path: Path, bound: Any) -> None:
    assert "void_below" in refusal(tmp_path, scores(), void_below=bound)


# --- segpipe import arrays --scores


def test_files_of_scores_are_imported_as_the_writer_writes_them(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    labels = write(tmp_path / "labels.csv", "index,label,isthing\n1,Road,0\n0,Sky,0\n2,Car,1\n")
    np.save(source / "a.npy", scores())
    np.save(source / "half.npy", scores().astype(np.float16))
    np.save(source / "fortran.npy", np.asfortranarray(scores()))
    np.savez_compressed(source / "two.npz", one=scores(), two=scores()[::-1])
    np.save(source / "logits.npy", logits())
    np.save(source / "last.npy", np.moveaxis(scores(), 0, -1))
    np.save(source / "ids.npy", np.zeros((4, 6), np.int64))
    done = imported("arrays", source, tmp_path / "root", "--labels", labels, "--scores")
    assert done.return_value == 1
    assert "5 imported, 3 refused" in done.output
    accepted, rejected = judged(tmp_path / "root")
    expected = {"0 Sky": 12, "1 Road": 12}
    assert accepted.pop("two/two") == {"1 Road": 12, "2 Car": 12}
    assert accepted == dict.fromkeys(("a", "half", "fortran", "two/one"), expected)
    assert rules(rejected) == {id: ["IMPORT-UNREADABLE"] for id in ("ids", "last", "logits")}
    assert "apply softmax" in rejected["logits"][0][1]
    assert "numpy.moveaxis" in rejected["last"][0][1]
    batch = next(Root.open(str(tmp_path / "root")).validated(PARTITION).batches(1))
    sky = json.loads(batch.segments[0].as_py()[0]["metadata"])
    assert sky["isthing"] is False
    with writer(tmp_path / "other") as manifest:
        manifest.add_scores("a", scores(), LABELS)
    written = segments_of(tmp_path / "other")[0][0]["metadata"]
    assert {**written, "isthing": False} == sky


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "--scores needs --labels"),
        (["--objects", "cell"], "--objects is for whole numbers"),
        (["--labels", "L", "--ignore", "255=void"], "--ignore is for whole numbers"),
        (["--labels", "L", "--value", "1=2"], "--value is for whole numbers"),
        (["--labels", "L", "--over-256", "semantic"], "--over-256 is for whole numbers"),
        (["--labels", "GAP"], "has 3 and not 2"),
    ],
)
def test_options_that_mean_nothing_for_scores_are_refused(
    tmp_path: Path, options: list[str], words: str
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    np.save(source / "a.npy", scores())
    files = {
        "L": write(tmp_path / "l.csv", "index,label\n0,Sky\n1,Road\n2,Car\n"),
        "GAP": write(tmp_path / "gap.csv", "index,label\n0,Sky\n1,Road\n3,Car\n"),
    }
    given = [files.get(option, option) for option in options]
    with pytest.raises(SettingsError, match=words):
        imported("arrays", source, tmp_path / "root", "--scores", *given)
    assert not list(tmp_path.rglob("*.parquet"))


def test_float_arrays_without_the_option_are_told_of_it(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    labels = write(tmp_path / "labels.csv", "index,label\n0,Sky\n1,Road\n2,Car\n")
    np.save(source / "a.npy", scores())
    imported("arrays", source, tmp_path / "root", "--labels", labels)
    _, rejected = judged(tmp_path / "root")
    assert "--scores" in rejected["a"][0][1]
    again = imported("arrays", source, tmp_path / "root", "--labels", labels, "--scores")
    assert again.return_value == 0
