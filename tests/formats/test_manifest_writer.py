"""Manifests written by a model's inference, one prediction after another."""

from __future__ import annotations

import hashlib
import multiprocessing
import multiprocessing.context
import os
import pickle
import signal
import time
import tracemalloc
import warnings
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from segpipe import ManifestWriter, Segment
from segpipe.errors import ManifestError, SettingsError
from segpipe.formats.row_check import AddedItems
from segpipe.manifests.partition import Partition
from segpipe.manifests.rows import ImportFinding
from segpipe.masks.encoding import canonical_png
from segpipe.root import Root

PARTITION = Partition("unet", "2026-01-05")
TWO = np.array([[0, 1], [1, 1]], np.uint8)
SEGMENTS = [Segment("Road", 0), Segment("Person", 1, {"confidence": 0.9})]


def writer(root: Path, **how: Any) -> ManifestWriter:
    return ManifestWriter(root, model_run="unet", date="2026-01-05", **how)


def rows(root: Path, name: str = "predictions") -> list[dict[str, Any]]:
    path = root / "manifests" / "model_run=unet" / "date=2026-01-05" / f"{name}.parquet"
    written: list[dict[str, Any]] = pq.read_table(path, partitioning=None).to_pylist()
    return written


def files(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


def test_what_is_written_is_accepted_as_it_was_given(tmp_path: Path) -> None:
    with writer(tmp_path) as manifest:
        manifest.add("a", TWO, SEGMENTS, annotation_id="x", camera="left")
        manifest.add("b", TWO, [{"label": "Road", "index": 0}, {"label": "Car", "index": 1}])
    assert manifest.rows == 2
    root = Root.open(str(tmp_path))
    summary = root.materialize(PARTITION)
    assert (summary.accepted, summary.rejected) == (2, 0)
    batch = next(root.validated(PARTITION).batches(10))
    assert batch.rows["camera"].to_pylist() == ["left", None]
    assert batch.rows["annotation_id"].to_pylist() == ["x", None]
    assert batch.rows["height"].to_pylist() == [2, 2]
    assert batch.segments[0].as_py()[1]["confidence"] == 0.9


def test_writing_the_same_again_changes_no_byte_and_adds_no_file(tmp_path: Path) -> None:
    for _ in range(2):
        with writer(tmp_path, replace=True) as manifest:
            for number in range(5):
                manifest.add(f"item-{number}", TWO + number, SEGMENTS, frame=number, check=False)
        written = files(tmp_path)
    assert files(tmp_path) == written
    assert len([name for name in written if name.endswith(".png")]) == 5


def test_a_manifest_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="the model failed"), writer(tmp_path) as manifest:
        for number in range(4100):
            manifest.add(f"item-{number}", TWO, SEGMENTS)
        assert not list(tmp_path.rglob("predictions.parquet"))
        raise RuntimeError("the model failed")
    assert not list(tmp_path.rglob("*.parquet"))
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_failing_rerun_leaves_the_manifest_of_before(tmp_path: Path) -> None:
    with writer(tmp_path) as manifest:
        manifest.add("a", TWO, SEGMENTS)
    with pytest.raises(ManifestError, match="'c'"), writer(tmp_path, replace=True) as manifest:
        manifest.add("b", TWO, SEGMENTS)
        manifest.add("c", TWO * 1.5, SEGMENTS)
    assert [row["reference_id"] for row in rows(tmp_path)] == ["a"]


def test_two_writers_of_one_partition_have_names_of_their_own(tmp_path: Path) -> None:
    for name in ("gpu-0", "gpu-1"):
        with writer(tmp_path, name=name) as manifest:
            manifest.add(name, TWO, SEGMENTS)
    assert Root.open(str(tmp_path)).materialize(PARTITION).accepted == 2


def test_an_image_decides_the_size_where_it_is_given(tmp_path: Path) -> None:
    with writer(tmp_path) as manifest:
        manifest.add("a", TWO, SEGMENTS, image_url="images/a.png")
        manifest.add("b", TWO, SEGMENTS, height=4, width=4, check=False)
    assert [(row["height"], row["width"]) for row in rows(tmp_path)] == [(None, None), (4, 4)]
    assert Root.open(str(tmp_path)).materialize(PARTITION).findings["SIZE-MISMATCH"] == 1


