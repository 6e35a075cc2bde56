"""Requests nobody should send to the endpoint, and who may send any."""

from __future__ import annotations

import base64
import http.client
import re
import sqlite3
from pathlib import Path

import pytest
import requests
from PIL import Image

from tests.fixtures.landing import HEIGHT, WIDTH, striped_mask
from tests.fixtures.nucleus_endpoint import KEY, RunningEndpoint
from tests.fixtures.nucleus_world import (
    World,
    catalog_rows,
    ended,
    multipart,
    nucleus,
    raw,
    world,
)

__all__ = ["world"]  # a fixture

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


def test_without_a_key_pages_of_other_sites_cannot_use_a_browser_on_this_machine(
    tmp_path: Path,
) -> None:
    """Neither by a form they post here, nor by a name of theirs that resolves to this machine."""
    body = b'{"name": "x", "is_scene": false}'
    with RunningEndpoint(tmp_path / "root", key=None) as endpoint:

        def status(**headers: str) -> int:
            told = {"Content-Type": "text/plain", **headers}
            answer = raw(endpoint, "POST", "/dataset/create", data=body, headers=told, auth=None)
            return answer.status_code

        def read(**headers: str) -> int:
            answer = raw(endpoint, "GET", "/dataset/details", headers=headers, auth=None)
            return answer.status_code

        port = endpoint.port
        assert read(**{"Sec-Fetch-Site": "cross-site"}) == 403
        assert read(Referer="https://evil.example/page") == 403
        assert read(Referer="http://127.0.0.1.evil.example/") == 403
        assert read(**{"Sec-Fetch-Site": "none"}) == 200
        assert read(**{"Sec-Fetch-Site": "same-origin"}, Referer=f"{endpoint.url}/models/") == 200
        assert status(Origin="https://evil.example") == 403
        assert status(Origin="null") == 403
        assert status(Host=f"evil.example:{port}") == 403
        assert status(Host="127.0.0.1.evil.example") == 403
        assert status(Host="[::1") == 403
        known = raw(endpoint, "GET", "/dataset/details", auth=None).json()
        assert known == []
        assert status() == 200
        assert status(Host=f"localhost:{port}", Origin=f"http://localhost:{port}") == 200
        assert status(Host=f"[::1]:{port}", Origin=f"http://127.0.0.1:{port}") == 200


def test_a_browser_that_knows_the_key_does_not_lend_it_to_pages_of_other_sites(
    endpoint: RunningEndpoint,
) -> None:
    for method, path in (("GET", "/dataset/details"), ("POST", "/dataset/create")):
        answer = raw(endpoint, method, path, headers={"Sec-Fetch-Site": "cross-site"})
        assert answer.status_code == 403
        assert "another site" in answer.json()["error"]


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
        (b'{"segmentations": [{"reference_id": "a", "annotation_id": 5}]}', "_id is a number"),
        (b'{"segmentations": [{"reference_id": "a", "annotation_id": {}}]}', "_id is an object"),
        (b'{"annotations": [{"reference_id": "a", "annotation_id": []}]}', "_id is a list"),
        (b'{"update": "false", "segmentations": []}', "update is text, expected true or false"),
        (b'{"update": 1, "segmentations": []}', "update is a number, expected true or false"),
        (b'{"a": 1e999}', "larger than a double"),
        (b'{"a": [-1e999]}', "larger than a double"),
        (b'{"a": "\\ud800"}', "a half of a character"),
        (b'{"\\udfff": 1}', "a half of a character"),
        (b'{"segmentations": [{"reference_id": "\\ud83d"}]}', "a half of a character"),
        (b'{"a": ' + b"[" * 950 + b"]" * 950 + b"}", "nested beyond reason"),
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


def test_metadata_that_is_not_changed_is_refused_with_words(
    world: World, endpoint: RunningEndpoint
) -> None:
    def refusal(level: str, metadata: object, query: str = "") -> str:
        one = {"reference_id": "img00", "metadata": metadata}
        path = f"/dataset/{world.dataset.id}/metadata{query}"
        answer = raw(endpoint, "POST", path, json={"level": level, "metadata": [one]})
        assert answer.status_code == 400
        return str(answer.json()["error"])

    assert "not for scenes" in refusal("scene", {"a": 1})
    assert "not as a job" in refusal("item", {"a": 1}, "?async=1")
    assert "metadata[0].metadata has to be an object" in refusal("item", 3)
    assert world.dataset.refloc("img00")["item"].metadata == {"split": "val"}


