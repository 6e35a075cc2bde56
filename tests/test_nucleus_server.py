"""The endpoint, talked to by the real Scale Nucleus SDK from another process.

What is expected of answers is what the SDK reads and what its own tests assert.
"""

from __future__ import annotations

import base64
import functools
import json
import logging
import re
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image

import segpipe
from segpipe.publishing.history import history
from segpipe.root import Root
from segpipe.settings import SETTINGS_FILE
from tests.conftest import striped_mask
from tests.nucleus_endpoint import KEY, RunningEndpoint

_handlers = list(logging.getLogger().handlers)
nucleus = pytest.importorskip("nucleus", reason="the SDK is not installed: segpipe[nucleus]")
for _handler in logging.getLogger().handlers[:]:  # it configures logging when it is imported
    if _handler not in _handlers:
        logging.getLogger().removeHandler(_handler)

# What the SDK calls is its own business.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

HEIGHT, WIDTH = 6, 8


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEndpoint]:
    with RunningEndpoint(tmp_path_factory.mktemp("endpoint") / "root") as running:
        yield running


def client_of(endpoint: RunningEndpoint, key: str = KEY) -> Any:
    return nucleus.NucleusClient(api_key=key, endpoint=endpoint.url, use_notebook=False)


class World:
    """A dataset with items and a model, and masks to send."""

    def __init__(self, endpoint: RunningEndpoint, folder: Path, name: str, items: int = 30) -> None:
        self.client = client_of(endpoint)
        self.name, self.folder = name, folder
        self.dataset = self.client.create_dataset(name, is_scene=False)
        job = self.dataset.append(
            [
                nucleus.DatasetItem(
                    image_location=f"https://example.com/{name}-{n}.jpg",
                    reference_id=f"img{n:02d}",
                    metadata={"split": "val"},
                    width=WIDTH,
                    height=HEIGHT,
                )
                for n in range(items)
            ]
        )
        ended(job)
        self.model = self.client.create_model(f"unet {name}", f"{name}@1", {"framework": "torch"})

    def prediction(self, reference_id: str, values: Sequence[int] = (0, 1), **other: Any) -> Any:
        """A prediction whose local mask has these values, in stripes."""
        path = self.folder / f"{abs(hash((reference_id, tuple(values))))}.png"
        Image.fromarray(striped_mask(values, HEIGHT, WIDTH)).save(path)
        return nucleus.SegmentationPrediction(
            mask_url=other.pop("mask_url", str(path)),
            annotations=other.pop(
                "annotations",
                [nucleus.Segment(f"class {v}", v, {"confidence": 0.5}) for v in values],
            ),
            reference_id=reference_id,
            **other,
        )

    def upload(self, predictions: list[Any], **options: Any) -> Any:
        return self.dataset.upload_predictions(self.model, predictions, **options)

    def read(self, reference_id: str) -> dict[str, Any] | None:
        """What is read back for an item."""
        answer = self.client.make_request(
            {},
            f"dataset/{self.dataset.id}/model/{self.model.id}/referenceId/{reference_id}",
            requests_command=requests.get,
        )
        found = answer["annotations"].get("segmentation", [])
        return found[0] if found else None


