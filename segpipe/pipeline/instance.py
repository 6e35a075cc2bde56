"""The Dagster instance that runs, the UI and the daemon share."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

import dagster as dg
from filelock import FileLock

from segpipe.errors import SettingsError, StorageError
from segpipe.manifests.partition import Partition
from segpipe.pipeline.partitions import MODEL_RUNS
from segpipe.root import Root

_CONFIGURATION = "dagster.yaml"


def dagster_home(root: str) -> Path:
    """The folder of the instance: ``DAGSTER_HOME``; else ``dagster_home`` of the project one stands
    in; else ``dagster_home`` in the root, made on first use.

    Raises:
        SettingsError: for a remote root where ``DAGSTER_HOME`` is not set.
        StorageError: if the folder cannot be made.
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
    """The instance, opened."""
    home = dagster_home(root)
    os.environ["DAGSTER_HOME"] = str(home)
    # Dagster makes its SQLite files on first use, and two processes at that at once fail.
    with FileLock(home / ".segpipe.lock"):
        instance = dg.DagsterInstance.from_config(str(home))
        instance.get_runs_count()
        instance.get_dynamic_partitions(MODEL_RUNS)
        instance.get_latest_materialization_event(dg.AssetKey("none"))
    return instance


def register(instance: dg.DagsterInstance, partition: Partition) -> None:
    """Make a model run known, so that it has partitions."""
    instance.add_dynamic_partitions(MODEL_RUNS, [partition.model_run])


def register_landed(instance: dg.DagsterInstance, root: Root) -> list[str]:
    """Make all model runs of the landing folder known but the retired; returns their names."""
    landed = {partition.model_run for partition in root.landing.partitions()}
    names = sorted(name for name in landed if not root.settings.policies.retired(name))
    instance.add_dynamic_partitions(MODEL_RUNS, names)
    return names
