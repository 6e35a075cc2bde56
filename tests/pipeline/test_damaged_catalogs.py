"""A materialization whose upload finds a catalog that a cut of the power has damaged."""

from __future__ import annotations

import dagster as dg

from segpipe.pipeline.runs import run_partition
from segpipe.root import Root
from tests.fixtures.damaged_tables import entry, half
from tests.fixtures.published import published
from tests.fixtures.published_days import NEXT_DAY


def test_log_and_metadata_of_the_upload_say_what_was_set_aside(
    unconfirmed: Root, instance: dg.DagsterInstance
) -> None:
    half(entry(unconfirmed, 2))
    report = run_partition(unconfirmed, NEXT_DAY, instance=instance)
    assert report.failure is None
    (said,) = report.remarks
    assert "version 2 of the catalog" in said
    assert f"was set aside as {2:020d}.json.torn" in said
    assert said.endswith("; this run publishes it again")
    made = instance.get_latest_materialization_event(dg.AssetKey("published_predictions"))
    assert made is not None
    assert made.asset_materialization is not None
    assert made.asset_materialization.metadata["remarks"].value == said
    logged = [one for one in instance.all_logs(report.run_id) if one.user_message == said]
    assert [one.level for one in logged] == [30]
    assert set(published(unconfirmed)) == {"a", "b", "c", "d"}
    report = run_partition(unconfirmed, NEXT_DAY, instance=instance)
    assert report.remarks == ()
