"""``segpipe query``: what it prints and writes, and how it ends."""

from __future__ import annotations

import csv
import io
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from segpipe.errors import SegpipeError
from segpipe.queries.examples import EXAMPLES
from segpipe.queries.views import VIEWS
from segpipe.root import Root
from tests.fixtures.command_line import assert_plain_error, invoked, segpipe
from tests.fixtures.landing import PARTITION, LandingWriter, segment_cells
from tests.fixtures.published_days import NEXT_DAY

FIVE = "SELECT * FROM range(5) AS t(n)"


def test_without_a_query_views_columns_types_and_examples_are_listed(
    landing: LandingWriter, two_days: Root
) -> None:
    done = segpipe("query", "--root", landing.root)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    for view in VIEWS:
        assert [line for line in lines if line.startswith(f"{view}: ")]
    assert [line.split() for line in lines].count(["confidence", "DOUBLE"]) == 5
    for example in EXAMPLES:
        (command,) = (line.strip() for line in lines if line.endswith(f"--example {example}"))
        given = command.removeprefix("segpipe ").split()
        assert invoked(*given).stdout


def test_examples_find_the_unsure_the_disagreeing_and_the_missing(
    root: Root, landing: LandingWriter, publish: Callable[..., int]
) -> None:
    other = type(PARTITION)("other", PARTITION.date)
    rows = [landing.row("a", (0, 1)), landing.row("b", (0, 1)), landing.row("bad", (0, 1))]
    rows[1]["segments"][0]["metadata"] = json.dumps({"confidence": 0.1})
    rows[2]["segments"] = []
    landing.manifest(rows)
    more = {**landing.row("b", (0, 0, 1), other), "segments": segment_cells((0, 1))}
    landing.manifest([landing.row("a", (0, 1), other), more], other)
    for partition in (PARTITION, other):
        root.materialize(partition)
        root.publish(partition)

    least = root.sql(EXAMPLES["least-sure"].sql).to_pylist()
    assert (least[0]["reference_id"], least[0]["index"]) == ("b", 0)
    assert least[0]["confidence"] == 0.1

    (differs, same) = root.sql(EXAMPLES["disagreement"].sql).to_pylist()
    assert (differs["reference_id"], same["reference_id"]) == ("b", "a")
    assert differs["share_of_image"] == pytest.approx(2 / 3 - 1 / 2)
    assert (differs["first_run"], differs["second_run"]) == ("other", "unet")
    assert same["share_of_image"] == 0

    covered = root.sql(EXAMPLES["coverage"].sql).to_pylist()
    assert [tuple(row.values()) for row in covered] == [
        ("default", "other", PARTITION.date, 2, 0, 2, 1.0),
        ("default", "unet", PARTITION.date, 2, 1, 2, 1.0),
    ]


def test_a_table_says_what_it_does_not_show(landing: LandingWriter, two_days: Root) -> None:
    done = invoked("query", "--root", landing.root, FIVE, "--rows", 2)
    assert done.stdout.split() == ["n", "0", "1"]
    assert "3 more rows are not shown: --rows N" in done.stderr
    long = "SELECT repeat('x', 100) AS x, chr(27) || '[31m' || chr(10) AS y, NULL AS z"
    done = invoked("query", "--root", landing.root, long)
    (_, row) = done.stdout.splitlines()
    assert row.split() == ["x" * 57 + "...", r"\x1b[31m\n"]
    assert "1 cells are cut" in done.stderr
    done = invoked("query", "--root", landing.root, "SELECT 1 AS n WHERE false")
    assert (done.stdout, done.stderr) == ("n\n", "no rows\n")


def test_results_are_written_as_csv_json_and_parquet(
    landing: LandingWriter, two_days: Root, tmp_path: Path
) -> None:
    sql = (
        "SELECT reference_id, label, confidence, published_at, segments, map {'a': 0.5} AS pdf, "
        "NULL AS nothing, sum(area_px) OVER () AS areas, 'é\n\"x' AS text "
        "FROM segments JOIN predictions USING (model_run, reference_id) ORDER BY ALL"
    )
    query = tmp_path / "query.sql"
    query.write_text(sql + ";\n")
    expected = two_days.sql(sql)
    for kind in ("csv", "json", "parquet"):
        out = tmp_path / f"out.{kind}"
        done = invoked("query", "--root", landing.root, "--file", query, "--out", out)
        assert done.stdout == ""
        assert f"written to {out}" in done.stderr
        if kind != "parquet":
            printed = invoked("query", "--root", landing.root, sql, "--format", kind)
            assert printed.stdout == out.read_text("utf-8")
    assert pq.read_table(tmp_path / "out.parquet").equals(expected)

    read = json.loads((tmp_path / "out.json").read_text())
    assert [row["segments"] for row in read] == expected["segments"].to_pylist()
    assert {(*row["pdf"].items(), row["nothing"], row["text"]) for row in read} == {
        (("a", 0.5), None, 'é\n"x')
    }
    assert [row["areas"] for row in read] == [int(n) for n in expected["areas"].to_pylist()]

    rows = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text("utf-8"))))
    assert [row["reference_id"] for row in rows] == expected["reference_id"].to_pylist()
    assert [json.loads(row["segments"]) for row in rows] == expected["segments"].to_pylist()
    assert {(row["nothing"], row["text"]) for row in rows} == {("", 'é\n"x')}