def test_a_row_that_a_run_would_reject_is_refused_at_the_line_that_makes_it(tmp_path: Path) -> None:
    Image.new("RGB", (3, 2)).save(tmp_path / "wide.png")
    bad: list[tuple[Any, list[Any], dict[str, Any], str]] = [
        (TWO, [Segment("Road", 0), Segment("Person", 300)], {}, "INDEX-RANGE.*300"),
        (TWO, [Segment("Road", 0)], {}, "1.*no.*[Ss]egment"),
        (TWO, [*SEGMENTS, Segment("Car", 1)], {}, "INDEX-DUPLICATE"),
        (TWO, SEGMENTS, {"height": 4, "width": 4}, "SIZE-MISMATCH"),
        (TWO, SEGMENTS, {"image_url": str(tmp_path / "wide.png")}, "SIZE-MISMATCH.*3 x 2"),
        (b"no PNG", SEGMENTS, {}, "would be rejected"),
    ]
    with writer(tmp_path) as manifest:
        manifest.add("good", TWO, SEGMENTS)
        for mask, segments, other, words in bad:
            with pytest.raises(ManifestError, match=f"'bad'.*{words}"):
                manifest.add("bad", mask, segments, **other)
        with pytest.raises(ManifestError, match="'good' was added before"):
            manifest.add("good", TWO, SEGMENTS)
        manifest.add("bad", TWO, [Segment("Road", 0)], check=False)  # as the message says
    summary = Root.open(str(tmp_path)).materialize(PARTITION)
    assert (summary.accepted, summary.rejected) == (1, 1)


def test_the_first_hundred_rows_are_checked_and_later_ones_where_asked(tmp_path: Path) -> None:
    with writer(tmp_path) as manifest:
        for number in range(100):
            manifest.add(f"item-{number}", TWO, SEGMENTS)
        manifest.add("unchecked", TWO, [Segment("Road", 0)])
        with pytest.raises(ManifestError, match="would be rejected"):
            manifest.add("checked", TWO, [Segment("Road", 0)], check=True)
        with pytest.raises(ManifestError, match="added before"):
            manifest.add("item-7", TWO, SEGMENTS)
    summary = Root.open(str(tmp_path)).materialize(PARTITION)
    assert (summary.accepted, summary.rejected) == (100, 1)


def test_the_policy_of_the_root_decides_what_is_refused(tmp_path: Path) -> None:
    (tmp_path / "segpipe.toml").write_text('[policy]\nignore_values = {1 = "void"}\n')
    with writer(tmp_path) as manifest:
        manifest.add("a", TWO, [Segment("Road", 0)])
    assert Root.open(str(tmp_path)).materialize(PARTITION).accepted == 1


def test_many_items_are_remembered_in_few_bytes() -> None:
    items = AddedItems()
    for number in range(20_000):
        items.refuse_repeated(f"item-{number}")
        items.add(f"item-{number}")
    for again in ("item-0", "item-4096", "item-19999"):
        with pytest.raises(ManifestError, match=again):
            items.refuse_repeated(again)


