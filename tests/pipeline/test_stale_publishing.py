"""Publishing alone, after the manifest changed: it is refused, not reported as unchanged."""

from __future__ import annotations

import subprocess
from pathlib import Path

import dagster as dg
import pytest

from segpipe.errors import SettingsError, TableError
from segpipe.pipeline import build_definitions, partition_key
from segpipe.pipeline.partitions import partition_from_key
from segpipe.pipeline.runs import run_partition
from segpipe.root import Root
from tests.fixtures.command_line import assert_plain_error, segpipe
from tests.fixtures.landing import PARTITION, LandingWriter
from tests.pipeline.test_gaps import materialize


def failure(result: dg.ExecuteInProcessResult) -> str:
    (failed,) = (event for event in result.all_events if event.is_step_failure)
    told = failed.step_failure_data.user_failure_data
    return "" if told is None else told.description or ""


def test_tables_of_an_earlier_manifest_are_not_published_and_the_message_says_what_to_select(
    landing: LandingWriter, root: Root, instance: dg.DagsterInstance
) -> None:
    landing.manifest([landing.row("a")])
    assert run_partition(root, PARTITION, instance=instance).failure is None
    landing.manifest([landing.row("a", label="other")])
    version = root.catalog.version()
    refused = materialize(root, instance, PARTITION, ["published_predictions"])
    assert not refused.success
    words = failure(refused)
    assert "has changed since its masks were validated" in words
    with pytest.raises(TableError, match="has changed since"):
        root.publish(PARTITION, update=True)
    assert root.catalog.version() == version
    # As the message says.
    named = ["prediction_manifest", "validated_masks", "published_predictions"]
    assert all(name in words for name in named)
    together = [*named, "segments", "rejected_predictions"]
    assert materialize(root, instance, PARTITION, together).success
    root.publish(PARTITION, update=True)
    assert root.catalog.version() != version


def test_tables_that_do_not_say_of_which_manifest_they_are_are_not_published(
    landing: LandingWriter, root: Root
) -> None:
    landing.manifest([landing.row("a")])
    root.materialize(PARTITION)
    note = Path(root.tables(PARTITION).path) / "_manifest.json"
    note.unlink()
    with pytest.raises(TableError, match="does not say of which manifest"):
        root.publish(PARTITION)
    assert root.materialize(PARTITION).reused
    assert root.publish(PARTITION).outcomes["inserted"] == 1


def test_a_key_is_the_date_and_then_the_model_run() -> None:
    key = partition_key("unet", "2026-01-05")
    assert key == "2026-01-05|unet"
    assert partition_from_key(key) == PARTITION
    with pytest.raises(SettingsError, match=r"wrong way round.*'2026-01-05\|unet'"):
        partition_from_key("unet|2026-01-05")
    with pytest.raises(SettingsError, match=r"expected DATE\|MODEL_RUN"):
        partition_from_key("2026-01-05")


def test_register_makes_landed_model_runs_known_under_their_prefix(
    landing: LandingWriter, root: Root, tmp_path: Path
) -> None:
    landing.manifest([landing.row("a")])
    home = tmp_path / "dagster_home"
    for options in ([], ["--key-prefix", "crops", "--key-prefix", "eu"]):
        done = segpipe("register", "--root", landing.root, *options, DAGSTER_HOME=str(home))
        assert (done.returncode, done.stdout) == (0, "unet\n"), done.stderr
    with dg.DagsterInstance.from_config(str(home)) as instance:
        for name in ("segpipe_model_runs", "crops__eu_segpipe_model_runs"):
            assert instance.get_dynamic_partitions(name) == ["unet"]


def test_a_model_run_can_be_registered_before_its_first_manifest_has_landed(
    landing: LandingWriter, root: Root, tmp_path: Path
) -> None:
    landing.manifest([landing.row("a")])
    (landing.root / "segpipe.toml").write_text("[model_runs.over]\nretired = true\n")
    home = tmp_path / "dagster_home"

    def register(*names: str) -> subprocess.CompletedProcess[str]:
        options = [option for name in names for option in ("--model-run", name)]
        return segpipe("register", "--root", landing.root, *options, DAGSTER_HOME=str(home))

    assert_plain_error(register("next", "a|b"), "'a|b'", "a name has none of")
    assert_plain_error(register("next", "over"), "'over' is over")
    for _ in range(2):
        done = register("next", "unet", "next")
        assert (done.returncode, done.stdout) == (0, "next\nunet\n"), done.stderr
    assert register().stdout == "unet\n"  # what has landed; the other stays registered
    grid = build_definitions(root.settings).resolve_asset_graph()
    definition = grid.get(dg.AssetKey("validated_masks")).partitions_def
    assert definition is not None
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert sorted(instance.get_dynamic_partitions("segpipe_model_runs")) == ["next", "unet"]
        with dg.partition_loading_context(dynamic_partitions_store=instance) as context:
            definition.validate_partition_key("2026-01-05|next", context)


def test_a_command_registers_the_model_run_it_names_and_explains_a_key_it_cannot_use(
    landing: LandingWriter, root: Root, instance: dg.DagsterInstance
) -> None:
    landing.manifest([landing.row("a")])
    grid = build_definitions(root.settings).resolve_asset_graph()
    definition = grid.get(dg.AssetKey("validated_masks")).partitions_def
    assert definition is not None
    with dg.partition_loading_context(dynamic_partitions_store=instance) as context:
        for key, words in {
            "unet|2026-01-05": "wrong way round",
            "2026-01-05|unte": "no model run 'unte' has landed.*'unet'",
            "2025-12-31|unet": "2025-12-31 has no partition, they go from 2026-01-05",
        }.items():
            with pytest.raises(SettingsError, match=words):
                definition.validate_partition_key(key, context)
        assert instance.get_dynamic_partitions("segpipe_model_runs") == []
        definition.validate_partition_key("2026-01-05|unet", context)
    assert instance.get_dynamic_partitions("segpipe_model_runs") == ["unet"]
