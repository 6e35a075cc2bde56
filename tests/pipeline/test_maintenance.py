"""Looking after the catalog from Dagster: dry first, off by default, out of publishers' way."""

from __future__ import annotations

from dataclasses import replace

import dagster as dg
import pytest

from segpipe.pipeline import build_definitions
from segpipe.pipeline.build import JOB
from segpipe.pipeline.maintenance import HEALTHY, MAINTAIN, STEP
from segpipe.pipeline.runs import run_partition
from segpipe.publishing import table_health as health
from segpipe.root import Root
from tests.fixtures.landing import PARTITION, LandingWriter


@pytest.fixture
def published(landing: LandingWriter, root: Root, instance: dg.DagsterInstance) -> Root:
    """A catalog of two versions with small files, and one that was replaced."""
    for label in ("class", "other"):
        landing.manifest([landing.row("a", label=label), landing.row("b", label=label)])
        assert run_partition(root, PARTITION, instance=instance, update=True).failure is None
    return root


def maintain(root: Root, instance: dg.DagsterInstance, **config: object) -> dict[str, object]:
    """Run the job; the metadata of its observation, if it made one."""
    job = build_definitions(root.settings).resolve_job_def(MAINTAIN)
    done = job.execute_in_process(instance=instance, run_config={"ops": {STEP: {"config": config}}})
    assert done.success
    found = [
        event.event_specific_data.asset_observation
        for event in done.all_events
        if event.event_type is dg.DagsterEventType.ASSET_OBSERVATION
    ]
    return {name: value.value for one in found for name, value in one.metadata.items()}


def test_maintenance_says_what_it_would_do_and_then_does_it(
    published: Root, instance: dg.DagsterInstance
) -> None:
    before = published.catalog.version()
    said = maintain(published, instance, retention_hours=0)
    assert said["dry_run"] is True
    assert published.catalog.version() == before
    table = published.catalog.read(["reference_id", "fingerprint"])
    done = maintain(published, instance, dry_run=False, retention_hours=0)
    assert done["dry_run"] is False
    assert {"deleted/table_files", "deleted/table_bytes", "versions_kept", "after/files"} <= {*done}
    assert done["deleted/table_files"]
    after = published.catalog.read(["reference_id", "fingerprint"])
    assert after.sort_by("reference_id") == table.sort_by("reference_id")


def test_maintenance_is_put_off_while_a_run_publishes(
    published: Root, instance: dg.DagsterInstance
) -> None:
    job = build_definitions(published.settings).resolve_job_def(JOB)
    run = instance.create_run_for_job(job, tags={"dagster/partition": "2026-01-05|unet"})
    start = dg.DagsterEvent(dg.DagsterEventType.RUN_START.value, run.job_name)
    instance.report_dagster_event(start, run.run_id)
    version = published.catalog.version()
    assert maintain(published, instance, dry_run=False) == {}
    assert published.catalog.version() == version


def test_the_schedule_is_off_and_reports_unless_the_settings_say_clean(root: Root) -> None:
    for setting, dry in (("report", True), ("clean", False)):
        settings = replace(root.settings, maintenance=setting, automatic=True)
        schedule = build_definitions(settings).resolve_schedule_def("maintenance")
        assert schedule.default_status is dg.DefaultScheduleStatus.STOPPED
        result = schedule.evaluate_tick(dg.build_schedule_context())
        (request,) = result.run_requests or ()
        assert request.run_config["ops"][STEP]["config"]["dry_run"] is dry


def test_a_check_says_when_the_catalog_wants_to_be_optimized(
    published: Root, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def checked() -> dg.AssetCheckEvaluation:
        definitions = build_definitions(published.settings)
        key = dg.AssetCheckKey(dg.AssetKey("published_predictions"), HEALTHY)
        job = definitions.resolve_implicit_global_asset_job_def()
        done = job.get_subset(asset_selection=set(), asset_check_selection={key})
        (found,) = done.execute_in_process(instance=instance).get_asset_check_evaluations()
        return found

    healthy = checked()
    assert healthy.passed
    assert healthy.metadata["files"].value
    monkeypatch.setattr(health, "MOST_SMALL_FILES", 0)
    many = checked()
    assert not many.passed
    assert "run the job maintain_catalog" in (many.description or "")


def test_root_alerts_and_nucleus_are_resources_and_secrets_are_named_by_their_variable(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEGPIPE_ALERT_URL", "https://hooks.example/TOPSECRET")
    definitions = build_definitions(root.settings, "streets")
    resources = definitions.get_repository_def().get_top_level_resources()
    assert set(resources) == {"streets_segpipe_root", "streets_segpipe_alerts"}
    configured = definitions.resources["streets_segpipe_alerts"]
    assert isinstance(configured, dg.ConfigurableResource)
    assert configured.process_config_and_initialize().url.endswith("TOPSECRET")
    assert isinstance(configured.url, dg.EnvVar)
    assert configured.url.env_var_name == "SEGPIPE_ALERT_URL"