def test_beside_an_image_the_arrays_size_is_written_once_it_was_compared(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere" / "a.png"
    for path in (root / "a.png", elsewhere):
        path.parent.mkdir()
        Image.new("RGB", (2, 2)).save(path)
    with writer(root) as manifest:
        manifest.add("inside", TWO, SEGMENTS, image_url=str(root / "a.png"))
        with pytest.warns(UserWarning, match=r"elsewhere.*allowed_roots in segpipe\.toml"):
            manifest.add("outside", TWO, SEGMENTS, image_url=elsewhere)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # said once
            manifest.add("outside too", TWO, SEGMENTS, image_url=elsewhere)
    assert [(row["height"], row["width"]) for row in rows(root)] == [(2, 2)] * 3
    summary = Root.open(str(root)).materialize(PARTITION)
    assert (summary.accepted, summary.findings["SIZE-UNVERIFIED"]) == (3, 2)
    (root / "segpipe.toml").write_text(f'allowed_roots = ["{elsewhere.parent}"]\n')
    with writer(root, replace=True) as manifest, warnings.catch_warnings():
        warnings.simplefilter("error")
        manifest.add("outside", TWO, SEGMENTS, image_url=elsewhere)


def test_a_confidence_by_another_name_is_told_once(tmp_path: Path) -> None:
    named = [Segment("Road", 0, {"score": 0.5}), Segment("Person", 1)]
    with writer(tmp_path) as manifest:
        with pytest.warns(UserWarning, match="'score'.*'confidence'"):
            manifest.add("a", TWO, named)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            manifest.add("b", TWO, named)


def test_a_writer_of_another_process_is_refused_and_one_of_its_own_is_not(tmp_path: Path) -> None:
    with writer(tmp_path) as manifest:
        manifest.add("a", TWO, SEGMENTS)
        with pytest.raises(ManifestError, match="Open one in each"):
            pickle.dumps(manifest)
        workers = [
            _forked(lambda: manifest.add("lost", TWO, SEGMENTS)),
            *(_forked(_shard(tmp_path, number)) for number in range(2)),
        ]
        assert [_ended(worker) for worker in workers] == ["ManifestError", "done", "done"]
    assert Root.open(str(tmp_path)).materialize(PARTITION).accepted == 5


def _shard(root: Path, number: int) -> Callable[[], None]:
    def write() -> None:
        with writer(root, name=f"worker-{number}") as manifest:
            for item in range(2):
                manifest.add(f"{number}-{item}", TWO, SEGMENTS)

    return write


def test_of_a_writer_that_is_killed_what_it_wrote_is_whole(tmp_path: Path) -> None:
    def write() -> None:
        with writer(tmp_path) as manifest:
            for number in count():
                manifest.add(f"item-{number}", np.full((64, 64), number % 256), [], check=False)

    worker = _forked(write)
    masks = tmp_path / "manifests" / "model_run=unet" / "date=2026-01-05" / "masks"
    while len(list(masks.rglob("*.png"))) < 40:
        time.sleep(0.01)
    os.kill(worker.pid or 0, signal.SIGKILL)
    worker.join()
    assert not list(tmp_path.rglob("*.parquet"))
    for path in masks.rglob("*.png"):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.stem
    with writer(tmp_path) as manifest:
        manifest.add("a", TWO, SEGMENTS)
    assert Root.open(str(tmp_path)).materialize(PARTITION).accepted == 1


def _forked(work: Callable[[], None]) -> multiprocessing.context.ForkProcess:
    def run() -> None:
        try:
            work()
        except ManifestError:
            os._exit(3)
        os._exit(0)

    worker = multiprocessing.get_context("fork").Process(target=run)
    worker.start()
    return worker


def _ended(worker: multiprocessing.context.ForkProcess) -> str:
    worker.join()
    return {0: "done", 3: "ManifestError"}.get(worker.exitcode or 0, f"exit {worker.exitcode}")


def test_png_bytes_and_files_are_stored_as_they_are(tmp_path: Path) -> None:
    with writer(tmp_path / "one") as manifest:
        manifest.add("a", TWO, SEGMENTS)
    (png,) = (tmp_path / "one").rglob("*.png")
    with writer(tmp_path / "two") as manifest:
        manifest.add("a", png.read_bytes(), SEGMENTS)
        manifest.add("b", png, SEGMENTS)
    (copy,) = (tmp_path / "two").rglob("*.png")
    assert copy.read_bytes() == png.read_bytes()


@pytest.mark.parametrize("dtype", [np.int64, np.uint16, np.int8, bool])
def test_whole_numbers_of_any_width_are_taken_as_they_are(tmp_path: Path, dtype: Any) -> None:
    with writer(tmp_path) as manifest:
        manifest.add("a", TWO.astype(dtype), SEGMENTS)
    assert Root.open(str(tmp_path)).materialize(PARTITION).accepted == 1


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (np.zeros((2, 2), np.float32), "holds float32.*argmax"),
        (np.array([[0, 256]]), "value 256, expected 0 to 255"),
        (np.array([[-1, 0]]), "value -1"),
        (np.zeros((3, 2, 2), np.uint8), r"shape \(3, 2, 2\).*argmax"),
        (np.zeros((3, 2, 2), bool), "add_instances"),
        (np.zeros((3, 2, 2), np.float32), "add_scores"),
        (np.zeros((0, 4), np.uint8), "expected H x W"),
        (np.zeros(4, np.uint8), "expected H x W"),
        (np.array([["a"]]), "whole numbers"),
    ],
)
def test_an_array_that_is_no_index_mask_is_refused_and_says_whose(
    tmp_path: Path, mask: np.ndarray, words: str
) -> None:
    with pytest.raises(ManifestError, match=f"'item'.*{words}"), writer(tmp_path) as manifest:
        manifest.add("item", mask, SEGMENTS)


@pytest.mark.parametrize(
    ("segments", "words"),
    [
        ([{"label": "Road"}], "no 'index'"),
        ([{"label": "Road", "idx": 0}], "no 'index'; is it 'idx'"),
        ([{"label": "Road", "index": 0, "confidnce": 1}], "'confidnce'.*did you mean 'confidence'"),
        ([{"label": "Road", "index": 0, "score": 1}], "'score'.*did you mean 'confidence'"),
        ([{"index": 1}], "no 'label'"),
        ([Segment("Road", 0, {"confidence": float("nan")})], "metadata.confidence is nan"),
        ([{"label": "Road", "index": 0, "metadata": 5}], "cannot be written"),
    ],
)
def test_segments_that_cannot_be_written_say_whose_they_are(
    tmp_path: Path, segments: Any, words: str
) -> None:
    with pytest.raises(ManifestError, match=f"'item'.*{words}"), writer(tmp_path) as manifest:
        manifest.add("item", TWO, segments)


