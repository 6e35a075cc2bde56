"""The endpoint, talked to by the real Scale Nucleus SDK from another process.

What is expected of answers is what the SDK reads and what its own tests assert.
"""

from __future__ import annotations

import functools
import json
import threading
import time
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
from tests.fixtures.thoroughness import at_most

__all__ = ["world"]  # a fixture

# What the SDK calls is its own business.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


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


def test_a_new_dataset_is_of_images_and_empty_and_one_of_scenes_is_refused(world: World) -> None:
    new = world.client.create_dataset(f"{world.name} 2", is_scene=False)
    assert (new.name, new.size, new.items) == (f"{world.name} 2", 0, [])
    assert (new.is_scene, new.use_privacy_mode) == (False, False)
    assert new.model_runs == new.slices == []
    assert new.id in [one.id for one in world.client.datasets]
    with pytest.raises(nucleus.errors.NucleusAPIError, match="datasets of scenes are not served"):
        world.client.create_dataset("of scenes", is_scene=True)


def test_items_that_are_there_are_ignored_or_updated(world: World) -> None:
    changed = nucleus.DatasetItem("https://example.com/x.jpg", "img00", metadata={"split": "test"})
    assert ended(world.dataset.append([changed]))["message"]["ignored_items"] == 1
    assert world.dataset.refloc("img00")["item"].metadata == {"split": "val"}
    assert ended(world.dataset.append([changed], update=True))["message"]["updated_items"] == 1
    assert world.dataset.refloc("img00")["item"].metadata == {"split": "test"}
    told = world.dataset.update_item_metadata({"img00": {"sky": [1]}, "nowhere": {"sky": 2}})
    assert told["errors"] == ["Item with id nowhere doesn't exist."]
    assert world.dataset.refloc("img00")["item"].metadata == {"split": "test", "sky": [1]}


def test_items_of_older_clients_are_appended_at_once(
    world: World, endpoint: RunningEndpoint
) -> None:
    Image.new("RGB", (WIDTH, HEIGHT)).save(world.folder / "local.jpg")
    items = [{"reference_id": one, "metadata": {}} for one in ("img00", "new")]
    local = [{"reference_id": "local", "update": False}]
    files = [("items", (None, json.dumps(local), "application/json"))]
    image = ("image", ("local.jpg", (world.folder / "local.jpg").read_bytes(), "image/jpeg"))
    path, none = f"/dataset/{world.dataset.id}/append", {"updated_items": 0, "ignored_items": 0}
    told = raw(endpoint, "POST", path, json={"items": items, "update": False}).json()
    assert told == {"dataset_id": world.dataset.id, **none, "new_items": 1, "ignored_items": 1}
    told = raw(endpoint, "POST", path, files=[*files, image]).json()
    assert told == {"dataset_id": world.dataset.id, **none, "new_items": 1}
    assert world.dataset.size == 32


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
    message = told["message"]
    counts = {"processed": 3, "ignored": 0, "n_errors": 0}
    assert (told["status"], message["segmentation_upload"]) == ("Completed", counts)
    assert message["prediction_upload"]["total"] == 0
    assert [words.partition(":")[0] for words in message["warnings"]] == ["img00", "img01", "img02"]
    assert job.errors() == []
    remote.append(world.prediction("nowhere", mask_url="s3://bucket/x.png"))
    job = world.upload(remote, asynchronous=True)
    message = ended(job)["message"]
    assert message["segmentation_upload"] == {"processed": 0, "ignored": 3, "n_errors": 1}
    assert "warnings" not in message
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


def test_what_there_is_is_listed_and_found_by_place_and_id(world: World) -> None:
    world.upload([world.prediction("img00")])
    (run,) = world.dataset.model_runs
    assert run == world.dataset.info().model_run_ids[0]
    items = world.dataset.items
    assert [one.reference_id for one in items] == [f"img{n:02d}" for n in range(30)]
    assert items[3].metadata == {"split": "val"}
    pages = [one.reference_id for one in world.dataset.items_generator(page_size=7)]
    assert pages == [one.reference_id for one in items]
    box = nucleus.BoxAnnotation("car", 1, 2, 3, 4, "img03", annotation_id="my box")
    world.dataset.annotate([box])
    assert world.dataset.ground_truth_loc("img03", "my box").label == "car"
    for found in (world.dataset.iloc(3), world.dataset.loc(items[3].dataset_item_id)):
        assert found["item"].reference_id == "img03"
        assert [one.annotation_id for one in found["annotations"]["box"]] == ["my box"]
    for missing in ("iloc/30", "loc/di_0", "groundTruth/loc/img03/other"):
        with pytest.raises(nucleus.errors.NucleusAPIError, match="404"):
            world.client.get(f"dataset/{world.dataset.id}/{missing}")


def test_tags_of_datasets_and_models_are_kept_as_lists(world: World) -> None:
    assert world.dataset.get_tags() == []
    assert world.dataset.add_tags(["a", "b", "a"]) == ["a", "b"]
    assert world.dataset.remove_tags(["a", "c"]) == ["b"]
    assert world.dataset.get_tags() == ["b"]
    world.model.add_tags(["x", "y"])
    world.model.remove_tags(["x"])
    assert world.client.get_model(world.model.id).tags == ["y"]
    other = world.client.create_model("tagged", f"{world.name}@2", tags=["first"])
    other.add_tags(["second"])
    assert world.client.get_model(other.id).tags == ["first", "second"]


def test_local_images_are_appended_for_their_size(world: World) -> None:
    paths = [world.folder / f"local{n}.jpg" for n in range(2)]
    for path in paths:
        Image.new("RGB", (WIDTH, HEIGHT)).save(path)
    job = world.dataset.append([nucleus.DatasetItem(str(one), one.stem) for one in paths])
    assert ended(job)["message"]["ingest_to_reupload_queue"]["processed"] == 2
    Image.fromarray(np.zeros((HEIGHT, WIDTH + 1), np.uint8)).save(world.folder / "wide.png")
    wide = world.prediction("local1", (0,), mask_url=str(world.folder / "wide.png"))
    (warning,) = world.upload([wide])["warnings"]
    assert "SIZE-MISMATCH" in warning


def test_masks_without_a_dataset_are_refused_in_words(world: World) -> None:
    with pytest.raises(nucleus.errors.NucleusAPIError, match=r"use dataset\.upload_predictions"):
        world.model.upload_predictions([world.prediction("img00")])


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
    answer = world.client.delete_model(world.model.id)
    assert answer == {"msg": "Model deletion running in an async job"}
    assert catalog_rows(endpoint, world) == {}
    assert all(model.id != world.model.id for model in world.client.models)
    answer = world.client.delete_dataset(world.dataset.id)
    assert answer == {"message": "Beginning dataset deletion..."}
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
            for one in sent:  # what can be read back is what is in the catalog, once
                held = world.read(one.reference_id)
                assert (held is not None) == (one.reference_id in rows)
                if held is not None:
                    labels = [s["label"] for s in rows[one.reference_id]["segments"]]
                    assert labels == [s["label"] for s in held["annotations"]]
        answer = world.upload(sent, update=False)
        assert answer["predictions_processed"] + answer["predictions_ignored"] == 30
        assert len(catalog_rows(endpoint, world)) == 30


@pytest.mark.slow
def test_an_endpoint_killed_while_uploading_loses_nothing_it_answered(tmp_path: Path) -> None:
    kill_while_uploading(tmp_path, 1)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_an_endpoint_killed_many_times_loses_nothing_it_answered(tmp_path: Path) -> None:
    kill_while_uploading(tmp_path, at_most(25, 100))
