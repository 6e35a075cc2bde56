"""Several deliveries to one partition: none replaces another unseen, and none is lost."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import segpipe
from segpipe import ManifestWriter, Segment
from segpipe.errors import ManifestError, SettingsError, StorageError
from segpipe.manifests.partition import Partition
from segpipe.root import Root
from segpipe.storage.files import Folder
from tests.fixtures.command_line import invoked
from tests.fixtures.places import PROJECT
from tests.fixtures.s3_server import Bucket

PARTITION = Partition("unet", "2026-01-05")
TWO = np.array([[0, 1], [1, 1]], np.uint8)
SEGMENTS = [Segment("Road", 0), Segment("Person", 1)]


def writer(root: Path | str, **how: Any) -> ManifestWriter:
    return ManifestWriter(root, PARTITION.model_run, PARTITION.date, **how)


def deliver(root: Path | str, *ids: str, **how: Any) -> None:
    with writer(root, **how) as manifest:
        for id in ids:
            manifest.add(id, TWO, SEGMENTS)


def delivered(root: Path) -> dict[str, list[str]]:
    """File name -> reference ids, of the manifests that a run reads."""
    found = root.glob("manifests/*/*/[!._]*.parquet")
    return {
        path.name: pq.read_table(path, partitioning=None)["reference_id"].to_pylist()
        for path in found
    }


def accepted(root: Path) -> list[str]:
    opened = Root.open(str(root))
    opened.materialize(PARTITION)
    return sorted(
        id
        for batch in opened.validated(PARTITION).batches(100)
        for id in batch.rows["reference_id"].to_pylist()
    )


# --- ManifestWriter


def test_a_second_delivery_of_one_name_is_refused_before_anything_is_added(tmp_path: Path) -> None:
    deliver(tmp_path, "a")
    with pytest.raises(ManifestError, match=r"is there already \(1 rows.*name=.*replace=True"):
        writer(tmp_path)
    assert delivered(tmp_path) == {"predictions.parquet": ["a"]}


def test_both_ways_out_do_what_they_say(tmp_path: Path) -> None:
    deliver(tmp_path, "a")
    deliver(tmp_path, "b", name="late")
    assert accepted(tmp_path) == ["a", "b"]
    deliver(tmp_path, "c", replace=True)
    assert accepted(tmp_path) == ["b", "c"]


def test_the_same_source_replaces_its_own_and_no_other(tmp_path: Path) -> None:
    deliver(tmp_path, "a", source="camera 1")
    deliver(tmp_path, "b", source="camera 1")
    assert delivered(tmp_path) == {"predictions.parquet": ["b"]}
    with pytest.raises(ManifestError, match="is there already"):
        writer(tmp_path, source="camera 2")


def test_of_two_writers_of_one_name_one_wins_and_the_other_keeps_its_rows(tmp_path: Path) -> None:
    first, second = writer(tmp_path), writer(tmp_path)
    with first:
        first.add("a", TWO, SEGMENTS)
    with pytest.raises(ManifestError, match="by another writer meanwhile") as refused, second:
        second.add("b", TWO, SEGMENTS)
    assert delivered(tmp_path) == {"predictions.parquet": ["a"]}
    aside, name = re.findall(r"rows of this one are in (\S+), .* rename it to (\S+)",
                             str(refused.value))[0]  # fmt: skip
    Path(aside).rename(Path(aside).with_name(name))  # as it says
    assert accepted(tmp_path) == ["a", "b"]


def test_of_many_writers_at_once_exactly_one_wins_and_no_row_is_lost(tmp_path: Path) -> None:
    writers = [writer(tmp_path) for _ in range(8)]
    start, refused = threading.Barrier(len(writers)), []

    def deliver_one(number: int, manifest: ManifestWriter) -> None:
        try:
            with manifest:
                manifest.add(f"item-{number}", TWO, SEGMENTS)
                start.wait()
        except ManifestError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=deliver_one, args=one) for one in enumerate(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == len(writers) - 1
    assert [len(ids) for ids in delivered(tmp_path).values()] == [1]
    kept = [
        id
        for path in tmp_path.rglob("*.parquet")
        for id in pq.read_table(path, partitioning=None)["reference_id"].to_pylist()
    ]
    assert sorted(kept) == [f"item-{number}" for number in range(len(writers))]
    assert not list(tmp_path.rglob("*.tmp"))


def test_in_a_bucket_too_one_of_two_wins_and_the_other_keeps_its_rows(s3: Bucket) -> None:
    root = f"s3://{s3.name}/root"
    first, second = writer(root), writer(root)
    with first:
        first.add("a", TWO, SEGMENTS)
    with pytest.raises(ManifestError, match="by another writer meanwhile"), second:
        second.add("b", TWO, SEGMENTS)
    with pytest.raises(ManifestError, match=r"is there already \(1 rows"):
        writer(root)
    deliver(root, "c", name="late")
    assert Root.open(root).materialize(PARTITION).accepted == 2
    folder = Folder(f"{root}/manifests")
    aside = [one.path for one in folder.files() if "/_predictions-" in one.path]
    assert len(aside) == 1
    deliver(root, "d", replace=True)
    assert Root.open(root).materialize(PARTITION).accepted == 2


@pytest.mark.parametrize("name", ["", " ", "../up", "a/b", "a\\b", ".hidden", "_aside", "a\nb",
                                  "x" * 300, None])  # fmt: skip
def test_a_name_that_no_run_would_read_is_refused(tmp_path: Path, name: Any) -> None:
    with pytest.raises(SettingsError, match="manifest name"):
        writer(tmp_path, name=name)


def test_a_store_that_fails_at_the_end_costs_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "root"
    with pytest.raises(StorageError, match=r"The 1 rows are kept in") as failure:  # noqa: SIM117
        with writer(root) as manifest:
            manifest.add("a", TWO, SEGMENTS)
            shutil.move(root / "manifests", tmp_path / "gone")
            (root / "manifests").write_text("a file where the folder was")
    path, target = re.findall(r"kept in (\S+): copy that file to (\S+),", str(failure.value))[0]
    (root / "manifests").unlink()
    shutil.move(tmp_path / "gone", root / "manifests")
    shutil.copy(path, target)  # as it says
    assert accepted(root) == ["a"]
    shutil.rmtree(Path(path).parent)


# --- imports


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "labels.csv"
    path.write_text("index,label\n0,Road\n1,Person\n")
    return path


def masks(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.fromarray(TWO).save(folder / f"{name}.png")
    return folder


def imported(source: Path, root: Path, labels: Path, *options: str) -> str:
    where = ("--root", root, "--model-run", PARTITION.model_run, "--date", PARTITION.date)
    done = invoked("import", "mask-folder", source, "--labels", labels, *where, *options)
    assert done.return_value == 0
    return str(done.output)


def test_imports_of_two_folders_stand_beside_each_other(tmp_path: Path, labels: Path) -> None:
    root = tmp_path / "root"
    imported(masks(tmp_path / "train", "t1", "t2"), root, labels)
    imported(masks(tmp_path / "val", "v1"), root, labels)
    names = sorted(delivered(root))
    assert re.fullmatch(r"mask-folder-train-[0-9a-f]{8}\.parquet", names[0])
    assert re.fullmatch(r"mask-folder-val-[0-9a-f]{8}\.parquet", names[1])
    assert accepted(root) == ["t1", "t2", "v1"]


def test_folders_of_one_name_in_two_places_stand_beside_each_other(
    tmp_path: Path, labels: Path
) -> None:
    root = tmp_path / "root"
    for camera in "ab":
        imported(masks(tmp_path / camera / "masks", camera), root, labels)
    assert accepted(root) == ["a", "b"]


def test_the_same_folder_again_replaces_its_own_and_says_so(
    tmp_path: Path, labels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, source = tmp_path / "root", masks(tmp_path / "train", "a", "b")
    imported(source, root, labels)
    (source / "b.png").unlink()
    masks(source, "c")
    monkeypatch.chdir(tmp_path)
    said = imported(Path("train"), root, labels)  # the same folder, spelled otherwise
    assert "in place of the 2 rows that mask-folder-train-" in said
    assert accepted(root) == ["a", "c"]
    assert len(delivered(root)) == 1


def test_two_panoptic_files_of_one_folder_are_two_sources(tmp_path: Path) -> None:
    source = masks(tmp_path / "pngs", "a", "b")
    for name in "ab":
        content = {
            "images": [{"id": 1, "file_name": f"{name}.jpg", "height": 2, "width": 2}],
            "categories": [{"id": 1, "name": "Road", "isthing": 0}],
            "annotations": [{"image_id": 1, "file_name": f"{name}.png", "segments_info": []}],
        }
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
        segpipe.import_masks(
            "coco-panoptic", source, root=tmp_path / "root", model_run="unet",
            date=PARTITION.date, annotations=tmp_path / f"{name}.json",
        )  # fmt: skip
    assert len(delivered(tmp_path / "root")) == 2


def test_a_name_that_another_source_has_is_refused_with_two_ways_out(
    tmp_path: Path, labels: Path
) -> None:
    root = tmp_path / "root"
    imported(masks(tmp_path / "train", "t"), root, labels, "--name", "all")
    val = masks(tmp_path / "val", "v")
    with pytest.raises(ManifestError, match=r"all\.parquet is there already.*--name.*--replace"):
        imported(val, root, labels, "--name", "all")
    imported(val, root, labels, "--name", "val")
    assert accepted(root) == ["t", "v"]
    masks(tmp_path / "train", "t2")
    imported(tmp_path / "train", root, labels)  # remembers the name it was given
    assert sorted(delivered(root)) == ["all.parquet", "val.parquet"]
    assert accepted(root) == ["t", "t2", "v"]
    imported(val, root, labels, "--name", "all", "--replace")
    assert accepted(root) == ["v"]


def test_an_import_of_unknown_source_is_not_doubled(tmp_path: Path, labels: Path) -> None:
    root, source = tmp_path / "root", masks(tmp_path / "train", "a")
    deliver(root, "a", importing=True)  # as imports were written before they recorded their source
    with pytest.raises(ManifestError, match=r"--name predictions --replace.*another name"):
        imported(source, root, labels)
    imported(source, root, labels, "--name", "predictions", "--replace")
    assert list(delivered(root)) == ["predictions.parquet"]
    imported(source, root, labels)
    assert list(delivered(root)) == ["predictions.parquet"]


def test_an_import_beside_a_script_leaves_its_manifest(tmp_path: Path, labels: Path) -> None:
    root = tmp_path / "root"
    deliver(root, "from-a-script")
    imported(masks(tmp_path / "train", "t"), root, labels)
    assert accepted(root) == ["from-a-script", "t"]


_KILLED = """
import os, signal, sys
import segpipe
segpipe.import_masks(
    "mask-folder", sys.argv[1], root=sys.argv[2], model_run="unet", date="2026-01-05",
    labels=sys.argv[3], progress=lambda done, of: done == 2 and os.kill(os.getpid(), signal.SIGKILL)
)
"""


def test_an_import_killed_in_the_middle_leaves_what_was_there_and_completes_again(
    tmp_path: Path, labels: Path
) -> None:
    root, source = tmp_path / "root", masks(tmp_path / "train", "a")
    imported(source, root, labels)
    imported(masks(tmp_path / "val", "v"), root, labels)
    before = delivered(root)
    masks(source, "b", "c")
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, str(source), str(root), str(labels)],
        env={**os.environ, "PYTHONPATH": str(PROJECT), "TMPDIR": str(tmp_path)},
        check=False,
        timeout=120,
    )
    assert done.returncode == -signal.SIGKILL
    assert delivered(root) == before
    imported(source, root, labels)
    assert accepted(root) == ["a", "b", "c", "v"]


def test_a_record_that_no_manifest_can_hold_costs_no_other(tmp_path: Path, labels: Path) -> None:
    source = masks(tmp_path / "frames", "0001", os.fsdecode(b"bad-\xff"))
    where = ("--root", tmp_path / "root", "--model-run", "unet", "--date", PARTITION.date)
    done = invoked("import", "mask-folder", source, "--labels", labels, *where)
    assert done.return_value == 1
    assert "1 imported, 1 refused" in done.output
    assert "not valid Unicode text" in done.output
    assert accepted(tmp_path / "root") == ["0001"]
    (row,) = Root.open(tmp_path / "root").validated(PARTITION).rejected(10).to_pylist()
    assert row["reference_id"] == "bad-\\udcff"


def test_a_frame_number_beyond_64_bits_costs_no_item(tmp_path: Path, labels: Path) -> None:
    imported(masks(tmp_path / "swan" / "1", "9" * 30).parent, tmp_path / "root", labels)
    assert accepted(tmp_path / "root") == [f"1/{'9' * 30}"]


def test_late_deliveries_are_inserted_and_the_others_unchanged(
    tmp_path: Path, labels: Path
) -> None:
    root = tmp_path / "root"
    opened = Root.open(str(root))
    imported(masks(tmp_path / "train", "t"), root, labels)
    opened.materialize(PARTITION)
    opened.publish(PARTITION)
    deliver(root, "late", name="late")
    opened.materialize(PARTITION)
    outcomes = opened.publish(PARTITION).outcomes
    assert (outcomes["inserted"], outcomes["unchanged"]) == (1, 1)
