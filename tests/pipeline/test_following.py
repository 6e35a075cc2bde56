"""What follows without sensor and schedule: declared on the assets, looked at as Dagster's daemon
does, on a real instance."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from segpipe.manifests.partition import Partition
from segpipe.pipeline.assets import run_selection
from segpipe.pipeline.build import JOB, build_definitions
from segpipe.pipeline.freshness_check import FRESH
from segpipe.pipeline.instance import register
from segpipe.pipeline.partitions import partition_key
from segpipe.pipeline.prefixed_root import PrefixedRoot
from segpipe.predictions.view import View
from segpipe.root import Root
from segpipe.settings import Settings
from segpipe.validation.rules.policy import Policies
from tests.fixtures.landing import PARTITION, LandingWriter

pytestmark = pytest.mark.filterwarnings("ignore:Parameter `include_sources`")

PUBLISHED = dg.AssetKey("published_predictions")
HOUR = timedelta(hours=1)


class Daemon:
    """Looks at the conditions again and again, remembering as the daemon does."""

    cursor: Any = None

    def __init__(self, settings: Settings, instance: dg.DagsterInstance) -> None:
        self.definitions = build_definitions(settings)
        self.instance = instance
        # After all events of the test, and with some looks to come before the check's next hour.
        self.now = datetime.now(UTC).replace(minute=10) + HOUR
        self.look()

    def look(self) -> list[str]:
        """Partitions of the upload that are to be run now."""
        return sorted(map(str, self._evaluated().get_requested_partitions(PUBLISHED)))

    def checks(self) -> int:
        """How many runs of the check of freshness are to begin now."""
        key = dg.AssetCheckKey(PUBLISHED, FRESH)
        (found,) = (one for one in self._evaluated().results if one.key == key)
        size: int = found.true_subset.size
        return size

    def _evaluated(self) -> Any:
        self.now += timedelta(minutes=1)
        found = dg.evaluate_automation_conditions(
            self.definitions, self.instance, cursor=self.cursor, evaluation_time=self.now
        )
        self.cursor = found.cursor
        return found

    def materialize(self, *names: str) -> None:
        """Run these assets of the partition, as a person does; the whole job without names."""
        job = (
            self.definitions.resolve_implicit_global_asset_job_def()
            if names
            else self.definitions.resolve_job_def(JOB)
        )
        result = job.execute_in_process(
            instance=self.instance,
            partition_key=partition_key(PARTITION),
            asset_selection=[dg.AssetKey(name) for name in names] or None,
        )
        assert result.success


@pytest.fixture
def daemon(landing: LandingWriter, root: Root, instance: dg.DagsterInstance) -> Daemon:
    landing.manifest([landing.row("a")])
    register(instance, PARTITION)
    return Daemon(root.settings, instance)


VALIDATING = ("prediction_manifest", "validated_masks", "segments", "rejected_predictions")


@pytest.mark.slow
def test_a_run_of_the_whole_job_starts_nothing_more(daemon: Daemon) -> None:
    daemon.materialize()
    assert daemon.look() == []
    daemon.materialize()
    assert daemon.look() == []


def test_masks_validated_by_hand_are_published(daemon: Daemon, landing: LandingWriter) -> None:
    daemon.materialize()
    daemon.look()
    landing.manifest([landing.row("a", (0, 9))])
    daemon.materialize(*VALIDATING)
    assert daemon.look() == [f"{PARTITION.date}|{PARTITION.model_run}"]
    assert daemon.look() == []  # it was asked for; the run is Dagster's to begin


def test_masks_validated_by_hand_the_first_time_are_published_too(daemon: Daemon) -> None:
    daemon.materialize(*VALIDATING)
    assert daemon.look() == [f"{PARTITION.date}|{PARTITION.model_run}"]


@pytest.mark.parametrize("asked_by", ["the sensor", "the page of the job"])
def test_an_upload_that_a_check_blocked_is_not_tried_again_by_itself(
    daemon: Daemon, landing: LandingWriter, asked_by: str
) -> None:
    landing.manifest([{**landing.row(f"bad {n}"), "height": 7} for n in range(3)])
    job = daemon.definitions.resolve_job_def(JOB)
    key = partition_key(PARTITION)
    every = run_selection(PrefixedRoot(Root.open(str(landing.root))), View.GIVEN)
    selection = every if asked_by == "the sensor" else None
    result = job.execute_in_process(
        instance=daemon.instance,
        partition_key=key,
        asset_selection=selection,
        raise_on_error=False,
    )
    assert not result.success
    assert daemon.look() == []


def test_nothing_is_asked_for_where_nothing_happened(daemon: Daemon) -> None:
    assert daemon.look() == []
    assert daemon.look() == []


def test_freshness_is_looked_at_once_an_hour(daemon: Daemon) -> None:
    daemon.materialize()
    assert daemon.checks() == 0
    daemon.now += HOUR
    assert daemon.checks() == 1
    assert daemon.checks() == 0
    daemon.now += HOUR
    assert daemon.checks() == 1


@pytest.mark.slow
def test_the_check_names_the_model_runs_that_are_late(
    landing: LandingWriter, root: Root, instance: dg.DagsterInstance
) -> None:
    today = datetime.now(UTC).date()
    current, no_progress = Partition("current", str(today)), Partition("no_progress", "2026-01-05")
    policies = Policies.read(
        {
            "policy": {"max_age_hours": 30},
            "model_runs": {"over": {"retired": True}, "awaited": {"max_age_hours": 6}},
        },
        "x",
    )
    definitions = build_definitions(replace(root.settings, policies=policies))
    job = definitions.resolve_job_def(JOB)
    for partition in (current, no_progress, Partition("over", "2026-01-05")):
        landing.manifest([landing.row("a", partition=partition)], partition)
        register(instance, partition)
        result = job.execute_in_process(instance=instance, partition_key=partition_key(partition))
        assert result.success
    register(instance, Partition("never", "2026-01-05"))
    looked = dg.materialize(
        list(definitions.asset_checks or ()),
        instance=instance,
        selection=dg.AssetSelection.checks(dg.AssetCheckKey(PUBLISHED, FRESH)),
    )
    (evaluation,) = looked.get_asset_check_evaluations()
    assert not evaluation.passed
    assert evaluation.severity is dg.AssetCheckSeverity.WARN
    words = evaluation.description or ""
    assert words.startswith(
        "awaited: nothing is published; never: nothing is published; no_progress: 2026-01-05 is"
    )
    assert "current" not in words
    assert "over" not in words
    assert words.endswith("see whether the model ran and its manifest landed")
    assert evaluation.metadata["late"].value == 3


def test_a_rerun_of_an_old_day_makes_no_model_run_fresh(
    landing: LandingWriter, root: Root, instance: dg.DagsterInstance
) -> None:
    policies = Policies.read({"policy": {"max_age_hours": 30}}, "x")
    definitions = build_definitions(replace(root.settings, policies=policies))
    landing.manifest([landing.row("a")])
    register(instance, PARTITION)
    job = definitions.resolve_job_def(JOB)
    assert job.execute_in_process(instance=instance, partition_key=partition_key(PARTITION)).success
    looked = dg.materialize(
        list(definitions.asset_checks or ()),
        instance=instance,
        selection=dg.AssetSelection.checks(dg.AssetCheckKey(PUBLISHED, FRESH)),
    )
    assert not looked.get_asset_check_evaluations()[0].passed
    # Nothing on the asset's page says otherwise: Dagster's own policy would, for a day.
    assert definitions.resolve_asset_graph().get(PUBLISHED).freshness_policy is None
