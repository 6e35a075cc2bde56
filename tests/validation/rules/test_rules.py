"""The rules: rows in, findings and measured segments out, through the pass that applies them."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segpipe.manifests.rows import ManifestRow
from segpipe.predictions.declarations import read_declaration
from segpipe.predictions.fingerprint import fingerprint
from segpipe.predictions.prediction import Segment
from segpipe.validation.chunk import validate_chunk
from segpipe.validation.rules import CATALOGUE, Evidence, Policy, Severity
from tests.fixtures.inbox import Inbox, Outcome, new_inbox, segments_for
from tests.fixtures.png import PALETTE, SIGNATURE, chunk, chunk_kinds, ihdr, png
from tests.fixtures.strategies import SEGMENTS, masks

PIXELS = np.array([[0, 0, 1], [1, 1, 5]], np.uint8)
MANIFEST_ROW = ManifestRow("x.parquet", 0, "a", "a.png", None)


def judged(inbox: Inbox, pixels: Any = PIXELS, **change: Any) -> Outcome:
    """The outcome of a manifest of one row, ``a``."""
    policy = change.pop("policy", None)
    return inbox.run([inbox.row("a", pixels, **change)], validation=inbox.validation(policy=policy))


def found(inbox: Inbox, pixels: Any = PIXELS, **change: Any) -> dict[str, str]:
    """rule -> message for a manifest of one row."""
    return judged(inbox, pixels, **change).findings("a")


def declared(*indexes: int) -> str:
    return json.dumps(segments_for(indexes))


def mask_file(inbox: Inbox, data: bytes) -> dict[str, str]:
    """rule -> message for a row whose mask file holds these bytes."""
    return found(inbox, mask_url=inbox.file("other.png", data))


# --- the catalogue itself


def test_the_published_rule_ids_are_all_there_with_their_severities() -> None:
    published = {
        "URL-REFUSED": "reject",
        "FILE-MISSING": "reject",
        "TOO-LARGE": "reject",
        "FILE-NOT-PNG": "reject",
        "PNG-UNREADABLE": "reject",
        "MASK-COLOUR": "reject",
        "MASK-ALPHA": "reject",
        "MASK-16BIT": "reject",
        "CONV-PALETTE": "convert",
        "CONV-LOWBIT": "convert",
        "CONV-G16-SMALL": "convert",
        "CONV-GREY-IN-RGB": "convert",
        "CONV-TRNS": "convert",
        "PNG-TRAILING": "convert",
        "EXIF-ORIENTATION": "warn",
        "VALUE-NO-SEGMENT": "reject",
        "IGNORE-255": "reject",
        "BINARY-255": "reject",
        "OFF-BY-ONE": "reject",
        "VALUES-STRETCHED": "reject",
        "VALUES-INTERPOLATED": "warn",
        "PROBABILITY-MAP": "reject",
        "SEGMENT-NO-PIXELS": "warn",
        "EMPTY-MASK": "warn",
        "REF-EMPTY": "reject",
        "REF-DUPLICATE": "reject",
        "SEGMENTS-INVALID": "reject",
        "LABEL-EMPTY": "reject",
        "INDEX-RANGE": "reject",
        "INDEX-STRING": "convert",
        "INDEX-DUPLICATE": "reject",
        "METADATA-INVALID": "reject",
        "CONFIDENCE-RANGE": "warn",
        "SIZE-MISMATCH": "reject",
        "SIZE-SWAPPED": "reject",
        "SIZE-INVALID": "reject",
        "SIZE-UNVERIFIED": "warn",
    }
    severities = {id: rule.severity.value for id, rule in CATALOGUE.items()}
    assert published.items() <= severities.items()


@pytest.mark.parametrize("id", sorted(CATALOGUE))
def test_every_rule_says_what_it_means_and_what_to_do(id: str) -> None:
    rule = CATALOGUE[id]
    for words in (rule.meaning, rule.remedy):
        assert words[0].isupper()
        assert words.endswith(".")
    assert rule.yields_to <= CATALOGUE.keys()


# --- a right row


def test_what_a_rule_needs_is_something_there_is_of_evidence() -> None:
    asked = {rule.requires for rule in CATALOGUE.values()} - {None}
    assert asked == {
        "unexplained",
        "unusual_segments",
        "mistyped_metadata",
        "has_pdfs",
        "unusual_pdfs",
        "truth",
    }
    given = {one.name for one in fields(Evidence)}
    made = asked - given
    assert all(isinstance(getattr(Evidence, str(name)), cached_property) for name in made)


def test_segments_as_models_write_them_are_not_unusual() -> None:
    for metadata in ({}, {"confidence": 0}, {"confidence": 1.0, "note": "ß"}):
        declaration = read_declaration([{"label": "road", "index": 255, "metadata": metadata}])
        limit = Policy(max_metadata_bytes=4 * len(declaration.segments[0].metadata_text))
        assert not Evidence(MANIFEST_ROW, declaration, limit).unusual_segments


@pytest.mark.parametrize(
    "segment",
    [
        {"label": " ", "index": 1},
        {"label": None, "index": 1},
        {"label": "road", "index": 256},
        {"label": "road", "index": -1},
        {"label": "road", "index": "7"},
        {"label": "road", "index": 1.0},
        {"label": "road", "index": True},
        {"label": "road", "index": None},
        {"label": "road", "index": 1, "metadata": {"confidence": 1.5}},
        {"label": "road", "index": 1, "metadata": {"confidence": "high"}},
        {"label": "road", "index": 1, "metadata": {"score": math.nan}},
        {"label": "road", "index": 1, "metadata": {"note": "n" * 100}},
    ],
    ids=repr,
)
def test_a_segment_a_rule_may_speak_of_is_unusual(segment: dict[str, Any]) -> None:
    declaration = read_declaration([segment, {"label": "sky", "index": 2}])
    evidence = Evidence(MANIFEST_ROW, declaration, Policy(max_metadata_bytes=100))
    assert [s.raw_index for s in evidence.unusual_segments] == [segment["index"]]


def test_a_right_row_is_accepted_without_a_word(inbox: Inbox) -> None:
    outcome = judged(inbox)
    assert outcome.accepted_ids == ["a"]
    assert outcome.rejected == []
    assert outcome.findings("a") == {}


def test_the_tables_say_what_counting_by_hand_says(inbox: Inbox) -> None:
    segments = [
        {"label": "road", "index": 1, "metadata": {"confidence": 0.5}},
        {"label": "sky", "index": 0},
        {"label": "car", "index": 5, "metadata": {"id": 2}},
        {"label": "hidden", "index": 9},
    ]
    row = inbox.row("a", PIXELS, segments=json.dumps(segments), annotation_id="ann")
    outcome = inbox.run([row])
    source = (inbox.path / "a.png").read_bytes()
    sha256 = hashlib.sha256(source).hexdigest()
    (validated,) = outcome.validated
    assert {key: validated[key] for key in validated if key not in ("fingerprint", "findings")} == {
        "dataset": "street",
        "model_run": "unet",
        "reference_id": "a",
        "annotation_id": "ann",
        "mask_path": f"masks/{sha256[:2]}/{sha256}.png",
        "mask_sha256": sha256,
        "height": 2,
        "width": 3,
        "n_segments": 4,
        "bytes": len(source),
        "mask_url": "a.png",
        "image_url": None,
        "manifest": "part-0.parquet",
        "manifest_row": 0,
    }
    names = ("index", "label", "metadata", "confidence", "area_px", "area_fraction")
    places = ("bbox_x", "bbox_y", "bbox_w", "bbox_h", "centroid_x", "centroid_y")
    assert [tuple(s[name] for name in (*names, *places)) for s in outcome.segments] == [
        (0, "sky", "{}", None, 2, 2 / 6, 0, 0, 2, 1, 0.5, 0.0),
        (1, "road", '{"confidence":0.5}', 0.5, 3, 3 / 6, 0, 0, 3, 2, 1.0, 2 / 3),
        (5, "car", '{"id":2}', None, 1, 1 / 6, 2, 1, 1, 1, 2.0, 1.0),
        (9, "hidden", "{}", None, 0, 0.0, *[None] * 6),
    ]
    identities = {(s["dataset"], s["model_run"], s["reference_id"]) for s in outcome.segments}
    assert identities == {("street", "unet", "a")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("any")


@settings(max_examples=40, deadline=None)
@given(masks(side=8), SEGMENTS, st.none() | st.text(max_size=5))
def test_any_mask_with_any_segments_that_explain_it_is_measured_exactly(
    folder: Path, pixels: np.ndarray, drawn: list[Segment], annotation_id: str | None
) -> None:
    explained = {segment.index: segment for segment in drawn if segment.label.strip()}
    for value in map(int, np.unique(pixels)):
        explained.setdefault(value, Segment(f"class {value}", value))
    cell = [
        {"label": s.label, "index": s.index, "metadata": s.metadata} for s in explained.values()
    ]
    inbox = new_inbox(folder)
    row = inbox.row("a", pixels, segments=json.dumps(cell), annotation_id=annotation_id)
    inbox.manifest([row])
    (rows,) = inbox.open().chunks()
    result = validate_chunk(rows, inbox.validation())

    assert result.rejected.to_pylist() == []
    (validated,) = result.validated.to_pylist()
    expected = fingerprint(pixels, list(explained.values()), annotation_id)
    assert validated["fingerprint"] == expected

    measured = result.segments.to_pylist()
    assert [s["index"] for s in measured] == sorted(explained)
    assert sum(s["area_px"] for s in measured) == pixels.size
    assert sum(s["area_fraction"] for s in measured) == pytest.approx(1.0)
    for segment in measured:
        ys, xs = np.nonzero(pixels == segment["index"])
        assert segment["area_px"] == len(xs)
        if len(xs) == 0:
            assert segment["bbox_x"] is segment["centroid_y"] is None
            continue
        box = tuple(segment[f"bbox_{name}"] for name in "xywh")
        assert box == (xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1)
        assert segment["centroid_x"] == pytest.approx(xs.mean())
        assert segment["centroid_y"] == pytest.approx(ys.mean())


# --- the stored mask


def stored(outcome: Outcome) -> bytes:
    (row,) = outcome.validated
    (path,) = outcome.masks.rglob("*.png")
    assert path.relative_to(outcome.masks.parent).as_posix() == row["mask_path"]
    data = path.read_bytes()
    assert row["mask_sha256"] == path.stem == hashlib.sha256(data).hexdigest()
    assert row["bytes"] == len(data)
    return data


@pytest.mark.parametrize(
    "source",
    [png(PIXELS), png(PIXELS, level=0), png(PIXELS, filters=(3, 4), pieces=3)],
    ids=["plain", "uncompressed", "filtered, in pieces"],
)
def test_a_canonical_source_is_stored_byte_for_byte(inbox: Inbox, source: bytes) -> None:
    outcome = judged(inbox, mask_url=inbox.file("source.png", source))
    assert stored(outcome) == source


@pytest.mark.parametrize(
    "source",
    [
        png(PIXELS, colour=PALETTE),
        png(PIXELS, depth=4),
        png(PIXELS, depth=16),
        png(PIXELS, interlaced=True),
        png(PIXELS, before=chunk(b"tEXt", b"Author\0somebody")),
        png(PIXELS, before=chunk(b"tRNS", b"\0\1")),
        png(PIXELS, trailing=b"secret"),
    ],
    ids=["palette", "4-bit", "16-bit", "interlaced", "text", "tRNS", "trailing"],
)
def test_any_other_source_is_stored_as_ihdr_idat_iend_with_the_same_meaning(
    inbox: Inbox, source: bytes
) -> None:
    outcome = judged(inbox, mask_url=inbox.file("source.png", source))
    data = stored(outcome)
    assert data.startswith(SIGNATURE + ihdr(3, 2))
    assert chunk_kinds(data) == [b"IHDR", b"IDAT", b"IEND"]
    assert outcome.fingerprints == judged(inbox).fingerprints


def test_the_mask_of_a_rejected_row_is_not_stored(inbox: Inbox) -> None:
    outcome = judged(inbox, segments=declared(0, 1))
    assert outcome.accepted_ids == []
    assert not list(outcome.masks.rglob("*.png"))


# --- the mask file


def test_a_missing_file_is_named_as_resolved(inbox: Inbox) -> None:
    message = found(inbox, mask_url="sub/none.png")["FILE-MISSING"]
    assert f"{inbox.path}/sub/none.png" in message


def test_a_folder_is_not_a_mask(inbox: Inbox) -> None:
    (inbox.path / "folder.png").mkdir()
    assert list(found(inbox, mask_url="folder.png")) == ["FILE-MISSING"]


def test_there_is_no_matching_by_prefix_or_by_other_case(inbox: Inbox) -> None:
    inbox.mask("a_1.png", PIXELS)
    for near in ("a_1", "a_", "A_1.png", "a_*.png", "a_[1].png"):
        assert "FILE-MISSING" in found(inbox, mask_url=near)


def test_the_files_content_counts_not_its_name(inbox: Inbox) -> None:
    assert judged(inbox, mask_url=inbox.file("mask.jpg", png(PIXELS))).accepted_ids == ["a"]
    said = mask_file(inbox, b"\xff\xd8\xff\xe0 JPEG under .png")
    assert list(said) == ["FILE-NOT-PNG"]
    assert "JPEG" in said["FILE-NOT-PNG"]


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"", "PNG-UNREADABLE"),
        (png(PIXELS)[:-20], "PNG-UNREADABLE"),
        (png(np.stack([PIXELS] * 2 + [PIXELS * 2], 2), colour=2), "MASK-COLOUR"),
        (png(np.stack([PIXELS, PIXELS], 2), colour=4), "MASK-ALPHA"),
        (png(PIXELS.astype(int) * 300, depth=16), "MASK-16BIT"),
        (SIGNATURE + ihdr(100_000, 100_000), "TOO-LARGE"),
    ],
)
def test_a_file_that_is_no_mask_is_rejected_by_one_rule_beside_those_about_its_size(
    inbox: Inbox, data: bytes, rule: str
) -> None:
    said = [id for id in mask_file(inbox, data) if not id.startswith("SIZE-")]
    assert said == [rule]


def test_a_file_over_the_byte_limit_is_refused_without_being_read(inbox: Inbox) -> None:
    with (inbox.path / "huge.png").open("wb") as file:
        file.truncate(200_000_000)
    message = found(inbox, mask_url="huge.png")["TOO-LARGE"]
    assert "200,000,000 bytes" in message
    assert "max_bytes" in message


@pytest.mark.parametrize(
    ("data", "rules"),
    [
        (png(PIXELS, colour=PALETTE), ["CONV-PALETTE"]),
        (png(PIXELS, depth=4), ["CONV-LOWBIT"]),
        (png(PIXELS, depth=16), ["CONV-G16-SMALL"]),
        (png(np.stack([PIXELS] * 3, 2), colour=2), ["CONV-GREY-IN-RGB"]),
        (png(PIXELS, before=chunk(b"tRNS", b"\0\1")), ["CONV-TRNS"]),
        (png(PIXELS, trailing=b"\n"), ["PNG-TRAILING"]),
    ],
)
def test_a_lossless_conversion_is_reported_on_the_accepted_row(
    inbox: Inbox, data: bytes, rules: list[str]
) -> None:
    outcome = judged(inbox, mask_url=inbox.file("other.png", data))
    (row,) = outcome.validated
    assert [(f["rule"], f["severity"]) for f in row["findings"]] == [(r, "convert") for r in rules]
    told = {rule: count for rule, count in outcome.summary.findings.items() if count}
    assert told == dict.fromkeys(rules, 1)


# --- values against Segments


def test_a_value_without_a_segment_is_named_with_area_share_and_first_place(inbox: Inbox) -> None:
    pixels = np.zeros((400, 431), np.uint8)
    pixels[12:42, 40:367] = 77
    pixels[12, 367:387] = 77
    message = found(inbox, pixels, segments=declared(0))["VALUE-NO-SEGMENT"]
    # 30 x 327 + 20 = 9 830 of 172 400 pixels
    assert "value 77: 9 830 px (5.7 %), first at (12, 40)" in message


def test_values_without_segments_are_one_finding_the_largest_first_ten_at_most(
    inbox: Inbox,
) -> None:
    pixels = np.repeat(np.arange(30, dtype=np.uint8), 30)[: 30 * 30].reshape(30, 30)
    pixels[pixels == 3] = 7
    outcome = judged(inbox, pixels, segments=declared(0))
    (row,) = outcome.rejected
    assert row["rule"] == "VALUE-NO-SEGMENT"
    assert row["message"].startswith("value 7: 60 px (6.7 %), first at (3, 0), value 1: 30 px")
    assert "and 18 more" in row["message"]
    assert row["expected"] == "0"


def test_a_share_that_is_there_is_never_shown_as_nothing(inbox: Inbox) -> None:
    pixels = np.zeros((100, 100), np.uint8)
    pixels[99, 99] = 1
    message = found(inbox, pixels, segments=declared(0))["VALUE-NO-SEGMENT"]
    assert "value 1: 1 px (< 0.1 %), first at (99, 99)" in message


def test_background_zero_needs_a_segment_as_every_value_does(inbox: Inbox) -> None:
    outcome = judged(inbox, segments=declared(1, 5))
    assert outcome.accepted_ids == []
    assert "value 0: 2 px (33.3 %)" in outcome.rejected[0]["message"]


def test_gaps_between_values_are_normal(inbox: Inbox) -> None:
    assert found(inbox, [[0, 7], [200, 255]]) == {}


def test_all_256_values_may_be_declared(inbox: Inbox) -> None:
    outcome = judged(inbox, np.arange(256).reshape(16, 16))
    assert outcome.summary.segments == 256


def test_a_segment_without_pixels_is_told_and_published(inbox: Inbox) -> None:
    outcome = judged(inbox, segments=declared(0, 1, 5, 7))
    assert outcome.accepted_ids == ["a"]
    assert outcome.findings("a") == {
        "SEGMENT-NO-PIXELS": "no pixels for Segment 7 ('class 7')",
    }


def test_values_are_not_judged_where_the_segments_could_not_be_read(inbox: Inbox) -> None:
    assert list(found(inbox, segments="[")) == ["SEGMENTS-INVALID"]


# --- the likely cause, where there is one

STRIPES = np.repeat(np.arange(12, dtype=np.uint8), 12).reshape(12, 12)


@pytest.mark.parametrize(
    ("pixels", "indexes", "rule", "said"),
    [
        (np.where(STRIPES > 9, 255, STRIPES % 3), range(3), "IGNORE-255", "value 255: 24 px"),
        (np.where(STRIPES > 5, 255, 0), [0, 1], "BINARY-255", "give the object's Segment"),
        (STRIPES + 1, range(12), "OFF-BY-ONE", "mask has 1..12, segments 0..11"),
        (STRIPES, range(1, 13), "OFF-BY-ONE", "one too low"),
        (STRIPES * 21, range(12), "VALUES-STRETCHED", "multiples of 21"),
    ],
    ids=["ignore", "0/255", "shifted up", "shifted down", "stretched"],
)
def test_a_known_cause_is_named_instead_of_its_symptoms(
    inbox: Inbox, pixels: np.ndarray, indexes: Any, rule: str, said: str
) -> None:
    outcome = judged(inbox, pixels, segments=declared(*indexes))
    assert outcome.rejections == {"a": [rule]}
    assert said in outcome.findings("a")[rule]


def test_a_cause_that_is_declared_is_no_finding(inbox: Inbox) -> None:
    assert found(inbox, np.where(STRIPES > 5, 255, 0)) == {}
    assert found(inbox, np.where(STRIPES > 9, 255, STRIPES % 3)) == {}
    assert found(inbox, STRIPES * 21) == {}


def test_a_symptom_is_told_again_where_the_policy_silences_its_cause(inbox: Inbox) -> None:
    for severity, said in (
        (Severity.OFF, ["VALUE-NO-SEGMENT"]),
        (Severity.WARN, ["VALUE-NO-SEGMENT", "IGNORE-255"]),
    ):
        outcome = judged(
            inbox,
            np.where(STRIPES > 9, 255, STRIPES % 3),
            segments=declared(0, 1, 2),
            policy=Policy({"IGNORE-255": severity}),
        )
        assert outcome.rejections == {"a": said}


def test_a_mask_resized_with_interpolation_is_told_and_rejected_where_values_are_new(
    inbox: Inbox,
) -> None:
    blocks = np.kron(np.random.default_rng(1).choice([0, 100, 200], (12, 12)), np.ones((8, 8)))
    smooth = blocks.copy()
    smooth[:, 1:-1] = (blocks[:, :-2] + 2 * blocks[:, 1:-1] + blocks[:, 2:]) // 4
    declared_all = judged(inbox, smooth)
    assert list(declared_all.findings("a")) == ["VALUES-INTERPOLATED"]
    assert declared_all.accepted_ids == ["a"]
    classes_only = judged(inbox, smooth, segments=declared(0, 100, 200))
    assert classes_only.rejections == {"a": ["VALUES-INTERPOLATED"]}
    assert found(inbox, blocks) == {}


def test_scores_saved_as_a_mask_are_called_that(inbox: Inbox) -> None:
    ramp = np.tile(np.arange(200), (20, 1))
    assert judged(inbox, ramp, segments=declared(0, 1)).rejections == {"a": ["PROBABILITY-MAP"]}


def test_a_mask_of_one_value_is_told_to_be_empty(inbox: Inbox) -> None:
    outcome = judged(inbox, np.zeros((4, 4)), segments=declared(0, 1))
    assert outcome.accepted_ids == ["a"]
    assert list(outcome.findings("a")) == ["EMPTY-MASK"]


# --- the row itself


@pytest.mark.parametrize("value", [97.0, -0.1, 1.0001, "high", True, [0.5]])
def test_a_confidence_outside_zero_to_one_is_told_and_published(inbox: Inbox, value: Any) -> None:
    cell = segments_for([0, 1], confidence=1) + segments_for([5], confidence=value)
    outcome = judged(inbox, segments=json.dumps(cell))
    assert outcome.accepted_ids == ["a"]
    message = outcome.findings("a")["CONFIDENCE-RANGE"]
    assert "5 ('class 5')" in message
    assert ("percent?" in message) == (value in (97.0, 1.0001))


@pytest.mark.parametrize("value", [0, 1, 0.5, 1.0, None])
def test_a_confidence_from_zero_to_one_or_none_is_fine(inbox: Inbox, value: Any) -> None:
    cell = segments_for([0, 1, 5], confidence=value)
    assert found(inbox, segments=json.dumps(cell)) == {}


def test_two_segments_of_one_index_are_named_by_their_labels(inbox: Inbox) -> None:
    cell = [*segments_for([0, 1, 5]), {"label": "lorry", "index": 5}]
    message = found(inbox, segments=json.dumps(cell))["INDEX-DUPLICATE"]
    assert "5 by 'class 5' and 'lorry'" in message


def test_the_same_segment_given_twice_is_two_segments(inbox: Inbox) -> None:
    cell = segments_for([0, 1, 5, 5])
    assert list(found(inbox, segments=json.dumps(cell))) == ["INDEX-DUPLICATE"]


def test_one_label_may_stand_for_several_values(inbox: Inbox) -> None:
    cell = [{"label": "car", "index": i} for i in (0, 1, 5)]
    assert found(inbox, segments=json.dumps(cell)) == {}


def test_metadata_that_json_cannot_hold_names_segment_and_key(inbox: Inbox) -> None:
    cell = [*segments_for([0, 1]), {"label": "car", "index": 5, "metadata": '{"score": NaN}'}]
    message = found(inbox, segments=json.dumps(cell))["METADATA-INVALID"]
    assert "Segment 5 ('car'): metadata.score is nan" in message


# --- sizes


@pytest.mark.parametrize(
    ("image", "said"),
    [
        ((8, 12), "the mask is 6 x 4, its image 12 x 8 (width x height): exactly 1/2 of its size"),
        ((2, 3), "exactly 2 of its size"),
        ((40, 60), "exactly 1/10 of its size"),
        ((4, 7), "1 px narrower"),
        ((4, 5), "1 px wider"),
        ((6, 6), "2 px lower"),
        ((3, 6), "1 px taller"),
        ((3, 8), "2 px narrower and 1 px taller"),
    ],
)
def test_a_mask_of_another_size_says_by_how_much(
    inbox: Inbox, image: tuple[int, int], said: str
) -> None:
    pixels = np.zeros((4, 6), np.uint8)
    message = found(inbox, pixels, height=image[0], width=image[1])["SIZE-MISMATCH"]
    assert said in message


def test_swapped_height_and_width_are_called_that_and_nothing_else(inbox: Inbox) -> None:
    said = found(inbox, np.eye(4, 6), height=6, width=4)
    assert list(said) == ["SIZE-SWAPPED"]
    assert "the mask is 6 x 4, its image 4 x 6 (width x height)" in said["SIZE-SWAPPED"]


def test_a_size_nobody_knows_is_told_and_published(inbox: Inbox) -> None:
    outcome = judged(inbox, height=None, width=None)
    assert outcome.accepted_ids == ["a"]
    assert list(outcome.findings("a")) == ["SIZE-UNVERIFIED"]


def test_a_height_alone_is_checked(inbox: Inbox) -> None:
    assert set(found(inbox, height=3, width=None)) == {"SIZE-MISMATCH", "SIZE-UNVERIFIED"}
    assert set(found(inbox, height=2, width=None)) == {"SIZE-UNVERIFIED"}


def test_the_images_header_gives_the_size_the_manifest_leaves_out(inbox: Inbox) -> None:
    inbox.file("right.png", png(np.zeros((2, 3, 3)), colour=2))
    inbox.file("wrong.png", png(np.zeros((4, 6, 3)), colour=2))
    sizes: dict[str, Any] = {"height": None, "width": None}
    assert found(inbox, image_url="right.png", **sizes) == {}
    assert "exactly 1/2" in found(inbox, image_url="wrong.png", **sizes)["SIZE-MISMATCH"]
    for unusable in ("none.png", "../../etc/passwd", "part-0.parquet", "https://example.org/a"):
        assert list(found(inbox, image_url=unusable, **sizes)) == ["SIZE-UNVERIFIED"]


def test_an_image_of_any_claimed_size_is_only_read_for_its_size(inbox: Inbox) -> None:
    """A whole-slide image is larger than Pillow's own limit; its header is no bomb."""
    inbox.file(
        "slide.png", SIGNATURE + ihdr(60_000, 40_000, 8, 2) + chunk(b"IDAT") + chunk(b"IEND")
    )
    outcome = judged(inbox, image_url="slide.png", height=None, width=None)
    assert outcome.rejections == {"a": ["SIZE-MISMATCH"]} or (
        list(outcome.findings("a")) == ["SIZE-UNVERIFIED"]
    )


