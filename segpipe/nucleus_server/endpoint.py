"""What requests are answered from."""

from __future__ import annotations

from starlette.requests import Request

from segpipe.nucleus_server.database import Database
from segpipe.nucleus_server.jobs import Jobs
from segpipe.nucleus_server.registry import Registry
from segpipe.nucleus_server.requests import RequestRefused
from segpipe.nucleus_server.segmentations import Checks, SegmentationStore
from segpipe.nucleus_server.uploads import Uploads
from segpipe.root import Root


class Endpoint:
    """What the routes work on."""

    def __init__(self, root: Root, database: Database, checks: Checks) -> None:
        self._database = database
        self.registry, self.jobs = Registry(database), Jobs(database)
        self.segmentations = SegmentationStore(root, self.registry, checks)
        self.uploads = Uploads(self.registry, self.jobs, self.segmentations)

    def close(self) -> None:
        """Finish what was begun."""
        self.uploads.close()
        self.segmentations.close()
        self._database.close()

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
