"""Advice is part of a rule: whoever follows a remedy to the letter sees the right labels come out,
and where two causes explain the same pixels, the remedy names both."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segpipe.storage.files import Folder
from segpipe.validation.report import ValidationReport
from segpipe.validation.rules import CATALOGUE, Policy, Severity
from tests.fixtures.imports import imported
from tests.fixtures.imports import judged as imported_and_judged
from tests.fixtures.inbox import Inbox, Outcome
from tests.fixtures.png import PALETTE, RGB, chunk, png

#: Twelve stripes of twelve pixels: values 0..11.
STRIPES = np.repeat(np.arange(12, dtype=np.uint8), 12).reshape(12, 12)
#: A disc: 1 inside, 0 outside.
_Y, _X = np.mgrid[0:96, 0:96]
_RADIUS = 29.925  # no pixel lies on the circle
DISC = (np.hypot(_Y - 44, _X - 51) < _RADIUS).astype(np.uint8)


def cell(labels: Mapping[int, str]) -> str:
    """The Segments of a row, by index."""
    return json.dumps([{"label": label, "index": index} for index, label in labels.items()])


def names(indexes: Sequence[int]) -> dict[int, str]:
    """Index -> label."""
    return {index: f"class {index}" for index in indexes}


def judged(
    inbox: Inbox, mask: Any, labels: Mapping[int, str], policy: Policy | None = None, **more: Any
) -> Outcome:
    """The outcome of a row ``a`` whose mask is an array, or the bytes of a file."""
    data = mask if isinstance(mask, bytes) else png(np.asarray(mask))
    row = {
        "reference_id": "a",
        "mask_url": inbox.file("a.png", data),
        "segments": cell(labels),
        **({} if isinstance(mask, bytes) else {"height": len(mask), "width": len(mask[0])}),
        **more,
    }
    return inbox.run([row], validation=inbox.validation(policy=policy), force=True)


def rejection(outcome: Outcome, rule: str) -> tuple[str, str]:
    """Message and remedy of the only rejecting finding, which is the rule's."""
    rejecting = [row for row in outcome.rejected if row["severity"] == "reject"]
    assert [row["rule"] for row in rejecting] == [rule]
    return rejecting[0]["message"], rejecting[0]["remedy"]


def areas(outcome: Outcome) -> dict[str, int]:
    """Label -> pixels, of an accepted row's Segments that have any."""
    assert outcome.rejected == []
    assert outcome.accepted_ids == ["a"]
    return {s["label"]: s["area_px"] for s in outcome.segments if s["area_px"]}


def areas_of(pixels: np.ndarray, labels: Mapping[int, str]) -> dict[str, int]:
    """The same, counted by hand."""
    values, counts = np.unique(pixels, return_counts=True)
    return {
        labels[value]: count for value, count in zip(values.tolist(), counts.tolist(), strict=True)
    }


# --- a shift, and 255


def test_a_shift_that_wraps_to_255_is_called_a_shift_and_undoing_it_gives_the_right_labels(
    inbox: Inbox,
) -> None:
    labels = names(range(12))
    reduced = STRIPES - np.uint8(1)  # 0..11 become 255 and 0..10
    message, remedy = rejection(judged(inbox, reduced, labels), "OFF-BY-ONE")
    assert "mask has 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more, segments 0..11" in message
    assert "one too low (255 becomes 0)" in message
    assert remedy.startswith("Add 1 to the mask's values (255 becomes 0), or number the Segments")
    assert 'if 255 is an ignore label instead, set ignore_values = {255 = "void"}' in remedy
    right = areas_of(STRIPES, labels)
    assert areas(judged(inbox, reduced + np.uint8(1), labels)) == right
    renumbered = {255 if index == 0 else index - 1: label for index, label in labels.items()}
    assert "index - 1, and 255 for 0" in remedy
    assert areas(judged(inbox, reduced, renumbered)) == right


