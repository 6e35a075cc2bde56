"""Rules about the row itself: its dataset item and the Segments it declares."""

from __future__ import annotations

from collections.abc import Iterator

from segpipe.errors import listed, shortened
from segpipe.names import shown
from segpipe.storage.redaction import redacted
from segpipe.validation.rules.catalogue import Found, Severity, rule, rule_across_rows
from segpipe.validation.rules.evidence import Evidence, is_pixel_value


@rule(
    "REF-EMPTY",
    Severity.REJECT,
    meaning="The row does not say which dataset item it is a prediction for.",
    remedy="Fill reference_id in the manifest.",
    example="reference_id = null",
    essential=True,
)
def ref_empty(evidence: Evidence) -> Iterator[Found]:
    reference_id = evidence.row.reference_id
    if reference_id is None or not reference_id.strip():
        found = "null" if reference_id is None else repr(reference_id)
        yield Found(
            f"reference_id is {found}: write the dataset item's id into the manifest",
            found=found,
            expected="the item's id",
        )


@rule(
    "REF-UNKNOWN",
    Severity.REJECT,
    meaning="The item is not in the dataset's list of items.",
    remedy="Correct the reference_id, or add the item to the dataset first.",
    example="reference_id 'frame-7.png' where the list has 'frame-7'",
    yields_to=("REF-EMPTY",),
)
def ref_unknown(evidence: Evidence) -> Iterator[Found]:
    if evidence.known_item is False:
        found, near = shown(evidence.row.reference_id or ""), evidence.near_item
        hint = "" if near is None else f"; is it {shown(near)}?"
        yield Found(
            f"{found} is not an item of the dataset (list: "
            f"{redacted(evidence.policy.items or '')}): correct the id, or add the item first"
            f"{hint}",
            found=found,
            expected="an item of the dataset" if near is None else shown(near),
        )


REF_DUPLICATE = rule_across_rows(
    "REF-DUPLICATE",
    Severity.REJECT,
    meaning="Two rows of one partition predict the same item, with different content.",
    remedy="Keep one row per item; no order between rows or files is trusted to choose for you.",
    example="frame-7 in rows 12 and 40, with other Segments",
    essential=True,
)


ROW_TOO_LARGE = rule_across_rows(
    "ROW-TOO-LARGE",
    Severity.REJECT,
    meaning="The row holds more than is read of a row, so that no manifest takes all memory.",
    remedy="Write less into the row: what is large belongs into a file, and its URL into the row.",
    example="a reference_id of 8 MB, or an embedding of a million numbers",
    essential=True,
)


DUPLICATE_MASK = rule_across_rows(
    "DUPLICATE-MASK",
    Severity.WARN,
    meaning="Two items have the very same mask, pixel for pixel.",
    remedy="Check that each item got its own prediction; a still video explains it, too.",
    example="frame-7 and frame-8 with the same mask",
)


@rule(
    "SEGMENTS-INVALID",
    Severity.REJECT,
    meaning="The cell of Segments is not a list of objects with label and index.",
    remedy="Write a list of {label, index, metadata}, or the same as JSON text.",
    example='segments = \'[{"label": "Road"\' (cut JSON), or a null cell',
    yields_to=("INDEX-OVERFLOW",),
    essential=True,
)
def segments_invalid(evidence: Evidence) -> Iterator[Found]:
    problem = evidence.declaration.problem
    if problem is not None:
        yield Found(
            f"{problem}; write a list of {{label, index, metadata}}, or the same as JSON text",
            found=problem,
            expected="a list of {label, index, metadata}",
        )


@rule(
    "INDEX-RANGE",
    Severity.REJECT,
    meaning="A Segment's index is not a pixel value an 8-bit mask can hold.",
    remedy="Use whole numbers from 0 to 255, in the mask, too: a mask cast to 8 bits holds ids "
    "modulo 256. Larger ids are renumbered, and kept in the metadata, by `segpipe import arrays "
    "--objects LABEL` (or mask-folder, for 16-bit PNGs).",
    example="index 300, -1, 1.5 or null",
    essential=True,
    requires="unusual_segments",
)
def index_range(evidence: Evidence) -> Iterator[Found]:
    wrong = [s for s in evidence.unusual_segments if not is_pixel_value(s.index)]
    if wrong:
        yield Found(
            f"index {listed([s.name for s in wrong])}: expected a whole number from 0 to 255",
            found=listed([repr(s.raw_index) for s in wrong]),
            expected="0..255",
        )


@rule(
    "INDEX-OVERFLOW",
    Severity.REJECT,
    meaning="More Segments than an 8-bit mask has values, or than the policy allows.",
    remedy="Keep the best 255 and merge the rest per label, or publish the semantic view.",
    example="300 instances in one image",
    essential=True,
)
def index_overflow(evidence: Evidence) -> Iterator[Found]:
    count, limit = evidence.declaration.count, min(256, evidence.policy.max_segments)
    if count > limit:
        yield Found(
            f"{count} Segments, and at most {limit} are possible (max_segments in the policy, 256 "
            "in any case): keep the best and merge the rest per label, or write the semantic view",
            found=f"{count} Segments",
            expected=f"at most {limit}",
        )


