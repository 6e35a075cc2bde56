"""The Dagster project, run in a real instance."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import dagster as dg
import pytest

from segpipe.errors import ManifestError, SettingsError
from segpipe.manifests.partition import Partition
from segpipe.pipeline.build import JOB, build_definitions
from segpipe.pipeline.home import dagster_home
from segpipe.pipeline.instance import register, register_landed
from segpipe.pipeline.partitions import MODEL_RUNS, partition_key
from segpipe.pipeline.runs import run_partition
from segpipe.root import Root
from segpipe.validation.rules.policy import Policies
from tests.fixtures.landing import PARTITION, LandingWriter
from tests.fixtures.places import PROJECT


def tables(root: Root) -> dict[str, bytes]:
    """The files of the partition's tables."""
    return {path.name: path.read_bytes() for path in Path(root.tables(PARTITION).path).iterdir()}


def test_a_partition_goes_from_manifest_to_catalog_and_a_rerun_changes_nothing(
    landing: LandingWriter, root: Root, instance: dg.DagsterInstance
) -> None:
    landing.manifest([landing.row("a"), landing.row("b", (0, 5)), {**landing.row("c"), "width": 9}])
    first = run_partition(root, PARTITION, instance=instance)
    assert first.failure is None
    assert first.summary is not None
    assert (first.summary.accepted, first.summary.rejected) == (2, 1)
    assert first.outcomes == {
        "inserted": 2, "unchanged": 0, "ignored": 0, "replaced": 0, "failed": 0,
    }  # fmt: skip
    before = tables(root)
    second = run_partition(root, PARTITION, instance=instance)
    assert second.outcomes is not None
    assert second.outcomes["unchanged"] == 2
    assert tables(root) == before
    assert second.run_id != first.run_id


def test_what_was_carried_as_text_is_told_in_the_manifest_s_metadata_and_costs_nothing(
    landing: LandingWriter, root: Root, instance: dg.DagsterInstance
) -> None:
    landing.manifest([landing.row("a") | {"speed": 1}], name="a.parquet")
    landing.manifest([landing.row("b") | {"speed": "fast"}], name="b.parquet")
    report = run_partition(root, PARTITION, instance=instance)
    assert report.failure is None
    assert report.summary is not None
    assert report.summary.accepted == 2
    event = instance.get_latest_materialization_event(dg.AssetKey("prediction_manifest"))
    assert event is not None
    assert event.asset_materialization is not None
    warnings = event.asset_materialization.metadata["warnings"].value
    assert warnings == list(report.summary.warnings)
    assert "'speed' is carried as text" in str(warnings)


@pytest.mark.slow
def test_an_unchanged_rerun_has_the_same_data_versions_and_a_change_has_others(
    landing: LandingWriter, root: Root, instance: dg.DagsterInstance
) -> None:
    def versions() -> dict[str, str]:
        run_partition(root, PARTITION, instance=instance)
        found = {}
        for name in ("prediction_manifest", "validated_masks", "segments", "rejected_predictions"):
            event = instance.get_latest_materialization_event(dg.AssetKey(name))
            assert event is not None
            assert event.asset_materialization is not None
            found[name] = (event.asset_materialization.tags or {})["dagster/data_version"]
        return found

    landing.manifest([landing.row("a"), landing.row("b")])
    first = versions()
    assert versions() == first
    landing.manifest([landing.row("a"), landing.row("b", (0, 9))])
    changed = versions()
    assert changed["validated_masks"] != first["validated_masks"]
    assert changed["rejected_predictions"] == first["rejected_predictions"]


