"""A dataset with items and a model at the endpoint, as the SDK makes and uses them. The fixtures
are imported by the modules whose tests talk to it.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image

from segpipe.root import Root
from tests.conftest import striped_mask
from tests.nucleus_endpoint import KEY, RunningEndpoint

_handlers = list(logging.getLogger().handlers)
nucleus = pytest.importorskip("nucleus", reason="the SDK is not installed: segpipe[nucleus]")
for _handler in logging.getLogger().handlers[:]:  # it configures logging when it is imported
    if _handler not in _handlers:
        logging.getLogger().removeHandler(_handler)

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


def raw(endpoint: RunningEndpoint, method: str, path: str, **options: Any) -> requests.Response:
    options.setdefault("auth", (KEY, ""))
    return requests.request(method, f"{endpoint.url}{path}", timeout=30, **options)


def multipart(segmentations: list[dict[str, Any]], masks: list[tuple[str, bytes]]) -> Any:
    payload = json.dumps({"segmentations": segmentations, "update": False})
    parts: list[Any] = [("serialized_request", (None, payload, "application/json"))]
    return parts + [("mask", (name, data, "image/png")) for name, data in masks]
