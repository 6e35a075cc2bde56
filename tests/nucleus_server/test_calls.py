"""A call of the client comes as many requests: when they are answered and in the catalog, and what
a process that is ended in between leaves behind.
"""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from segpipe.errors import SegpipeError, SettingsError
from segpipe.nucleus_server.database import Database
from segpipe.nucleus_server.endpoint import Endpoint
from segpipe.nucleus_server.jobs import Job, Jobs
from segpipe.nucleus_server.journal import Journal
from segpipe.nucleus_server.judging import Checks, Judge, Judging
from segpipe.nucleus_server.limits import Limits
from segpipe.nucleus_server.requests import RequestRefused, Upload
from segpipe.nucleus_server.segmentations import Counts
from segpipe.nucleus_server.uploads import ITEMS, PREDICTIONS
from segpipe.publishing.history import History
from segpipe.root import Root
from segpipe.viewer.filters import Filters
from segpipe.viewer.static_page import static_page
from segpipe.viewer.viewer import Viewer
from tests.fixtures.landing import HEIGHT, WIDTH, striped_mask

#: Nothing is published because of time alone.
PATIENT = Limits(call_seconds=600.0, held_seconds=600.0)


class Uploading:
    """A root and its endpoint, without the server."""

    def __init__(self, folder: Path, judging: Judging | None = None, items: int = 60) -> None:
        self.folder, self.judging = folder, judging or Judging()
        self.endpoint = self.opened()
        registry = self.endpoint.registry
        self.dataset = registry.create_dataset({"name": "streets"})
        names = [f"img{n:02d}" for n in range(items)]
        sent = [{"reference_id": one, "height": HEIGHT, "width": WIDTH} for one in names]
        registry.put_items(self.dataset, sent, update=False)
        self.model = registry.put_model({"name": "unet", "reference_id": "unet@1"})

    def opened(self, limits: Limits = PATIENT) -> Endpoint:
        database = Database(self.folder / "registry.sqlite")
        return Endpoint(Root.open(str(self.folder)), database, self.judging, limits)

    def request(self, *numbers: int, value: int = 1, update: bool = False, **more: Any) -> Counts:
        """One request, with a mask for each item of these numbers."""
        segments = [{"label": f"class {v}", "index": v} for v in (0, value)]
        sent = [
            {"reference_id": f"img{n:02d}", "annotations": segments, "mask_url": "a.png", **more}
            for n in numbers
        ]
        buffer = io.BytesIO()
        Image.fromarray(striped_mask((0, value), HEIGHT, WIDTH)).save(buffer, format="PNG")
        masks = [buffer.getvalue()] * len(sent)
        return self.endpoint.segmentations.take(
            self.dataset, self.model, sent, masks, update=update
        )

    @property
    def history(self) -> History:
        return Root.open(str(self.folder)).catalog.history()

    @property
    def published(self) -> dict[str, list[str]]:
        """Reference id -> labels, in the catalog."""
        rows = Root.open(str(self.folder)).catalog.read(["reference_id", "segments"]).to_pylist()
        return {row["reference_id"]: [s["label"] for s in row["segments"]] for row in rows}

    @property
    def readable(self) -> dict[str, list[str]]:
        """The same, through the API."""
        self.endpoint.reconciliation.catch_up()
        found = self.endpoint.registry.annotations(self.dataset, self.model)
        return {
            one["reference_id"]: [s["label"] for s in one["annotations"]]
            for one in found.get("segmentation", [])
        }


@pytest.fixture
def uploading(tmp_path: Path) -> Uploading:
    return Uploading(tmp_path)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as threads:
        yield threads


def eventually(done: Any) -> None:
    deadline = time.monotonic() + 20
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def ended(uploading: Uploading, job: Job) -> tuple[str, list[str]]:
    """The status and the errors of a job that is done."""
    jobs = uploading.endpoint.jobs

    def now() -> Job:
        found = jobs.get(job.id)
        assert found is not None
        return found

    eventually(lambda: now().status not in ("Queued", "Running"))
    return now().status, list(now().errors)


