"""What importers take from a folder, and what they leave out: told at the end of an import."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from segpipe.errors import SegpipeError
from segpipe.formats.folder_scan import FolderScan
from tests.fixtures.imports import imported, judged, rules, save, write

MASK = np.repeat(np.arange(2, dtype=np.uint8), 4)[:, None].repeat(6, axis=1)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    return tmp_path / "source"


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    return write(tmp_path / "labels.csv", "index,label\n0,sky\n1,tree\n")


SYSTEM = (
    ".ipynb_checkpoints/a-checkpoint.png", "cam/.ipynb_checkpoints/b-checkpoint.png",
    "__MACOSX/cam/a.png", "cam/@eaDir/a.png", ".Trash-1000/files/old.png", "$RECYCLE.BIN/x.png",
)  # fmt: skip


def test_system_folders_and_files_are_left_out_and_told(
    source: Path, tmp_path: Path, labels: Path
) -> None:
    save(source / "a.png", MASK)
    save(source / "cam" / "b.PNG", MASK)
    for name in SYSTEM:
        save(source / name, MASK)
    (source / "cam" / "._b.png").write_bytes(b"\0\5\x16\7")
    for name in ("Thumbs.db", "desktop.ini", ".DS_Store"):
        (source / name).write_bytes(b"x")
    done = imported("mask-folder", source, tmp_path / "root", "--labels", labels)
    assert done.return_value == 0
    assert "2 imported, 0 refused" in done.output
    assert "10 files left out: 6 in system or hidden folders (" in done.output
    assert "4 of the system or hidden (" in done.output
    assert "Thumbs.db" in done.output
    assert sorted(judged(tmp_path / "root")[0]) == ["a", "cam/b"]


def test_nothing_is_told_where_nothing_was_left_out(
    source: Path, tmp_path: Path, labels: Path
) -> None:
    save(source / "a.png", MASK)
    done = imported("mask-folder", source, tmp_path / "root", "--labels", labels)
    assert "left out" not in done.output


def test_files_of_another_kind_are_told(source: Path, tmp_path: Path, labels: Path) -> None:
    for name in ("a.png", "b.tif", "notes.txt"):
        save(source / "a.png", MASK) if name == "a.png" else (source / name).write_text("x")
    done = imported("mask-folder", source, tmp_path / "root", "--labels", labels)
    assert "2 files left out: " in done.output
    assert "1 not .png (notes.txt)" in done.output
    assert "1 .tif or .tiff, which are read from a folder without .png (b.tif)" in done.output


@pytest.fixture
def linked(source: Path, tmp_path: Path) -> Path:
    """A source as DVC makes it: its files and a folder are links into a cache elsewhere."""
    cache = tmp_path / "cache" / "files" / "md5"
    save(cache / "1f" / "8a0c.png", MASK)
    save(cache / "cam" / "0.png", MASK)
    save(source / "here.png", MASK)
    (source / "f0.png").symlink_to(cache / "1f" / "8a0c.png")
    (source / "cam1").symlink_to(cache / "cam")
    (source / "gone.png").symlink_to(cache / "gone")
    return source


def test_links_out_of_the_source_are_named_with_their_target(
    linked: Path, tmp_path: Path, labels: Path
) -> None:
    done = imported("mask-folder", linked, tmp_path / "root", "--labels", labels)
    assert "1 imported, 0 refused" in done.output
    assert "3 files left out" in done.output
    assert f"cam1 -> {tmp_path}/cache/files/md5/cam" in done.output
    assert "takes --allow-root" in done.output
    assert "1 linked to what is not there (gone.png -> " in done.output
    assert list(judged(tmp_path / "root")[0]) == ["here"]


def test_links_into_an_allowed_root_are_followed_under_their_own_names(
    linked: Path, tmp_path: Path, labels: Path
) -> None:
    done = imported(
        "mask-folder", linked, tmp_path / "root", "--labels", labels,
        "--allow-root", tmp_path / "cache",
    )  # fmt: skip
    assert "3 imported, 0 refused" in done.output
    assert "1 file left out" in done.output
    assert sorted(judged(tmp_path / "root")[0]) == ["cam1/0", "f0", "here"]


def test_links_into_what_the_settings_of_the_root_allow_are_followed(
    linked: Path, tmp_path: Path, labels: Path
) -> None:
    (tmp_path / "root").mkdir()
    write(tmp_path / "root" / "segpipe.toml", f'allowed_roots = ["{tmp_path}/cache"]\n')
    done = imported("mask-folder", linked, tmp_path / "root", "--labels", labels)
    assert "3 imported, 0 refused" in done.output


def test_links_inside_the_source_are_followed_and_those_in_a_circle_end(
    source: Path, tmp_path: Path, labels: Path
) -> None:
    save(source / ".store" / "8a0c.png", MASK)
    save(source / "run1" / "a.png", MASK)
    (source / "f0.png").symlink_to(source / ".store" / "8a0c.png")
    (source / "latest").symlink_to("run1")
    (source / "run1" / "up").symlink_to("..")
    (source / "itself.png").symlink_to("itself.png")
    done = imported("mask-folder", source, tmp_path / "root", "--labels", labels)
    assert "linked in a circle (" in done.output
    assert "itself.png -> itself.png" in done.output
    assert sorted(judged(tmp_path / "root")[0]) == ["f0", "latest/a", "run1/a"]


def test_folders_that_all_link_to_each_other_are_read_in_a_moment(source: Path) -> None:
    for one in range(5):
        save(source / str(one) / "a.png", MASK)
        for other in range(5):
            (source / str(one) / f"to{other}").symlink_to(source / str(other))
    scan = FolderScan.of(source)
    assert {path.name for path in scan.files} == {"a.png"}
    assert len(scan.files) < 5**5


def test_a_source_that_is_itself_a_link_is_a_folder_like_any(
    source: Path, tmp_path: Path, labels: Path
) -> None:
    save(source / "a.png", MASK)
    (tmp_path / "link").symlink_to(source)
    imported("mask-folder", tmp_path / "link", tmp_path / "root", "--labels", labels)
    assert list(judged(tmp_path / "root")[0]) == ["a"]


def test_a_source_of_which_everything_was_left_out_says_so(
    source: Path, tmp_path: Path, labels: Path
) -> None:
    save(tmp_path / "cache" / "a.png", MASK)
    (source / "a.png").symlink_to(tmp_path / "cache" / "a.png")
    with pytest.raises(SegpipeError, match=r"no \.png file.*1 file left out: 1 linked out of"):
        imported("mask-folder", source, tmp_path / "root", "--labels", labels)


def test_a_pipe_and_a_folder_that_ends_in_png_are_no_masks(
    source: Path, tmp_path: Path, labels: Path
) -> None:
    save(source / "tiles.png" / "a.png", MASK)
    os.mkfifo(source / "pipe.png")
    done = imported("mask-folder", source, tmp_path / "root", "--labels", labels)
    assert "1 not regular files (pipe.png)" in done.output
    assert list(judged(tmp_path / "root")[0]) == ["tiles.png/a"]


@pytest.mark.parametrize("kind", ["colour-map", "arrays", "cityscapes"])
def test_every_importer_of_folders_scans_alike(
    kind: str, source: Path, tmp_path: Path, labels: Path
) -> None:
    colours = write(tmp_path / "colours.csv", "r,g,b,label\n0,0,0,sky\n1,1,1,tree\n")
    options: dict[str, tuple[object, ...]] = {
        "colour-map": ("--colours", colours), "arrays": ("--labels", labels), "cityscapes": (),
    }  # fmt: skip
    for folder in (".ipynb_checkpoints", "__MACOSX", "cam"):
        (source / folder).mkdir()
        if kind == "arrays":
            np.save(source / folder / "a.npy", MASK)
        else:
            save(source / folder / "a.png", MASK)
    done = imported(kind, source, tmp_path / "root", *options[kind])
    assert "1 imported, 0 refused" in done.output
    assert "2 files left out: 2 in system or hidden folders" in done.output


def test_cityscapes_names_the_pngs_beside_its_ids(source: Path, tmp_path: Path) -> None:
    for kind in ("instanceIds", "labelIds", "color"):
        save(source / "ulm" / f"ulm_0_gtFine_{kind}.png", MASK)
    done = imported("cityscapes", source, tmp_path / "root")
    assert "1 imported, 0 refused" in done.output
    assert "2 files left out: 2 not instanceIds (ulm/ulm_0_gtFine_color.png" in done.output


def test_a_description_that_is_linked_out_of_the_source_refuses_its_mask(
    source: Path, tmp_path: Path, labels: Path
) -> None:
    save(source / "a.png", MASK)
    segments = [{"index": 0, "label": "x"}, {"index": 1, "label": "y"}]
    content = {"reference_id": "b", "segments": segments}
    (source / "a.json").symlink_to(write(tmp_path / "elsewhere.json", content))
    imported("mask-folder", source, tmp_path / "before", "--labels", labels)
    rejected = judged(tmp_path / "before")[1]
    assert rules(rejected) == {"a": ["URL-REFUSED"]}
    assert str(tmp_path / "elsewhere.json") in rejected["a"][0][1]
    options = ("--labels", labels, "--allow-root", tmp_path)
    imported("mask-folder", source, tmp_path / "after", *options)
    assert list(judged(tmp_path / "after")[0]) == ["b"]


def test_panoptic_names_pngs_without_annotation_and_links_out_of_the_folder(
    source: Path, tmp_path: Path
) -> None:
    rgb = np.zeros((4, 4, 3), np.uint8)
    save(tmp_path / "cache" / "2.png", rgb)
    for name in ("1.png", "beside.png"):
        save(source / name, rgb)
    (source / "2.png").symlink_to(tmp_path / "cache" / "2.png")
    content = {
        "annotations": [
            {"image_id": n, "file_name": f"{n}.png", "segments_info": []} for n in (1, 2)
        ],
        "images": [{"id": n, "file_name": f"{n}.jpg"} for n in (1, 2)],
        "categories": [{"id": 1, "name": "road"}],
    }
    options = ("--annotations", write(tmp_path / "p.json", json.dumps(content)))
    done = imported("coco-panoptic", source, tmp_path / "root", *options)
    assert "1 file left out: 1 without an annotation (beside.png)" in done.output
    rejected = judged(tmp_path / "root")[1]
    assert rules(rejected) == {"2": ["URL-REFUSED"]}
    assert str(tmp_path / "cache" / "2.png") in rejected["2"][0][1]
    done = imported(
        "coco-panoptic", source, tmp_path / "again", *options, "--allow-root", tmp_path / "cache"
    )
    assert "2 imported, 0 refused" in done.output
