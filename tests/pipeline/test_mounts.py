"""segpipe's assets within another Dagster project: two roots side by side in one code location."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from segpipe.errors import SettingsError
from segpipe.manifests.partition import Partition
from segpipe.pipeline import build_definitions
from segpipe.pipeline.partitions import partition_key
from segpipe.root import Root
from tests.fixtures.landing import PARTITION, LandingWriter

LONG_AGO = 1_700_000_000


@dg.asset(
    deps=[dg.AssetKey(["streets", "published_predictions"]), ["crops", "eu", "segments"]],
    partitions_def=dg.DailyPartitionsDefinition("2026-01-01"),
)
def report_on_both() -> None:
    """An asset of the project segpipe is mounted in."""


@pytest.fixture
def landings(tmp_path: Path) -> dict[str, LandingWriter]:
    """Two roots; the second one's only model run is called like the first one's."""
    found = {name: LandingWriter(tmp_path / name) for name in ("streets", "crops")}
    found["streets"].manifest([found["streets"].row("street", (0, 1))])
    rows = [found["crops"].row("field", (0, 5)), found["crops"].row("meadow", (0, 6))]
    found["crops"].manifest(rows)
    return found


@pytest.fixture
def project(landings: dict[str, LandingWriter]) -> dg.Definitions:
    """A code location with both, and with assets and an executor of its own."""
    streets, crops = (Root.open(str(one.root)).settings for one in landings.values())
    return dg.Definitions.merge(
        build_definitions(streets, "streets"),
        build_definitions(replace(crops, automatic=True), ["crops", "eu"]),
        dg.Definitions(assets=[report_on_both], executor=dg.multiprocess_executor),
    )


def publish(
    project: dg.Definitions,
    instance: dg.DagsterInstance,
    prefix: str,
    partition: Partition = PARTITION,
) -> dg.ExecuteInProcessResult:
    instance.add_dynamic_partitions(f"{prefix}_segpipe_model_runs", [partition.model_run])
    job = project.resolve_job_def(f"{prefix}_publish_partition")
    return job.execute_in_process(instance=instance, partition_key=partition_key(partition))


def test_each_root_has_keys_names_and_partitions_of_its_own(project: dg.Definitions) -> None:
    dg.Definitions.validate_loadable(project)
    graph = project.resolve_asset_graph()
    keys = {key.to_user_string() for key in graph.get_all_asset_keys()}
    own = {
        "prediction_manifest", "validated_masks", "segments", "rejected_predictions",
        "instance_masks", "instance_segments", "semantic_masks", "semantic_segments",
        "published_predictions",
    }  # fmt: skip
    assert keys == {
        *(f"streets/{name}" for name in own),
        *(f"crops/eu/{name}" for name in own),
        "report_on_both",
    }
    parents = graph.get(dg.AssetKey(["crops", "eu", "validated_masks"])).parent_keys
    assert parents == {dg.AssetKey(["crops", "eu", "prediction_manifest"])}
    checks = {key.asset_key.path[0] for key in graph.asset_check_keys}
    assert checks == {"streets", "crops"}
    groups = {graph.get(key).group_name for key in graph.get_all_asset_keys()}
    assert groups == {
        "streets_segmentation_predictions", "crops__eu_segmentation_predictions", "default",
    }  # fmt: skip
    repository = project.get_repository_def()
    sensors = {
        definition.name: definition.default_status.value for definition in repository.sensor_defs
    }
    assert sensors == {
        f"{prefix}_{name}": "STOPPED" if prefix == "streets" or name == "failed_runs" else "RUNNING"
        for prefix in ("streets", "crops__eu")
        for name in ("landed_manifests", "following_assets", "failed_runs")
    }
    pools = {
        op.pool
        for job in repository.get_all_jobs()
        for node in job.graph.nodes
        if (op := node.definition).name.endswith("published_predictions")
        and isinstance(op, dg.OpDefinition)
    }
    assert pools == {"streets_segpipe_catalog", "crops__eu_segpipe_catalog"}


def test_each_publishes_to_its_own_catalog(
    project: dg.Definitions, instance: dg.DagsterInstance, landings: dict[str, LandingWriter]
) -> None:
    def published(name: str) -> list[str]:
        catalog = Root.open(str(landings[name].root)).catalog
        return sorted(catalog.read()["reference_id"].to_pylist())

    assert publish(project, instance, "crops__eu").success
    assert (published("streets"), published("crops")) == ([], ["field", "meadow"])
    result = publish(project, instance, "streets")
    assert result.success
    assert (published("streets"), published("crops")) == (["street"], ["field", "meadow"])
    made = {event.asset_key for event in result.get_asset_materialization_events()}
    assert dg.AssetKey(["streets", "published_predictions"]) in made
    assert {key.path[0] for key in made if key} == {"streets"}
    evaluated = {one.asset_key.path[0] for one in result.get_asset_check_evaluations()}
    assert evaluated == {"streets"}
    key = dg.AssetKey(["crops", "eu", "published_predictions"])
    event = instance.get_latest_materialization_event(key)
    assert event is not None
    assert event.asset_materialization is not None
    assert event.asset_materialization.metadata["inserted"].value == 2


def test_each_sensor_watches_its_own_landing(
    project: dg.Definitions,
    instance: dg.DagsterInstance,
    landings: dict[str, LandingWriter],
    tmp_path: Path,
) -> None:
    other = Partition("unet", "2026-01-06")
    landings["crops"].manifest([landings["crops"].row("late", partition=other)], other)
    for manifest in tmp_path.rglob("*.parquet"):
        os.utime(manifest, (LONG_AGO, LONG_AGO))  # it is not being written any more
    repository = project.get_repository_def()
    found = {}
    for prefix in ("streets", "crops__eu"):
        sensor = repository.get_sensor_def(f"{prefix}_landed_manifests")
        assert sensor.job_name == f"{prefix}_publish_partition"
        result = sensor(dg.build_sensor_context(instance=instance, repository_def=repository))
        assert isinstance(result, dg.SensorResult)
        (added,) = result.dynamic_partitions_requests or ()
        assert added.partitions_def_name == f"{prefix}_segpipe_model_runs"
        found[prefix] = {request.partition_key for request in result.run_requests or ()}
    assert found == {
        "streets": {partition_key(PARTITION)},
        "crops__eu": {partition_key(PARTITION), partition_key(other)},
    }


def test_a_prefix_dagster_does_not_take_is_refused_in_words(root: Root) -> None:
    with pytest.raises(SettingsError, match=r"'my streets' cannot be used"):
        build_definitions(root.settings, "my streets")


def test_no_text_is_no_prefix(root: Root) -> None:
    graph = build_definitions(root.settings, "").resolve_asset_graph()
    assert dg.AssetKey("validated_masks") in graph.get_all_asset_keys()


def test_prefixes_whose_parts_read_alike_do_not_meet(root: Root) -> None:
    both = dg.Definitions.merge(
        build_definitions(root.settings, "a_b"), build_definitions(root.settings, ["a", "b"])
    )
    dg.Definitions.validate_loadable(both)
    for part in ("a__b", "a_", "_b"):
        with pytest.raises(SettingsError, match="cannot be used"):
            build_definitions(root.settings, part)