def one_call(
    uploading: Uploading, pool: ThreadPoolExecutor, *, update: bool, value: int = 1
) -> list[Counts]:
    """34 masks, as the client sends them: full requests, and the rest last."""
    full = [
        pool.submit(uploading.request, *range(n, n + 10), update=update, value=value)
        for n in (0, 10, 20)
    ]
    eventually(lambda: sum(one.done() for one in full) == 2)  # the third waits for more of the call
    rest = uploading.request(30, 31, 32, 33, update=update, value=value)
    return [one.result() for one in full] + [rest]


def test_a_call_is_one_version_of_the_catalog_and_there_when_it_returns(
    uploading: Uploading, pool: ThreadPoolExecutor
) -> None:
    assert sum(one.processed for one in one_call(uploading, pool, update=False)) == 34
    assert len(uploading.published) == 34
    assert sum(one.ignored for one in one_call(uploading, pool, update=False, value=2)) == 34
    one_call(uploading, pool, update=True, value=3)
    assert set(map(tuple, uploading.published.values())) == {("class 0", "class 3")}
    operations = [(one.operation, one.notes.get("update")) for one in uploading.history]
    assert operations == [("publish", "true"), ("publish", "false"), ("create", None)]
    assert [one.notes.get("replaced") for one in uploading.history[:2]] == ["34", "0"]
    uploading.endpoint.close()


def interrupted(uploading: Uploading, pool: ThreadPoolExecutor) -> None:
    """A request that was answered and one that was not, of a call that did not go on."""
    first = pool.submit(uploading.request, *range(10))
    eventually(
        lambda: (
            len(uploading.endpoint.registry.fingerprints(uploading.dataset, uploading.model)) == 10
        )
    )
    second: Future[Counts] = pool.submit(uploading.request, *range(10, 20))
    assert first.result(20).processed == 10
    assert not second.done()
    assert uploading.history == []


def test_what_was_answered_is_published_by_the_next_process(
    uploading: Uploading, pool: ThreadPoolExecutor
) -> None:
    interrupted(uploading, pool)
    ended, uploading.endpoint = uploading.endpoint, uploading.opened()
    assert len(uploading.published) == 20
    assert uploading.readable == uploading.published
    assert len(uploading.history) == 2
    uploading.endpoint.close()
    ended.close()  # what it held is there already: nothing more is published
    assert len(uploading.history) == 2


def test_reading_and_deleting_do_not_wait_for_the_rest_of_a_call(
    uploading: Uploading, pool: ThreadPoolExecutor
) -> None:
    interrupted(uploading, pool)
    assert len(uploading.readable) == 20
    uploading.endpoint.segmentations.remove(uploading.dataset, uploading.model, ["img00"])
    assert len(uploading.published) == len(uploading.readable) == 19
    uploading.endpoint.close()


