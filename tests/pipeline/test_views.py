"""Views as Dagster materializes them: only where asked for, and what a run tells of them."""

from __future__ import annotations

import dagster as dg
import pytest

from segpipe.errors import SettingsError
from segpipe.pipeline.build import JOB, build_definitions
from segpipe.pipeline.partitions import MODEL_RUNS, partition_key
from segpipe.pipeline.runs import run_partition
from segpipe.predictions.view import View
from segpipe.root import Root
from tests.fixtures.landing import PARTITION, LandingWriter
from tests.fixtures.streets import MADE, TAXONOMY, land_streets

VIEW_ASSETS = ["instance_masks", "instance_segments", "semantic_masks", "semantic_segments"]


def materialized(instance: dg.DagsterInstance) -> dict[str, dg.AssetMaterialization]:
    """The newest materialization of every asset that has one."""
    found = {}
    for name in [*VIEW_ASSETS, "validated_masks", "published_predictions"]:
        event = instance.get_latest_materialization_event(dg.AssetKey(name))
        if event is not None and event.asset_materialization is not None:
            found[name] = event.asset_materialization
    return found


def test_a_view_is_materialized_only_where_the_policy_asks_and_nothing_looks_failed(
    landing: LandingWriter, instance: dg.DagsterInstance
) -> None:
    root = land_streets(landing)
    given = run_partition(root, PARTITION, instance=instance)
    assert (given.failure, given.published_as, given.view) == (None, View.GIVEN, None)
    assert set(materialized(instance)) == {"validated_masks", "published_predictions"}
    assert instance.get_run_by_id(given.run_id).status is dg.DagsterRunStatus.SUCCESS  # type: ignore[union-attr]

    root = land_streets(landing, settings='[model_runs.unet]\npublish_as = "instance"\n' + TAXONOMY)
    report = run_partition(root, PARTITION, instance=instance, update=True)
    assert report.failure is None
    assert report.view is not None
    assert report.view.changed == 3
    assert report.outcomes is not None
    assert report.outcomes["replaced"] == 3
    made = materialized(instance)
    assert set(made) == {
        "validated_masks", "published_predictions", "instance_masks", "instance_segments",
    }  # fmt: skip
    metadata = made["instance_masks"].metadata
    assert metadata["dagster/row_count"].value == 3
    assert str(metadata["preview"].value).startswith(
        "![a prediction of the partition](data:image/jpeg"
    )
    assert made["instance_segments"].metadata["dagster/row_count"].value == 9
    assert made["published_predictions"].metadata["published_as"].value == "instance"
    assert instance.get_run_by_id(report.run_id).status is dg.DagsterRunStatus.SUCCESS  # type: ignore[union-attr]


def test_views_descend_from_the_validated_masks_and_are_what_is_published(root: Root) -> None:
    graph = build_definitions(root.settings).resolve_asset_graph()
    for view in MADE:
        for name in (f"{view}_masks", f"{view}_segments"):
            parents = {key.to_user_string() for key in graph.get(dg.AssetKey(name)).parent_keys}
            assert parents == {"validated_masks", "segments"}
    published = graph.get(dg.AssetKey("published_predictions"))
    assert {key.to_user_string() for key in published.parent_keys} == {
        "validated_masks", "segments", *VIEW_ASSETS,
    }  # fmt: skip


@pytest.mark.slow
def test_the_data_version_of_a_view_comes_from_its_content(
    landing: LandingWriter, instance: dg.DagsterInstance
) -> None:
    def version() -> str:
        run_partition(root, PARTITION, instance=instance, publish_as=View.SEMANTIC)
        tags = materialized(instance)["semantic_masks"].tags or {}
        return tags["dagster/data_version"]

    root = land_streets(landing)
    first = version()
    assert version() == first
    root = land_streets(landing, settings=TAXONOMY.replace("stuff", "thing"))
    assert version() == first  # the same classes
    root = land_streets(landing, count=2)
    assert version() != first


def run_only(root: Root, instance: dg.DagsterInstance, *names: str) -> dg.ExecuteInProcessResult:
    """Some assets alone, as picked in the UI."""
    instance.add_dynamic_partitions(MODEL_RUNS, [PARTITION.model_run])
    job = build_definitions(root.settings).resolve_job_def(JOB)
    return job.execute_in_process(
        instance=instance,
        partition_key=partition_key(PARTITION),
        asset_selection=[dg.AssetKey(name) for name in names],
        raise_on_error=False,
    )


def test_a_view_picked_by_hand_is_made_whatever_the_policy_says(
    landing: LandingWriter, instance: dg.DagsterInstance
) -> None:
    root = land_streets(landing)
    assert run_only(root, instance, "semantic_masks", "semantic_segments").success
    assert set(materialized(instance)) == {"semantic_masks", "semantic_segments"}
    assert root.catalog.version() is None


@pytest.mark.parametrize("names", [["instance_masks"], ["instance_segments", "semantic_masks"]])
def test_one_asset_of_a_view_may_be_picked_without_the_other(
    landing: LandingWriter, instance: dg.DagsterInstance, names: list[str]
) -> None:
    root = land_streets(landing)
    assert run_only(root, instance, *names).success
    assert set(materialized(instance)) == set(names)
    for name in names:
        assert len(root.view(PARTITION, View(name.partition("_")[0]))) == 3


def test_publishing_alone_makes_the_view_it_needs_where_it_is_not_there(
    landing: LandingWriter, instance: dg.DagsterInstance
) -> None:
    root = land_streets(landing, settings='[policy]\npublish_as = "instance"\n' + TAXONOMY)
    root.materialize(PARTITION)
    assert run_only(root, instance, "published_predictions").success
    made = materialized(instance)
    assert set(made) == {"published_predictions", "instance_masks", "instance_segments"}
    assert made["instance_masks"].partition == partition_key(PARTITION)
    version = (made["instance_masks"].tags or {})["dagster/data_version"]
    assert version == root.materialize_view(PARTITION, view=View.INSTANCE).digest
    first = instance.get_latest_materialization_event(dg.AssetKey("instance_masks"))
    assert run_only(root, instance, "published_predictions").success  # it is there now
    assert instance.get_latest_materialization_event(dg.AssetKey("instance_masks")) == first


def test_a_dry_run_records_no_check_of_what_it_did_not_read_back(
    landing: LandingWriter, instance: dg.DagsterInstance
) -> None:
    root = land_streets(landing)
    report = run_partition(root, PARTITION, instance=instance, dry_run=True)
    assert report.failure is None
    assert report.outcomes is not None
    assert report.outcomes["inserted"] == 3
    kind = dg.DagsterEventType.ASSET_CHECK_EVALUATION
    evaluated = {
        log.dagster_event.asset_check_evaluation_data.asset_key.to_user_string()
        for log in instance.all_logs(report.run_id, of_type=kind)
        if log.dagster_event is not None
    }
    assert {"validated_masks", "segments"} <= evaluated
    assert "published_predictions" not in evaluated


def test_a_taxonomy_that_cannot_serve_the_view_fails_before_anything_runs(
    landing: LandingWriter, instance: dg.DagsterInstance
) -> None:
    root = land_streets(landing, settings='[policy.taxonomy]\nbackground = "thing"\n')
    with pytest.raises(SettingsError, match="calls 'background' a thing"):
        run_partition(root, PARTITION, instance=instance, publish_as=View.INSTANCE)
    assert instance.get_runs() == []