def test_values_that_json_does_not_have_are_counted(landing: LandingWriter, root: Root) -> None:
    sql = "SELECT 'nan'::DOUBLE AS a, ['inf'::DOUBLE, 1] AS b"
    done = invoked("query", "--root", landing.root, sql, "--format", "json")
    assert json.loads(done.stdout) == [{"a": None, "b": [None, 1]}]
    assert "2 numbers are infinite or NaN" in done.stderr


def test_times_that_python_does_not_have_are_text_and_the_others_stay(
    landing: LandingWriter, root: Root
) -> None:
    sql = (
        "SELECT time, [time] AS several FROM (VALUES (TIMESTAMP '2026-01-05 12:00:00'), "
        "(TIMESTAMP '20000-01-01')) AS given (time)"
    )
    done = invoked("query", "--root", landing.root, sql, "--format", "json")
    far = "20000-01-01 00:00:00.000000"
    assert json.loads(done.stdout) == [
        {"time": "2026-01-05T12:00:00", "several": ["2026-01-05T12:00:00"]},
        {"time": far, "several": f'["{far}"]'},
    ]


def test_a_version_and_what_has_none_are_told(
    landing: LandingWriter, root: Root, publish: Callable[..., int]
) -> None:
    first = publish({"a": (0, 1)})
    publish({"b": (0, 1)}, NEXT_DAY)
    sql = "SELECT count(DISTINCT reference_id) AS n FROM segments"
    done = invoked("query", "--root", landing.root, "--version", first, sql)
    assert (done.stdout.split(), done.stderr) == (["n", "1"], "")
    both = "SELECT count(*) FROM segments JOIN receipts USING (reference_id)"
    done = invoked("query", "--root", landing.root, "--version", first, both)
    assert "note: receipts: as of now" in done.stderr
    assert_plain_error(
        segpipe("query", "--root", landing.root, "--version", 9, sql), "there is no version 9 of"
    )


def test_what_cannot_be_done_ends_with_2_and_writes_nothing(
    landing: LandingWriter, two_days: Root, tmp_path: Path
) -> None:
    query = ("query", "--root", landing.root)
    out = tmp_path / "out.csv"
    binary = tmp_path / "query.sql"
    binary.write_bytes(b"\xff\xfe")
    for arguments, words in (
        (("SELECT confidnce FROM segments", "--out", out), "did you mean 'confidence'?"),
        (("SELECT * FROM '/etc/passwd'",), "reading files and addresses is refused"),
        ((FIVE, "--example", "coverage"), "give one query"),
        ((FIVE, "--format", "parquet"), "name it with --out"),
        ((FIVE, "--out", tmp_path / "out.txt"), "give --format"),
        ((FIVE, "--out", tmp_path / "no" / "out.csv"), "writing"),
        (("--file", tmp_path / "none.sql"), "none.sql"),
        (("--file", binary), "not UTF-8"),
        (("SELECT INTERVAL 1 DAY AS i", "--out", tmp_path / "out.parquet"), "Parquet"),
        (
            ("SELECT 1 AS n, 2 AS n", "--out", tmp_path / "out.json"),
            "two columns of the result are named 'n'",
        ),
    ):
        with pytest.raises(SegpipeError) as failed:
            invoked(*query, *arguments)
        assert words in str(failed.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["query.sql", "root"]
    assert_plain_error(segpipe(*query, "COPY segments TO 'x.csv'"), "COPY is refused")
    assert_plain_error(segpipe("query", "--root", tmp_path / "nowhere"), "there is no folder")


@pytest.mark.slow
def test_a_query_is_interrupted_while_the_engine_computes(
    landing: LandingWriter, root: Root
) -> None:
    endless = "SELECT count(*) AS n FROM range(1000000000000) AS t(i) WHERE hash(i) = 3"
    command = [sys.executable, "-m", "segpipe", "query", "--root", str(landing.root), endless]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        time.sleep(6)
        assert running.poll() is None
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=30)
    assert running.returncode == 130
    assert said.startswith("interrupted")


def test_without_duckdb_the_extra_is_named(
    landing: LandingWriter, root: Root, tmp_path: Path
) -> None:
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "sitecustomize.py").write_text(
        "import sys\nsys.modules['duckdb'] = None\n"
    )
    path = ":".join([str(tmp_path / "without"), *filter(None, sys.path)])
    done = segpipe("query", "--root", landing.root, FIVE, PYTHONPATH=path)
    assert_plain_error(done, "pip install 'segpipe[query]'")
