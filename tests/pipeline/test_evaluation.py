"""Evaluation as Dagster shows it: an asset beside publishing, its checks, and its gate."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from segpipe.manifests.partition import Partition
from segpipe.pipeline import build_definitions
from segpipe.pipeline.gaps import NOTHING_LANDED, SKIPPED_TAG
from segpipe.pipeline.ground_truth_sensor import SENSOR
from segpipe.pipeline.instance import open_instance
from segpipe.pipeline.partitions import MODEL_RUNS, partition_key
from segpipe.pipeline.runs import PartitionRuns, RunReport
from segpipe.root import Root
from tests.evaluation.test_days import reads_of_the_catalog
from tests.evaluation.test_roots import PREDICTED, RUN, TRUE, TRUTH, land
from tests.fixtures.landing import LandingWriter

UNLABELLED = Partition("unet", "2026-01-06")


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    """One instance for all of these tests, each of which asks about its own runs, or its newest."""
    folder = tmp_path_factory.mktemp("instance")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(folder / "dagster_home"))
        with open_instance(str(folder)) as opened:
            yield opened


def root_with(landing: LandingWriter, requirements: str = "") -> Root:
    """A root in which ground truth and predictions have landed."""
    land(landing, TRUTH, TRUE)
    land(landing, RUN, PREDICTED)
    land(landing, UNLABELLED, {f"other {id}": scene for id, scene in PREDICTED.items()})
    text = f'[evaluation]\nground_truth = "labels"\n{requirements}\n'
    (landing.root / "segpipe.toml").write_text(text)
    return Root.open(landing.root)


def of_evaluation(instance: dg.DagsterInstance, report: RunReport) -> list[dg.DagsterEvent]:
    """Events of a run about the asset: materializations, observations, checks."""
    return _of_step(instance, report, "evaluation")


def validation_of(instance: dg.DagsterInstance, report: RunReport) -> list[dg.DagsterEvent]:
    return _of_step(instance, report, "validate_masks")


def _of_step(instance: dg.DagsterInstance, report: RunReport, step: str) -> list[dg.DagsterEvent]:
    events = (record.dagster_event for record in instance.all_logs(report.run_id))
    return [one for one in events if one and one.step_key == step]


def checks_of(events: list[dg.DagsterEvent]) -> dict[str, tuple[bool, str, str]]:
    """Name of each check -> whether it passed, severity, words."""
    found = [
        event.asset_check_evaluation_data
        for event in events
        if event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION
    ]
    return {
        one.check_name: (one.passed, one.severity.value, one.description or "") for one in found
    }


def kinds(events: list[dg.DagsterEvent]) -> set[str]:
    return {str(event.event_type_value) for event in events}


def test_a_run_evaluates_what_it_publishes_and_leaves_out_what_has_no_ground_truth(
    landing: LandingWriter, instance: dg.DagsterInstance
) -> None:
    root = root_with(landing, "min = {mIoU = 0.99}")
    runs = PartitionRuns(root, instance)
    for partition, words in (
        (TRUTH, "labels is ground truth itself"),
        (UNLABELLED, "nothing could be evaluated: none of 6 items can be compared"),
    ):
        report = runs.run(partition)
        assert (report.failure, report.outcomes and report.outcomes["inserted"]) == (None, 6)
        events = of_evaluation(instance, report)
        assert "ASSET_MATERIALIZATION" not in kinds(events)
        assert "ASSET_OBSERVATION" in kinds(events)
        for passed, _, said in checks_of(events).values():
            assert passed
            assert words in said
        run = instance.get_run_by_id(report.run_id)
        assert run is not None
        assert run.tags[SKIPPED_TAG] == "evaluation"
    report = runs.run(RUN)
    (seen,) = (
        event.asset_observation_data.asset_observation
        for event in validation_of(instance, report)
        if event.event_type is dg.DagsterEventType.ASSET_OBSERVATION
    )
    # What its evaluation was of, so that a change is noticed.
    assert (seen.asset_key, seen.tags["dagster/data_version"]) == (
        dg.AssetKey("ground_truth"), root.truth_version(RUN),
    )  # fmt: skip
    assert (report.failure, report.outcomes and report.outcomes["inserted"]) == (None, 6)
    events = of_evaluation(instance, report)
    passed, severity, words = checks_of(events)["quality"]
    assert (passed, severity) == (False, "WARN")  # without a gate
    assert "worst classes by IoU" in words
    assert f"not good enough: {words}" in report.remarks  # which the command prints
    event = instance.get_latest_materialization_event(dg.AssetKey("evaluation"))
    assert event is not None
    assert event.asset_materialization is not None
    metadata = event.asset_materialization.metadata
    for name, value in root.evaluate(RUN).headline.items():
        assert value is None or metadata[name].value == value
    assert metadata["evaluated"].value == 6
    for name in ("classes", "confusion", "worst_items", "most_confident_errors"):
        assert "data:image/" in str(metadata[name].value), name


def test_a_gate_stops_the_run_before_publishing_with_the_numbers_and_the_classes(
    landing: LandingWriter, instance: dg.DagsterInstance
) -> None:
    root = root_with(landing, "min = {mIoU = 0.99}\ngate = true")
    runs = PartitionRuns(root, instance)
    for partition, words in (
        (RUN, "mIoU 0."),
        (UNLABELLED, "it cannot be judged: nothing could be evaluated"),
    ):
        if partition is RUN:
            root.materialize(TRUTH)
            root.publish(TRUTH)
        report = runs.run(partition)
        assert report.failure is not None
        assert "check quality failed: " in report.failure
        assert words in report.failure
        assert report.published == {}
        passed, severity, said = checks_of(of_evaluation(instance, report))["quality"]
        assert (passed, severity) == (False, "ERROR")
        assert words in said
    assert root.catalog.predictions("unet").num_rows == 0


def test_a_model_run_has_its_standing_among_the_others_on_the_items_that_all_have(
    landing: LandingWriter, instance: dg.DagsterInstance
) -> None:
    root = root_with(landing)
    better, elsewhere = Partition("better", "2026-01-09"), Partition("elsewhere", "2026-01-09")
    few = [*TRUE][1:4]
    land(landing, better, {id: TRUE[id] for id in few})
    land(landing, elsewhere, {"not labelled": PREDICTED["item 0"]})
    for partition in (TRUTH, RUN, UNLABELLED, better, elsewhere):
        root.materialize(partition)
    root.publish(TRUTH)
    instance.add_dynamic_partitions(MODEL_RUNS, ["unet", "labels"])
    job = build_definitions(root.settings).resolve_implicit_global_asset_job_def()
    asset = [dg.AssetKey("evaluation_of_dataset")]
    result = job.execute_in_process(instance=instance, partition_key="unet", asset_selection=asset)
    (event,) = result.get_asset_materialization_events()
    metadata = event.materialization.metadata
    rows = metadata["leaderboard"].records  # type: ignore[union-attr]
    assert [(one.data["rank"], one.data["model_run"], one.data["items"]) for one in rows] == [
        (1, "better", 3),
        (2, "unet", 3),
    ]
    own = root.evaluate(RUN).of_items(few).headline["mIoU"]
    assert own is not None
    assert [one.data["mIoU"] for one in rows] == [1.0, round(own, 4)]
    assert metadata["standing"].value == "2 of 2, by mIoU on 3 common items"
    said = str(metadata["compared"].value)
    assert "compared on the 3 items that all 2 model runs have" in said
    assert "elsewhere is left out: nothing could be evaluated" in said
    assert metadata["evaluated"].value == 6
    store = root.evaluation_of_dataset("unet")
    assert metadata["tables"].value == store.place.url
    assert metadata["days"].value == 1
    version = (event.materialization.tags or {})["dagster/data_version"]
    assert version == store.digest()
    left_out = job.execute_in_process(
        instance=instance, partition_key="labels", asset_selection=asset
    )
    assert not left_out.get_asset_materialization_events()
    empty = job.execute_in_process(
        instance=instance,
        partition_key=partition_key(Partition("unet", "2026-01-07")),
        asset_selection=[dg.AssetKey("evaluation")],
    )
    run = instance.get_run_by_id(empty.run_id)
    assert run is not None
    assert run.tags[SKIPPED_TAG] == NOTHING_LANDED


@pytest.mark.parametrize("evaluated", [False, True])
def test_only_a_root_with_ground_truth_has_the_asset(
    landing: LandingWriter, evaluated: bool
) -> None:
    (landing.root / "segpipe.toml").parent.mkdir(exist_ok=True)
    if evaluated:
        root = root_with(landing, "min = {PQ = 0}\ngate = true")
    else:
        root = Root.open(landing.root)
    graph = build_definitions(root.settings).resolve_asset_graph()
    names = {key.path[-1] for key in graph.get_all_asset_keys()}
    assert ("evaluation" in names) is evaluated
    assert ("evaluation_of_dataset" in names) is evaluated
    published = {
        key.path[-1] for key in graph.get(dg.AssetKey("published_predictions")).parent_keys
    }
    assert ("evaluation" in published) is evaluated


class Truth:
    """The sensor of ground truth and the sensor of conditions, asked as Dagster's daemon does."""

    def __init__(self, root: Root, instance: dg.DagsterInstance) -> None:
        self.definitions = build_definitions(root.settings)
        self._instance = instance
        self._now = datetime.now(UTC).replace(minute=10) + timedelta(hours=1)
        self._seen: Any = None
        self._cursor: str | None = None

    def tick(self) -> set[str]:
        """Look at the ground truth; the partitions of which it is said to have changed."""
        (sensor,) = (one for one in self.definitions.sensors or () if one.name == SENSOR)
        assert isinstance(sensor, dg.SensorDefinition)
        with dg.build_sensor_context(self._instance, self._cursor) as context:
            found = sensor.evaluate_tick(context)
        for event in found.asset_events:
            self._instance.report_runless_asset_event(event)
        self._cursor = found.cursor or self._cursor
        return {str(event.partition) for event in found.asset_events}

    def requested(self) -> dict[str, list[str]]:
        """The partitions of each asset that are to be materialized now."""
        self._now += timedelta(minutes=1)
        names = ("evaluation", "evaluation_of_dataset", "published_predictions")
        found = dg.evaluate_automation_conditions(
            self.definitions,
            self._instance,
            dg.AssetSelection.assets(*names),
            evaluation_time=self._now,
            cursor=self._seen,
        )
        self._seen = found.cursor
        asked = {name: found.get_requested_partitions(dg.AssetKey(name)) for name in names}
        return {name: sorted(map(str, keys)) for name, keys in asked.items() if keys}

    def is_stale(self, partition: Partition) -> bool:
        """Whether Dagster's pages mark a partition's evaluation as out of date."""
        graph, context = self.definitions.resolve_asset_graph(), LoadingContextForTest
        resolver = CachingStaleStatusResolver(self._instance, graph, context(self._instance))
        key = partition_key(partition)
        return resolver.get_status(dg.AssetKey("evaluation"), key) is StaleStatus.STALE

    def materialize(self, asset: str, key: str) -> None:
        """Run an asset, as was requested."""
        job = self.definitions.resolve_implicit_global_asset_job_def()
        selection = [dg.AssetKey(asset)]
        assert job.execute_in_process(
            instance=self._instance, partition_key=key, asset_selection=selection
        ).success


