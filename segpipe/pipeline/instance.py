"""The Dagster instance shared by runs, the UI and the daemon."""

from __future__ import annotations

import os
from collections.abc import Callable

import dagster as dg
from dagster._core.instance.ref import InstanceRef
from filelock import FileLock
from sqlalchemy.exc import SQLAlchemyError

from segpipe.manifests.layout import Unread
from segpipe.manifests.partition import Partition
from segpipe.pipeline.captured_logs import with_captured_logs
from segpipe.pipeline.home import CONFIGURATION, dagster_home, home_failures, unusable_settings
from segpipe.pipeline.partitions import MODEL_RUNS
from segpipe.pipeline.records import with_kept_connections
from segpipe.root import Root
from segpipe.storage.local_paths import plain_alias


def open_instance(root: str) -> dg.DagsterInstance:
    """Open the instance of a root; sets ``DAGSTER_HOME`` for this process.

    Raises:
        SettingsError, StorageError: see :func:`segpipe.pipeline.home.dagster_home`; also if the
            instance's records cannot be used.
    """
    home = dagster_home(root)
    # Dagster makes SQLite's addresses of the path, where '%' and '?' mean something else.
    named = plain_alias(str(home))
    os.environ["DAGSTER_HOME"] = named
    # Dagster creates its SQLite files on first use; two processes doing so at once fail.
    with home_failures(home), FileLock(home / ".segpipe.lock"):
        try:
            settings = InstanceRef.from_dir(named)
            instance = dg.DagsterInstance.from_ref(
                with_captured_logs(with_kept_connections(settings))
            )
        except (OSError, SQLAlchemyError):
            raise
        except Exception as error:  # of whatever classes the settings name
            raise unusable_settings(home / CONFIGURATION, error) from error
        instance.get_runs_count()
        instance.get_dynamic_partitions(MODEL_RUNS)
        instance.get_latest_materialization_event(dg.AssetKey("none"))
    return instance


def register(instance: dg.DagsterInstance, partition: Partition) -> None:
    """Register a partition's model run as a dynamic partition."""
    instance.add_dynamic_partitions(MODEL_RUNS, [partition.model_run])


def register_landed(
    instance: dg.DagsterInstance,
    root: Root,
    unread: Callable[[Unread], None] | None = None,
    partitions: str = MODEL_RUNS,
) -> list[str]:
    """Register all model runs that have landed and remove those that are retired; returns the
    names of the others that have landed, sorted.

    Args:
        unread: called for folders and manifests of the landing folder that are not read.
        partitions: name of the dynamic partitions, with the key prefix.
    """
    found = root.landing.partitions() if unread is None else root.landing.partitions(unread)
    landed = {partition.model_run for partition in found}
    retired = root.settings.policies.retired
    names = sorted(name for name in landed if not retired(name))
    instance.add_dynamic_partitions(partitions, names)
    for known in instance.get_dynamic_partitions(partitions):
        if retired(known):
            instance.delete_dynamic_partition(partitions, known)
    return names