@rule(
    "INDEX-STRING",
    Severity.CONVERT,
    meaning="A Segment's index is written as text.",
    remedy="Write indexes as integers; digits are read as the number they spell.",
    example="index '7'",
    requires="unusual_segments",
)
def index_string(evidence: Evidence) -> Iterator[Found]:
    texts = [
        s for s in evidence.unusual_segments if s.index is not None and isinstance(s.raw_index, str)
    ]
    if texts:
        raw = listed([repr(s.raw_index) for s in texts])
        yield Found(f"index {raw} is text: read as a number", found=raw, expected="an integer")


@rule(
    "INDEX-DUPLICATE",
    Severity.REJECT,
    meaning="Two Segments claim the same pixel value.",
    remedy="Give each Segment its own index, or merge the two.",
    example="Road and Car both with index 3",
    essential=True,
)
def index_duplicate(evidence: Evidence) -> Iterator[Found]:
    if len(evidence.declaration.indexes) == len(evidence.declaration.segments):
        return
    labels: dict[int, list[str]] = {}
    for segment in evidence.declaration.segments:
        if segment.index is not None:
            labels.setdefault(segment.index, []).append(repr(segment.label))
    twice = {index: names for index, names in labels.items() if len(names) > 1}
    if twice:
        claims = listed([f"{index} by {_claimants(names)}" for index, names in twice.items()])
        yield Found(
            f"index {claims}: each pixel value can stand for one Segment only",
            found=claims,
            expected="one Segment per index",
        )


def _claimants(names: list[str]) -> str:
    return " and ".join(names) if len(names) < 4 else listed(names, most=3)


@rule(
    "METADATA-INVALID",
    Severity.REJECT,
    meaning="A Segment's metadata cannot be written as JSON, so it could not be published.",
    remedy="Use finite numbers, text, lists and objects; leave a missing value out.",
    example="confidence = NaN",
    essential=True,
    requires="unusual_segments",
)
def metadata_invalid(evidence: Evidence) -> Iterator[Found]:
    limit = evidence.policy.max_metadata_bytes
    wrong = []
    for segment in evidence.unusual_segments:
        text = segment.metadata_text
        size = len(text) if text.isascii() else len(text.encode())
        if segment.metadata_error is not None:
            wrong.append(f"Segment {segment.name}: {segment.metadata_error}")
        elif size > limit:
            wrong.append(
                f"Segment {segment.name}: metadata has {size:,} bytes, over the limit of {limit:,} "
                "(max_metadata_bytes in the policy)"
            )
    if wrong:
        yield Found(
            f"{listed(wrong, most=3)}; leave the key out or write a value JSON can hold",
            found=wrong[0],
            expected="finite JSON",
        )


@rule(
    "CONFIDENCE-RANGE",
    Severity.WARN,
    meaning="A confidence lies outside [0, 1] or is not a number.",
    remedy="Write confidences as fractions; divide percentages by 100.",
    example="confidence = 97.0",
    requires="unusual_segments",
)
def confidence_range(evidence: Evidence) -> Iterator[Found]:
    wrong = []
    for segment in evidence.unusual_segments:
        if "confidence" in segment.metadata and (
            segment.confidence is None or not 0 <= segment.confidence <= 1
        ):
            value = segment.metadata["confidence"]
            percent = ": percent?" if (segment.confidence or 0) > 1 else ""
            wrong.append(f"{segment.name} has {shortened(repr(value))}{percent}")
    if wrong:
        yield Found(
            f"confidence outside [0, 1]: Segment {listed(wrong)}",
            found=wrong[0],
            expected="0..1",
        )


@rule(
    "METADATA-TYPE",
    Severity.WARN,
    meaning="A value of the metadata is not of the type that segpipe.toml declares for its key.",
    remedy="Write values of the declared type, or declare the type they have.",
    example='count = "3" where [metadata] has count = "int"',
    requires="mistyped_metadata",
)
def metadata_type(evidence: Evidence) -> Iterator[Found]:
    declared = evidence.policy.metadata
    wrong = [
        f"Segment {segment.name} has {key} = {shortened(repr(segment.metadata[key]), 80)}, "
        f"declared as {declared[key]}"
        for segment, keys in evidence.mistyped_metadata
        for key in keys
    ]
    keys = sorted({key for _, keys in evidence.mistyped_metadata for key in keys})
    yield Found(
        f"{listed(wrong, most=3)}: null in the column, and kept in the metadata; write the "
        "declared type, or change it in [metadata] of segpipe.toml",
        found=wrong[0],
        expected=", ".join(f"{key} as {declared[key]}" for key in keys),
    )