@pytest.mark.slow
def test_what_is_published_has_another_data_version_only_when_something_else_is_published(
    landing: LandingWriter, root: Root, instance: dg.DagsterInstance
) -> None:
    def publish(**how: bool) -> tuple[str, int]:
        report = run_partition(root, PARTITION, instance=instance, **how)
        assert report.failure is None
        event = instance.get_latest_materialization_event(dg.AssetKey("published_predictions"))
        assert event is not None
        made = event.asset_materialization
        assert made is not None
        rows = made.metadata["dagster/row_count"].value
        assert isinstance(rows, int)
        return (made.tags or {})["dagster/data_version"], rows

    rows = [landing.row("a"), landing.row("b", (0, 2))]
    landing.manifest(rows)
    first = publish()
    assert first[1] == 2
    landing.manifest(rows[::-1])
    assert publish() == first  # another order of the same
    landing.manifest([rows[0], landing.row("b", (0, 9))])
    assert publish() == first  # the change was ignored
    replaced = publish(update=True)
    assert replaced[0] != first[0]
    assert publish() == replaced
    landing.manifest([rows[0], landing.row("b", (0, 2)), {**landing.row("c"), "height": 7}])
    assert publish(update=True) == first  # what there was at first is published again


def test_rules_that_changed_change_the_code_version(root: Root) -> None:
    def version(given: dict[str, object]) -> str | None:
        settings = replace(root.settings, policies=Policies.read(given, "segpipe.toml"))
        graph = build_definitions(settings).resolve_asset_graph()
        found: str | None = graph.get(dg.AssetKey("validated_masks")).code_version
        return found

    before = version({})
    assert version({"policy": {"severities": {"DUPLICATE-MASK": "off"}}}) != before
    assert version({"model_runs": {"unet": {"max_segments": 5}}}) != before
    # What decides no verdict leaves all partitions alone.
    assert version({"policy": {"max_drift": 0.1}}) == before
    assert version({"model_runs": {"unet": {"retired": True}}}) == before


def test_naming_the_ground_truth_changes_the_code_version(root: Root) -> None:
    def version(*ground_truth: str) -> str | None:
        settings = replace(root.settings, ground_truth=ground_truth)
        graph = build_definitions(settings).resolve_asset_graph()
        found: str | None = graph.get(dg.AssetKey("validated_masks")).code_version
        return found

    assert len({version(), version("labels"), version("older")}) == 3


@pytest.mark.slow
def test_a_tag_of_a_backfill_says_update_too(
    landing: LandingWriter, root: Root, instance: dg.DagsterInstance
) -> None:
    job = build_definitions(root.settings).resolve_job_def(JOB)
    register(instance, PARTITION)

    def outcomes(values: tuple[int, ...], tags: dict[str, str]) -> dict[str, object]:
        landing.manifest([landing.row("a", values)])
        key = partition_key(PARTITION)
        assert job.execute_in_process(instance=instance, partition_key=key, tags=tags).success
        event = instance.get_latest_materialization_event(dg.AssetKey("published_predictions"))
        assert event is not None
        assert event.asset_materialization is not None
        metadata = event.asset_materialization.metadata
        return {name: metadata[name].value for name in ("ignored", "replaced", "update")}

    outcomes((0, 1), {})
    assert outcomes((0, 2), {}) == {"ignored": 1, "replaced": 0, "update": False}
    updating = {"segpipe/update": "true"}
    assert outcomes((0, 2), updating) == {"ignored": 0, "replaced": 1, "update": True}


@pytest.mark.slow
def test_update_is_run_configuration_of_the_upload_asset(
    landing: LandingWriter, root: Root, instance: dg.DagsterInstance
) -> None:
    landing.manifest([landing.row("a")])
    run_partition(root, PARTITION, instance=instance)
    landing.manifest([landing.row("a", label="other")])
    ignored = run_partition(root, PARTITION, instance=instance)
    would = run_partition(root, PARTITION, instance=instance, update=True, dry_run=True)
    replaced = run_partition(root, PARTITION, instance=instance, update=True)
    outcomes = [report.outcomes or {} for report in (ignored, would, replaced)]
    assert [o["ignored"] for o in outcomes] == [1, 0, 0]
    assert [o["replaced"] for o in outcomes] == [0, 1, 1]
    schema = build_definitions(root.settings).resolve_job_def(JOB).run_config_schema
    fields = schema.config_type.fields["ops"].config_type.fields["published_predictions"]
    names = fields.config_type.fields["config"].config_type.fields
    assert {name: names[name].default_value for name in ("update", "dry_run")} == {
        "update": False,
        "dry_run": False,
    }