def ended(job: Any) -> dict[str, Any]:
    """Poll a job until it is really over."""
    deadline = time.monotonic() + 30
    while (status := job.status())["status"] in ("Queued", "Running"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return dict(status)


@pytest.fixture
def world(endpoint: RunningEndpoint, tmp_path: Path, request: pytest.FixtureRequest) -> World:
    return World(endpoint, tmp_path, request.node.name[:60])


def catalog_rows(endpoint: RunningEndpoint, world: World) -> dict[str, dict[str, Any]]:
    rows = Root.open(str(endpoint.root)).catalog.read().to_pylist()
    return {row["reference_id"]: row for row in rows if row["dataset"] == world.name}


def test_a_dataset_its_items_and_its_model_are_there(world: World) -> None:
    assert world.dataset.info().length == 30
    assert world.dataset.name == world.name
    (found,) = [m for m in world.client.models if m.reference_id == f"{world.name}@1"]
    assert found.id == world.model.id
    assert found.metadata == {"framework": "torch"}
    again = world.client.create_model("another name", f"{world.name}@1")
    assert again.id == world.model.id
    item = world.dataset.refloc("img05")["item"]
    assert (item.reference_id, item.metadata) == ("img05", {"split": "val"})


def test_items_that_are_there_are_ignored_or_updated(world: World) -> None:
    changed = nucleus.DatasetItem("https://example.com/x.jpg", "img00", metadata={"split": "test"})
    assert ended(world.dataset.append([changed]))["message"] == {
        "new_items": 0, "updated_items": 0, "ignored_items": 1,
    }  # fmt: skip
    ended(world.dataset.append([changed], update=True))
    assert world.dataset.refloc("img00")["item"].metadata == {"split": "test"}


def test_local_masks_are_stored_ignored_and_replaced(
    world: World, endpoint: RunningEndpoint
) -> None:
    def counts(answer: dict[str, Any]) -> tuple[int, int]:
        return answer["predictions_processed"], answer["predictions_ignored"]

    first = [world.prediction(f"img{n:02d}") for n in range(25)]  # three requests
    assert counts(world.upload(first)) == (25, 0)
    assert counts(world.upload(first)) == (0, 25)
    other = [world.prediction(f"img{n:02d}", (0, 2)) for n in range(5)]
    assert counts(world.upload(other)) == (0, 5)
    before = catalog_rows(endpoint, world)
    assert counts(world.upload(other, update=True)) == (5, 0)
    after = catalog_rows(endpoint, world)
    assert len(before) == len(after) == 25
    assert {id for id in before if before[id]["fingerprint"] != after[id]["fingerprint"]} == {
        f"img{n:02d}" for n in range(5)
    }
    assert after["img01"]["previous_fingerprint"] == before["img01"]["fingerprint"]
    assert [s["label"] for s in after["img01"]["segments"]] == ["class 0", "class 2"]
    assert after["img01"]["model_run"] == f"{world.name}@1"


def test_what_is_read_back_is_what_was_sent(world: World) -> None:
    sent = world.prediction("img03", annotation_id="my id")
    world.upload([sent])
    expected = {**sent.to_payload(), "type": "segmentation"}
    assert world.read("img03") == expected
    assert world.read("img04") is None
    exported = world.dataset.export_predictions(world.model)["segmentation"]
    assert [one.to_payload() for one in exported] == [{**expected, "type": "mask"}]


def test_a_batch_with_an_item_that_does_not_exist_costs_that_item_only(world: World) -> None:
    answer = world.upload([world.prediction("img00"), world.prediction("nowhere")])
    assert (answer["predictions_processed"], answer["predictions_ignored"]) == (1, 0)
    (error,) = answer["errors"]
    told = json.loads(error)
    assert told["error"] == "Item with id nowhere doesn't exist."
    assert told["annotation"]["reference_id"] == "nowhere"
    assert world.read("img00") is not None


def test_remote_masks_below_allowed_roots_are_fetched_and_others_only_noted(
    tmp_path: Path,
) -> None:
    served = tmp_path / "served"
    served.mkdir()
    Image.fromarray(striped_mask((0, 1), HEIGHT, WIDTH)).save(served / "there.png")
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(served))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    allowed = f"http://127.0.0.1:{server.server_port}"
    root = tmp_path / "root"
    root.mkdir()
    (root / SETTINGS_FILE).write_text(f'allowed_roots = ["{allowed}"]\n')
    with RunningEndpoint(root) as endpoint:
        world = World(endpoint, tmp_path, "remote")
        there = world.prediction("img00", mask_url=f"{allowed}/there.png")
        elsewhere = world.prediction("img01", mask_url="s3://bucket/m.png")
        answer = world.upload([there, elsewhere])
        assert answer["predictions_processed"] == 2
        assert set(catalog_rows(endpoint, world)) == {"img00"}
        found = requests.get(
            f"{endpoint.url}/dataset/{world.dataset.id}/model/{world.model.id}/findings",
            auth=(KEY, ""),
            timeout=10,
        ).json()
        assert found["img01"][0].startswith("URL-REFUSED")
        assert world.read("img01") is not None
    server.shutdown()


def test_uploads_as_a_job_end_and_tell_their_errors(
    world: World, endpoint: RunningEndpoint
) -> None:
    remote = [world.prediction(f"img{n:02d}", mask_url=f"s3://bucket/{n}.png") for n in range(3)]
    job = world.upload(remote, asynchronous=True)
    told = ended(job)
    assert (told["status"], told["message"]) == ("Completed", {"processed": 3, "ignored": 0})
    assert job.errors() == []
    remote.append(world.prediction("nowhere", mask_url="s3://bucket/x.png"))
    job = world.upload(remote, asynchronous=True)
    assert ended(job)["message"] == {"processed": 0, "ignored": 3}
    (error,) = job.errors()
    assert "Item with id nowhere doesn't exist." in error


def test_ground_truth_is_annotated_beside_the_predictions(
    world: World, endpoint: RunningEndpoint
) -> None:
    path = world.prediction("img02").mask_url
    segments = [nucleus.Segment("class 0", 0), nucleus.Segment("class 1", 1)]
    truth = nucleus.SegmentationAnnotation(path, segments, "img02", annotation_id="gt")
    answer = world.dataset.annotate([truth])
    assert (answer["annotations_processed"], answer["annotations_ignored"]) == (1, 0)
    assert world.dataset.annotate([truth])["annotations_ignored"] == 1
    assert catalog_rows(endpoint, world)["img02"]["model_run"] == "ground-truth"
    (found,) = world.dataset.refloc("img02")["annotations"]["segmentation"]
    assert found.to_payload() == truth.to_payload()
    assert world.read("img02") is None


