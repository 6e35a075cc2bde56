"""What Dagster's checks say of a partition, on a real instance."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segpipe.manifests.partition import Partition
from segpipe.pipeline.build import JOB, build_definitions
from segpipe.pipeline.checks import (
    every_pixel_explained,
    every_row_accounted_for,
    predictions_as_validated,
)
from segpipe.pipeline.instance import register
from segpipe.pipeline.partitions import partition_key
from segpipe.predictions.view import View
from segpipe.root import Root
from segpipe.storage.files import Folder
from segpipe.validation.distributions import BINS, Distribution, distribution_of, drift_between
from tests.fixtures.landing import PARTITION, LandingWriter

Checks = dict[str, tuple[bool, str, str]]


@pytest.fixture
def checked(landing: LandingWriter, instance: dg.DagsterInstance) -> Callable[..., Checks]:
    """Runs a partition; check -> passed, severity, description."""

    def run(partition: Partition = PARTITION) -> Checks:
        settings = Root.open(str(landing.root)).settings
        register(instance, partition)
        result = (
            build_definitions(settings)
            .resolve_job_def(JOB)
            .execute_in_process(
                instance=instance, partition_key=partition_key(partition), raise_on_error=False
            )
        )
        return {
            check.check_name: (check.passed, check.severity.value, check.description or "")
            for check in result.get_asset_check_evaluations()
        }

    return run


def test_a_good_partition_passes_every_check(
    landing: LandingWriter, checked: Callable[..., Checks]
) -> None:
    landing.manifest([landing.row("a"), landing.row("b", (0, 4))])
    found = checked()
    assert all(passed for passed, _, _ in found.values())
    assert found.keys() == {
        "manifest_schema", "rejection_rate", "no_duplicates", "coverage", "every_pixel_explained",
        "label_drift", "every_row_accounted_for", "predictions_as_validated", "nothing_failed",
        "published_equals_validated",
    }  # fmt: skip


def test_every_asset_has_a_check(root: Root) -> None:
    graph = build_definitions(root.settings).resolve_asset_graph()
    assert {key.asset_key for key in graph.asset_check_keys} == graph.get_all_asset_keys()


def without_a_row(table: Path) -> None:
    """What a table looks like where somebody took its first row out."""
    whole = pq.read_table(table)
    pq.write_table(whole.slice(1), table)


def test_tables_are_held_against_each_other_as_they_are_on_storage(
    landing: LandingWriter, root: Root, instance: dg.DagsterInstance
) -> None:
    landing.manifest([landing.row("a"), {**landing.row("c"), "width": 9}])
    summary = root.materialize(PARTITION)
    root.materialize_view(PARTITION, view=View.SEMANTIC)
    tables, view = root.tables(PARTITION), root.view_tables(PARTITION, View.SEMANTIC)
    assert every_row_accounted_for(tables, summary).passed
    assert predictions_as_validated(tables, view, "semantic_masks").passed
    assert every_pixel_explained(view, "semantic_segments").passed
    without_a_row(Path(tables.path) / "rejected.parquet")
    told = every_row_accounted_for(tables, summary)
    assert not told.passed
    assert told.description == (
        "1 accepted, 0 rejected and 0 repeated are not the 2 rows of the manifest: materialize "
        "the partition again, with force"
    )
    without_a_row(Path(view.path) / "segments.parquet")
    assert not every_pixel_explained(view, "semantic_segments").passed
    without_a_row(Path(view.path) / "validated.parquet")
    assert not predictions_as_validated(tables, view, "semantic_masks").passed


def test_the_checks_of_a_view_are_made_of_what_is_picked(
    landing: LandingWriter, root: Root, instance: dg.DagsterInstance
) -> None:
    landing.manifest([landing.row("a")])
    root.materialize(PARTITION)
    register(instance, PARTITION)
    job = build_definitions(root.settings).resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(
        instance=instance,
        partition_key=partition_key(PARTITION),
        asset_selection=[dg.AssetKey("semantic_masks")],
    )
    told = [(one.asset_key.path, one.passed) for one in result.get_asset_check_evaluations()]
    assert told == [(["semantic_masks"], True)]


def test_a_check_speaks_of_a_partition_and_not_of_the_asset_as_a_whole(
    landing: LandingWriter, checked: Callable[..., Checks], instance: dg.DagsterInstance
) -> None:
    other = Partition("unet", "2026-01-06")
    bad = {**landing.row("a", partition=other), "mask_url": "masks/nowhere.png"}
    landing.manifest([landing.row("a")])
    landing.manifest([bad, landing.row("b", (0, 4), other)], other)
    checked()
    checked(other)
    key = dg.AssetCheckKey(dg.AssetKey("validated_masks"), "rejection_rate")
    records = instance.event_log_storage.get_asset_check_execution_history(key, limit=10)
    told = {record.partition: record.status.value for record in records}
    assert told == {
        str(partition_key(PARTITION)): "SUCCEEDED",
        str(partition_key(other)): "FAILED",
    }


def test_a_manifest_without_a_column_fails_its_check_and_nothing_else_is_tried(
    landing: LandingWriter, checked: Callable[..., Checks]
) -> None:
    row = landing.row("a")
    del row["mask_url"]
    landing.manifest([row])
    found = checked()
    assert found.keys() == {"manifest_schema"}
    passed, severity, words = found["manifest_schema"]
    assert (passed, severity) == (False, "ERROR")
    assert "no column 'mask_url'" in words


def test_some_rejected_rows_warn_and_too_many_block_publishing(
    landing: LandingWriter, root: Root, checked: Callable[..., Checks]
) -> None:
    bad = {**landing.row("bad"), "mask_url": "masks/nowhere.png"}
    landing.manifest([landing.row("a"), landing.row("b", (0, 4)), bad])
    found = checked()
    assert found["rejection_rate"][:2] == (False, "WARN")
    assert found["published_equals_validated"][0]
    (landing.root / "segpipe.toml").write_text("[policy]\nmax_rejection_rate = 0.1\n")
    found = checked()
    assert found["rejection_rate"][:2] == (False, "ERROR")
    assert (
        "1 of 3 rows rejected (limit: 0.1); see rejected_predictions" in found["rejection_rate"][2]
    )
    assert "published_equals_validated" not in found


def test_an_item_in_several_rows_is_told(
    landing: LandingWriter, checked: Callable[..., Checks]
) -> None:
    rows = [landing.row("a"), landing.row("a"), landing.row("b", (0, 4))]
    landing.manifest([*rows, landing.row("b", (0, 5), name="other")])
    passed, severity, words = checked()["no_duplicates"]
    assert (passed, severity) == (False, "WARN")
    assert words.startswith("2 rows of items with several, different rows were rejected, and 1")


def test_items_without_a_prediction_are_counted_against_the_list(
    landing: LandingWriter, root: Root, checked: Callable[..., Checks]
) -> None:
    landing.manifest([landing.row("a"), landing.row("b", (0, 4))])
    (landing.root / "items.txt").write_text("a\nb\nc\nd\n")
    settings = landing.root / "segpipe.toml"
    settings.write_text("[policy]\nitems = 'items.txt'\nmin_coverage = 0.5\n")
    assert checked()["coverage"][0]
    settings.write_text("[policy]\nitems = 'items.txt'\nmin_coverage = 0.75\n")
    assert checked()["coverage"] == (
        False, "WARN",
        "2 of 4 items have a prediction: run the model on the others, or lower min_coverage",
    )  # fmt: skip


@pytest.mark.slow
def test_labels_are_compared_with_the_partition_before_of_the_same_model_run(
    landing: LandingWriter, checked: Callable[..., Checks]
) -> None:
    days = [Partition("unet", f"2026-01-0{day}") for day in (3, 4, 5)]
    other = Partition("other", "2026-01-04")
    landing.manifest([landing.row("a", (0, 1), days[0])], days[0])
    landing.manifest([landing.row("a", (0, 1), days[1], name="same")], days[1])
    landing.manifest([landing.row("a", (0, 2), days[2])], days[2])
    landing.manifest([landing.row("a", (7, 8), other)], other)
    for partition, passed, words in (
        (days[0], True, "no earlier partition"),
        (other, True, "no earlier partition"),
        (days[1], True, "0.0 % of the pixels"),
        (days[2], False, "50.0 % of the pixels would have to change their label (class 1 -50.0"),
    ):
        found = checked(partition)["label_drift"]
        assert found[0] is passed
        assert words in found[2]


ROWS = st.lists(
    st.tuples(
        st.sampled_from(["road", "sky", "car", "ä"]),
        st.integers(0, 1000),
        st.none() | st.floats(-0.5, 1.5),
        st.sampled_from(["{}", '{"ignore":true}', '{"ignored":1}']),
    ),
    max_size=30,
)


@settings(deadline=None)
@given(ROWS)
def test_a_distribution_is_what_counting_by_hand_gives(
    rows: list[tuple[str, int, float | None, str]],
) -> None:
    import tempfile

    names = ["label", "area_px", "confidence", "metadata"]
    kinds = [pa.string(), pa.int64(), pa.float64(), pa.string()]
    table = pa.table(
        {
            name: pa.array([row[place] for row in rows], kind)
            for place, (name, kind) in enumerate(zip(names, kinds, strict=True))
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        pq.write_table(table, Path(folder) / "segments.parquet", row_group_size=7)
        found = distribution_of(Folder(folder))
    kept = [row for row in rows if not json.loads(row[3]).get("ignore")]
    for label in {row[0] for row in kept}:
        assert found.pixels[label] == sum(row[1] for row in kept if row[0] == label)
        assert found.segments[label] == sum(row[0] == label for row in kept)
    bins = [0] * BINS
    for row in kept:
        if row[2] is not None and 0 <= row[2] <= 1:
            bins[min(BINS - 1, int(row[2] * BINS))] += 1
    assert sum(found.confidences) == sum(bins)
    assert sum(found.confidences) + found.without_confidence == len(kept)


SHARES = st.dictionaries(st.sampled_from("abcde"), st.integers(1, 100), min_size=1)


@given(SHARES, SHARES)
def test_drift_is_a_distance_between_0_and_1(one: dict[str, int], two: dict[str, int]) -> None:
    before, after = (Distribution(shares, {}, (), 0) for shares in (one, two))
    drift = drift_between(before, after)
    assert 0 <= drift.distance <= 1 + 1e-9
    assert drift.distance == pytest.approx(drift_between(after, before).distance)
    assert drift_between(before, before).distance == 0
    assert sum(drift.changes.values()) == pytest.approx(0, abs=1e-9)
    if one.keys().isdisjoint(two):
        assert drift.distance == pytest.approx(1)
