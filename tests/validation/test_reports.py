"""Reports: text grouped by rule, JSON, and a page with pictures that opens by itself."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from PIL import Image

from segpipe import __version__ as segpipe_version
from segpipe.pictures.report_rows import list_of_rows
from segpipe.root import Root
from segpipe.validation.report import ValidationReport
from segpipe.validation.rules import CATALOGUE, Severity
from tests.fixtures.command_line import segpipe
from tests.fixtures.landing import PARTITION, LandingWriter, segment_cells


@pytest.fixture
def mixed(landing: LandingWriter, root: Root) -> Root:
    """A partition with rejections, a warning and a conversion, materialized."""
    rows = [
        *({**landing.row(f"small {n}"), "height": 12, "width": 16} for n in range(5)),
        landing.row("unmapped <b>", (0, 7), segments=segment_cells([0]), name="unmapped"),
        landing.row("colour"),
        landing.row("hidden", (0, 1), segments=segment_cells([0, 1, 2])),
        *(landing.row(f"good {n}", (0, n + 10)) for n in range(8)),
    ]
    colours = np.zeros((6, 8, 3), np.uint8)
    colours[:3] = (255, 0, 0)
    path = landing.folder(PARTITION) / "masks" / "colour.png"
    Image.fromarray(colours).save(path)
    landing.manifest(rows)
    root.materialize(PARTITION)
    return root


def test_the_text_groups_by_rule_with_counts_three_examples_and_advice(mixed: Root) -> None:
    lines = list(ValidationReport.read(mixed.tables(PARTITION)).lines())
    assert lines[0] == "16 rows: 9 accepted, 7 rejected"
    assert lines[2] == "SIZE-MISMATCH  5 rows rejected"
    section = lines[2 : lines.index("", 2)]
    assert [line.split(" (")[0].strip() for line in section[1::2][:3]] == [
        "small 0", "small 1", "small 2",
    ]  # fmt: skip
    assert section[-2] == "  and 2 more"
    assert section[-1] == f"  -> {CATALOGUE['SIZE-MISMATCH'].remedy}"
    notes = "\n".join(lines[lines.index("published, with a note:") :])
    assert "SEGMENT-NO-PIXELS  1 row" in notes
    assert "no pixels for Segment 2 ('class 2')" in notes


def test_the_gravest_come_first(mixed: Root) -> None:
    report = ValidationReport.read(mixed.tables(PARTITION))
    assert [rule.rule for rule in report.rules] == [
        "SIZE-MISMATCH",
        "MASK-COLOUR",
        "VALUE-NO-SEGMENT",
        "SEGMENT-NO-PIXELS",
    ]
    parsed = json.loads(report.to_json())
    assert parsed["summary"]["rejected"] == 7
    assert parsed["rules"][0]["rows"] == 5


def pictures(page: str) -> dict[str, Image.Image]:
    """The page's pictures by rule."""
    found = re.findall(r"<img alt='([A-Z0-9-]+): [^']*' src='data:image/png;base64,([^']+)'>", page)
    return {rule: Image.open(io.BytesIO(base64.b64decode(data))) for rule, data in found}


def test_the_page_has_a_picture_per_rule_and_needs_nothing_else(mixed: Root) -> None:
    page = Path(mixed.write_report_page(PARTITION)).read_text()
    shown = pictures(page)
    assert shown.keys() == {"SIZE-MISMATCH", "MASK-COLOUR", "VALUE-NO-SEGMENT", "SEGMENT-NO-PIXELS"}
    assert "http://" not in page
    assert "https://" not in page
    assert "unmapped &lt;b&gt;" in page
    assert "<b>" not in page


def test_offending_pixels_are_marked_and_no_others(mixed: Root) -> None:
    page = Path(mixed.write_report_page(PARTITION)).read_text()
    picture = np.asarray(pictures(page)["VALUE-NO-SEGMENT"].convert("RGB"))
    # The mask is 8 x 6, drawn forty times as large below a title 23 pixels high.
    red = (picture[23 : 23 + 240, :320] == (230, 0, 60)).all(axis=2)
    assert not red[:120].any()
    assert red[120:].mean() > 0.98  # but for a number


def test_a_report_on_a_flawless_partition_says_so(landing: LandingWriter, root: Root) -> None:
    landing.manifest([landing.row("a"), landing.row("b", (0, 5))])
    root.materialize(PARTITION)
    assert "Nothing to report" in Path(root.write_report_page(PARTITION)).read_text()
    assert list(ValidationReport.read(root.tables(PARTITION)).lines()) == [
        "2 rows: 2 accepted, 0 rejected"
    ]


def test_a_shared_list_of_classes_is_one_quiet_line(landing: LandingWriter, root: Root) -> None:
    taxonomy = segment_cells(range(12))
    landing.manifest([landing.row(f"i{n}", (0, n + 1), segments=taxonomy) for n in range(5)])
    root.materialize(PARTITION)
    assert list(ValidationReport.read(root.tables(PARTITION)).lines()) == [
        "5 rows: 5 accepted, 0 rejected",
        "rows list the same 12 Segments, a taxonomy: those without pixels are not told one by one",
    ]


def test_the_command_writes_the_page_where_asked(landing: LandingWriter, tmp_path: Path) -> None:
    manifest = landing.manifest([{**landing.row("a"), "width": 9}])
    page = tmp_path / "reports" / "page.html"
    done = segpipe("validate", manifest, "--out", tmp_path / "out", "--html", page)
    assert done.returncode == 1
    assert "SIZE-MISMATCH" in page.read_text()