def test_boxes_and_masks_may_come_together(world: World) -> None:
    box = nucleus.BoxPrediction("car", 1, 2, 3, 4, "img01", confidence=0.5)
    answer = world.upload([world.prediction("img01"), box])
    assert answer["predictions_processed"] == 2
    found = world.dataset.predictions_refloc(world.model, "img01")
    assert {kind: len(ones) for kind, ones in found.items()} == {"segmentation": 1, "box": 1}


def test_ids_with_characters_urls_give_a_meaning_to_are_found_when_quoted(world: World) -> None:
    odd = "dir/a b#1?x=%2e%2e/..\u00fc.jpg"
    item = nucleus.DatasetItem("https://example.com/x.jpg", odd, width=WIDTH, height=HEIGHT)
    ended(world.dataset.append([item]))
    assert world.upload([world.prediction(odd)])["predictions_processed"] == 1
    assert world.read(requests.utils.quote(odd, safe="")) is not None
    assert world.dataset.refloc(odd)["item"].reference_id == odd


def test_what_was_uploaded_is_in_the_catalogs_history_and_can_be_restored(
    world: World, endpoint: RunningEndpoint
) -> None:
    world.upload([world.prediction("img00", (0, 1))])
    world.upload([world.prediction("img00", (0, 2))], update=True)
    root = Root.open(str(endpoint.root))
    newest, before = history(root.catalog)[:2]
    assert (newest.operation, before.operation) == ("publish", "publish")
    old = root.catalog.read(["reference_id", "segments"], f"dataset = '{world.name}'",
                            version=before.version)  # fmt: skip
    assert old["segments"][0].as_py()[1]["label"] == "class 1"
    assert segpipe.open_catalog(str(endpoint.root)).read().num_rows >= 1


def test_deleting_removes_predictions_here_and_in_the_catalog(
    world: World, endpoint: RunningEndpoint
) -> None:
    world.upload([world.prediction("img00")])
    world.client.delete_model(world.model.id)
    assert catalog_rows(endpoint, world) == {}
    assert all(model.id != world.model.id for model in world.client.models)
    world.client.delete_dataset(world.dataset.id)
    assert world.name not in [one["name"] for one in world.client.make_request(
        {}, "dataset/details", requests_command=requests.get)]  # fmt: skip


def wrong_masks(world: World) -> dict[str, Any]:
    """The fixture of the SDK's own tests among them: the service is believed to take them all."""
    Image.fromarray(np.zeros((10, 640), np.uint8)).save(world.folder / "size.png")
    Image.fromarray(np.full((HEIGHT, WIDTH), 900, np.uint16)).save(world.folder / "deep.png")
    (world.folder / "no.png").write_bytes(b"GIF89a")
    return {
        "img00": world.prediction("img00", mask_url=str(world.folder / "size.png")),
        "img01": world.prediction("img01", (0, 1, 2), annotations=[nucleus.Segment("a", 1)]),
        "img02": world.prediction("img02", mask_url=str(world.folder / "deep.png")),
        "img03": world.prediction("img03", mask_url=str(world.folder / "no.png")),
        "img04": world.prediction("img04", annotations=[nucleus.Segment("a", 999)]),
    }


def test_wrong_masks_are_taken_and_what_is_wrong_is_noted(
    world: World, endpoint: RunningEndpoint
) -> None:
    answer = world.upload([*wrong_masks(world).values(), world.prediction("img05")])
    assert (answer["predictions_processed"], answer["predictions_ignored"]) == (6, 0)
    assert set(catalog_rows(endpoint, world)) == {"img05"}
    url = f"{endpoint.url}/dataset/{world.dataset.id}/model/{world.model.id}/findings"
    found = requests.get(url, auth=(KEY, ""), timeout=10).json()
    expected = {
        "img00": "SIZE-MISMATCH", "img01": "VALUE-NO-SEGMENT", "img02": "MASK-16BIT",
        "img03": "FILE-NOT-PNG", "img04": "INDEX-RANGE",
    }  # fmt: skip
    assert found.keys() == expected.keys()
    for reference_id, rule in expected.items():
        assert rule in [message.partition(":")[0] for message in found[reference_id]]
    # A wrong mask in the place of a right one: the catalog does not keep what is no longer there.
    world.upload([world.prediction("img05", mask_url=str(world.folder / "no.png"))], update=True)
    assert catalog_rows(endpoint, world) == {}


