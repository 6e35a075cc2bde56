"""A root that publishes to a Nucleus dataset: the real SDK, a proxy in between, a real endpoint in
a process of its own. The fixtures are imported by the modules whose tests publish there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow.parquet as pq
import pytest
import requests

from segpipe.publishing.nucleus.content import PREFIX
from segpipe.publishing.outcomes import Provenance
from segpipe.publishing.publication import Publication
from segpipe.root import Root
from segpipe.settings import SETTINGS_FILE
from tests.conftest import PARTITION, LandingWriter
from tests.fault_proxy import FaultProxy
from tests.nucleus_endpoint import KEY, RunningEndpoint

HEIGHT, WIDTH = 6, 8


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEndpoint]:
    with RunningEndpoint(tmp_path_factory.mktemp("endpoint") / "root") as running:
        yield running


@dataclass
class Nucleus:
    """A dataset at the endpoint, read past the proxy and past the SDK."""

    url: str
    dataset: str
    proxy: FaultProxy

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        answer = requests.request(
            method, f"{self.url}/{path}", json=body, auth=(KEY, ""), timeout=30
        )
        assert answer.ok, answer.text
        return answer.json()

    def held(self, model_run: str = PARTITION.model_run) -> dict[str, dict[str, Any]]:
        """Reference id -> what is there."""
        for model in self.ask("GET", "models/")["models"]:
            if model["ref_id"] == f"{self.dataset} {model_run}":
                route = f"dataset/{self.dataset}/model/{model['id']}/export"
                found = self.ask("GET", route).get("segmentation", [])
                by_id = {one["reference_id"]: one for one in found}
                assert len(by_id) == len(found)
                return by_id
        return {}

    def models(self) -> list[str]:
        named = [model["ref_id"] for model in self.ask("GET", "models/")["models"]]
        return [one for one in named if one.startswith(self.dataset)]

    def jobs(self) -> list[str]:
        """Paths of requests that begin or ask for a job, as the proxy saw them."""
        words = ("async=1", "signedUrl", "/job/", "/jobs/")
        return [one.path for one in self.proxy.log if any(word in one.path for word in words)]

    def uploads(self) -> int:
        """Requests that uploaded something, as the proxy saw them."""
        return sum("uploadPredictions" in one.path for one in self.proxy.log)


def new_dataset(endpoint: RunningEndpoint, items: Sequence[str], proxy: FaultProxy) -> Nucleus:
    there = Nucleus(endpoint.url, "", proxy)
    there.dataset = there.ask("POST", "dataset/create", {"name": str(id(there))})["dataset_id"]
    bodies = [
        {"reference_id": one, "image_url": "https://example.com/x.jpg", "height": HEIGHT,
         "width": WIDTH}
        for one in items
    ]  # fmt: skip
    there.ask("POST", f"dataset/{there.dataset}/append", {"items": bodies, "update": False})
    return there


ITEMS = [f"item {n:04d}" for n in range(1000)]


@pytest.fixture
def there(endpoint: RunningEndpoint, monkeypatch: pytest.MonkeyPatch) -> Iterator[Nucleus]:
    monkeypatch.setenv("NUCLEUS_API_KEY", KEY)
    with FaultProxy(endpoint.url) as proxy:
        yield new_dataset(endpoint, ITEMS, proxy)


@dataclass
class Publisher:
    """A root that publishes to the dataset."""

    landing: LandingWriter
    there: Nucleus
    runs: int = 0

    def settings(self, **nucleus: Any) -> None:
        given = {
            "dataset_id": self.there.dataset,
            "model": f"{self.there.dataset} {{model_run}}",
            "endpoint": self.there.proxy.endpoint,
            "retry_seconds": 20,
            **nucleus,
        }
        lines = ['destinations = ["catalog", "nucleus"]', "[nucleus]"]
        lines += [f"{key} = {json.dumps(value)}" for key, value in given.items()]
        self.landing.root.mkdir(exist_ok=True)
        (self.landing.root / SETTINGS_FILE).write_text("\n".join(lines) + "\n")

    @property
    def root(self) -> Root:
        return Root.open(str(self.landing.root))

    def land(self, count: int, values: Sequence[int] = (0, 1), **row: Any) -> None:
        """A manifest of the first items, materialized; all share one mask file."""
        first = self.landing.row(ITEMS[0], values, name=f"mask {values}", **row)
        self.landing.manifest([{**first, "reference_id": one} for one in ITEMS[:count]])
        self.root.materialize(PARTITION)

    def publish(
        self, *, update: bool = False, run_id: str | None = None, **more: Any
    ) -> Publication:
        self.runs += 1
        settings = self.root.settings
        run_id = run_id or f"run-{self.runs}"
        provenance = Provenance(
            settings.dataset, PARTITION.model_run, PARTITION.date, run_id, datetime.now(UTC), update
        )
        return self.root.publish(PARTITION, provenance=provenance, destination="nucleus", **more)

    def receipts(self, publication: Publication) -> dict[str, dict[str, Any]]:
        assert publication.receipts is not None
        path = self.landing.root / publication.receipts
        table = pq.read_table(path if path.exists() else publication.receipts, partitioning=None)
        return {row["reference_id"]: row for row in table.to_pylist()}

    def holds(self, publication: Publication) -> None:
        """The receipts are what is there."""
        assert publication.verification is not None
        assert publication.verification.mismatches == ()
        held, told = self.there.held(), self.receipts(publication)
        for reference_id, row in told.items():
            if row["outcome"] in ("inserted", "replaced", "unchanged"):
                assert held[reference_id]["annotation_id"] == f"{PREFIX}{row['fingerprint']}"
            if row["outcome"] == "ignored":
                assert f"{PREFIX}{row['fingerprint']}" != held[reference_id]["annotation_id"]
            if row["outcome"] == "failed":
                assert reference_id not in held
                assert row["message"]


@pytest.fixture
def publisher(landing: LandingWriter, there: Nucleus) -> Publisher:
    made = Publisher(landing, there)
    made.settings()
    return made


def outcomes(publication: Publication) -> dict[str, int]:
    return {name: count for name, count in publication.outcomes.items() if count}
