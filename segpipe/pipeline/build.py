"""Putting the assets, their job and their resources together."""

from __future__ import annotations

import dagster as dg

from segpipe.pipeline.alerts import failed_runs
from segpipe.pipeline.assets import build_assets
from segpipe.pipeline.automation import landed_manifests, previous_day
from segpipe.pipeline.steps import StepProgress
from segpipe.root import Root
from segpipe.settings import Settings

#: The job that takes a partition from its manifest to the catalog.
JOB = "publish_partition"


def _silent(step: str, done: int, total: int) -> None:
    """Progress nobody watches."""


def build_definitions(settings: Settings, progress: StepProgress = _silent) -> dg.Definitions:
    """Everything Dagster needs to know for one root.

    Args:
        progress: told how far a step is; the command line draws its bar with it.
    """
    assets = build_assets(settings.first_date)
    return dg.Definitions(
        assets=assets,
        jobs=[
            dg.define_asset_job(
                JOB,
                selection=assets,
                description="Validate one model run's predictions of one day, and publish them.",
            )
        ],
        sensors=[landed_manifests(settings, JOB), failed_runs(JOB)],
        schedules=[previous_day(settings, JOB)],
        resources={"root": Root(settings), "progress": progress},
        # A step in a process of its own costs seconds to start; the work inside is parallel.
        executor=dg.in_process_executor,
    )
