"""Landing folders as other writers lay them out: read, or named with what was expected."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from segpipe.errors import ManifestError
from segpipe.manifests.landing import Landing
from segpipe.manifests.layout import Unread
from segpipe.manifests.partition import Partition
from segpipe.root import Root
from segpipe.storage.files import Folder
from tests.fixtures.landing import PARTITION, LandingWriter
from tests.fixtures.s3_buckets import upload
from tests.fixtures.s3_server import Bucket

RUN, DAY = "model_run=unet", "date=2026-01-05"
UNET = Partition("unet", "2026-01-05")
SHAPE = "model_run=<M>/date=<YYYY-MM-DD>"


def put(path: Path, *reference_ids: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    ids = reference_ids or ("a",)
    pq.write_table(pa.table(dict.fromkeys(("reference_id", "mask_url", "segments"), ids)), path)


def landing(place: Path) -> Landing:
    return Landing(Folder(str(place)))


def unread(place: Path) -> list[tuple[str, str]]:
    """What is not read, as the sensor and ``segpipe run`` see it."""
    found: list[Unread] = []
    for _, folders in landing(place).landed(unread=found.append):
        found += landing(place).delivered(folders).unread
    return [(one.shown, one.expected) for one in sorted(found)]


@pytest.mark.parametrize(
    "folder",
    [
        "date=20260105",
        "date=2026-1-5",
        "date=2026-01-05 00%3A00%3A00",
        "date=2026-01-05T00:00:00",
        "date=2026-01-05T00%3A00%3A00.000000000",
        "date=2026-01-05 00:00:00+00:00",
        "date=2026%2D01%2D05",
    ],
)
def test_the_usual_spellings_of_a_day_are_read_as_that_day(tmp_path: Path, folder: str) -> None:
    put(tmp_path / RUN / folder / "p.parquet")
    assert list(landing(tmp_path).partitions()) == [UNET]
    assert landing(tmp_path).manifest(UNET).rows == 1
    assert landing(tmp_path).days("unet") == ["2026-01-05"]
    assert unread(tmp_path) == []


@pytest.mark.parametrize("name", ["p.parquet", "p.pq", "P.PARQUET", "p.parq", "p.snappy.parquet"])
def test_the_usual_endings_of_parquet_files_are_read(tmp_path: Path, name: str) -> None:
    put(tmp_path / RUN / DAY / name)
    assert landing(tmp_path).manifest(UNET).rows == 1
    assert unread(tmp_path) == []


def test_two_folders_that_mean_the_same_day_are_one_partition(tmp_path: Path) -> None:
    put(tmp_path / RUN / DAY / "p.parquet", "a")
    put(tmp_path / RUN / "date=20260105" / "p.parquet", "b", "c")
    assert list(landing(tmp_path).partitions()) == [UNET]
    assert landing(tmp_path).manifest(UNET).rows == 3


@pytest.mark.parametrize("name", ["predictions.parquet", "predictions.pq"])
def test_a_folder_of_part_files_is_one_manifest(tmp_path: Path, name: str) -> None:
    parts = tmp_path / RUN / DAY / name
    put(parts / "part-00000-aa.snappy.parquet", "a")
    put(parts / "part.1.parquet", "b", "c")
    for other in ("_SUCCESS", "_metadata", "_common_metadata", ".part-00000.parquet.crc", "x.crc"):
        (parts / other).write_bytes(b"")
    put(parts / "_delta_log" / "x.parquet")
    manifest = landing(tmp_path).manifest(UNET)
    assert [file.shown for file in manifest.files] == [
        f"{RUN}/{DAY}/{name}/part-00000-aa.snappy.parquet",
        f"{RUN}/{DAY}/{name}/part.1.parquet",
    ]
    assert manifest.rows == 3
    assert unread(tmp_path) == []


def test_masks_named_in_part_files_are_relative_to_the_day(
    landing: LandingWriter, root: Root
) -> None:
    path = landing.manifest([landing.row("a")])
    content = path.read_bytes()
    path.unlink()
    path.mkdir()
    (path / "part-0.parquet").write_bytes(content)
    summary = root.materialize(PARTITION)
    assert (summary.accepted, summary.rejected) == (1, 0)


def test_part_files_that_are_still_being_written_are_not_half_read(tmp_path: Path) -> None:
    parts = tmp_path / RUN / DAY / "predictions.parquet"
    put(parts / "part-0.parquet")
    put(parts / "_temporary/0/task/part-1.parquet")
    with pytest.raises(
        ManifestError, match=r"not complete: .*predictions.parquet holds _temporary"
    ):
        landing(tmp_path).manifest(UNET)
    # As the message says: the writer ends, or somebody removes what it left.
    for path in sorted((parts / "_temporary").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    (parts / "_temporary").rmdir()
    assert landing(tmp_path).manifest(UNET).rows == 1


LEFT_OUT = [
    ("model-run=unet/date=2026-01-05/p.parquet", "model-run=unet", "model_run=unet"),
    ("modelrun=unet/date=2026-01-05/p.parquet", "modelrun=unet", "model_run=unet"),
    ("Model_Run=unet/date=2026-01-05/p.parquet", "Model_Run=unet", "model_run=unet"),
    ("unet/2026-01-05/p.parquet", "unet", "model_run=unet"),
    (f"{DAY}/{RUN}/p.parquet", DAY, f"{SHAPE}, the model run first"),
    (f"{RUN}/day=2026-01-05/p.parquet", f"{RUN}/day=2026-01-05", DAY),
    (f"{RUN}/2026-01-05/p.parquet", f"{RUN}/2026-01-05", DAY),
    (f"{RUN}/dt=20260105/p.parquet", f"{RUN}/dt=20260105", DAY),
    (f"{RUN}/date=05.01.2026/p.parquet", f"{RUN}/date=05.01.2026", "date=<YYYY-MM-DD>"),
    (f"{RUN}/date=2026-02-30/p.parquet", f"{RUN}/date=2026-02-30", "date=<YYYY-MM-DD>"),
    (
        f"{RUN}/date=2026-01-05 13%3A00%3A00/p.parquet",
        f"{RUN}/date=2026-01-05 13%3A00%3A00",
        "date=<YYYY-MM-DD>",
    ),
    (f"{RUN}/{DAY}/p.csv", f"{RUN}/{DAY}/p.csv", "*.parquet"),
    (f"{RUN}/{DAY}/p.json", f"{RUN}/{DAY}/p.json", "*.parquet"),
    (f"{RUN}/{DAY}/p.feather", f"{RUN}/{DAY}/p.feather", "*.parquet"),
    (f"{RUN}/{DAY}/p.parquet.gz", f"{RUN}/{DAY}/p.parquet.gz", "*.parquet"),
    (
        f"{RUN}/{DAY}/shard=0/p.parquet",
        f"{RUN}/{DAY}/shard=0",
        "manifests in the day's folder, without a further level of folders",
    ),
    (f"{RUN}/{DAY}/p.parquet/part-00000", f"{RUN}/{DAY}/p.parquet/part-00000", "*.parquet"),
    ("p.parquet", "p.parquet", f"{SHAPE}/p.parquet"),
    ("p.csv", "p.csv", f"{SHAPE}/*.parquet"),
    (f"{RUN}/p.parquet", f"{RUN}/p.parquet", f"{SHAPE}/p.parquet"),
]


@pytest.mark.parametrize(("path", "shown", "expected"), LEFT_OUT)
def test_what_is_not_read_is_named_with_what_was_expected(
    tmp_path: Path, path: str, shown: str, expected: str
) -> None:
    put(tmp_path / path)
    assert unread(tmp_path) == [(shown, expected)]
    with pytest.raises(ManifestError) as raised:
        landing(tmp_path).manifest(UNET)
    assert f"; 1 not read: {shown} (expected {expected})" in str(raised.value)


@pytest.mark.parametrize(("path", "shown", "expected"), LEFT_OUT)
def test_what_is_put_where_it_was_expected_is_read(
    tmp_path: Path, path: str, shown: str, expected: str
) -> None:
    """Following the words of a message."""
    put(tmp_path / path)
    file = expected.rpartition("/")[2]
    if file.startswith("*"):
        file = "p.parquet"
    if "shard" in path or "part-0" in path or not file.endswith(".parquet"):
        file = "q.parquet"
    target = tmp_path / RUN / DAY / file
    target.parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).rename(target)
    assert landing(tmp_path).manifest(UNET).rows == 1


def test_a_model_run_whose_name_cannot_be_used_is_named(tmp_path: Path) -> None:
    put(tmp_path / "model_run=x|y" / DAY / "p.parquet")
    ((shown, expected),) = unread(tmp_path)
    assert shown == "model_run=x|y"
    assert "another name" in expected


def test_masks_notes_and_what_tools_keep_are_not_taken_for_manifests(tmp_path: Path) -> None:
    put(tmp_path / RUN / DAY / "p.parquet")
    for name in ("masks/a.png", f"{RUN}/masks/a.png", f"{RUN}/{DAY}/camera/a.png", "README.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    for name in (".ipynb_checkpoints/p.parquet", "_SUCCESS", f"{RUN}/_metadata", ".DS_Store"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert unread(tmp_path) == []


def test_a_long_list_is_cut_and_counted(tmp_path: Path) -> None:
    for number in range(12):
        put(tmp_path / f"run-{number:02d}" / DAY / "p.parquet")
    with pytest.raises(ManifestError, match=r"12 not read: run-00 .*run-04 .* and 7 more"):
        landing(tmp_path).manifest(UNET)


def test_the_nearest_name_is_told(tmp_path: Path) -> None:
    put(tmp_path / "model_run=unet-v1" / DAY / "p.parquet")
    with pytest.raises(ManifestError, match="the nearest there is unet-v1"):
        landing(tmp_path).manifest(Partition("unet_v1", "2026-01-05"))
    with pytest.raises(ManifestError, match="the nearest there is 2026-01-05"):
        landing(tmp_path).manifest(Partition("unet-v1", "2026-01-06"))


def test_links_are_followed_within_the_landing_folder_and_named_elsewhere(tmp_path: Path) -> None:
    """Data versioning tools put links in the place of files and folders."""
    place = tmp_path / "manifests"
    put(place / ".cache/1f/8a0c", "a", "b")
    put(tmp_path / "elsewhere/p.parquet")
    (place / RUN / DAY).mkdir(parents=True)
    (place / RUN / DAY / "inside.parquet").symlink_to(place / ".cache/1f/8a0c")
    (place / RUN / DAY / "outside.parquet").symlink_to(tmp_path / "elsewhere/p.parquet")
    (place / "model_run=linked").symlink_to(place / RUN)
    (place / "model_run=away").symlink_to(tmp_path / "elsewhere")
    (place / RUN / DAY / "mask.png").symlink_to(tmp_path / "elsewhere/p.parquet")
    assert landing(place).manifest(UNET).rows == 2
    assert landing(place).manifest(Partition("linked", "2026-01-05")).rows == 2
    named = dict(unread(place))
    assert set(named) == {
        "model_run=away",
        f"{RUN}/{DAY}/outside.parquet",
        f"model_run=linked/{DAY}/outside.parquet",
    }
    assert str(tmp_path / "elsewhere/p.parquet") in named[f"{RUN}/{DAY}/outside.parquet"]


def test_links_into_an_allowed_root_are_followed(landing: LandingWriter) -> None:
    path = landing.manifest([landing.row("a")])
    cache = landing.root.parent / "cache"
    cache.mkdir()
    path.rename(cache / "8a0c")
    path.symlink_to(cache / "8a0c")
    with pytest.raises(ManifestError, match=r"1 not read: .* link into .* allowed_roots"):
        Root.open(str(landing.root)).manifest(PARTITION)
    (landing.root / "segpipe.toml").write_text(f"allowed_roots = ['{cache}']\n")
    assert Root.open(str(landing.root)).manifest(PARTITION).rows == 1


def test_in_a_bucket_layouts_are_read_and_named_as_on_disk(
    landing: LandingWriter, s3: Bucket
) -> None:
    path = landing.manifest([landing.row("a")])
    content, day = path.read_bytes(), path.parent
    path.unlink()
    for name in ("predictions.parquet/part-0.parquet", "predictions.parquet/_SUCCESS"):
        (day / name).parent.mkdir(exist_ok=True)
        (day / name).write_bytes(content if name.endswith("parquet") else b"x")
    os.rename(day, day.with_name("date=20260105"))
    manifests = landing.root / "manifests"
    put(manifests / "model-run=unet" / DAY / "p.parquet")
    put(manifests / RUN / "day=2026-01-05" / "p.parquet")
    upload(s3, landing.root)
    s3.client().put_object(Bucket=s3.name, Key=f"root/manifests/{RUN}/", Body=b"x")
    root = Root.open(f"{s3.url}/root")
    summary = root.materialize(PARTITION)
    assert (summary.accepted, summary.rejected) == (1, 0)
    assert list(map(str, root.landing.unread_of(PARTITION))) == [
        "model-run=unet (expected model_run=unet)",
        f"{RUN}/day=2026-01-05 (expected {DAY})",
    ]
