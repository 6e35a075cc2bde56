"""What the code location is connected to, as resources on its page: root, alerts, Nucleus."""

# No postponed annotations here: Dagster reads the annotations of the fields below.
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg
from pydantic import Field

from segpipe.publishing.nucleus.settings import KEY_VARIABLE
from segpipe.settings import Settings

#: Names of the resources, without key prefix.
ROOT, ALERTS, NUCLEUS = "segpipe_root", "segpipe_alerts", "segpipe_nucleus"
#: The environment variable with the hook's URL, which may be a secret.
HOOK_VARIABLE = "SEGPIPE_ALERT_URL"


def secret(variable: str) -> Any:
    """A secret of the environment, which Dagster's pages show by its variable's name alone; empty
    where it is not set."""
    return dg.EnvVar(variable) if os.environ.get(variable) else ""


class RootResource(dg.ConfigurableResource[Any]):
    """The root, and who works on its masks."""

    root: str = Field(description="Folder or URL that holds manifests/ and segpipe.toml.")
    workers: int = Field(
        default=0, ge=0, description="Processes that work on a step's masks; 0: one per processor."
    )
    scheduler: str = Field(
        default="", description="Dask scheduler whose workers do that instead, tcp://host:8786."
    )


class AlertHook(dg.ConfigurableResource[Any]):
    """The web hook that failed runs are posted to."""

    url: str = Field(default="", description="Address of the web hook; it may be a secret.")


class NucleusAccess(dg.ConfigurableResource[Any]):
    """Access to Scale Nucleus."""

    dataset_id: str = Field(description="The dataset predictions are published to.")
    api_key: str = Field(default="", description="The API key, a secret.")

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Have the client find the key."""
        before = os.environ.get(KEY_VARIABLE)
        if self.api_key:
            os.environ[KEY_VARIABLE] = self.api_key
        try:
            yield
        finally:
            if self.api_key and before is None:
                del os.environ[KEY_VARIABLE]
            elif before is not None:
                os.environ[KEY_VARIABLE] = before


def resources_of(settings: Settings) -> dict[str, dg.ConfigurableResource[Any]]:
    """The resources of a root, by their names without key prefix."""
    found: dict[str, dg.ConfigurableResource[Any]] = {
        ROOT: RootResource(
            root=settings.root, workers=settings.workers, scheduler=settings.scheduler
        ),
        ALERTS: AlertHook(url=secret(HOOK_VARIABLE)),
    }
    if settings.nucleus is not None:
        found[NUCLEUS] = NucleusAccess(
            dataset_id=settings.nucleus.dataset_id, api_key=secret(KEY_VARIABLE)
        )
    return found