def test_segments_that_are_shifted_with_void_at_255_are_told_so(inbox: Inbox) -> None:
    labels = {**names(range(11)), 255: "unlabelled"}  # as reduce_zero_label numbers them
    message, remedy = rejection(judged(inbox, STRIPES, labels), "OFF-BY-ONE")
    assert "one too high (0 becomes 255)" in message
    right = areas(judged(inbox, STRIPES - np.uint8(1), labels))
    assert right == {"unlabelled": 12, **{f"class {n}": 12 for n in range(11)}}
    assert "index + 1, and 0 for 255" in remedy
    renumbered = {(index + 1) % 256: label for index, label in labels.items()}
    assert areas(judged(inbox, STRIPES, renumbered)) == right


def test_a_shift_beside_an_ignore_label_that_both_have_leaves_the_label_where_it_is(
    inbox: Inbox,
) -> None:
    ignoring = Policy(ignore_values={255: "void"})
    pixels = np.where(STRIPES == 11, 255, STRIPES + 1).astype(np.uint8)
    labels = names(range(11))
    _, remedy = rejection(judged(inbox, pixels, labels, ignoring), "OFF-BY-ONE")
    assert "Subtract 1 from the mask's values, except for 255" in remedy
    right = np.where(pixels == 255, 255, pixels - 1)
    expected = areas_of(right, {**labels, 255: "void"})
    assert areas(judged(inbox, right, labels, ignoring)) == expected


def test_an_ignore_label_that_a_shift_explains_as_well_is_told_with_both_ways_out(
    inbox: Inbox,
) -> None:
    taxonomy = names(range(20))
    reduced = STRIPES[:8] - np.uint8(1)
    message, remedy = rejection(judged(inbox, reduced, taxonomy), "IGNORE-255")
    for words in (message, remedy):
        assert 'et ignore_values = {255 = "void"} in the policy if' in words
        assert "add 1 to its values (255 becomes 0)" in words.replace("Add 1", "add 1")
    right = areas_of(STRIPES[:8], taxonomy)
    assert areas(judged(inbox, reduced + np.uint8(1), taxonomy)) == right


def test_an_ignore_label_that_no_shift_explains_is_told_alone(inbox: Inbox) -> None:
    pixels = np.where(STRIPES > 9, 255, STRIPES % 3).astype(np.uint8)
    message, remedy = rejection(judged(inbox, pixels, names(range(3))), "IGNORE-255")
    assert "shifted" not in message + remedy
    accepted = judged(inbox, pixels, names(range(3)), Policy(ignore_values={255: "void"}))
    assert areas(accepted) == areas_of(pixels, {**names(range(3)), 255: "void"})


def test_the_remedy_names_the_ignored_value_that_was_found(inbox: Inbox) -> None:
    """As in panoptic maps whose unlabelled pixels are 0."""
    labels = names(range(1, 12))
    message, remedy = rejection(judged(inbox, STRIPES, labels), "IGNORE-255")
    for words in (message, remedy):
        assert 'et ignore_values = {0 = "void"}' in words
        assert "255" not in words
    ignored = judged(inbox, STRIPES, labels, Policy(ignore_values={0: "void"}))
    assert areas(ignored) == areas_of(STRIPES, {0: "void", **labels})


# --- 0/255


@pytest.mark.parametrize("labels", [{0: "off"}, {0: "off", 7: "on"}, {7: "on"}])
def test_a_0_255_mask_without_a_segment_for_255_is_asked_which_is_meant(
    inbox: Inbox, labels: dict[int, str]
) -> None:
    pixels = DISC * 255
    message, remedy = rejection(judged(inbox, pixels, labels), "BINARY-255")
    assert "is 255 an object, or an ignore label?" in message
    assert ("add a Segment for 0, the background" in remedy) == (0 not in labels)
    assert "If 255 is an object" in remedy
    expected = {"off": int((DISC == 0).sum()), "on": int(DISC.sum())}
    assert areas(judged(inbox, pixels, {0: "off", 255: "on"})) == expected
    if 7 in labels:
        assert "give the Segment 'on' the index 255, or write 7 instead of 255" in remedy
        assert areas(judged(inbox, DISC * 7, {0: "off", 7: "on"})) == expected
    void = Policy(ignore_values={255: "void"})
    assert 'set ignore_values = {255 = "void"}' in remedy
    accepted = areas(judged(inbox, pixels, {0: "off"}, void))
    assert accepted == {"off": expected["off"], "void": expected["on"]}