def test_every_asset_tells_its_columns_before_anything_was_made(root: Root) -> None:
    graph = build_definitions(root.settings).resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        columns = graph.get(key).metadata["dagster/column_schema"].columns
        assert {"reference_id"} <= {column.name for column in columns}, key


def test_a_manifest_tells_the_columns_it_carries(
    landing: LandingWriter, root: Root, instance: dg.DagsterInstance
) -> None:
    landing.manifest([{**landing.row("a"), "camera": "front"}])
    run_partition(root, PARTITION, instance=instance)
    event = instance.get_latest_materialization_event(dg.AssetKey("prediction_manifest"))
    assert event is not None
    assert event.asset_materialization is not None
    schema = event.asset_materialization.metadata["dagster/column_schema"].value
    assert isinstance(schema, dg.TableSchema)
    assert schema.columns[-1].name == "camera"
    assert {column.name for column in schema.columns} >= {"mask_url", "segments"}


def test_a_dry_run_does_not_mark_the_upload_as_materialized(
    landing: LandingWriter, root: Root, instance: dg.DagsterInstance
) -> None:
    landing.manifest([landing.row("a")])
    report = run_partition(root, PARTITION, instance=instance, dry_run=True)
    assert report.outcomes is not None
    assert report.outcomes["inserted"] == 1
    assert not (landing.root / "catalog").exists()
    key = dg.AssetKey("published_predictions")
    assert instance.get_latest_materialization_event(key) is None


def test_too_many_rejections_block_publishing_and_say_why(
    landing: LandingWriter, root: Root, instance: dg.DagsterInstance
) -> None:
    bad = [{**landing.row(f"bad {n}"), "height": 7} for n in range(3)]
    landing.manifest([landing.row("good"), *bad])
    report = run_partition(root, PARTITION, instance=instance)
    assert report.failure is not None
    assert "rejection_rate" in report.failure
    assert "3 of 4 rows rejected" in report.failure
    assert report.summary is not None
    assert report.summary.accepted == 1
    assert report.outcomes is None
    assert not (landing.root / "catalog").exists()


def test_what_a_person_sees_is_in_the_metadata(
    landing: LandingWriter, root: Root, instance: dg.DagsterInstance
) -> None:
    landing.manifest([landing.row("a"), {**landing.row("c"), "width": 9}])
    run_partition(root, PARTITION, instance=instance)

    def metadata(name: str) -> dict[str, dg.MetadataValue]:
        event = instance.get_latest_materialization_event(dg.AssetKey(name))
        assert event is not None
        assert event.asset_materialization is not None
        return dict(event.asset_materialization.metadata)

    validated = metadata("validated_masks")
    preview = str(validated["preview"].value)
    assert preview.startswith("![predictions of the partition](data:image/jpeg;base64,")
    assert len(preview) < 200_000
    assert validated["rejection_rate"].value == 0.5
    rejections = metadata("rejected_predictions")["first_rejections"]
    assert isinstance(rejections, dg.TableMetadataValue)
    assert [record.data["rule"] for record in rejections.records] == ["SIZE-MISMATCH"]
    assert "padding or cropping" in str(rejections.records[0].data["remedy"])
    assert metadata("published_predictions")["inserted"].value == 1


def test_checks_are_recorded_with_the_run(
    landing: LandingWriter, root: Root, instance: dg.DagsterInstance
) -> None:
    landing.manifest([landing.row("a")])
    instance.add_dynamic_partitions(MODEL_RUNS, [PARTITION.model_run])
    result = (
        build_definitions(root.settings)
        .resolve_job_def(JOB)
        .execute_in_process(instance=instance, partition_key=partition_key(PARTITION))
    )
    checks = {e.check_name: e.passed for e in result.get_asset_check_evaluations()}
    assert all(checks.values())
    assert checks.keys() >= {"every_pixel_explained", "nothing_failed", "rejection_rate"}


