"""Looking back, undoing, tidying and clearing away, on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from segpipe.errors import SettingsError
from segpipe.publishing.maintenance import unpublish
from segpipe.root import Root
from segpipe.settings import SETTINGS_FILE
from tests.fixtures.command_line import assert_plain_error, invoked, segpipe
from tests.fixtures.landing import PARTITION, LandingWriter
from tests.fixtures.published_days import masks_in, rows_of


def test_the_commands_on_a_catalog_that_holds_nothing_say_so(landing: LandingWriter) -> None:
    landing.root.mkdir(parents=True, exist_ok=True)
    done = segpipe("history", "--root", landing.root)
    assert (done.returncode, done.stdout) == (0, "nothing was published yet\n")
    assert_plain_error(segpipe("restore", "--root", landing.root, 1), "holds nothing yet")
    assert_plain_error(segpipe("show", "--root", landing.root, "a"), "no prediction for 'a'")


def test_history_and_diff_print_who_did_what(
    landing: LandingWriter, root: Root, publish: Any
) -> None:
    publish({"a": (0, 1), "b": (0, 2)}, run_id="first-run")
    publish({"a": (0, 3), "c": (0, 2)}, run_id="second-run", update=True)
    unpublish(root.catalog, "default", "unet", "u", reference_ids=["b"])
    lines = segpipe("history", "--root", landing.root).stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["3", "2", "1", "0"]
    assert "unpublish" in lines[0]
    assert "removed 1" in lines[0]
    for words in ("publish", "run_id second-run", "inserted 1", "replaced 1", "update true"):
        assert words in lines[1]
    assert "partition 2026-01-05" in lines[2]
    newest = segpipe("history", "--root", landing.root, "--most", 1).stdout
    assert newest.splitlines() == lines[:1]

    done = segpipe("diff", "--root", landing.root, 1, 3)
    assert done.returncode == 0
    shown = [line.split() for line in done.stdout.splitlines()]
    assert shown == [
        ["replaced", "unet", "a"],
        ["+", "3", "class", "3"],
        ["-", "1", "class", "1"],
        ["removed", "unet", "b"],
        ["added", "unet", "c"],
        ["1", "added,", "1", "replaced,", "1", "removed"],
    ]
    assert_plain_error(segpipe("diff", "--root", landing.root, 1, 99), "version 99")


def test_unpublish_tells_the_command_that_undoes_it(
    landing: LandingWriter, tmp_path: Path, two_days: Root
) -> None:
    before = rows_of(two_days)
    given = ("unpublish", "--root", landing.root, "--model-run", "unet")
    assert_plain_error(segpipe(*given), "nothing says what to unpublish")
    assert rows_of(two_days) == before

    ids = tmp_path / "ids.txt"
    ids.write_text("b\n\nc\n")
    done = segpipe(*given, "--ids", ids, "a")
    assert done.returncode == 0, done.stderr
    first, undo = done.stdout.splitlines()
    assert first == "3 predictions unpublished"
    assert [row["reference_id"] for row in rows_of(two_days)] == ["a", "d"]
    command = undo.removeprefix("undo it with: segpipe ").split()
    restored = segpipe(*command)
    assert restored.returncode == 0, restored.stderr
    assert f"holds what version {command[-1]} held" in restored.stdout
    assert rows_of(two_days) == before

    done = segpipe(*given, "--date", "2026-01-06")
    assert "2 predictions unpublished" in done.stdout
    assert_plain_error(
        segpipe(*given, "--date", "2026-01-06"),
        "dataset 'default' has no prediction in partition 2026-01-06 by model run 'unet'",
    )
    done = segpipe(*given, "a", "nowhere")
    assert (done.stdout.splitlines()[0], done.stderr) == (
        "1 predictions unpublished", "1 of the 2 items had no prediction there\n"
    )  # fmt: skip
    assert_plain_error(segpipe(*given, "--ids", tmp_path / "nope.txt"), "nope.txt")


def test_unpublish_with_an_empty_list_of_items_never_means_the_whole_partition(
    landing: LandingWriter, tmp_path: Path, two_days: Root
) -> None:
    (tmp_path / "ids.txt").write_text("")
    before = rows_of(two_days)
    segpipe(
        "unpublish", "--root", landing.root, "--model-run", "unet",
        "--date", "2026-01-05", "--ids", tmp_path / "ids.txt",
    )  # fmt: skip
    assert rows_of(two_days) == before


def test_vacuum_and_optimize_on_the_command_line(
    landing: LandingWriter, replaced_once: Root, publish: Any
) -> None:
    would = segpipe("vacuum", "--root", landing.root, "--retention-hours", 0)
    assert would.returncode == 0, would.stderr
    assert "1 table files and 1 masks" in would.stdout
    assert "would be removed" in would.stdout
    assert len(masks_in(replaced_once)) == 3
    kept = segpipe("vacuum", "--root", landing.root, "--no-dry-run")
    assert "0 table files and 0 masks" in kept.stdout
    did = segpipe("vacuum", "--root", landing.root, "--retention-hours", 0, "--no-dry-run")
    assert "1 table files and 1 masks" in did.stdout
    assert "would" not in did.stdout
    assert len(masks_in(replaced_once)) == 2

    publish({"c": (0, 5)})
    publish({"d": (0, 6)})
    before = rows_of(replaced_once)
    done = segpipe("optimize", "--root", landing.root)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "3 files written as 1\n"
    assert rows_of(replaced_once) == before


def test_show_prints_the_segments_and_writes_a_picture(
    landing: LandingWriter, tmp_path: Path, two_days: Root
) -> None:
    out = tmp_path / "pictures" / "a.png"
    done = segpipe("show", "--root", landing.root, "--out", out, "a")
    assert done.returncode == 0, done.stderr
    assert [line.split()[1] for line in done.stdout.splitlines() if line.startswith("a ")] == [
        "another",
        "unet",
    ]
    both = Image.open(out).size
    one = ("show", "--root", landing.root, "--out", out, "--model-run", "unet", "a")
    assert_plain_error(segpipe(*one), "a.png is there already: name another file")
    done = segpipe(*one, "--force")
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["a", "unet", "8", "x", "6"]
    assert [line.split()[:3] for line in lines[1:]] == [["0", "class", "0"], ["1", "class", "1"]]
    assert all("0.50" in line and "50.0 %" in line for line in lines[1:])
    assert Image.open(out).size[1] < both[1]
    beside = ("--out", tmp_path / "beside.png", "--against", "another", "--size", 100)
    done = segpipe("show", "--root", landing.root, "--model-run", "unet", *beside, "a")
    assert "unet against another:" in done.stdout
    assert Image.open(tmp_path / "beside.png").size[0] > 300
    assert_plain_error(
        segpipe("show", "--root", landing.root, "--model-run", "another", "b"),
        "no prediction for 'b' by model run 'another'",
    )


def test_the_dataset_is_named_where_the_catalog_has_others_than_the_settings(
    landing: LandingWriter, tmp_path: Path, root: Root, publish: Any
) -> None:
    """As on the root of `segpipe nucleus-server`, whose datasets its users make."""
    where = ("--root", landing.root)
    picture = ("--force", "--out", tmp_path / "a.png")
    empty = segpipe("show", *where, *picture, "--dataset", "streets", "a")
    assert_plain_error(empty, "nothing of dataset 'streets'; it is empty\n")
    publish({"a": (0, 1)}, dataset="streets")
    assert segpipe("show", *where, *picture, "a").stdout.startswith("a  unet  ")  # the only one
    (landing.root / SETTINGS_FILE).write_text('dataset = "other"\n')
    assert_plain_error(segpipe("show", *where, *picture, "a"), "nothing of dataset 'other'; there")
    (landing.root / SETTINGS_FILE).unlink()
    publish({"a": (0, 2), "b": (0, 2)}, dataset="fields")
    there = "holds nothing of dataset 'default'; there are: fields, streets"
    out = tmp_path / "out"
    export = ("export", "--as", "mask-folder", out, "--model-run", "unet", *where)
    unpublish = ("unpublish", *where, "--model-run", "unet", "a")
    for command in (("show", *where, "a"), export, unpublish):
        assert_plain_error(segpipe(*command), there)
    gallery = ("gallery", *where, "--model-run", "unet", "--out", tmp_path / "page.html")
    assert_plain_error(
        segpipe(*gallery), "of model run 'unet'; datasets that have: fields, streets"
    )
    assert segpipe(*gallery, "--dataset", "fields").stdout.startswith("2 of 2 predictions")
    assert "unet \u00b7 fields" in (tmp_path / "page.html").read_text("utf-8")
    assert "class 2" in segpipe("show", *where, *picture, "--dataset", "fields", "a").stdout
    assert_plain_error(segpipe("show", *where, "--dataset", "nope", "a"), "dataset 'nope'; there")
    assert segpipe(*export, "--dataset", "streets").stdout.startswith("1 predictions exported")
    assert segpipe(*unpublish, "--dataset", "fields").stdout.startswith("1 predictions unpublished")
    assert_plain_error(
        segpipe("unpublish", *where, "--dataset", "fields", "--model-run", "vnet", "b"),
        "dataset 'fields' has no prediction by model run 'vnet'; there are: unet",
    )
    both = segpipe("diff", *where, 0, 3).stdout.splitlines()
    assert [line.split()[:4] for line in both if line[0] != " "][:2] == [
        ["added", "fields", "unet", "b"], ["added", "streets", "unet", "a"],
    ]  # fmt: skip
    one = segpipe("diff", *where, "--dataset", "fields", 0, 3).stdout
    assert one == "added     unet  b\n1 added, 0 replaced, 0 removed\n"
    assert_plain_error(segpipe("diff", *where, "--dataset", "nope", 0, 3), "there are: fields")


def test_rejected_rows_of_a_dataset_are_found_where_nothing_of_it_is_published(
    landing: LandingWriter, publish: Any, tmp_path: Path
) -> None:
    publish({"b": (0, 1)}, dataset="fields")
    landing.manifest([landing.row("a", segments=[])])
    (landing.root / "segpipe.toml").write_text('dataset = "streets"\n')
    Root.open(landing.root).materialize(PARTITION)
    out = tmp_path / "page.html"
    given = ("gallery", "--root", landing.root, "--model-run", "unet", "--out", out, "--force")
    for dataset in ((), ("--dataset", "streets")):
        assert invoked(*given, "--rejected", *dataset).output.startswith("1 of 1 predictions")
        assert "unet \u00b7 streets" in out.read_text("utf-8")
    with pytest.raises(SettingsError, match=r"nothing rejected of .* have: streets. Name one"):
        invoked(*given, "--rejected", "--dataset", "fields")
    with pytest.raises(SettingsError, match=r"nothing published of .* have: fields. Name one"):
        invoked(*given)
    assert invoked(*given, "--dataset", "fields").output.startswith("1 of 1 predictions")
    assert "unet \u00b7 fields" in out.read_text("utf-8")
    with pytest.raises(SettingsError, match="nothing of dataset 'nope'; there are: fields, str"):
        invoked(*given[:4], "unknown", *given[5:], "--dataset", "nope")
