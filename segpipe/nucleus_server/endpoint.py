"""The endpoint's state: registry, jobs, segmentations and uploads of one root."""

from __future__ import annotations

import re
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from segpipe.nucleus_server.arrivals import Arrivals
from segpipe.nucleus_server.bodies import Budget
from segpipe.nucleus_server.database import Database
from segpipe.nucleus_server.jobs import Jobs
from segpipe.nucleus_server.journal import Journal
from segpipe.nucleus_server.judging import Judge, Judging
from segpipe.nucleus_server.limits import Limits
from segpipe.nucleus_server.publishing import CatalogPublisher
from segpipe.nucleus_server.reconciliation import Reconciliation
from segpipe.nucleus_server.registry import GROUND_TRUTH, Registry
from segpipe.nucleus_server.requests import RequestRefused
from segpipe.nucleus_server.segmentations import SegmentationStore
from segpipe.nucleus_server.taxonomies import Taxonomies
from segpipe.nucleus_server.uploads import Uploads
from segpipe.root import Root


class Endpoint:
    """The stores that the routes read and write.

    Args:
        memory: that requests have a share of until they are answered; None where it has no limit.
    """

    def __init__(
        self,
        root: Root,
        database: Database,
        judging: Judging,
        limits: Limits,
        memory: Budget | None = None,
    ) -> None:
        self._database = database
        self.registry, self.jobs, journal = Registry(database), Jobs(database), Journal(database)
        self.taxonomies = Taxonomies(database)
        self.reconciliation = Reconciliation(root.catalog, self.registry, journal)
        publisher = CatalogPublisher(root, self.registry, journal, self.reconciliation)
        judge = Judge(root, self.registry, judging)
        self.segmentations = SegmentationStore(
            self.registry, journal, self.reconciliation, publisher, judge, limits, Arrivals(memory)
        )
        self.uploads = Uploads(self.registry, self.taxonomies, self.jobs, self.segmentations)

    def close(self) -> None:
        """Finish what was begun."""
        self.uploads.close()
        self.segmentations.close()
        self._database.close()

    def delete_dataset(self, dataset: str) -> None:
        """Remove a dataset, with all that is in it, here and in the catalog.

        Raises:
            SegpipeError: if the root's storage fails.
        """
        with self.reconciliation.changing():  # nothing is stored for it in between
            for owner in [GROUND_TRUTH, *self.registry.owners(dataset)]:
                self.segmentations.remove(dataset, owner, None)
            self.registry.delete_dataset(dataset)

    def delete_model(self, model: str) -> None:
        """Remove a model, with what it predicted, here and in the catalog.

        Raises:
            SegpipeError: if the root's storage fails.
        """
        with self.reconciliation.changing():
            for dataset, _ in self.registry.datasets():
                self.segmentations.remove(dataset, model, None)
            self.registry.delete_model(model)

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
        """The dataset of the path, or of the model run that it names."""
        if "run" in request.path_params:
            return self._run(request)[0]
        dataset = str(request.path_params["dataset"])
        if self.registry.dataset_name(dataset) is None:
            raise RequestRefused(404, f"there is no dataset {dataset!r}")
        return dataset

    def model(self, request: Request) -> str:
        """The model of the path, or of the model run that it names."""
        if "run" in request.path_params:
            return self._run(request)[1]
        model = str(request.path_params["model"])
        if self.registry.model(model) is None:
            raise RequestRefused(404, f"there is no model {model!r}")
        return model

    def _run(self, request: Request) -> tuple[str, str]:
        run = str(request.path_params["run"])
        found = self.registry.run(run)
        if found is None:
            raise RequestRefused(404, f"there is no model run {run!r}")
        dataset = request.path_params.get("dataset", found[0])
        if dataset != found[0]:
            raise RequestRefused(
                400,
                f"the model run {run!r} is of the dataset {found[0]!r}, and no run is of several "
                f"here: use dataset.upload_predictions(model, predictions) for {dataset!r}",
            )
        return found

    def nth_item(self, request: Request) -> dict[str, Any]:
        """The item of the dataset and place of the path."""
        place = str(request.path_params["place"])
        if not re.fullmatch(r"[0-9]{1,18}", place):
            raise RequestRefused(404, f"{place[:40]!r} is not the number of an item, from 0")
        item = self.registry.item_at(self.dataset(request), int(place))
        if item is None:
            raise RequestRefused(404, f"the dataset has no item {place}")
        return item