@pytest.mark.parametrize("written", ["1e999", '"\\ud800"', "[" * 950 + "]" * 950])
def test_what_could_not_be_read_back_is_not_taken_anywhere(
    world: World, endpoint: RunningEndpoint, written: str
) -> None:
    """One such upload would otherwise break reading for everybody, for good."""
    world.upload([world.prediction("img00")])
    of_model = f"/dataset/{world.dataset.id}/model/{world.model.id}"
    item = '{"reference_id": "img00", "metadata": {"x": @}}'.replace("@", written)
    segment = '{"label": "a", "index": 0, "metadata": {"x": @}}'.replace("@", written)
    for path, body in (
        ("/models/add", '{"name": "n", "reference_id": "r", "x": @}'.replace("@", written)),
        ("/dataset/create", '{"name": "n", "is_scene": false, "x": @}'.replace("@", written)),
        (f"/dataset/{world.dataset.id}/append", '{"items": [@]}'.replace("@", item)),
        (f"{of_model}/uploadPredictions", '{"segmentations": [{"reference_id": "img01", '
         '"mask_url": "s3://b/m.png", "annotations": [@]}]}'.replace("@", segment)),
        (f"/dataset/{world.dataset.id}/annotate", '{"annotations": [@]}'.replace("@", item)),
    ):  # fmt: skip
        answer = raw(endpoint, "POST", path, data=body.encode())
        assert answer.status_code == 400, path
    for path in ("/models/", "/dataset/details", f"{of_model}/export",
                 f"/dataset/{world.dataset.id}/refloc/img00"):  # fmt: skip
        assert raw(endpoint, "GET", path).status_code == 200, path


def test_metadata_as_deep_as_it_is_taken_can_be_read_back(
    world: World, endpoint: RunningEndpoint
) -> None:
    path = f"/dataset/{world.dataset.id}/annotate"
    for depth in range(1000, 0, -10):
        deep = "[" * depth + "]" * depth
        body = '{"annotations": [{"reference_id": "img00", "type": "box", "deep": @}]}'.replace(
            "@", deep
        )
        if raw(endpoint, "POST", path, data=body.encode()).status_code == 200:
            break
    assert depth > 300
    answer = raw(endpoint, "GET", f"/dataset/{world.dataset.id}/refloc/img00")
    assert answer.status_code == 200
    assert deep in answer.text.replace(" ", "")


@pytest.mark.parametrize(
    ("kind", "body", "words"),
    [
        ("multipart/form-data", b"--x\r\n", "Missing boundary"),
        ("multipart/form-data; boundary=x", b"garbage that is no part", "Invalid multipart"),
        ("multipart/form-data; boundary=x", b"", "no part `serialized_request`"),
        (
            "multipart/form-data; boundary=x",
            b"--x\r\nContent-Disposition: form-data\r\n\r\n{}\r\n--x--\r\n",
            '"name" must be provided',
        ),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="mask"; filename="a"\r\n\r\n\r\n' * 1001
            + b"--x--\r\n",
            "Too many files",
        ),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="serialized_request"\r\n\r\n'
            b"{\r\n--x--\r\n",
            "not JSON",
        ),
    ],
    ids=["no boundary", "garbage", "nothing", "no name", "1001 files", "no JSON"],
)
def test_multipart_that_cannot_be_read_is_refused_once_and_for_all(
    world: World, endpoint: RunningEndpoint, kind: str, body: bytes, words: str
) -> None:
    """With a 400: clients send again what is answered with a 500."""
    path = f"/dataset/{world.dataset.id}/model/{world.model.id}/uploadPredictions"
    answer = raw(endpoint, "POST", path, data=body, headers={"Content-Type": kind})
    assert answer.status_code == 400, answer.text
    assert words in answer.json()["error"]


@pytest.mark.parametrize("place", ["99999999999999999999999", "9" * 5000, "-1", "1.5", "x", "30"])
def test_an_item_that_cannot_be_counted_to_is_not_there(
    world: World, endpoint: RunningEndpoint, place: str
) -> None:
    path = f"/dataset/{world.dataset.id}/model/{world.model.id}/iloc/{place}"
    answer = raw(endpoint, "GET", path)
    assert answer.status_code == 404
    assert len(answer.json()["error"]) < 200


def test_a_body_under_a_url_nobody_was_given_is_refused_before_it_is_read(
    endpoint: RunningEndpoint,
) -> None:
    """Without a key; so it must cost nothing."""
    connection = http.client.HTTPConnection("127.0.0.1", endpoint.port, timeout=10)
    connection.putrequest("PUT", "/_blob/nope")
    connection.putheader("Content-Length", "400000000")
    connection.endheaders(b"x" * 1000)  # and not one byte more
    answer = connection.getresponse()
    assert answer.status == 404
    assert b"ask for a signed URL first" in answer.read()
    connection.close()


def test_a_body_is_gone_when_its_job_has_ended(world: World, endpoint: RunningEndpoint) -> None:
    lines = [world.prediction(f"img{n:02d}", mask_url="s3://b/m.png") for n in range(3)]
    for job in (
        world.upload(lines, asynchronous=True),
        world.dataset.append([nucleus.DatasetItem("https://e.com/x.jpg", "new")]),
    ):
        assert ended(job)["status"] == "Completed"
    with sqlite3.connect(endpoint.root / "nucleus" / "registry.sqlite") as database:
        kept = database.execute(
            "SELECT count(*) FROM uploads WHERE dataset = ?", [world.dataset.id]
        ).fetchone()
    assert kept == (0,)


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
