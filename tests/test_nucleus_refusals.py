"""Requests nobody should send to the endpoint, and who may send any."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest
import requests
from PIL import Image

from tests.conftest import striped_mask
from tests.nucleus_endpoint import KEY, RunningEndpoint
from tests.nucleus_world import (
    HEIGHT,
    WIDTH,
    World,
    catalog_rows,
    endpoint,
    multipart,
    raw,
    world,
)

__all__ = ["endpoint", "world"]  # fixtures

# What the SDK calls is its own business.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.mark.parametrize("auth", [None, ("wrong", ""), ("", KEY), (KEY + "x", "")])
def test_without_the_key_nothing_is_answered(
    endpoint: RunningEndpoint, auth: tuple[str, str] | None
) -> None:
    for path in ("/dataset/details", "/models/", "/anything"):
        answer = raw(endpoint, "GET", path, auth=auth)
        assert answer.status_code == 401
        assert KEY not in answer.text


@pytest.mark.parametrize("header", ["Basic", "Basic ????", "Bearer x", "Basic " + "A" * 9999])
def test_odd_credentials_are_refused(endpoint: RunningEndpoint, header: str) -> None:
    answer = raw(endpoint, "GET", "/models/", auth=None, headers={"Authorization": header})
    assert answer.status_code == 401


def test_another_address_needs_a_key(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="SEGPIPE_NUCLEUS_KEY"):
        RunningEndpoint(tmp_path / "root", "--host", "0.0.0.0", key=None)


def test_an_unknown_route_says_so(endpoint: RunningEndpoint) -> None:
    answer = raw(endpoint, "POST", "/slice/create")
    assert answer.status_code == 404
    assert "POST /slice/create is not a part of the API served here" in answer.json()["error"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "not JSON"),
        (b"[]", "expected a JSON object, found a list"),
        (b'{"update": true, "segmentations": [{"reference_id": 5}]}', "reference_id is a number"),
        (b'{"segmentations": [7]}', r"segmentations\[0\] is a number"),
        (b'{"segmentations": {}}', None),
        (b'{"segmentations": "x"}', "has to be a list"),
        (b'{"segmentations": [], "a": NaN}', "NaN is no number of JSON"),
        (b"[" * 100_000, "nested beyond reason|not JSON"),
        (b"\xff\xfe", "not JSON"),
    ],
)
def test_bodies_that_cannot_be_understood_are_refused_with_words(
    world: World, endpoint: RunningEndpoint, body: bytes, words: str | None
) -> None:
    path = f"/dataset/{world.dataset.id}/model/{world.model.id}/uploadPredictions"
    answer = raw(endpoint, "POST", path, data=body, headers={"Content-Type": "application/json"})
    if words is None:
        assert answer.status_code == 200
        return
    assert answer.status_code == 400, answer.text
    assert re.search(words, answer.json()["error"])


def test_masks_that_do_not_fit_their_segmentations_are_refused(
    world: World, endpoint: RunningEndpoint
) -> None:
    path = f"/dataset/{world.dataset.id}/model/{world.model.id}/uploadPredictions"
    one = {"reference_id": "img00", "mask_url": "/a.png", "annotations": []}
    two = {**one, "reference_id": "img01", "mask_url": "/b.png"}
    for masks, words in (
        ([("%2Fa.png", b"")], "2 segmentations came with 1 masks"),
        ([("%2Fb.png", b""), ("%2Fa.png", b"")], "'/b.png' came in the place of '/a.png'"),
    ):
        answer = raw(endpoint, "POST", path, files=multipart([one, two], masks))
        assert answer.status_code == 400
        assert words in answer.json()["error"]


def test_no_name_in_a_request_reaches_the_file_system(
    world: World, endpoint: RunningEndpoint
) -> None:
    path = f"/dataset/{world.dataset.id}/model/{world.model.id}/uploadPredictions"
    Image.fromarray(striped_mask((0, 1), HEIGHT, WIDTH)).save(endpoint.root / "secret.png")
    secret = str(endpoint.root / "secret.png")
    names = [secret, f"file://{secret}", "../../secret.png", "received:0", "/etc/passwd\0.png"]
    sent = [
        {"reference_id": f"img{n:02d}", "mask_url": name, "annotations": [
            {"label": "a", "index": 0}, {"label": "b", "index": 1}]}
        for n, name in enumerate(names)
    ]  # fmt: skip
    before = {p for p in endpoint.root.rglob("*") if "catalog" not in p.parts}
    answer = raw(endpoint, "POST", path, json={"segmentations": sent})
    assert answer.json()["predictions_processed"] == len(names)  # as the service would
    assert catalog_rows(endpoint, world) == {}
    masks = [("..%2F..%2Fescape.png", b"\x89PNG")]
    one = {"reference_id": "img09", "mask_url": "../../escape.png", "annotations": []}
    assert raw(endpoint, "POST", path, files=multipart([one], masks)).status_code == 200
    assert {p for p in endpoint.root.rglob("*") if "catalog" not in p.parts} == before
    assert not list(endpoint.root.parent.rglob("escape.png"))


def test_bodies_beyond_the_limit_are_refused_before_they_are_kept(tmp_path: Path) -> None:
    with RunningEndpoint(tmp_path / "root", "--max-body-mb", "1") as endpoint:
        large = b"x" * (2 * 1024 * 1024)
        answer = raw(endpoint, "POST", "/dataset/create", data=large)
        assert answer.status_code == 413
        assert "send fewer at a time" in answer.json()["error"]
        parts = (large[start : start + 65536] for start in range(0, len(large), 65536))
        answer = raw(endpoint, "POST", "/dataset/create", data=parts)  # without its length
        assert answer.status_code == 413


def test_a_picture_of_absurd_size_is_refused_by_its_header(
    world: World, endpoint: RunningEndpoint
) -> None:
    header = bytes.fromhex("89504e470d0a1a0a0000000d49484452000186a0000186a0080000000037bd9f61")
    (world.folder / "bomb.png").write_bytes(header)
    world.upload([world.prediction("img00", mask_url=str(world.folder / "bomb.png"))])
    url = f"{endpoint.url}/dataset/{world.dataset.id}/model/{world.model.id}/findings"
    assert list(requests.get(url, auth=(KEY, ""), timeout=10).json()) == ["img00"]


def test_the_log_holds_no_key_and_no_url_of_an_upload(
    world: World, endpoint: RunningEndpoint
) -> None:
    world.upload([world.prediction("img00", mask_url="s3://b/x.png")], asynchronous=True)
    raw(endpoint, "POST", "/dataset/create", data=b"{", auth=(KEY, "pw"))
    log = endpoint.log.read_text()
    assert KEY not in log
    assert "_blob" not in log
    assert base64.b64encode(f"{KEY}:".encode()).decode() not in log