@pytest.mark.parametrize("height", [0, -1, 2.5])
def test_a_size_that_is_none_is_rejected(inbox: Inbox, height: float) -> None:
    assert list(found(inbox, height=height)) == ["SIZE-INVALID"]


# --- policy


def test_a_policy_turns_a_rule_into_a_warning_or_off(inbox: Inbox) -> None:
    for severity, said in ((Severity.WARN, ["SIZE-MISMATCH"]), (Severity.OFF, [])):
        outcome = judged(inbox, width=4, policy=Policy({"SIZE-MISMATCH": severity}))
        assert outcome.accepted_ids == ["a"]
        assert list(outcome.findings("a")) == said


def test_a_policy_turns_a_warning_into_a_rejection(inbox: Inbox) -> None:
    policy = Policy({"SEGMENT-NO-PIXELS": Severity.REJECT})
    outcome = judged(inbox, segments=declared(0, 1, 5, 7), policy=policy)
    assert outcome.rejections == {"a": ["SEGMENT-NO-PIXELS"]}
    assert outcome.rejected[0]["severity"] == "reject"


def test_warnings_of_a_rejected_row_are_reported_as_warnings(inbox: Inbox) -> None:
    outcome = judged(inbox, segments=declared(0, 1, 7))
    severities = {row["rule"]: row["severity"] for row in outcome.rejected}
    assert severities == {"VALUE-NO-SEGMENT": "reject", "SEGMENT-NO-PIXELS": "warn"}


