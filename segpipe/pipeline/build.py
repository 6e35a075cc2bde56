"""Builds the Dagster definitions of a root: assets, job, checks, sensors and schedule."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from segpipe.pipeline.alerts import failed_runs
from segpipe.pipeline.assets import build_assets, outside_assets
from segpipe.pipeline.automation import landed_manifests, previous_day
from segpipe.pipeline.declarative_automation import WHOLE_PARTITION_TAG, automation_sensor
from segpipe.pipeline.destinations import destination_assets
from segpipe.pipeline.evaluation_assets import is_evaluated
from segpipe.pipeline.freshness_check import freshness_check
from segpipe.pipeline.ground_truth_sensor import changed_ground_truth
from segpipe.pipeline.maintenance import health_checks, maintenance_job, maintenance_schedule
from segpipe.pipeline.prefixed_root import PrefixedRoot
from segpipe.pipeline.resources import resources_of
from segpipe.pipeline.upstream import ManifestDep
from segpipe.root import Root
from segpipe.settings import Settings

#: The job that takes a partition from its manifest to its destinations.
JOB = "publish_partition"


def build_definitions(
    settings: Settings,
    key_prefix: str | Sequence[str] = (),
    *,
    manifest_deps: Sequence[ManifestDep] = (),
) -> dg.Definitions:
    """The Dagster definitions of one root, which can be merged with other definitions.

    ::

        defs = dg.Definitions.merge(
            build_definitions(Settings.load("s3://streets/segpipe"), "streets"),
            build_definitions(Settings.load("s3://fields/segpipe"), "fields"),
            my_own_definitions,
        )

    Args:
        key_prefix: prepended to the asset keys and to the names of job, sensors, schedule, pools,
            group and partitions, so that several roots fit into one code location.
        manifest_deps: assets that the manifests depend on, such as inference.

    Raises:
        SettingsError: if the prefix has parts that Dagster does not allow in names.
    """
    prefixed = PrefixedRoot(
        Root(settings), prefix_of(key_prefix), manifest_deps=tuple(manifest_deps)
    )
    return definitions_of(prefixed)


def partitions_of(
    settings: Settings, key_prefix: str | Sequence[str] = ()
) -> dg.MultiPartitionsDefinition:
    """The grid of a root's assets, day x model run, for assets of one's own beside them.

    Args:
        key_prefix: as for :func:`build_definitions`.

    Raises:
        SettingsError: if the prefix has parts that Dagster does not allow in names.
    """
    return PrefixedRoot(Root(settings), prefix_of(key_prefix)).partitions


def prefix_of(key_prefix: str | Sequence[str]) -> tuple[str, ...]:
    """The parts of a prefix; none if it is empty text."""
    parts = (key_prefix,) if isinstance(key_prefix, str) else tuple(key_prefix)
    return () if parts == ("",) else parts


def definitions_of(prefixed: PrefixedRoot) -> dg.Definitions:
    """The definitions of one root, under its key prefix."""
    assets = build_assets(prefixed)
    job = prefixed.name(JOB)
    whole_checks = [
        freshness_check(prefixed, prefixed.key(target.asset))
        for target in destination_assets(prefixed.root.settings)
    ] + list(health_checks(prefixed))
    maintenance = maintenance_job(prefixed)
    resources = resources_of(prefixed.root.settings)
    return dg.Definitions(
        assets=[*assets, *outside_assets(prefixed)],
        jobs=[
            dg.define_asset_job(
                job,
                # A partition's run does not evaluate what is asked of all partitions together.
                # Nor does it make what has another partition: a model run's, over all its days.
                selection=dg.AssetSelection.assets(
                    *(one for one in assets if one.partitions_def == prefixed.partitions)
                )
                - dg.AssetSelection.checks(*whole_checks),
                tags={WHOLE_PARTITION_TAG: "true"},
                description="Validate one model run's predictions of one day, and publish them.",
                # Starting a process per step takes seconds, and steps are parallel inside.
                # Other runs of these assets use the code location's executor.
                executor_def=dg.in_process_executor,
            ),
            maintenance,
        ],
        resources={prefixed.name(name): one for name, one in resources.items()},
        asset_checks=whole_checks,
        sensors=[
            landed_manifests(prefixed, job),
            automation_sensor(prefixed, assets),
            failed_runs(prefixed, job, assets),
            *([changed_ground_truth(prefixed)] if is_evaluated(prefixed.root.settings) else []),
        ],
        schedules=[previous_day(prefixed, job), maintenance_schedule(prefixed, maintenance)],
    )
