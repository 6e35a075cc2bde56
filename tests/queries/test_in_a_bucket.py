"""Queries on a root in a bucket: the same answers, and only the objects that are needed."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import unquote

from segpipe.root import Root
from tests.fixtures.command_line import segpipe
from tests.fixtures.landing import PARTITION, LandingWriter
from tests.fixtures.s3_buckets import FlakyBucket, upload
from tests.fixtures.s3_server import Bucket

OTHER = replace(PARTITION, model_run="other net")


def landed(bucket: Bucket, landing: LandingWriter) -> Root:
    """Two model runs, published in the bucket."""
    for partition in (PARTITION, OTHER):
        landing.manifest([landing.row("a", (0, 1), partition)], partition)
    upload(bucket, landing.root)
    root = Root.open(f"{bucket.url}/root")
    for partition in (PARTITION, OTHER):
        root.materialize(partition)
        root.publish(partition)
    return root


def test_a_root_in_a_bucket_is_queried_by_the_command(s3: Bucket, landing: LandingWriter) -> None:
    root = landed(s3, landing)
    sql = (
        "SELECT model_run, count(*) AS n FROM segments JOIN validated USING (model_run, "
        "reference_id) JOIN receipts USING (model_run, reference_id) GROUP BY 1 ORDER BY 1"
    )
    assert root.sql(sql).to_pylist() == [
        {"model_run": "other net", "n": 2},
        {"model_run": "unet", "n": 2},
    ]
    for _ in range(2):  # Arrow still reads ahead when a query has enough
        done = segpipe(
            "query", "--root", root.settings.root, "SELECT label FROM segments LIMIT 1",
            "--format", "csv", **s3.environment,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("label\nclass ")


def test_a_query_on_one_model_run_asks_for_that_model_run_s_objects(
    flaky_s3: FlakyBucket, landing: LandingWriter
) -> None:
    root = landed(flaky_s3, landing)

    def asked(sql: str) -> set[str]:
        flaky_s3.proxy.forget()
        assert root.sql(sql).num_rows
        paths = [unquote(one.path) for one in flaky_s3.proxy.log if one.method in ("GET", "HEAD")]
        return {
            run
            for run in ("unet", "other")
            for path in paths
            if f"model_run={run}" in path and ".parquet" in path
        }

    assert asked("SELECT * FROM segments WHERE model_run = 'unet'") == {"unet"}
    assert asked("SELECT * FROM receipts WHERE model_run = 'other net'") == {"other"}
    assert asked("SELECT * FROM segments") == {"unet", "other"}
