"""Whatever a row holds, what is said of it is short: in tables, in reports, on Dagster's pages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from segpipe.errors import listed, shortened
from segpipe.root import Root
from segpipe.storage.files import Folder
from segpipe.tables.digest import TableDigest
from segpipe.validation.report import RuleReport, ValidationReport
from tests.fixtures.inbox import Inbox
from tests.fixtures.landing import PARTITION, LandingWriter

if TYPE_CHECKING:
    import dagster as dg

LONG = "l" * 900
SEGMENTS: dict[str, Any] = {
    "one index many times": [{"label": f"{LONG}{n}", "index": 7} for n in range(3000)],
    "indexes that are lists": [{"label": "a", "index": list(range(50_000))}] * 5,
    "labels that are lists": [{"label": ["x" * 100_000] * 9, "index": 0}],
    "a label of 100 000 characters": [{"label": "x" * 100_000, "index": 0}],
    "a key of 100 000 characters": [
        {"label": "a", "index": 0, "metadata": {"k" * 100_000: float("nan")}}
    ],
    "a confidence that is a text": [
        {"label": "a", "index": 0, "metadata": {"confidence": "c" * 50_000}}
    ],
}


def test_a_shortened_text_keeps_its_end_and_says_how_much_is_left_out() -> None:
    text = "x" * 5000 + "; do this"
    assert shortened(text, 6000) == text
    short = shortened(text, 400)
    assert short.endswith("; do this")
    assert "(4,609 characters left out)" in short
    assert len(short) < 450
    assert len(listed([text] * 20)) < 5000


@pytest.mark.parametrize("name", SEGMENTS)
def test_no_row_makes_a_long_message_or_report(inbox: Inbox, name: str) -> None:
    row = inbox.row("a", [[0, 1], [1, 5]], segments=json.dumps(SEGMENTS[name]))
    done = inbox.run([row])
    assert done.rejected
    for one in done.rejected:
        assert max(len(str(value)) for value in one.values()) < 3100, one["rule"]
    report = ValidationReport.read(Folder(str(done.out)))
    assert len(report.to_json()) < 60_000
    assert len(repr(report)) < 30_000


def test_of_many_remedies_the_report_keeps_ten_and_how_many_more() -> None:
    rule = RuleReport("SIZE-MISMATCH", "reject", "resize", 500)
    for number in range(500):
        rule.add({"remedy": f"do {number % 50}", "severity": "reject", "reference_id": "a",
                  "manifest": "m", "manifest_row": number, "message": "found"})  # fmt: skip
    remedies = rule.stored()["remedies"]
    assert len(remedies) == 11
    assert remedies["40 more remedies"] == 400


@pytest.mark.slow
def test_what_dagster_keeps_of_a_run_is_bounded(
    landing: LandingWriter, root: Root, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    from segpipe.pipeline.runs import run_partition

    rows = [landing.row("good")]
    text = json.dumps(SEGMENTS["one index many times"])
    columns = {f"column {number} {LONG}": number for number in range(1000)}
    rows += [{**landing.row(f"bad {n}"), "segments": text} for n in range(30)]
    rows = [{**row, "segments": json.dumps(row["segments"])} if isinstance(row["segments"], list)
            else row for row in rows]  # fmt: skip
    landing.manifest([{**row, **columns} for row in rows])
    before = _bytes_in(tmp_path / "dagster_home")
    report = run_partition(root, PARTITION, instance=instance)
    assert report.summary is not None
    assert report.summary.rejected == 30
    instance.dispose()  # until then the last writes are in a file of their own
    assert _bytes_in(tmp_path / "dagster_home") - before < 3_000_000
    page = (Path(str(root.tables(PARTITION).url)) / "report.html").read_bytes()
    assert len(page) < 300_000


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_digests_do_not_depend_on_how_large_rows_are_collected() -> None:
    table = pa.table({"a": ["x" * 1_000_000] * 50})
    whole, parts = TableDigest("1"), TableDigest("1")
    whole.add(table)
    for number in range(50):
        parts.add(table.slice(number, 1))
    assert whole.hexdigest() == parts.hexdigest()