ESSENTIAL = [rule.id for rule in CATALOGUE.values() if rule.essential]


@pytest.mark.parametrize(
    "id", [id for id in ESSENTIAL if CATALOGUE[id].severity is Severity.REJECT]
)
def test_no_policy_silences_what_cannot_be_published(id: str) -> None:
    assert Policy({id: Severity.OFF}).severity_of(CATALOGUE[id]) is Severity.REJECT


@pytest.mark.parametrize("id", [id for id, rule in CATALOGUE.items() if rule.severity == "warn"])
def test_every_warning_can_be_turned_off(id: str) -> None:
    assert Policy({id: Severity.OFF}).severity_of(CATALOGUE[id]) is Severity.OFF


def test_no_policy_publishes_a_row_without_a_mask(inbox: Inbox) -> None:
    everything_off = Policy(dict.fromkeys(CATALOGUE, Severity.OFF))
    outcome = judged(inbox, mask_url="none.png", policy=everything_off)
    assert outcome.rejections == {"a": ["FILE-MISSING"]}


def test_the_pixel_limit_is_the_policys(inbox: Inbox) -> None:
    said = found(inbox, policy=Policy(max_pixels=5))
    assert list(said) == ["TOO-LARGE"]
    assert found(inbox, policy=Policy(max_pixels=6)) == {}