def test_a_partition_without_a_manifest_is_refused_before_dagster_remembers_it(
    landing: LandingWriter, root: Root, instance: dg.DagsterInstance
) -> None:
    landing.manifest([landing.row("a")])
    with pytest.raises(ManifestError, match=r"no model run 'unte'.*unet"):
        run_partition(root, Partition("unte", PARTITION.date), instance=instance)
    assert instance.get_dynamic_partitions(MODEL_RUNS) == []
    assert instance.get_runs() == []


def test_landed_model_runs_become_partitions(
    landing: LandingWriter, root: Root, instance: dg.DagsterInstance
) -> None:
    for name in ("unet", "deeplab v3"):
        landing.manifest([landing.row("a")], Partition(name, PARTITION.date))
    (landing.root / "manifests" / "not a model run").mkdir()
    assert register_landed(instance, root) == ["deeplab v3", "unet"]
    assert sorted(instance.get_dynamic_partitions(MODEL_RUNS)) == ["deeplab v3", "unet"]


def test_a_root_of_its_own_gets_a_dagster_home_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    home = dagster_home(str(tmp_path / "mine"))
    assert home == tmp_path / "mine" / "dagster_home"
    assert "telemetry" in (home / "dagster.yaml").read_text()
    with pytest.raises(SettingsError, match="set DAGSTER_HOME"):
        dagster_home("memory://bucket")


@pytest.mark.parametrize(
    ("committed", "packaged"),
    [("dagster_home/dagster.yaml", "dagster.yaml"), ("workspace.yaml", "workspace.yaml")],
)
def test_the_committed_dagster_files_are_the_ones_the_package_brings(
    committed: str, packaged: str
) -> None:
    ours = (PROJECT / committed).read_text()
    assert files("segpipe.pipeline").joinpath(packaged).read_text() == ours


@pytest.mark.slow
def test_dagster_loads_the_workspace(landing: LandingWriter, root: Root) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dagster", "definitions", "validate", "-w", "workspace.yaml"],
        cwd=PROJECT,
        env={"SEGPIPE_ROOT": str(landing.root), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_places_are_links_where_the_settings_say_how_files_are_reached(
    landing: LandingWriter, root: Root, instance: dg.DagsterInstance
) -> None:
    landing.manifest([landing.row("a")])

    def links() -> Mapping[str, dg.MetadataValue]:
        assert run_partition(Root.open(root.settings.root), PARTITION, instance=instance).run_id
        event = instance.get_latest_materialization_event(dg.AssetKey("rejected_predictions"))
        assert event is not None
        assert event.asset_materialization is not None
        return event.asset_materialization.metadata

    before = links()
    assert isinstance(before["report"], dg.PathMetadataValue)
    assert "browse" not in before
    (landing.root / "segpipe.toml").write_text(
        'links = "https://files.example/streets/"\nbrowse_url = "http://looking.example:8010/"\n'
    )
    after = links()
    found, page = after["report"], after["browse"]
    assert isinstance(page, dg.UrlMetadataValue)
    query = "run=unet&from=2026-01-05&to=2026-01-05"
    assert page.url == f"http://looking.example:8010/rejects?{query}"
    assert isinstance(found, dg.UrlMetadataValue)
    folders = "model_run%3Dunet/date%3D2026-01-05"
    assert found.url == f"https://files.example/streets/validated/{folders}/report.html"


@pytest.mark.parametrize("address", ["files.example", "file:///x", "https://user:secret@host/x"])
def test_an_address_of_links_that_is_none_is_refused(landing: LandingWriter, address: str) -> None:
    landing.root.mkdir()
    (landing.root / "segpipe.toml").write_text(f'links = "{address}"\n')
    with pytest.raises(SettingsError, match=r"links is .*expected an address"):
        Root.open(str(landing.root))
