"""A backfill of two model runs and thirty days, of which some were not delivered: Dagster's own
daemon code, with runs in this process."""

from __future__ import annotations

import logging
import os
import sys
import time
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.test_utils import InProcessTestWorkspaceLoadTarget
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._daemon.backfill import execute_backfill_iteration

from segpipe.manifests.partition import Partition
from segpipe.pipeline import partition_key
from segpipe.pipeline.instance import open_instance, register_landed
from segpipe.root import Root
from tests.fixtures.forked_python import run_module
from tests.fixtures.landing import LandingWriter
from tests.fixtures.places import PROJECT

DAYS = [str(date(2026, 1, 1) + timedelta(days=day)) for day in range(30)]
PROJECT_FILE = """\
import dagster as dg
from segpipe import Settings
from segpipe.pipeline import build_definitions
defs = dg.Definitions.merge(
    build_definitions(Settings.load({root!r})), dg.Definitions(executor=dg.in_process_executor)
)
"""


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_backfill_over_thirty_days_with_gaps_ends_green(tmp_path: Path) -> None:
    # In a process of its own: the client of Nucleus changes asyncio where it was loaded.
    done = run_module(__name__, [str(tmp_path)], os.environ, 380)
    assert done.returncode == 0, done.stderr[-3000:]


def backfill_of_a_month(folder: Path) -> None:
    """The backfill, in this process.

    Args:
        folder: an empty one.
    """
    landing = LandingWriter(folder / "root")
    landed = {Partition("unet", day) for day in DAYS[::3]}
    landed |= {Partition("segformer", day) for day in DAYS[1::2]}
    for one in landed:
        landing.manifest([landing.row(f"{one.model_run} {one.date}", (0, 1), one)], one)
    (landing.root / "segpipe.toml").write_text("last_date = 2026-01-30\nworkers = 1\n")
    home = folder / "home"
    home.mkdir()
    settings = yaml.safe_load((PROJECT / "segpipe" / "pipeline" / "dagster.yaml").read_text())
    launcher = "dagster._core.launcher.sync_in_memory_run_launcher"
    settings["run_launcher"] = {"module": launcher, "class": "SyncInMemoryRunLauncher"}
    (home / "dagster.yaml").write_text(yaml.safe_dump(settings))
    os.environ["DAGSTER_HOME"] = str(home)
    project = folder / "project.py"
    project.write_text(PROJECT_FILE.format(root=str(landing.root)))
    origin = LoadableTargetOrigin(
        executable_path=sys.executable, python_file=str(project), attribute="defs"
    )
    target = InProcessTestWorkspaceLoadTarget(InProcessCodeLocationOrigin(origin))
    cells = [str(partition_key(name, day)) for day in DAYS for name in ("unet", "segformer")]
    root = Root.open(str(landing.root))
    with (
        open_instance(str(landing.root)) as instance,
        WorkspaceProcessContext(instance, target) as context,
    ):
        assert register_landed(instance, root) == ["segformer", "unet"]
        graph = context.create_request_context().asset_graph
        backfill = PartitionBackfill.from_asset_partitions(
            backfill_id="month",
            asset_graph=graph,
            partition_names=cells,
            asset_selection=list(graph.get_all_asset_keys()),
            backfill_timestamp=time.time(),
            tags={},
            dynamic_partitions_store=instance,
            all_partitions=False,
            title=None,
            description=None,
            run_config=None,
        )
        instance.add_backfill(backfill)

        def turn() -> BulkActionStatus:
            list(execute_backfill_iteration(context, logging.getLogger("daemon")))
            found = instance.get_backfill("month")
            assert found is not None
            return found.status

        assert turn() is BulkActionStatus.REQUESTED
        queued = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED]))
        assert len(queued) == len(cells)
        for number, run in enumerate(queued):
            instance.launch_run(run.run_id, context.create_request_context())
            if number % 20 == 0:
                assert turn() is BulkActionStatus.REQUESTED
        ends = [turn() for _ in range(3)]
        assert ends[-1] is BulkActionStatus.COMPLETED_SUCCESS, ends
        assert all(run.status is dg.DagsterRunStatus.SUCCESS for run in instance.get_runs())
        made = instance.get_materialized_partitions(dg.AssetKey("published_predictions"))
    assert made == {str(partition_key(one)) for one in landed}
    table = root.catalog.read(["model_run", "partition"])
    assert table.num_rows == len(landed)


if __name__ == "__main__":
    backfill_of_a_month(Path(sys.argv[1]))