def test_a_partition_is_evaluated_again_where_the_ground_truth_of_its_items_changed(
    landing: LandingWriter, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = root_with(landing)
    key = partition_key(RUN)
    instance.add_dynamic_partitions(MODEL_RUNS, ["unet", "labels"])
    for partition in (RUN, UNLABELLED):  # without any ground truth yet
        root.materialize(partition)
    truth = Truth(root, instance)
    assert (truth.tick(), truth.requested()) == (set(), {})
    root.materialize(TRUTH)
    root.publish(TRUTH)
    asked = reads_of_the_catalog(monkeypatch)
    assert truth.tick() == {key}
    assert asked == [12]  # the items of both partitions at once
    assert truth.requested() == {"evaluation": [key]}
    assert truth.requested() == {}
    truth.materialize("evaluation", key)
    assert not truth.is_stale(RUN)
    assert truth.requested() == {"evaluation_of_dataset": ["unet"]}
    assert truth.tick() == set()
    root.publish(UNLABELLED)  # another version of the catalog, the same truth
    assert truth.tick() == set()
    land(landing, TRUTH, {**TRUE, "item 4": PREDICTED["item 4"]})
    root.materialize(TRUTH)
    root.publish(TRUTH, update=True)
    assert truth.tick() == {key}
    assert truth.is_stale(RUN)
    assert truth.requested() == {"evaluation": [key]}
    truth.materialize("evaluation", key)
    event = instance.get_latest_materialization_event(dg.AssetKey("evaluation"))
    assert event is not None and event.asset_materialization is not None
    assert event.asset_materialization.metadata["unchanged"].value == 5
    assert not truth.is_stale(RUN)
    assert truth.tick() == set()
    # What is evaluated by other means meanwhile is not asked for.
    land(landing, TRUTH, TRUE)
    root.materialize(TRUTH)
    root.publish(TRUTH, update=True)
    root.evaluate(RUN)
    assert truth.tick() == set()