def test_every_rule_can_be_listed_and_explained_with_an_example() -> None:
    listed = segpipe("rules")
    assert listed.returncode == 0
    for rule in CATALOGUE.values():
        assert rule.id in listed.stdout
        assert rule.meaning
        assert rule.remedy
        assert rule.example
        assert rule.yields_to <= CATALOGUE.keys()
    explained = segpipe("rules", "value-no-segment")
    assert CATALOGUE["VALUE-NO-SEGMENT"].example in explained.stdout
    wrong = segpipe("rules", "VALUE-NO-SEGMNT")
    assert wrong.returncode == 2
    assert "did you mean 'VALUE-NO-SEGMENT'?" in wrong.stderr


def test_the_catalogue_holds_the_whole_specification() -> None:
    """Ids and severities are data: they stand in tables and must not change."""
    rejecting = """URL-REFUSED FILE-MISSING TOO-LARGE FILE-NOT-PNG PNG-UNREADABLE MASK-COLOUR
        MASK-ALPHA MASK-16BIT SIZE-MISMATCH SIZE-SWAPPED VALUE-NO-SEGMENT IGNORE-255 BINARY-255
        OFF-BY-ONE VALUES-STRETCHED PROBABILITY-MAP INDEX-DUPLICATE INDEX-RANGE INDEX-OVERFLOW
        LABEL-EMPTY METADATA-INVALID AREA-MISMATCH ID-NOT-IN-PNG REF-DUPLICATE REF-EMPTY
        REF-UNKNOWN"""
    warning = """SIZE-UNVERIFIED EXIF-ORIENTATION VALUES-INTERPOLATED SEGMENT-NO-PIXELS EMPTY-MASK
        LABEL-UNKNOWN TYPE-MISMATCH CONFIDENCE-RANGE OVERLAP-HIDDEN DUPLICATE-MASK"""
    converting = "CONV-PALETTE CONV-LOWBIT CONV-TRNS CONV-G16-SMALL CONV-GREY-IN-RGB INDEX-STRING"
    for ids, severity in (
        (rejecting, Severity.REJECT),
        (warning, Severity.WARN),
        (converting, Severity.CONVERT),
    ):
        assert {CATALOGUE[id].severity for id in ids.split()} == {severity}


def test_the_page_says_what_to_do_about_what_was_found(landing: LandingWriter, root: Root) -> None:
    landing.manifest([landing.row("a", (0, 1), segments=segment_cells([1]))])
    root.materialize(PARTITION)
    page = Path(root.write_report_page(PARTITION)).read_text()
    (remedy,) = re.findall("<p class='remedy'>([^<]*)</p>", page)
    assert remedy.startswith("Set ignore_values = {0 = &quot;void&quot;} in the policy if its")


def test_the_page_says_what_it_is_of_and_lists_every_row_with_a_link_to_its_item(
    landing: LandingWriter, root: Root
) -> None:
    Path(root.settings.root, "segpipe.toml").write_text('browse_url = "http://look.example:8010"\n')
    root = Root.open(root.settings.root)
    landing.manifest(
        [landing.row("good"), *({**landing.row(f"i{n} & co"), "width": 9} for n in range(5))]
    )
    root.materialize(PARTITION)
    page = Path(root.write_report_page(PARTITION)).read_text()
    head, listed = page.split("<section id='list'>")
    for words in (
        root.settings.root,
        "unet",
        PARTITION.date,
        "predictions.parquet",
        segpipe_version,
    ):
        assert html.escape(words) in head.split("<nav")[0]
    assert "<a href='#SIZE-MISMATCH'>" in head
    assert "3 of 5 shown" in head
    rows = re.findall("<tr><td>SIZE-MISMATCH</td><td>(.*?)<br>", listed)
    assert [re.sub("<[^>]*>", "", row) for row in rows] == [f"i{n} &amp; co" for n in range(5)]
    address = html.unescape(re.findall('href="([^"]*)"', rows[4])[0])
    query = parse_qs(urlsplit(address).query)
    assert address.startswith("http://look.example:8010/item?")
    assert query == {"dataset": ["default"], "id": ["i4 & co"], "run": ["unet"],
                     "date": [PARTITION.date]}  # fmt: skip


def test_hostile_text_stays_text_and_only_the_pages_own_script_may_run(
    landing: LandingWriter, root: Root
) -> None:
    hostile = """</table></script><script>alert(1)</script><img src=x onerror='a"b'>"""
    rows = [{**landing.row(f"{n}{hostile}", name=f"m{n}"), "width": 9} for n in range(4)]
    other = {**landing.row("label", label=hostile), "segments": segment_cells((0, 1), hostile)}
    landing.manifest([*rows, other])
    root.materialize(PARTITION)
    page = Path(root.write_report_page(PARTITION)).read_text()
    assert page.count("<script") == 1
    assert "onerror='" not in page
    script = page.split("<script>")[1].split("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = re.findall('Content-Security-Policy" content="([^"]*)"', page)
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


def test_the_list_of_rows_is_bounded_and_says_how_many_it_leaves_out() -> None:
    found = [
        {"rule": rule, "severity": "reject", "reference_id": "a" * 10_000, "manifest": "m",
         "manifest_row": n, "message": "b" * 10_000}
        for rule in ("FILE-MISSING", "TOO-LARGE") for n in range(900)
    ]  # fmt: skip
    counts = {"FILE-MISSING": 900, "TOO-LARGE": 900}
    text = "".join(list_of_rows(found, counts, lambda row: None))
    assert text.count("<tr><td>FILE-MISSING") == text.count("<tr><td>TOO-LARGE") == 500
    assert "1,000 lines of 1,800; the others are in the partition's tables" in text
    assert len(text) < 600_000
    whole = [{**found[0], "message": "c" * 290}]
    assert "c" * 290 in "".join(list_of_rows(whole, counts, lambda row: None))
