"""The page's server: items and pictures, who is answered, and what nobody can reach through it."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
import time
import webbrowser
from collections.abc import Iterator
from contextlib import suppress
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import pytest
import requests
from PIL import Image

import segpipe
from segpipe.errors import SegpipeError, SettingsError
from segpipe.masks.decoding import decode_mask
from segpipe.root import Root
from segpipe.viewer.filters import Filters
from segpipe.viewer.serving import open_in_browser, token_for
from segpipe.viewer.static_page import static_page
from tests.fixtures.command_line import segpipe as command
from tests.fixtures.interface import wait_for
from tests.fixtures.landing import LandingWriter
from tests.fixtures.ports import free_port
from tests.fixtures.s3_buckets import upload
from tests.fixtures.s3_server import Bucket
from tests.fixtures.viewed_root import FIRST, OTHER, SECOND, Get, Looking

TOKEN = "a-token-of-some-length"


def card(get: Get, **params: Any) -> dict[str, Any]:
    found: dict[str, Any] = get("/api/items", limit=1, **params)["items"][0]
    return found


def pixels(answer: Any) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content)))


def test_an_item_is_what_the_catalog_holds_pixel_for_pixel(
    viewed: Root, page: Looking, get: Get
) -> None:
    shown = card(get, run=FIRST.model_run, outcome="replaced")
    item = get("/api/item", key=shown["key"], run=FIRST.model_run, sort="newest")
    (row,) = viewed.catalog.predictions(FIRST.model_run, [shown["id"]]).to_pylist()
    one = next(one for one in item["predictions"] if one["key"] == shown["key"])
    assert [(s["index"], s["label"], s["pixels"], s["metadata"]) for s in one["segments"]] == [
        (s["index"], s["label"], s["area_px"], s["metadata"]) for s in row["segments"]
    ]
    stored = decode_mask(viewed.masks.read(row["mask_sha256"])).pixels
    answer = page.get(one["mask"])
    assert np.array_equal(pixels(answer), stored)
    assert Image.open(io.BytesIO(answer.content)).mode == "L"
    assert one["receipt"]["outcome"] == "replaced"
    assert one["row"]["mask_url"].endswith(".png")
    assert {(h["operation"], h["outcome"]) for h in item["history"] if h["outcome"]} >= {
        ("publish", "inserted"), ("publish", "replaced"),
    }  # fmt: skip
    assert {p["model_run"] for p in item["predictions"]} >= {FIRST.model_run, OTHER.model_run}


def test_the_image_lies_under_the_mask_as_it_is_stored(
    viewed: Root, page: Looking, get: Get
) -> None:
    shown = card(get, run=OTHER.model_run, text="item-001")
    item = get("/api/item", key=shown["key"])
    assert (item["image"]["width"], item["image"]["height"]) == (32, 24)
    answer = page.get(item["image"]["url"])
    assert answer.headers["content-type"] == "image/jpeg"
    folder = LandingWriter(Path(viewed.settings.root)).folder(OTHER)
    stored = (folder / "picture.jpg").read_bytes()
    # Its EXIF data ask for it to be turned, which browsers would do, and masks are not.
    assert Image.open(io.BytesIO(stored)).getexif()[0x0112] == 6
    assert Image.open(io.BytesIO(answer.content)).getexif()[0x0112] == 1
    assert len(answer.content) == len(stored)
    assert sum(a != b for a, b in zip(answer.content, stored, strict=True)) == 1


def test_neighbours_follow_the_list_that_the_filters_make(get: Get) -> None:
    params = {"run": OTHER.model_run, "sort": "least-sure"}
    keys = [one["key"] for one in get("/api/items", limit=500, **params)["items"]]
    found = [get("/api/item", key=key, **params)["neighbours"] for key in keys[:3]]
    assert [one["next"] for one in found] == keys[1:4]
    assert [one["previous"] for one in found] == [None, *keys[:2]]


def test_an_item_is_found_by_its_names(get: Get) -> None:
    item = get("/api/item", id="item-001", run=OTHER.model_run, date=OTHER.date)
    assert item["id"] == "item-001"
    assert card(get, run=OTHER.model_run, text="item-001")["key"] == item["key"]


def test_a_rejected_mask_shows_its_offending_pixels(page: Looking, get: Get) -> None:
    shown = card(get, outcome="rejected", text="item-wrong")
    item = get("/api/item", key=shown["key"])
    (one,) = item["predictions"]
    (finding,) = [f for f in one["findings"] if f["rule"] == "VALUE-NO-SEGMENT"]
    mask, marks = pixels(page.get(one["mask"])), pixels(page.get(finding["offending"]))
    assert np.array_equal(marks == 255, mask == 7)
    assert set(np.unique(marks)) == {0, 255}
    assert finding["remedy"]
    assert page.get(shown["thumb"] + "640").status_code == 200
    lost = card(get, outcome="rejected", text="item-missing")
    assert "FILE-MISSING" in page.get(lost["thumb"] + "160").json()["error"]


def test_a_difference_is_where_the_labels_differ(viewed: Root, page: Looking, get: Get) -> None:
    one, other = card(get, run=FIRST.model_run), card(get, run=OTHER.model_run)
    found = get("/difference", **{"key": one["key"], "with": other["key"]})
    sides = []
    for shown in (one, other):
        row = viewed.catalog.predictions(shown["model_run"], [shown["id"]]).to_pylist()[0]
        labels = {s["index"]: s["label"] for s in row["segments"]}
        mask = decode_mask(viewed.masks.read(row["mask_sha256"])).pixels
        sides.append(np.vectorize(labels.__getitem__)(mask))
    assert found["changed_share"] == pytest.approx((sides[0] != sides[1]).mean())
    assert sum(pair["share"] for pair in found["pairs"]) == pytest.approx(found["changed_share"])


def test_a_thumbnail_is_small_kept_and_tagged(page: Looking, get: Get) -> None:
    shown = card(get)
    answer = page.get(shown["thumb"] + "160")
    picture = Image.open(io.BytesIO(answer.content))
    assert picture.format == "WEBP" and max(picture.size) <= 160
    assert "immutable" in answer.headers["cache-control"]
    tag = {"if-none-match": answer.headers["etag"]}
    again = page.get(shown["thumb"] + "160", headers=tag)
    assert (again.status_code, again.content) == (304, b"")
    assert page.get(shown["thumb"] + "5000").status_code == 400


def test_the_boards_count_what_the_tables_hold(get: Get) -> None:
    cells = {(c["model_run"], c["date"]): c for c in get("/api/overview")["cells"]}
    second = cells[SECOND.model_run, SECOND.date]
    assert (second["accepted"], second["rejected"], second["published"]) == (6, 2, 6)
    assert cells[OTHER.model_run, OTHER.date]["ignored"] == 3
    assert cells[FIRST.model_run, FIRST.date]["replaced"] == 4
    rules = {one["rule"]: one for one in get("/api/rejects")["rules"]}
    assert rules["FILE-MISSING"]["count"] == 1
    assert [one["id"] for one in rules["VALUE-NO-SEGMENT"]["items"]] == ["item-wrong"]


HEADERS = ("content-security-policy", "x-content-type-options", "x-frame-options")


@pytest.mark.parametrize(
    "path", ["/", "/pages/main.js", "/api/root", "/api/items?x=1", "/nothing", "/thumb?key=x"]
)
def test_every_answer_lets_nothing_foreign_run(page: Looking, path: str) -> None:
    answer = page.get(path)
    assert all(name in answer.headers for name in HEADERS)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    [
        "/pages/../blocks.py", "/pages/%2e%2e%2fblocks.py", "/pages/..%5cblocks.py",
        "/pages//etc/passwd", "/pages/%00", "/pages/segpipe.toml", "//etc/passwd",
        "/mask?key=../../etc/passwd", "/image?key=WyJ4Il0", "/image?key=" + "A" * 20_000,
        "/offending?key=x&rule=../x", "/api/selection?name=../../etc/passwd",
        "/api/item?key=WzAsInMiLCJtIiwiZCIsIi4uLy4uL2V0Yy9wYXNzd2QiLCIwIl0", "/api/item?id=..%2f..",
    ],
)  # fmt: skip
def test_no_path_of_a_request_reaches_a_file(page: Looking, path: str) -> None:
    answer = page.get(path)
    assert answer.status_code in (400, 404)
    assert set(answer.json()) == {"error"}
    assert "Traceback" not in answer.text


def test_an_image_outside_the_allowed_roots_is_not_served(tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    Image.fromarray(np.zeros((6, 8), np.uint8)).save(secret)
    landing = LandingWriter(tmp_path / "root")
    landing.manifest([landing.row("a", image_url=str(secret))])
    root = Root.open(tmp_path / "root")
    root.materialize("unet", "2026-01-05")
    root.publish("unet", "2026-01-05")
    with Looking(root) as page:
        shown = page.get("/api/items").json()["items"][0]
        item = page.get("/api/item", params={"key": shown["key"]}).json()
        assert item["image"] is None and "allowed roots" in item["image_words"]
        assert page.get("/image", params={"key": shown["key"]}).status_code == 404
        assert page.get(shown["thumb"] + "160").status_code == 200  # the mask alone


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 403),
        ({"host": "localhost.evil.example:8010"}, 403),
        ({"host": ""}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, 403),
        ({"sec-fetch-site": "same-site", "sec-fetch-mode": "cors"}, 403),
        # A link that somebody follows, as from Dagster's pages.
        (
            {
                "sec-fetch-site": "cross-site",
                "sec-fetch-mode": "navigate",
                "sec-fetch-dest": "document",
            },
            200,
        ),
        ({"host": "[::1]:8010"}, 200),
    ],
)
def test_only_this_machine_is_answered(page: Looking, headers: dict[str, str], status: int) -> None:
    assert page.get("/api/root", headers=headers).status_code == status


def test_a_selection_is_taken_from_the_page_only(page: Looking, get: Get) -> None:
    keys = [one["key"] for one in get("/api/items", limit=3)["items"]]
    body = {"name": "mine", "keys": keys}
    assert page.post("/api/selection", json=body).status_code == 403
    own = {"x-segpipe": "1"}
    assert page.post("/api/selection", json=body, headers=own).json()["count"] == 3
    assert get("/api/items", ids="mine")["total"] == 3
    assert get("/api/selection", name="mine")["count"] == 3
    for wrong in (b"no json", b"[]", b'{"name": "x", "keys": [1]}', b'{"name": "", "keys": []}'):
        assert page.post("/api/selection", content=wrong, headers=own).status_code == 400
    large = b'"' + b"x" * (17 * 2**20) + b'"'
    assert page.post("/api/selection", content=large, headers=own).status_code == 413


@pytest.fixture(scope="module")
def guarded(viewed: Root) -> Iterator[Looking]:
    """The page as it is served where others can reach it."""
    with Looking(viewed, TOKEN) as client:
        yield client


def test_elsewhere_only_who_knows_the_token_is_answered(guarded: Looking) -> None:
    def status(path: str, **headers: str | bytes) -> int:
        return guarded.get(path, headers={"host": "lab:8010", **headers}).status_code

    assert [status(path) for path in ("/", "/api/root", "/pages/main.js")] == [401, 401, 401]
    assert status("/?token=another-token-as-long") == 401
    assert status("/api/root", authorization="Bearer é".encode()) == 401
    assert status("/api/root", authorization=f"Bearer {TOKEN}") == 200
    place = f"http://127.0.0.1:8010//evil.example/?token={TOKEN}&run=unet"
    answer = guarded.get(place, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/evil.example/?run=unet")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "samesite=lax" in cookie.lower()
    assert guarded.get("/api/root").status_code == 200  # with the cookie


def test_a_token_is_made_where_others_can_reach_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEGPIPE_BROWSE_TOKEN", raising=False)
    assert token_for("127.0.0.1", None) is None
    one, other = token_for("0.0.0.0", None), token_for("0.0.0.0", None)
    assert one and other and one != other and len(one) >= 32
    with pytest.raises(SettingsError, match="16 or more"):
        token_for("0.0.0.0", "short")


def test_an_empty_root_is_shown_as_empty(tmp_path: Path) -> None:
    with Looking(Root.open(tmp_path)) as page:
        assert page.get("/api/items").json()["total"] == 0
        assert page.get("/api/root").json()["model_runs"] == []
        assert page.get("/api/counts").json()["labels"] == {}
        assert page.get("/api/overview").json()["cells"] == []
        assert page.get("/api/rejects").json()["rules"] == []


def test_what_was_kept_may_be_deleted_and_damaged(own: Root, tmp_path: Path) -> None:
    root = own
    with Looking(root) as page:
        before = page.get("/api/items?limit=500").json()["items"]
    for path in (tmp_path / "root" / "cache").rglob("*"):
        if path.is_file():
            path.write_bytes(b"damaged")
    with Looking(root) as page:
        assert page.get("/api/items?limit=500").json()["items"] == before
        for path in (tmp_path / "root" / "cache").rglob("*"):
            if path.is_file():
                path.unlink()
        assert page.get(before[0]["thumb"] + "160").status_code == 200


def test_a_root_that_cannot_be_written_is_shown_and_that_is_said(
    viewed: Root, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("segpipe.viewer.kept_files.Path.mkdir", _not_below(viewed.settings.root))
    with Looking(viewed) as page:
        found = page.get("/api/items").json()
    assert found["total"] > 0
    assert any("cannot be written" in note and str(tmp_path) in note for note in found["notes"])


def _not_below(root: str) -> Any:
    own = Path.mkdir

    def mkdir(path: Path, *given: Any, **named: Any) -> None:
        if str(path).startswith(root):
            raise PermissionError(13, "Permission denied")
        own(path, *given, **named)

    return mkdir


def test_a_root_in_a_bucket_is_shown_as_one_on_a_disk(
    viewed: Root, s3: Bucket, get: Get, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    upload(s3, Path(viewed.settings.root))
    with Looking(Root.open(f"{s3.url}/root")) as page:
        params = {"outcome": ["published", "rejected", "ignored"], "limit": 500}
        found = page.get("/api/items", params=params).json()
        assert any("is not on this machine" in note for note in found["notes"])
        own = get("/api/items", **params)["items"]
        assert [one["key"] for one in found["items"]] == [one["key"] for one in own]
        shown = next(one for one in found["items"] if one["id"] == "item-001")
        item = page.get("/api/item", params={"key": shown["key"]}).json()
        prediction = item["predictions"][0]
        assert pixels(page.get(prediction["mask"])).shape == (12, 16)
        assert page.get(item["image"]["url"]).headers["content-type"] == "image/jpeg"
        assert page.get(shown["thumb"] + "160").status_code == 200


def test_what_is_selected_in_the_page_is_unpublished_from_its_list(
    own: Root, tmp_path: Path
) -> None:
    root = own
    with segpipe.browse(root, [("item-001", FIRST.model_run)], open_page=False) as opened:
        session = requests.Session()
        landed = session.get(opened.url, allow_redirects=False).headers["location"]
        base = opened.url.partition("/?")[0]
        query = dict(parse_qsl(urlsplit(landed).query))
        (shown,) = session.get(f"{base}/api/items", params=query).json()["items"]
        assert (shown["id"], shown["model_run"]) == ("item-001", FIRST.model_run)
        assert opened.selected == []
        with pytest.raises(SettingsError, match="nothing is selected"):
            opened.save(tmp_path / "ids.txt")
        body = {"name": "selected", "keys": [shown["key"]]}
        session.post(f"{base}/api/selection", json=body, headers={"X-Segpipe": "1"})
        assert [tuple(one) for one in opened.selected] == [
            ("item-001", FIRST.model_run, FIRST.date)
        ]
        assert opened.save(tmp_path / "ids.txt") == 1
        assert requests.get(f"{base}/api/root").status_code == 401
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{base}/api/root", timeout=2)
    given = ["--root", root.settings.root, "--model-run", FIRST.model_run]
    ids = ["--ids", str(tmp_path / "ids.txt")]
    out = tmp_path / "out"
    exported = command("export", *given, *ids, "--as", "mask-folder", str(out))
    assert exported.returncode == 0, exported.stderr
    assert [path.name for path in (out / "masks").glob("*.png")] == ["item-001.png"]
    done = command("unpublish", *given, *ids)
    assert done.returncode == 0 and "1 predictions unpublished" in done.stdout
    left = root.catalog.predictions(FIRST.model_run)["reference_id"].to_pylist()
    assert "item-001" not in left and len(left) == 13


def test_what_cannot_be_read_is_left_out_and_that_is_said(own: Root) -> None:
    files = sorted((Path(own.settings.root) / "catalog/predictions").rglob("*.parquet"))
    lost = [path for path in files if "model_run=unet" in str(path.parent)]
    for path in lost:
        path.write_bytes(b"damaged")
    with Looking(own) as page:
        found = page.get("/api/items").json()
        assert {one["model_run"] for one in found["items"]} == {OTHER.model_run}
        assert sum("left out" in note for note in found["notes"]) >= 1
        assert "left out" in str(page.get("/api/root").json()["notes"])


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_command_serves_until_it_is_told_to_end(
    viewed: Root, number: signal.Signals, status: int
) -> None:
    port = free_port()
    given = ["browse", "--root", viewed.settings.root, "--port", str(port), "--no-open"]
    process = subprocess.Popen(
        [sys.executable, "-m", "segpipe", *given], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        lines = [process.stderr.readline() for _ in range(2)]
        assert f"http://127.0.0.1:{port}/" in lines[1]
        for _ in range(200):
            with suppress(requests.ConnectionError):
                answer = requests.get(f"http://127.0.0.1:{port}/api/items", timeout=20)
                break
            time.sleep(0.05)
        assert answer.json()["total"] > 0
        taken = command(*given)
        assert taken.returncode == 2 and "is taken" in taken.stderr
        process.send_signal(number)
        assert process.wait(20) == status
    finally:
        process.kill()
        process.stderr.close()


def test_a_row_of_a_manifest_that_was_written_again_is_not_shown_as_another(own: Root) -> None:
    landing = LandingWriter(Path(own.settings.root))
    with Looking(own) as page:
        params = {"outcome": "rejected", "text": "item-wrong"}
        shown = page.get("/api/items", params=params).json()["items"][0]
        landing.manifest([landing.row(f"new-{n}", (0,), SECOND) for n in range(9)], SECOND)
        answer = page.get("/mask", params={"key": shown["key"]})
        assert answer.status_code == 404 and "written again" in answer.json()["error"]
        item = page.get("/api/item", params={"key": shown["key"]}).json()
        assert item["predictions"][0]["mask"] is None
        assert "written again" in item["predictions"][0]["row"]["row_words"]


def test_rejected_rows_show_no_secret_of_their_urls_and_have_a_page_without_an_id_too(
    tmp_path: Path,
) -> None:
    landing = LandingWriter(tmp_path / "root")
    signed = "https://127.0.0.1:9/a.png?X-Amz-Signature=abc123"
    wrong = landing.row("a", (0, 7), image_url=signed)
    wrong["segments"] = wrong["segments"][:1]
    nameless = {**landing.row("b"), "reference_id": None}
    landing.manifest([wrong, *[nameless] * 62])
    root = Root.open(tmp_path / "root")
    root.materialize("unet", "2026-01-05")
    with Looking(root) as page:
        shown = page.get("/api/items", params={"outcome": "rejected", "limit": 100}).json()["items"]
        assert len(shown) == 63
        for one in shown:
            item = page.get("/api/item", params={"key": one["key"]})
            assert "abc123" not in item.text
            (its,) = item.json()["predictions"]  # nameless rows have nothing to do with each other
            assert its["key"] == one["key"]
            assert [finding["rule"] for finding in its["findings"]] == one["rules"] != []
            assert its["manifest_row"] is not None
    html = static_page(root, Filters(runs=("unet",), outcomes=("rejected",))).html.decode()
    assert "REF-EMPTY" in html and "abc123" not in html


def test_of_very_many_rows_of_an_item_the_one_that_was_asked_for_is_shown(tmp_path: Path) -> None:
    landing = LandingWriter(tmp_path / "root")
    landing.manifest([landing.row("a", (0, value)) for value in range(1, 63)])
    root = Root.open(tmp_path / "root")
    root.materialize("unet", "2026-01-05")
    with Looking(root) as page:
        (*_, last) = page.get("/api/items", params={"outcome": "rejected"}).json()["items"]
        item = page.get("/api/item", params={"key": last["key"]}).json()
    keys = [each["key"] for each in item["predictions"]]
    assert len(set(keys)) == 60 and last["key"] in keys
    assert item["notes"] == ["2 more predictions of this item are left out"]


def test_a_damaged_table_of_a_partition_costs_no_page_of_what_is_published(own: Root) -> None:
    with Looking(own) as page:
        shown = page.get("/api/items").json()["items"][0]
        for path in Path(own.settings.root, "validated").rglob("validated.parquet"):
            path.write_bytes(b"damaged")
        item = page.get("/api/item", params={"key": shown["key"]})
        assert item.status_code == 200
        (its,) = [one for one in item.json()["predictions"] if one["key"] == shown["key"]]
        assert len(its["segments"]) == shown["segments"]


def test_a_selection_of_a_day_that_is_not_there_selects_nothing(own: Root) -> None:
    ids = [("item-001", FIRST.model_run, "2031-01-01")]
    with segpipe.browse(own, ids, open_page=False) as opened:
        session = requests.Session()
        place = session.get(opened.url, allow_redirects=False).headers["location"]
        query = dict(parse_qsl(urlsplit(place).query))
        base = opened.url.partition("/?")[0]
        assert session.get(f"{base}/api/items", params=query).json()["total"] == 0


def test_a_catalog_that_cannot_be_read_is_said_at_once(own: Root) -> None:
    (log,) = Path(own.settings.root, "catalog").rglob("_delta_log")
    for path in log.glob("*.json"):
        path.write_bytes(b"damaged")
    begun = time.monotonic()
    with pytest.raises(SegpipeError):
        static_page(own, Filters(runs=("unet",)))
    assert time.monotonic() - begun < 20


def test_the_token_is_not_among_the_arguments_of_the_browser(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, called = tmp_path / "opened", tmp_path / "browser"
    called.write_text(f'#!/bin/sh\necho "$1" > {opened}.new && mv {opened}.new {opened}\n')
    called.chmod(0o755)
    monkeypatch.setenv("BROWSER", f"{called} %s")
    # Python asks for the browsers once, and another test of this process may have been the first.
    monkeypatch.setattr(webbrowser, "_tryorder", None)
    monkeypatch.setattr(webbrowser, "_browsers", {})
    url = f"http://127.0.0.1:8010/?token={TOKEN}&run=a"
    open_in_browser(url)
    wait_for("the browser", lambda: opened.exists() or None, 20)
    place = opened.read_text().strip()
    assert TOKEN not in place
    file = Path(urlsplit(place).path)
    assert file.stat().st_mode & 0o077 == 0
    assert escape(url) in file.read_text()