@pytest.mark.parametrize("what", ["dataset", "model"])
def test_what_arrives_while_its_dataset_or_model_is_deleted_is_stored_nowhere(
    uploading: Uploading, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    uploading.request(0)
    endpoint, judged = uploading.endpoint, Judge.judged

    def deleted_then(*arguments: Any) -> Any:
        found = judged(*arguments)
        getattr(endpoint, f"delete_{what}")(getattr(uploading, what))
        return found

    monkeypatch.setattr(Judge, "judged", deleted_then)
    with pytest.raises(RequestRefused, match="deleted meanwhile"):
        uploading.request(1)
    assert uploading.published == {}
    box = Upload({"annotations": [{"reference_id": "img02", "type": "box"}]}, [])
    with pytest.raises(RequestRefused, match="deleted meanwhile"):
        endpoint.uploads.put_annotations(uploading.dataset, uploading.model, box)
    assert endpoint.registry.annotations(uploading.dataset, uploading.model) == {}
    endpoint.close()


def test_nothing_is_kept_for_a_dataset_that_is_not_there_any_more(uploading: Uploading) -> None:
    """As when it is deleted while the body of a request arrives."""
    endpoint, dataset = uploading.endpoint, uploading.dataset
    endpoint.delete_dataset(dataset)
    item = {"reference_id": "img00"}
    keeping: list[Callable[[], object]] = [
        lambda: endpoint.uploads.put_items(dataset, {"items": [item]}),
        lambda: endpoint.uploads.begin_items(dataset, [item], update=False),
        lambda: endpoint.jobs.sign_upload(dataset, "mine"),
        lambda: endpoint.registry.change_tags(dataset, ["night"], remove=False),
        lambda: endpoint.taxonomies.put(dataset, "weather", ["rain"], update=False),
    ]
    for keep in keeping:
        with pytest.raises(RequestRefused, match="deleted meanwhile"):
            keep()
    endpoint.close()
    database = Database(uploading.folder / "registry.sqlite")
    for table in ("items", "uploads", "lists", "jobs"):
        assert database.rows(f"SELECT * FROM {table}") == []
    database.close()


@pytest.mark.parametrize("kind", [ITEMS, PREDICTIONS])
def test_a_job_whose_dataset_is_deleted_before_its_turn_says_so(
    uploading: Uploading, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    endpoint, begin = uploading.endpoint, Jobs.begin

    def deleted_then(jobs: Jobs, job: str) -> None:
        endpoint.delete_dataset(uploading.dataset)
        begin(jobs, job)

    monkeypatch.setattr(Jobs, "begin", deleted_then)
    token = endpoint.jobs.sign_upload(uploading.dataset, "mine")
    endpoint.jobs.put_upload(token, b'{"reference_id": "img00", "type": "box"}')
    asked = {"requestId": "mine", "model": uploading.model}
    job = endpoint.uploads.begin(uploading.dataset, kind, asked)
    assert ended(uploading, job) == ("Errored", ["the dataset or the model was deleted meanwhile"])
    assert endpoint.registry.count_items(uploading.dataset) == 0
    endpoint.close()


def test_of_two_jobs_for_one_upload_the_second_says_that_the_first_had_it(
    uploading: Uploading, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint, begun, begin = uploading.endpoint, threading.Event(), Jobs.begin

    def once_both_are_there(jobs: Jobs, job: str) -> None:
        begun.wait(20)
        begin(jobs, job)

    monkeypatch.setattr(Jobs, "begin", once_both_are_there)
    first = endpoint.uploads.begin_items(uploading.dataset, [{"reference_id": "a"}], update=False)
    second = endpoint.uploads.begin(uploading.dataset, ITEMS, first.asked)
    begun.set()
    assert ended(uploading, first) == ("Completed", [])
    status, (words,) = ended(uploading, second)
    assert (status, "another job had" in words) == ("Errored", True)
    endpoint.close()


def test_boxes_alone_hold_no_answer_about_masks(
    uploading: Uploading, pool: ThreadPoolExecutor
) -> None:
    uploading.endpoint.close()
    endpoint = uploading.endpoint = uploading.opened(Limits(held_seconds=600.0))
    with endpoint.segmentations.arrival(uploading.dataset, uploading.model) as arrival:
        masks = pool.submit(uploading.request, 0)
        with pytest.raises(TimeoutError):
            masks.result(0.5)  # masks may be coming
        box = Upload({"annotations": [{"reference_id": "img02", "type": "box"}]}, [])
        endpoint.uploads.put_annotations(uploading.dataset, uploading.model, box, arrival=arrival)
        assert masks.result(20).processed == 1
    endpoint.close()


def test_what_was_published_and_undone_before_a_process_noted_it_is_not_published_again(
    uploading: Uploading, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploading.request(0)
    before = uploading.history[0].version
    monkeypatch.setattr(Journal, "remove", lambda *_: None)  # ended at this moment
    uploading.request(0, 1, value=2, update=True)
    monkeypatch.undo()
    uploading.endpoint.close()
    Root.open(str(uploading.folder)).catalog.restore(before)
    uploading.endpoint = uploading.opened()
    assert uploading.published == uploading.readable == {"img00": ["class 0", "class 1"]}
    uploading.endpoint.close()


def test_what_the_catalog_could_not_take_is_answered_as_failed_and_published_later(
    uploading: Uploading, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("segpipe.nucleus_server.segmentations._RETRY_SECONDS", 0.0)
    uploading.endpoint.close()
    uploading.endpoint = uploading.opened(Limits())
    catalog = uploading.folder / "catalog"
    catalog.write_text("no folder")
    with pytest.raises(SegpipeError):
        uploading.request(0)
    catalog.unlink()
    eventually(lambda: uploading.published == {"img00": ["class 0", "class 1"]})
    assert uploading.request(0).ignored == 1
    uploading.endpoint.close()


@pytest.mark.parametrize("checks", Checks)
def test_of_undeclared_zeros_alone_it_is_said_how_they_become_background(
    tmp_path: Path, checks: Checks
) -> None:
    uploading = Uploading(tmp_path, Judging(checks))

    def told(*declared: int, value: int = 3) -> str:
        segments = [{"label": "car", "index": one} for one in declared]
        counts = uploading.request(0, value=value, annotations=segments, update=True)
        (words,) = counts.errors if checks is Checks.STRICT else counts.warnings
        return words

    assert "--background-label" in told(3)  # as an ignored value
    assert "--background-label" in told(200, value=200)
    assert "--background-label" not in told(0)
    assert "--background-label" not in told(4)
    uploading.endpoint.close()


def test_undeclared_zeros_are_background_where_that_is_asked_for(tmp_path: Path) -> None:
    judging = Judging(Checks.STRICT, background_label="background")
    uploading = Uploading(tmp_path, judging)
    declared = [{"label": "car", "index": 3}]
    assert uploading.request(0, value=3, annotations=declared).processed == 1
    assert uploading.request(1, value=3).processed == 1
    (error,) = uploading.request(2, value=3, annotations=[]).errors
    assert "SEGMENTS-MISSING" in error or "VALUE-NO-SEGMENT" in error
    (error,) = uploading.request(3, value=3, annotations=[{"label": "car", "index": 4}]).errors
    assert "background" not in error
    assert uploading.published == {
        "img00": ["background", "car"],
        "img01": ["class 0", "class 3"],
    }
    assert uploading.readable["img00"] == ["car"]
    (finding,) = uploading.endpoint.registry.findings(uploading.dataset, uploading.model)["img00"]
    assert "'background'" in finding
    uploading.endpoint.close()


def test_of_several_datasets_the_first_is_browsed_and_a_gallery_wants_to_be_told(
    uploading: Uploading,
) -> None:
    """`segpipe browse` and `segpipe gallery`, where `segpipe.toml` names none of them."""
    uploading.request(0)
    registry = uploading.endpoint.registry
    uploading.dataset = registry.create_dataset({"name": "fields"})
    item = {"reference_id": "img01", "height": HEIGHT, "width": WIDTH}
    registry.put_items(uploading.dataset, [item], update=False)
    uploading.request(1)
    uploading.endpoint.close()
    root, filters = Root.open(str(uploading.folder)), Filters(runs=("unet@1",))
    viewer = Viewer(root)
    viewer.index.renew()
    assert viewer.facts()["dataset"] == "fields"
    with pytest.raises(SettingsError, match="datasets that have: fields, streets"):
        static_page(root, filters)
    assert [card["id"] for card in viewer.items(filters, 9, None)["items"]] == ["img01"]
    assert static_page(root.of_dataset("streets"), filters).total == 1
