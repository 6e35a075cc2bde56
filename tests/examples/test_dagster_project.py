"""The Dagster project in ``examples/dagster_project``: inference, segpipe and labelling in one."""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

import segpipe
from segpipe.pipeline import partition_key
from tests.fixtures.places import PROJECT

EXAMPLE = PROJECT / "examples" / "dagster_project"
PACKAGE = "street_labelling"
DAY, MODEL_RUN = "2026-01-05", "colours-v1"
KEY = partition_key(MODEL_RUN, DAY)
PUBLISHED = dg.AssetKey(["streets", "published_predictions"])
pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of what of the project is under version control."""
    folder = tmp_path / "dagster_project"
    shutil.copytree(EXAMPLE / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("README.md", "pyproject.toml", "streets/segpipe.toml"):
        (folder / file).parent.mkdir(exist_ok=True)
        shutil.copy(EXAMPLE / file, folder / file)
    return folder


@pytest.fixture
def definitions(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.Definitions]:
    """The project's definitions, loaded as Dagster does."""
    monkeypatch.syspath_prepend(str(project / "src"))
    from street_labelling.definitions import defs  # type: ignore[import-not-found]

    try:
        yield defs()
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
            del sys.modules[name]


def materialize(
    definitions: dg.Definitions, instance: dg.DagsterInstance, key: str | None, *assets: str
) -> dg.ExecuteInProcessResult:
    """Run some assets, as a person does in Dagster."""
    result = definitions.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=instance,
        partition_key=key,
        asset_selection=[dg.AssetKey.from_user_string(asset) for asset in assets],
    )
    assert result.success
    return result


CHAIN = [
    "inference",
    "streets/prediction_manifest",
    "streets/validated_masks",
    "streets/segments",
    "streets/rejected_predictions",
    "streets/published_predictions",
    "items_to_label",
]


def test_lineage_goes_from_images_through_segpipe_to_labelling(
    definitions: dg.Definitions,
) -> None:
    dg.Definitions.validate_loadable(definitions)
    graph = definitions.resolve_asset_graph()

    def parents(key: str) -> set[str]:
        found = graph.get(dg.AssetKey.from_user_string(key)).parent_keys
        return {one.to_user_string() for one in found}

    assert parents("inference") == {"images", "models"}
    assert parents("streets/prediction_manifest") == {"inference"}
    assert parents("streets/validated_masks") == {"streets/prediction_manifest"}
    assert parents("items_to_label") == {"streets/published_predictions"}
    grids = {graph.get(dg.AssetKey.from_user_string(key)).partitions_def for key in CHAIN}
    assert len(grids) == 1
    assert graph.get(PUBLISHED).group_name == "streets_predictions"
    assert [*graph.get(PUBLISHED).owners] == ["team:vision"]


@pytest.mark.slow
def test_a_partition_goes_from_images_to_labels_and_again_changes_nothing(
    definitions: dg.Definitions, project: Path, instance: dg.DagsterInstance
) -> None:
    materialize(definitions, instance, None, "models")
    materialize(definitions, instance, DAY, "images")
    outcomes, listed = [], []
    for _ in range(2):
        result = materialize(definitions, instance, KEY, *CHAIN)
        made = {event.asset_key for event in result.get_asset_materialization_events()}
        assert {dg.AssetKey.from_user_string(key) for key in CHAIN} <= made
        event = instance.get_latest_materialization_event(PUBLISHED)
        assert event is not None
        assert event.asset_materialization is not None
        metadata = event.asset_materialization.metadata
        outcomes.append({name: metadata[name].value for name in ("inserted", "unchanged")})
        listed.append((project / "labelling" / DAY / f"{MODEL_RUN}.csv").read_text())
    assert outcomes == [{"inserted": 6, "unchanged": 0}, {"inserted": 0, "unchanged": 6}]
    assert listed[0] == listed[1]

    published = segpipe.open_catalog(str(project / "streets")).read()
    assert published.num_rows == 6
    assert set(published["model_run"].to_pylist()) == {MODEL_RUN}
    sure = {
        row["reference_id"]: sum(s["confidence"] * s["area_fraction"] for s in row["segments"])
        for row in published.to_pylist()
    }
    rows = [*csv.DictReader(listed[0].splitlines())]
    assert [row["reference_id"] for row in rows] == sorted(sure, key=sure.__getitem__)[:3]
    assert [float(row["confidence"]) for row in rows] == sorted(sure.values())[:3]


def test_inference_is_followed_to_what_is_published(
    definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    materialize(definitions, instance, None, "models")
    materialize(definitions, instance, DAY, "images")
    first = dg.evaluate_automation_conditions(definitions, instance)
    materialize(definitions, instance, KEY, "inference")
    found = dg.evaluate_automation_conditions(definitions, instance, cursor=first.cursor)
    requested = {
        key: found.get_requested_partitions(dg.AssetKey.from_user_string(key))
        for key in ("streets/prediction_manifest", "streets/published_predictions")
    }
    assert requested == {key: {KEY} for key in requested}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_commands_of_its_page_do_what_they_say(project: Path) -> None:
    if shutil.which("dg", path=str(Path(sys.executable).parent)) is None:
        pytest.skip("dg is not installed; `pip install 'segpipe[dg]'` does that")
    (commands,) = re.findall(
        r"```sh\n(export .*?)```", (project / "README.md").read_text(), re.DOTALL
    )
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-euc", commands],
        cwd=project,
        env={**os.environ, "PATH": path, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("reference_id,confidence") == 1
    assert segpipe.open_catalog(str(project / "streets")).read().num_rows == 6
