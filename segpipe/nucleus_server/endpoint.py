"""The endpoint's state: registry, jobs, segmentations and uploads of one root."""

from __future__ import annotations

from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from segpipe.nucleus_server.database import Database
from segpipe.nucleus_server.jobs import Jobs
from segpipe.nucleus_server.reconciliation import Reconciliation
from segpipe.nucleus_server.registry import Registry
from segpipe.nucleus_server.requests import RequestRefused
from segpipe.nucleus_server.segmentations import Checks, SegmentationStore
from segpipe.nucleus_server.uploads import Uploads
from segpipe.root import Root


class Endpoint:
    """The stores that the routes read and write."""

    def __init__(self, root: Root, database: Database, checks: Checks) -> None:
        self._database = database
        self.registry, self.jobs = Registry(database), Jobs(database)
        self.reconciliation = Reconciliation(root.catalog, self.registry)
        self.segmentations = SegmentationStore(root, self.registry, self.reconciliation, checks)
        self.uploads = Uploads(self.registry, self.jobs, self.segmentations)

    def close(self) -> None:
        """Finish what was begun."""
        self.uploads.close()
        self.segmentations.close()
        self._database.close()

    async def annotations(
        self, dataset: str, owner: str, reference_id: str | None = None
    ) -> dict[str, list[dict[str, Any]]]:
        """What there is for an item, or for all, by kind; segmentations as the catalog has them."""
        return await run_in_threadpool(self._annotations, dataset, owner, reference_id)

    def _annotations(
        self, dataset: str, owner: str, reference_id: str | None
    ) -> dict[str, list[dict[str, Any]]]:
        self.reconciliation.catch_up()
        return self.registry.annotations(dataset, owner, reference_id)

    def dataset(self, request: Request) -> str:
        """The dataset of the path."""
        dataset = str(request.path_params["dataset"])
        if self.registry.dataset_name(dataset) is None:
            raise RequestRefused(404, f"there is no dataset {dataset!r}")
        return dataset

    def model(self, request: Request) -> str:
        """The model of the path."""
        model = str(request.path_params["model"])
        if self.registry.model(model) is None:
            raise RequestRefused(404, f"there is no model {model!r}")
        return model