def test_a_column_keeps_its_type(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"several types|score"), writer(tmp_path) as manifest:
        manifest.add("a", TWO, SEGMENTS, score=0.5)
        manifest.add("b", TWO, SEGMENTS, score="high")


def test_a_column_may_come_late(tmp_path: Path) -> None:
    with writer(tmp_path) as manifest:
        for number in range(2000):
            manifest.add(f"item-{number}", TWO, SEGMENTS)
        manifest.add("z", TWO, SEGMENTS, late=1)
    assert [row["late"] for row in rows(tmp_path)] == [None] * 2000 + [1]


def test_a_missing_mask_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"'a'.*nowhere\.png"), writer(tmp_path) as manifest:
        manifest.add("a", tmp_path / "nowhere.png", SEGMENTS)


@pytest.mark.parametrize("how", [{"model_run": " "}, {"date": "5 January"}, {"model_run": "a|b"}])
def test_names_that_cannot_be_a_partition_are_refused_at_once(
    tmp_path: Path, how: dict[str, str]
) -> None:
    with pytest.raises(SettingsError):
        ManifestWriter(tmp_path, **{"model_run": "unet", "date": "2026-01-05", **how})


def test_a_refused_row_is_rejected_with_what_the_importer_found(tmp_path: Path) -> None:
    finding = ImportFinding("AREA-MISMATCH", "x.png: areas differ", "12", "13")
    note = ImportFinding("OVERLAP-HIDDEN", "1 of 2 hidden")
    foreign = ImportFinding("NO-SUCH-RULE", "something else")
    with writer(tmp_path, importing=True) as manifest:
        manifest.add("good", TWO, SEGMENTS, findings=[note])
        manifest.refuse("bad", [finding])
        manifest.refuse("odd", [foreign])
    root = Root.open(str(tmp_path))
    summary = root.materialize(PARTITION)
    assert (summary.accepted, summary.rejected) == (1, 2)
    batch = next(root.validated(PARTITION).batches(10))
    assert [f["rule"] for f in batch.rows["findings"][0].as_py()] == ["OVERLAP-HIDDEN"]
    rejected = root.validated(PARTITION).rejected(10).to_pylist()
    told = [(r["reference_id"], r["rule"], r["message"], r["found"]) for r in rejected]
    assert told == [
        ("bad", "AREA-MISMATCH", "x.png: areas differ", "12"),
        ("odd", "IMPORT-UNREADABLE", "something else", ""),
    ]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    def peak(count: int, place: Path) -> int:
        tracemalloc.start()
        with writer(place) as manifest:
            for number in range(count):
                manifest.add(f"item-{number}", TWO, SEGMENTS)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(10, tmp_path / "warm")
    assert peak(9000, tmp_path / "many") < 1.5 * peak(4500, tmp_path / "few")


def test_an_inline_manifest_holds_its_masks_and_is_the_same_predictions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("segpipe.manifests.writer._MASK_BYTES_PER_GROUP", 150)
    fingerprints = []
    for name, inline in (("files", False), ("inline", True)):
        with writer(tmp_path / name, inline=inline) as manifest:
            for number in range(5):
                manifest.add(f"item-{number}", np.roll(TWO, number), SEGMENTS)
            manifest.add("png", canonical_png(TWO), SEGMENTS, camera="left")
        root = Root.open(str(tmp_path / name))
        assert root.materialize(PARTITION).accepted == 6
        assert root.publish(PARTITION).outcomes["inserted"] == 6
        batch = next(root.validated(PARTITION).batches(10)).rows
        fingerprints.append(batch["fingerprint"].to_pylist())
    assert fingerprints[0] == fingerprints[1]
    assert batch["mask_url"].null_count == 6
    (only,) = (path for path in (tmp_path / "inline" / "manifests").rglob("*") if path.is_file())
    written = pq.ParquetFile(only)
    # Rows wait until their masks are so many bytes, and are neither compressed nor listed.
    assert written.metadata.num_row_groups == 2
    columns = [written.metadata.row_group(0).column(n) for n in range(written.metadata.num_columns)]
    (mask,) = (one for one in columns if one.path_in_schema == "mask")
    assert (mask.compression, mask.has_dictionary_page, mask.statistics) == (
        "UNCOMPRESSED", False, None,
    )  # fmt: skip


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_root_that_cannot_be_written_to_is_one_sentence(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(Exception, match="no permission"), writer(tmp_path) as manifest:
        manifest.add("a", TWO, SEGMENTS)


def test_a_manifest_without_a_prediction_is_refused_in_words(tmp_path: Path) -> None:
    with (
        pytest.raises(
            ManifestError, match=r"no manifest of model_run=m date=2026-01-05 was written"
        ),
        ManifestWriter(tmp_path, model_run="m", date="2026-01-05"),
    ):
        pass
    assert not list(tmp_path.rglob("*.parquet"))