@pytest.mark.parametrize("labels", [{0: "off", 1: "on"}, {1: "on"}])
def test_a_0_255_mask_with_a_segment_for_1_is_told_to_write_either_number(
    inbox: Inbox, labels: dict[int, str]
) -> None:
    _, remedy = rejection(judged(inbox, DISC * 255, labels), "BINARY-255")
    assert remedy.startswith("Give the Segment 'on' the index 255, or write 1 instead of 255")
    assert ("add a Segment for 0, the background" in remedy) == (0 not in labels)
    expected = {"off": int((DISC == 0).sum()), "on": int(DISC.sum())}
    assert areas(judged(inbox, DISC * 255, {0: "off", 255: "on"})) == expected
    assert areas(judged(inbox, DISC, {0: "off", 1: "on"})) == expected


def test_stretched_values_are_divided_by_the_factor_that_is_named(inbox: Inbox) -> None:
    _, remedy = rejection(judged(inbox, STRIPES * 21, names(range(12))), "VALUES-STRETCHED")
    assert remedy.startswith("Divide the mask's values by 21")
    assert areas(judged(inbox, STRIPES * 21 // 21, names(range(12)))) == areas_of(
        STRIPES, names(range(12))
    )


# --- scores, interpolation, JPEG


def sigmoid(sharpness: float) -> np.ndarray:
    """Scores of the disc, from 0.0 to 1.0; above 0.5 inside."""
    return 1 / (1 + np.exp((np.hypot(_Y - 44, _X - 51) - _RADIUS) / sharpness))


@pytest.mark.parametrize(
    ("stretched", "highest", "meant", "said"),
    [
        ([0, 127, 255], 2, [0, 1, 2], "0..2"),  # ilastik, rounded down
        ([0, 128, 255], 2, [0, 1, 2], "0..2"),  # Fiji, rounded
        ([0, 63, 127, 191, 255], 4, [0, 1, 2, 3, 4], "0..4"),
        ([0, 127, 255], 4, [0, 2, 4], "0..2, or 0, 2, 4"),
    ],
)
def test_classes_spread_over_0_to_255_are_written_as_the_remedy_says(
    inbox: Inbox, stretched: list[int], highest: int, meant: list[int], said: str
) -> None:
    labels = names(range(highest + 1))
    mask = np.repeat(np.array(stretched, np.uint8), 12).reshape(-1, 12)
    _, remedy = rejection(judged(inbox, mask, labels), "VALUES-STRETCHED")
    instead = ", ".join(map(str, stretched))
    assert f"Write {said} instead of {instead}" in remedy
    assert ("does not tell which" in remedy) == (" or " in said)
    written = np.array(meant, np.uint8)[np.searchsorted(stretched, mask)]
    areas = {row["index"]: row["area_px"] for row in judged(inbox, written, labels).segments}
    assert areas == {index: 12 if index in meant else 0 for index in range(highest + 1)}


@pytest.mark.parametrize(
    ("values", "count", "rule"),
    [
        ([0, 1, 2, 255], 3, "IGNORE-255"),
        ([0, 100, 255], 3, "VALUE-NO-SEGMENT"),  # 100 is no class between
        ([1, 2, 127, 255], 3, "VALUE-NO-SEGMENT"),
        ([0, 78, 255], 19, "VALUE-NO-SEGMENT"),  # a class that is missing, and void
    ],
)
def test_values_that_no_stretch_makes_are_not_called_stretched(
    inbox: Inbox, values: list[int], count: int, rule: str
) -> None:
    mask = np.repeat(np.array(values, np.uint8), 12).reshape(-1, 12)
    rejection(judged(inbox, mask, names(range(count))), rule)


@pytest.mark.parametrize("sharpness", [8.0, 3.0, 1.5])
def test_scores_with_segments_0_and_1_are_called_scores_and_thresholded(
    inbox: Inbox, sharpness: float
) -> None:
    scores = np.round(sigmoid(sharpness) * 255).astype(np.uint8)
    labels = {0: "off", 1: "on"}
    message, remedy = rejection(judged(inbox, scores, labels), "PROBABILITY-MAP")
    assert "nearest" not in message + remedy
    assert "above 127" in remedy
    expected = {"off": int((DISC == 0).sum()), "on": int(DISC.sum())}
    assert areas(judged(inbox, (scores > 127).astype(np.uint8), labels)) == expected


def test_a_mask_of_many_classes_that_was_resized_is_not_called_scores(inbox: Inbox) -> None:
    rng = np.random.default_rng(1)
    blocks = np.kron(rng.choice([0, 60, 130, 200], (4, 4)), np.ones((24, 24))).astype(np.uint8)
    image = Image.fromarray(blocks)
    small = image.resize((60, 60), Image.Resampling.BILINEAR).resize(
        (96, 96), Image.Resampling.BILINEAR
    )
    labels = names([0, 60, 130, 200])
    message, _ = rejection(judged(inbox, np.asarray(small), labels), "VALUES-INTERPOLATED")
    assert "resize with nearest" in message
    nearest = image.resize((60, 60), Image.Resampling.NEAREST)
    resized = np.asarray(nearest.resize((96, 96), Image.Resampling.NEAREST))
    assert areas(judged(inbox, resized, labels)) == areas_of(resized, labels)


@pytest.mark.parametrize("quality", [75, 90, 95])
@pytest.mark.parametrize("values", [(0, 255), (0, 90), (10, 40)])
def test_a_mask_that_went_through_jpeg_is_told_by_its_phantom_values(
    inbox: Inbox, quality: int, values: tuple[int, int]
) -> None:
    pixels = np.where(DISC, values[1], values[0]).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    after = np.asarray(Image.open(buffer))
    message, remedy = rejection(judged(inbox, after, names(values)), "VALUES-INTERPOLATED")
    phantoms = sorted(set(np.unique(after).tolist()) - set(values))
    assert f"{len(phantoms)} values without a Segment ({phantoms[0]}, " in message
    assert "JPEG leaves such phantom values" in message
    assert "Write the model's array as PNG" in remedy
    assert areas(judged(inbox, pixels, names(values))) == areas_of(pixels, names(values))


def test_classes_that_lack_a_segment_are_not_taken_for_jpegs_phantoms(inbox: Inbox) -> None:
    rng = np.random.default_rng(3)
    noise = rng.integers(0, 12, (64, 64)).astype(np.uint8)
    blocks = np.kron(rng.integers(0, 12, (16, 16)), np.ones((4, 4))).astype(np.uint8)
    for pixels in (blocks, np.repeat(blocks, 2, 1)):
        rejection(judged(inbox, pixels, names(range(0, 12, 3))), "VALUE-NO-SEGMENT")
    outcome = judged(inbox, noise, names(range(0, 12, 3)))
    assert not any("JPEG leaves" in row["message"] for row in outcome.rejected)


# --- 16 bits


def grey16(values: Any) -> bytes:
    """A 16-bit grey PNG."""
    return png(np.asarray(values), depth=16)


def test_eight_bit_values_stretched_to_sixteen_are_divided_by_257(inbox: Inbox) -> None:
    stretched = STRIPES.astype(np.uint16) * 257
    labels = names(range(12))
    message, remedy = rejection(
        judged(inbox, grey16(stretched), labels, height=12, width=12), "MASK-16BIT"
    )
    assert "multiples of 257" in message
    assert remedy.startswith("Divide the values by 257")
    assert areas(judged(inbox, (stretched // 257).astype(np.uint8), labels)) == areas_of(
        STRIPES, labels
    )


def test_sixteen_bit_scores_are_no_ids_to_remap(inbox: Inbox) -> None:
    scores = np.round(sigmoid(8.0) * 65535).astype(np.uint16)
    message, remedy = rejection(
        judged(inbox, grey16(scores), {0: "off", 1: "on"}, height=96, width=96), "MASK-16BIT"
    )
    assert "scores" in message
    assert "remap" not in message + remedy
    assert "threshold" in remedy
    expected = {"off": int((DISC == 0).sum()), "on": int(DISC.sum())}
    binary = (scores > 32767).astype(np.uint8)
    assert areas(judged(inbox, binary, {0: "off", 1: "on"})) == expected


def test_ids_of_cityscapes_name_its_importer(inbox: Inbox) -> None:
    ids = np.where(STRIPES > 5, 26000 + STRIPES.astype(np.uint16), 7)
    message, remedy = rejection(
        judged(inbox, grey16(ids), {7: "road"}, height=12, width=12), "MASK-16BIT"
    )
    assert "`segpipe import cityscapes`" in message
    assert "`segpipe import cityscapes`" in remedy


def test_more_ids_than_a_mask_holds_name_the_option_for_that(inbox: Inbox) -> None:
    ids = np.kron(np.arange(400).reshape(20, 20), np.ones((3, 3), np.uint16)).astype(np.uint16)
    ids = ids[np.random.default_rng(2).permutation(60)]
    message, remedy = rejection(
        judged(inbox, grey16(ids * 3), {0: "a"}, height=60, width=60), "MASK-16BIT"
    )
    assert "400 distinct values: too many ids" in message
    assert "--over-256 keep-best" in remedy


def test_few_ids_are_remapped_to_numbers_that_a_mask_holds(inbox: Inbox) -> None:
    ids = STRIPES.astype(np.uint16) * 301
    message, remedy = rejection(
        judged(inbox, grey16(ids), {0: "a"}, height=12, width=12), "MASK-16BIT"
    )
    assert "12 distinct values: fits after a remap" in message
    assert remedy.startswith("Number the ids 0..255 and give their Segments the same indexes")
    present, numbered = np.unique(ids, return_inverse=True)
    labels = {place: f"object {id}" for place, id in enumerate(present.tolist())}
    outcome = judged(inbox, numbered.reshape(ids.shape).astype(np.uint8), labels)
    assert areas(outcome) == {f"object {id}": 12 for id in present.tolist()}


# --- palettes and other files


def test_a_palette_that_is_too_short_is_not_told_to_be_uploaded_again(inbox: Inbox) -> None:
    short = png(STRIPES, colour=PALETTE, palette=bytes(3 * 8))
    labels = names(range(12))
    _, remedy = rejection(judged(inbox, short, labels, height=12, width=12), "PNG-UNREADABLE")
    assert remedy.startswith("Write a palette with an entry for every index (256 entries")
    expected = areas_of(STRIPES, labels)
    whole = judged(inbox, png(STRIPES, colour=PALETTE), labels, height=12, width=12)
    assert areas(whole) == expected
    assert areas(judged(inbox, STRIPES, labels)) == expected


def test_an_animated_png_is_not_told_to_be_uploaded_again(inbox: Inbox) -> None:
    animated = png(STRIPES, before=chunk(b"acTL", bytes(8)))
    _, remedy = rejection(
        judged(inbox, animated, names(range(12)), height=12, width=12), "PNG-UNREADABLE"
    )
    assert remedy == "Write each frame as a PNG of its own, with a row for each."


# --- all reasons


REFUSED = {
    "MASK-COLOUR": png(np.stack([STRIPES, STRIPES, STRIPES * 2], 2), colour=RGB),
    "MASK-ALPHA": png(np.stack([STRIPES, STRIPES], 2), colour=4),
    "MASK-16BIT": png(STRIPES.astype(int) * 300, depth=16),
    "PNG-UNREADABLE": png(STRIPES)[:-20],
    "TOO-LARGE": png(STRIPES),
}


@pytest.mark.parametrize("rule", REFUSED)
def test_the_size_is_judged_where_the_pixels_are_refused(inbox: Inbox, rule: str) -> None:
    policy = Policy(max_pixels=100) if rule == "TOO-LARGE" else None
    for size, also in (
        ((12, 12), []),
        ((24, 24), ["SIZE-MISMATCH"]),
        ((13, 12), ["SIZE-MISMATCH"]),
    ):
        outcome = judged(
            inbox, REFUSED[rule], names(range(12)), policy, height=size[0], width=size[1]
        )
        assert outcome.rejections == {"a": [rule, *also]}


def test_height_and_width_that_are_swapped_are_told_of_a_colour_mask(inbox: Inbox) -> None:
    wide = png(np.stack([STRIPES[:5]] * 2 + [STRIPES[:5] + 1], 2), colour=RGB)
    outcome = judged(inbox, wide, names(range(12)), height=12, width=5)
    assert outcome.rejections == {"a": ["MASK-COLOUR", "SIZE-SWAPPED"]}


def test_nothing_is_said_of_the_size_where_the_header_is_damaged(inbox: Inbox) -> None:
    damaged = bytearray(png(STRIPES))
    damaged[20] ^= 1
    outcome = judged(inbox, bytes(damaged), names(range(12)), height=24, width=24)
    assert outcome.rejections == {"a": ["PNG-UNREADABLE"]}


def test_a_mask_that_is_padded_is_not_told_to_be_resized_alone(inbox: Inbox) -> None:
    _, remedy = rejection(
        judged(inbox, STRIPES, names(range(12)), height=12, width=11), "SIZE-MISMATCH"
    )
    assert remedy.startswith("Undo the padding or cropping")
    assert areas(judged(inbox, STRIPES[:, :11], names(range(12))))


# --- labels that importers write


def test_ignored_segments_and_the_importers_background_need_not_be_in_the_taxonomy(
    inbox: Inbox,
) -> None:
    segments = [
        {"label": "background", "index": 0, "metadata": {"isthing": False}},
        {"label": "unlabelled", "index": 1, "metadata": {"ignore": True}},
        {"label": "out of roi", "index": 2, "metadata": {"ignore": "true"}},
        {"label": "road", "index": 3},
    ]
    policy = Policy(taxonomy={"road": "stuff"}, ignore_values={255: "void"})
    pixels = np.where(STRIPES > 3, 255, STRIPES).astype(np.uint8)
    row = inbox.row("a", pixels, segments=json.dumps(segments))
    outcome = inbox.run([row], validation=inbox.validation(policy=policy))
    assert outcome.accepted_ids == ["a"]
    assert outcome.findings("a") == {}


@pytest.mark.parametrize(
    "segment",
    [
        {"label": "raod", "index": 0},
        {"label": "raod", "index": 0, "metadata": {"ignore": False}},
        {"label": "background", "index": 5},
        {"label": "Background", "index": 0},
    ],
    ids=repr,
)
def test_other_labels_that_are_not_in_the_taxonomy_are_still_told(
    inbox: Inbox, segment: dict[str, Any]
) -> None:
    policy = Policy(taxonomy={"road": "stuff"})
    pixels = np.full((4, 4), segment["index"], np.uint8)
    pixels[0, 0] = 3
    cells = [segment, {"label": "road", "index": 3}]
    row = inbox.row("a", pixels, segments=json.dumps(cells))
    outcome = inbox.run([row], validation=inbox.validation(policy=policy))
    assert list(outcome.findings("a")) == ["LABEL-UNKNOWN"]


# --- where remedies stand


def test_every_finding_of_a_rejected_row_has_its_remedy_in_the_table(inbox: Inbox) -> None:
    outcome = judged(inbox, STRIPES, names([*range(1, 12), 40]), height=24, width=24)
    remedies = {row["rule"]: row["remedy"] for row in outcome.rejected}
    assert set(remedies) == {"IGNORE-255", "SEGMENT-NO-PIXELS", "SIZE-MISMATCH"}
    assert 'ignore_values = {0 = "void"}' in remedies["IGNORE-255"]
    for rule in ("SEGMENT-NO-PIXELS", "SIZE-MISMATCH"):
        assert remedies[rule] == CATALOGUE[rule].remedy


def test_the_report_gives_the_remedies_of_what_was_found_the_commonest_first(
    inbox: Inbox,
) -> None:
    void = np.where(STRIPES == 11, 255, STRIPES % 3).astype(np.uint8)
    rows = [
        *(inbox.row(f"v{n}", void + 0, segments=cell(names(range(3)))) for n in range(3)),
        inbox.row("zero", STRIPES, segments=cell(names(range(1, 12)))),
    ]
    outcome = inbox.run(rows)
    report = ValidationReport.read(Folder(str(outcome.out)))
    (rule,) = report.rules
    steps = [line for line in report.lines() if line.startswith("  -> ")]
    assert [step[:36] for step in steps] == [
        "  -> 3 rows: Set ignore_values = {25",
        "  -> 1 row: Set ignore_values = {0 =",
    ]
    parsed = json.loads(report.to_json())["rules"][0]
    assert sorted(parsed["remedies"].values()) == [1, 3]
    assert "{0 = &quot;void&quot;}" in report._repr_html_()
    assert rule.remedy == CATALOGUE["IGNORE-255"].remedy


def test_a_policys_severity_leaves_the_remedy_as_it_is(inbox: Inbox) -> None:
    policy = Policy({"SEGMENT-NO-PIXELS": Severity.REJECT})
    outcome = judged(inbox, STRIPES, names(range(13)), policy)
    (row,) = outcome.rejected
    assert row["remedy"] == CATALOGUE["SEGMENT-NO-PIXELS"].remedy


def test_numbers_as_labels_are_accepted_once_the_remedys_line_has_named_them(inbox: Inbox) -> None:
    segments = [{"label": index, "index": index} for index in range(12)]
    _, remedy = rejection(judged(inbox, STRIPES, {}, segments=json.dumps(segments)), "LABEL-EMPTY")
    (line,) = re.findall(r"`segments = (.*?)`", remedy)
    named = eval(line, {"segments": segments, "NAMES": names(range(12))})  # the remedy's own words
    outcome = judged(inbox, STRIPES, {}, segments=json.dumps(named))
    assert [(row["index"], row["label"]) for row in outcome.segments] == list(
        names(range(12)).items()
    )


def test_indexes_beyond_255_come_in_by_the_import_that_the_remedy_names(
    inbox: Inbox, tmp_path: Path
) -> None:
    ids = STRIPES.astype(np.int32) * 100
    labels = dict.fromkeys(np.unique(ids).tolist(), "cell")
    outcome = judged(inbox, ids.astype(np.uint8), labels)
    remedy = next(row["remedy"] for row in outcome.rejected if row["rule"] == "INDEX-RANGE")
    (command,) = re.findall(r"`segpipe import (\w+) --objects LABEL`", remedy)
    np.save(tmp_path / "a.npy", ids)
    imported(command, tmp_path / "a.npy", tmp_path / "root", "--objects", "cell")
    accepted, _ = imported_and_judged(tmp_path / "root")
    assert accepted["a"] == {
        f"{index} {'cell' if index else 'background'}": 12 for index in range(12)
    }
