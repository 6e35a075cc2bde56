"""Cells of the grid without a manifest, and views nobody publishes: runs leave them out, green."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import dagster as dg
import pytest

from segpipe.manifests.partition import Partition
from segpipe.pipeline import build_definitions
from segpipe.pipeline.gaps import NOTHING_LANDED, SKIPPED_TAG
from segpipe.pipeline.instance import register, register_landed
from segpipe.pipeline.partitions import partition_key
from segpipe.root import Root
from tests.fixtures.landing import PARTITION, LandingWriter
from tests.fixtures.streets import TAXONOMY, land_streets

EMPTY = Partition("unet", "2026-01-06")
VIEWS = {"instance_masks", "instance_segments", "semantic_masks", "semantic_segments"}


def materialize(
    root: Root,
    instance: dg.DagsterInstance,
    partition: Partition,
    assets: Sequence[str] | None = None,
) -> dg.ExecuteInProcessResult:
    """What "Materialize all" does, or "Materialize selected" with some assets."""
    register(instance, partition)
    definitions = build_definitions(root.settings)
    job = definitions.resolve_implicit_global_asset_job_def()
    keys = definitions.resolve_asset_graph().get_all_asset_keys()
    return job.execute_in_process(
        instance=instance,
        partition_key=partition_key(partition),
        asset_selection=[key for key in keys if assets is None or key.path[-1] in assets],
        raise_on_error=False,
    )


def made(result: dg.ExecuteInProcessResult) -> set[str]:
    return {event.asset_key.path[-1] for event in result.get_asset_materialization_events()
            if event.asset_key}  # fmt: skip


def observed(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    found = {}
    for event in result.get_asset_observation_events():
        observation = event.asset_observation_data.asset_observation
        found[observation.asset_key.path[-1]] = observation.description or ""
    return found


def tags(instance: dg.DagsterInstance, result: dg.ExecuteInProcessResult) -> dict[str, str]:
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    return dict(run.tags)


@pytest.mark.parametrize(
    "assets", [None, ["validated_masks", "segments", "rejected_predictions"],
               ["published_predictions"]],
    ids=["all", "validated", "published"],
)  # fmt: skip
def test_a_cell_without_a_manifest_is_left_out_and_its_run_is_green(
    landing: LandingWriter,
    root: Root,
    instance: dg.DagsterInstance,
    assets: list[str] | None,
) -> None:
    landing.manifest([landing.row("a")])
    result = materialize(root, instance, EMPTY, assets)
    assert result.success
    assert made(result) == set()
    (words,) = observed(result).values()
    assert words.startswith("nothing landed for model_run=unet date=2026-01-06: expected")
    assert tags(instance, result)[SKIPPED_TAG] == NOTHING_LANDED
    assert all(one.passed for one in result.get_asset_check_evaluations())
    if assets is None:
        (check,) = result.get_asset_check_evaluations()
        assert check.check_name == "manifest_schema"
        assert "nothing landed for" in (check.description or "")


def test_a_cell_without_a_manifest_fails_where_the_settings_say_so(
    landing: LandingWriter, root: Root, instance: dg.DagsterInstance
) -> None:
    landing.manifest([landing.row("a")])
    strict = Root(replace(root.settings, missing_manifest="fail"))
    result = materialize(strict, instance, EMPTY)
    assert not result.success
    assert made(result) == set()


def test_a_delivery_that_is_not_read_is_no_empty_cell(
    landing: LandingWriter, root: Root, instance: dg.DagsterInstance
) -> None:
    folder = landing.folder(EMPTY)
    folder.mkdir(parents=True)
    (folder / "predictions.csv").write_text("reference_id\n")
    assert not materialize(root, instance, EMPTY).success


@pytest.mark.parametrize("published", ["given", "instance"])
def test_materialize_all_writes_no_view_that_is_not_published(
    landing: LandingWriter, instance: dg.DagsterInstance, published: str
) -> None:
    settings = f'[model_runs.unet]\npublish_as = "{published}"\n' + TAXONOMY
    root = land_streets(landing, settings=settings)
    result = materialize(root, instance, PARTITION)
    assert result.success
    wanted = {name for name in VIEWS if name.startswith(published)}
    assert made(result) & VIEWS == wanted
    assert "published_predictions" in made(result)
    assert not root.settings.folder("views").exists("semantic")
    left = {"semantic"} if wanted else {"instance", "semantic"}
    assert set(observed(result)) == {f"{view}_masks" for view in left}
    assert set(tags(instance, result)[SKIPPED_TAG].split(",")) == left
    # Picked by a person, it is made.
    assert made(materialize(root, instance, PARTITION, [*VIEWS])) == VIEWS


def test_a_retired_model_run_leaves_the_grid(
    landing: LandingWriter, root: Root, instance: dg.DagsterInstance
) -> None:
    landing.manifest([landing.row("a")])
    assert register_landed(instance, root) == ["unet"]
    (landing.root / "segpipe.toml").write_text("[model_runs.unet]\nretired = true\n")
    assert register_landed(instance, Root.open(root.settings.root)) == []
    assert instance.get_dynamic_partitions("segpipe_model_runs") == []