def test_strict_refuses_wrong_masks_with_the_findings(tmp_path: Path) -> None:
    with RunningEndpoint(tmp_path / "root", "--checks", "strict") as endpoint:
        world = World(endpoint, tmp_path, "strict")
        answer = world.upload([*wrong_masks(world).values(), world.prediction("img05")])
        assert (answer["predictions_processed"], answer["predictions_ignored"]) == (1, 0)
        errors = {}
        for line in answer["errors"]:
            told = json.loads(line)
            errors[told["annotation"]["reference_id"]] = told["error"]
        assert set(errors) == {f"img0{n}" for n in range(5)}
        assert "SIZE-MISMATCH: the mask is" in errors["img00"]
        assert world.read("img00") is None


# --- requests nobody should send


def raw(endpoint: RunningEndpoint, method: str, path: str, **options: Any) -> requests.Response:
    options.setdefault("auth", (KEY, ""))
    return requests.request(method, f"{endpoint.url}{path}", timeout=30, **options)


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


def multipart(segmentations: list[dict[str, Any]], masks: list[tuple[str, bytes]]) -> Any:
    payload = json.dumps({"segmentations": segmentations, "update": False})
    parts: list[Any] = [("serialized_request", (None, payload, "application/json"))]
    return parts + [("mask", (name, data, "image/png")) for name, data in masks]


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


# --- crashes and races


def test_two_clients_at_once_leave_one_prediction_per_item(
    world: World, endpoint: RunningEndpoint
) -> None:
    batches = [[world.prediction(f"img{n:02d}", (0, k)) for n in range(10)] for k in (1, 2)]
    path = f"/dataset/{world.dataset.id}/model/{world.model.id}/uploadPredictions"

    def send(batch: list[Any]) -> dict[str, Any]:
        sent = [one.to_payload() for one in batch]
        masks = [
            (requests.utils.quote(one.mask_url, safe=""), Path(one.mask_url).read_bytes())
            for one in batch
        ]
        answer: dict[str, Any] = raw(endpoint, "POST", path, files=multipart(sent, masks)).json()
        return answer

    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(send, batches * 4))
    assert sum(one["predictions_processed"] for one in told) == 10
    assert sum(one["predictions_ignored"] for one in told) == 70
    rows = catalog_rows(endpoint, world)
    assert len(rows) == 10
    for reference_id, row in rows.items():
        held = world.read(reference_id)
        assert held is not None
        assert [s["label"] for s in row["segments"]] == [s["label"] for s in held["annotations"]]


def kill_while_uploading(tmp_path: Path, times: int) -> None:
    with RunningEndpoint(tmp_path / "root") as endpoint:
        world = World(endpoint, tmp_path, "killed")
        sent = [world.prediction(f"img{n:02d}", (0, 1 + n)) for n in range(30)]
        random = np.random.default_rng(0)
        for round in range(times):
            with ThreadPoolExecutor(1) as pool:
                update = bool(round % 2)
                running = pool.submit(world.upload, sent, update=update)
                time.sleep(random.uniform(0, 0.5))
                endpoint.kill()
                endpoint.restart()
                with_error = running.exception()
            assert with_error is None or KEY not in str(with_error)
            rows = catalog_rows(endpoint, world)
            for one in sent:  # what can be read back is in the catalog, once, as it was sent
                held = world.read(one.reference_id)
                if held is not None:
                    labels = [s["label"] for s in rows[one.reference_id]["segments"]]
                    assert labels == [s["label"] for s in held["annotations"]]
        answer = world.upload(sent, update=False)
        assert answer["predictions_processed"] + answer["predictions_ignored"] == 30
        assert len(catalog_rows(endpoint, world)) == 30


def test_an_endpoint_killed_while_uploading_loses_nothing_it_answered(tmp_path: Path) -> None:
    kill_while_uploading(tmp_path, 3)


@pytest.mark.slow
def test_an_endpoint_killed_fifty_times_loses_nothing_it_answered(tmp_path: Path) -> None:
    kill_while_uploading(tmp_path, 50)


def test_the_documented_client_works_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = Path(__file__).resolve().parents[1] / "docs" / "nucleus.md"
    (code,) = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    Image.fromarray(striped_mask((0, 1), 480, 640)).save(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    with RunningEndpoint(tmp_path / "root", key=None) as endpoint:
        exec(code.replace("http://127.0.0.1:8000", endpoint.url), {})
        (row,) = Root.open(str(endpoint.root)).catalog.read().to_pylist()
    assert (row["dataset"], row["model_run"], row["reference_id"]) == ("streets", "unet@1", "a")
    assert [s["confidence"] for s in row["segments"]] == [None, 0.9]
