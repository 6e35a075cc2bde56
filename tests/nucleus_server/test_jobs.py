"""The endpoint's jobs, polled with the SDK's own ``AsyncJob``: what it takes for an end, and what
one is.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image

from segpipe.settings import SETTINGS_FILE
from tests.fixtures.landing import HEIGHT, WIDTH, striped_mask
from tests.fixtures.nucleus_endpoint import RunningEndpoint
from tests.fixtures.nucleus_world import World, ended, nucleus, world

__all__ = ["world"]  # a fixture

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class SlowMasks:
    """A server of a mask that lets nobody have it before it is told to."""

    def __init__(self, folder: Path) -> None:
        Image.fromarray(striped_mask((0, 1), HEIGHT, WIDTH)).save(folder / "slow.png")
        content, self._released = (folder / "slow.png").read_bytes(), threading.Event()
        released = self._released

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                released.wait(30)
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *words: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def release(self) -> None:
        """Let them have it."""
        self._released.set()

    def close(self) -> None:
        """Stop serving."""
        self.release()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def masks(tmp_path: Path) -> Iterator[SlowMasks]:
    serving = SlowMasks(tmp_path)
    yield serving
    serving.close()


@pytest.fixture(autouse=True)
def often_polled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nucleus.async_job.JOB_POLLING_INTERVAL", 0.02)  # of 5 s


@pytest.fixture
def fetching(tmp_path: Path, masks: SlowMasks) -> Iterator[RunningEndpoint]:
    root = tmp_path / "root"
    root.mkdir()
    (root / SETTINGS_FILE).write_text(f'allowed_roots = ["{masks.url}"]\n')
    with RunningEndpoint(root) as running:
        yield running


@pytest.fixture
def slow_world(fetching: RunningEndpoint, tmp_path: Path) -> World:
    return World(fetching, tmp_path, "streets", items=4)


def two_jobs(world: World, masks: SlowMasks) -> tuple[Any, Any]:
    """One that waits for its mask, and one that waits for the first."""
    slow = world.prediction("img00", mask_url=f"{masks.url}/slow.png")
    other = world.prediction("img01", mask_url="s3://bucket/other.png")
    first = world.upload([slow], asynchronous=True)
    return first, world.upload([other], asynchronous=True)


@pytest.mark.slow
def test_a_job_that_stays_queued_is_not_done_though_the_client_returns(
    slow_world: World, masks: SlowMasks
) -> None:
    first, second = two_jobs(slow_world, masks)
    second.sleep_until_complete(verbose_std_out=False)
    assert second.status()["status"] == "Queued"
    assert first.status()["status"] == "Running"
    assert slow_world.read("img00") is None
    assert slow_world.read("img01") is None
    masks.release()
    assert ended(second)["status"] == "Completed"
    message = first.status()["message"]
    assert message["segmentation_upload"] == {"processed": 1, "ignored": 0, "n_errors": 0}
    assert slow_world.read("img00") is not None
    assert slow_world.read("img01") is not None


@pytest.mark.slow
def test_jobs_that_were_not_ended_are_by_the_next_process(
    slow_world: World, masks: SlowMasks, fetching: RunningEndpoint
) -> None:
    first, second = two_jobs(slow_world, masks)
    fetching.kill()
    masks.release()
    fetching.restart()
    assert [ended(job)["status"] for job in (first, second)] == ["Completed", "Completed"]
    assert slow_world.read("img00") is not None
    assert slow_world.read("img01") is not None


def test_a_completed_job_may_have_errors_which_the_client_does_not_raise(world: World) -> None:
    ids = ("img00", "nowhere")
    sent = [world.prediction(one, mask_url="s3://b/m.png") for one in ids]
    job = world.upload(sent, asynchronous=True)
    ended(job)
    job.sleep_until_complete(verbose_std_out=False)
    assert job.status()["status"] == "Completed"
    (error,) = job.errors()
    assert "Item with id nowhere doesn't exist." in error


def test_a_job_tells_what_the_clients_own_tests_read_of_it(world: World) -> None:
    box, elsewhere = (
        nucleus.BoxAnnotation("car", 1, 2, 3, 4, id, annotation_id="box")
        for id in ("img00", "nowhere")
    )
    mask = nucleus.SegmentationAnnotation("s3://b/m.png", [nucleus.Segment("a", 1)], "img01")
    job = world.dataset.annotate([box, elsewhere, mask], asynchronous=True)
    told = ended(job)
    (warning,) = told["message"].pop("warnings")
    assert warning.startswith("img01: stored, but not in segpipe's catalog: URL-REFUSED")
    of = {"epoch": 1, "datasetId": world.dataset.id}
    assert told["message"] == {
        "annotation_upload": {"total": 2, "errored": 1, "ignored": 0, "processed": 1, **of},
        "segmentation_upload": {"ignored": 0, "n_errors": 0, "processed": 1},
    }
    steps = told["job_progress"], told["completed_steps"], told["total_steps"]
    assert steps == ("1.00", 3, 3)
    again = world.client.get_job(job.job_id)
    assert again.job_last_known_status == "Completed"
    assert (again.job_id, again.job_type) == (job.job_id, "uploadAnnotations")
    assert again.job_creation_time == job.job_creation_time
    listed = world.client.list_jobs(show_completed=True)
    assert [one for one in listed if one.job_id == job.job_id] == [again]


def test_jobs_are_listed_that_are_asked_for(world: World) -> None:
    dataset, jobs = world.dataset, world.client.list_jobs
    items = jobs(dataset_id=dataset.id, show_completed=True)  # there are those of other tests
    box = nucleus.BoxAnnotation("car", 1, 2, 3, 4, "img00", annotation_id="box")
    job = dataset.annotate([box], asynchronous=True)
    ended(job)
    job = world.client.get_job(job.job_id)
    assert jobs(dataset_id=dataset.id) == []  # none is under way
    assert dataset.jobs(show_completed=True) == [*items, job]
    assert dataset.jobs(show_completed=True, limit=1) == [job]
    annotating = [nucleus.CustomerJobTypes.UPLOAD_ANNOTATIONS]
    assert dataset.jobs(annotating, show_completed=True) == [job]
    began, day = job.job_creation_time, timedelta(days=1)
    before = datetime.fromisoformat(began) - day
    assert dataset.jobs(annotating, str(before.date()), began, show_completed=True) == [job]
    of_day = str(datetime.fromisoformat(began).date())  # from its first moment to its last
    assert dataset.jobs(annotating, of_day, of_day, show_completed=True) == [job]
    assert dataset.jobs(to_date=str(before.date()), show_completed=True) == []
    assert dataset.jobs(from_date=before + 2 * day, show_completed=True) == []
    assert dataset.jobs(to_date=before, show_completed=True) == []
    with pytest.raises(nucleus.errors.NucleusAPIError, match="as in 2026-01-31"):
        dataset.jobs(from_date="Jan 31 2026")


def test_a_job_tells_its_first_warnings_and_where_all_are(world: World) -> None:
    items = [nucleus.DatasetItem("https://a.b/c.jpg", f"new {n}") for n in range(103)]
    ended(world.dataset.append(items))
    segments = [nucleus.Segment("a", 0)]
    masks = [
        nucleus.SegmentationPrediction("s3://b/m.png", segments, one.reference_id) for one in items
    ]
    *warnings, rest = ended(world.upload(masks, asynchronous=True))["message"]["warnings"]
    assert len(warnings) == 100
    words, _, where = rest.partition(": ")
    assert words == "and 3 more"
    assert len(world.client.get(where.removesuffix(" has all"))) == 103


def test_a_job_of_items_tells_what_the_clients_own_tests_read_of_it(world: World) -> None:
    items = [nucleus.DatasetItem("https://a.b/c.jpg", f"new {n}") for n in range(5)]
    job = world.dataset.append(items)
    assert ended(job) == {
        "job_id": job.job_id,
        "status": "Completed",
        "message": {
            "image_upload_step": {"errored": 0, "pending": 0, "completed": 5},
            "started_image_processing": f"Dataset: {world.dataset.id}, Job: {job.job_id}",
            "ingest_to_reupload_queue": {
                "epoch": 1, "total": 5, "processed": 5, "datasetId": world.dataset.id,
            },
        },
        "job_progress": "1.00",
        "completed_steps": 5,
        "total_steps": 5,
    }  # fmt: skip


def test_a_job_whose_body_cannot_be_read_is_errored_with_the_line(world: World) -> None:
    client, dataset = world.client, world.dataset.id
    route = f"dataset/{dataset}/signedUrl/mine"
    url = client.make_request({}, route, requests_command=requests.get)["signed_url"]
    requests.put(url, data=b'{"reference_id": "img00"}\n{"x": NaN}\n', timeout=10)
    route = f"dataset/{dataset}/model/{world.model.id}/uploadPredictions?async=1"
    begun = client.make_request({"requestId": "mine", "update": False}, route)
    job = nucleus.AsyncJob.from_json(begun, client)
    ended(job)
    with pytest.raises(nucleus.async_job.JobError, match=r"Errored .*line 2: .*NaN is no number"):
        job.sleep_until_complete(verbose_std_out=False)
    (error,) = job.errors()
    assert error.startswith("line 2: ")
