"""Putting the assets of a root, their job, sensors and schedule together."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from segpipe.pipeline.alerts import failed_runs
from segpipe.pipeline.assets import build_assets
from segpipe.pipeline.automation import landed_manifests, previous_day
from segpipe.pipeline.following import WHOLE_TAG, following_assets, freshness_check
from segpipe.pipeline.mount import Mount
from segpipe.pipeline.uploads import uploads_of
from segpipe.root import Root
from segpipe.settings import Settings

#: The job that takes a partition from its manifest to its destinations.
JOB = "publish_partition"


def build_definitions(settings: Settings, key_prefix: str | Sequence[str] = ()) -> dg.Definitions:
    """Everything Dagster needs to know of one root, to be merged with what else there is.

    ::

        defs = dg.Definitions.merge(
            build_definitions(Settings.load("s3://streets/segpipe"), "streets"),
            build_definitions(Settings.load("s3://fields/segpipe"), "fields"),
            my_own_definitions,
        )

    Args:
        key_prefix: put before the keys of the assets and before the names of job, sensors,
            schedule, pool, group and partitions, so that several roots fit into one code location.

    Raises:
        SettingsError: if the prefix has parts Dagster does not allow in names.
    """
    parts = (key_prefix,) if isinstance(key_prefix, str) else tuple(key_prefix)
    prefix = () if parts == ("",) else parts  # no text is no prefix
    return definitions_of(Mount(Root(settings), prefix))


def definitions_of(mount: Mount) -> dg.Definitions:
    """Everything of one root as it is mounted."""
    assets = build_assets(mount)
    job = mount.name(JOB)
    late = [
        freshness_check(mount, mount.key(upload.asset))
        for upload in uploads_of(mount.root.settings)
    ]
    return dg.Definitions(
        assets=assets,
        jobs=[
            dg.define_asset_job(
                job,
                # Whether a model run is late is nothing a partition's run should stop to look at.
                selection=dg.AssetSelection.assets(*assets) - dg.AssetSelection.checks(*late),
                tags={WHOLE_TAG: "true"},
                description="Validate one model run's predictions of one day, and publish them.",
                # A step in a process of its own costs seconds to start; the work inside is
                # parallel. Other runs of the assets take the code location's executor.
                executor_def=dg.in_process_executor,
            )
        ],
        asset_checks=late,
        sensors=[
            landed_manifests(mount, job),
            following_assets(mount, assets),
            failed_runs(mount, job, assets),
        ],
        schedules=[previous_day(mount, job)],
    )
