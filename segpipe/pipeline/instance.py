"""The Dagster instance shared by runs, the UI and the daemon."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import dagster as dg
from filelock import FileLock

from segpipe.errors import SettingsError, StorageError
from segpipe.manifests.layout import Unread
from segpipe.manifests.partition import Partition
from segpipe.pipeline.partitions import MODEL_RUNS
from segpipe.root import Root
from segpipe.storage.local_paths import plain_alias

_CONFIGURATION = "dagster.yaml"


def dagster_home(root: str) -> Path:
    """The folder of the instance, created on first use.

    It is ``DAGSTER_HOME``; else ``dagster_home`` in the working directory, if that has a
    ``dagster.yaml``; else ``dagster_home`` in the root.

    Raises:
        SettingsError: for a remote root if ``DAGSTER_HOME`` is not set.
        StorageError: if the folder cannot be created.
    """
    configured = os.environ.get("DAGSTER_HOME")
    if configured:
        home = Path(configured).expanduser().absolute()
    elif (Path("dagster_home") / _CONFIGURATION).is_file():
        home = Path("dagster_home").absolute()
    elif "://" in root:
        raise SettingsError(
            "Dagster keeps its runs on a local disk: set DAGSTER_HOME to a folder for them"
        )
    else:
        home = Path(root).absolute() / "dagster_home"
    try:
        home.mkdir(parents=True, exist_ok=True)
        configuration = home / _CONFIGURATION
        if not configuration.exists():
            ours = files("segpipe.pipeline").joinpath(_CONFIGURATION)
            configuration.write_text(ours.read_text())
    except OSError as error:
        raise StorageError(f"{home} cannot be used for Dagster: {error.strerror}") from None
    return home


def open_instance(root: str) -> dg.DagsterInstance:
    """Open the instance of a root; sets ``DAGSTER_HOME`` for this process.

    Raises:
        SettingsError, StorageError: see :func:`dagster_home`.
    """
    home = dagster_home(root)
    # Dagster makes SQLite's addresses of the path, where '%' and '?' mean something else.
    named = plain_alias(str(home))
    os.environ["DAGSTER_HOME"] = named
    # Dagster creates its SQLite files on first use; two processes doing so at once fail.
    with FileLock(home / ".segpipe.lock"):
        instance = dg.DagsterInstance.from_config(named)
        instance.get_runs_count()
        instance.get_dynamic_partitions(MODEL_RUNS)
        instance.get_latest_materialization_event(dg.AssetKey("none"))
    return instance


def register(instance: dg.DagsterInstance, partition: Partition) -> None:
    """Register a partition's model run as a dynamic partition."""
    instance.add_dynamic_partitions(MODEL_RUNS, [partition.model_run])


def register_landed(
    instance: dg.DagsterInstance, root: Root, unread: Callable[[Unread], None] | None = None
) -> list[str]:
    """Register all model runs that have landed and are not retired; returns their names, sorted.

    Args:
        unread: called for folders and manifests of the landing folder that are not read.
    """
    found = root.landing.partitions() if unread is None else root.landing.partitions(unread)
    landed = {partition.model_run for partition in found}
    names = sorted(name for name in landed if not root.settings.policies.retired(name))
    instance.add_dynamic_partitions(MODEL_RUNS, names)
    return names
