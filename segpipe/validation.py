"""Rules applied to a chunk of manifest rows: what is accepted, what is rejected, and why.

One pass: a mask is read, decoded, measured, fingerprinted and stored once.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from segpipe.declarations import Declaration, read_declaration
from segpipe.items import ItemList
from segpipe.manifest import Manifest, ManifestChunk, ManifestRow
from segpipe.mask import MaskRefused, canonical_png, decode_mask
from segpipe.prediction import fingerprint_of_parts
from segpipe.rules import Evidence, Finding, Policy, Severity, judge
from segpipe.rules.catalogue import CATALOGUE, Found, finding
from segpipe.rules.imports import IMPORT_UNREADABLE
from segpipe.segment_table import SegmentRows
from segpipe.segments import Measures, measure
from segpipe.sources import AllowedRoots, Source, recorded
from segpipe.storage import MaskStore
from segpipe.tables import REJECTED, VALIDATED, table_of

# Rows that have to list the same Segments for the list to be taken for a taxonomy.
_FIRST_ROWS = 8


@dataclass(frozen=True)
class Validation:
    """Everything a chunk needs to be validated, the same for all chunks of a partition.

    Attributes:
        dataset, model_run: of the predictions; None where a manifest is validated by itself.
        sources: where masks and images may be read from.
        masks: where canonical masks go.
        policy: severities and limits.
        items: the dataset's items; None where they are not checked.
        taxonomy_list: indexes and labels of a list of all classes that rows repeat, whatever is
            in their image; None where every row lists what it found.
    """

    dataset: str | None
    model_run: str | None
    sources: AllowedRoots
    masks: MaskStore
    policy: Policy = field(default_factory=Policy)
    items: ItemList | None = None
    taxonomy_list: frozenset[tuple[int | None, str | None]] | None = None


@dataclass(frozen=True)
class ValidatedChunk:
    """The rows of a chunk, judged.

    Attributes:
        validated: VALIDATED plus the manifest's carried columns.
        segments: SEGMENTS, in the order of ``validated``.
        rejected: REJECTED; all findings of every rejected row.
        rows: rows judged.
        findings: how many rows each rule spoke of, accepted rows included.
    """

    validated: pa.Table
    segments: pa.Table
    rejected: pa.Table
    rows: int
    findings: Counter[str]


@dataclass(frozen=True, slots=True)
class _Accepted:
    place: int
    row: ManifestRow
    declaration: Declaration
    measures: Measures
    mask_sha256: str
    bytes: int
    fingerprint: str
    findings: Sequence[Finding]


def validate_chunk(chunk: ManifestChunk, validation: Validation) -> ValidatedChunk:
    """Judge every row of a chunk and store the masks of those accepted.

    Raises:
        StorageError: when the storage itself fails; nothing is said about any row then.
    """
    accepted: list[_Accepted] = []
    rejected: list[tuple[ManifestRow, Finding]] = []
    counts: Counter[str] = Counter()
    for place, (row, known) in enumerate(zip(chunk.rows, _known(chunk, validation), strict=True)):
        findings = imported(row, validation.policy)
        if any(found.severity is Severity.REJECT for found in findings):
            # Where it was imported from nothing was left to look at.
            counts.update({found.rule for found in findings})
            rejected.extend((row, found) for found in findings)
            continue
        evidence, data = look(row, chunk.folder, validation, known)
        findings += judge(evidence)
        counts.update({found.rule for found in findings})
        if any(found.severity is Severity.REJECT for found in findings):
            rejected.extend((row, found) for found in findings)
        else:
            accepted.append(_accept(place, evidence, data, findings, validation.masks))
    return ValidatedChunk(
        validated=_validated_table(accepted, chunk, validation),
        segments=_segments_table(accepted, validation),
        rejected=rejected_table(rejected, validation.dataset, validation.model_run),
        rows=len(chunk.rows),
        findings=counts,
    )


def imported(row: ManifestRow, policy: Policy) -> list[Finding]:
    """What an importer found, judged by the policy."""
    return [
        finding(
            CATALOGUE.get(one.rule, IMPORT_UNREADABLE),
            policy,
            Found(one.message, one.found, one.expected),
        )
        for one in row.import_findings
        if one.rule not in CATALOGUE or policy.severity_of(CATALOGUE[one.rule]) is not Severity.OFF
    ]


def _known(chunk: ManifestChunk, validation: Validation) -> Sequence[bool | None]:
    if validation.items is None:
        return [None] * len(chunk.rows)
    return validation.items.contains([row.reference_id for row in chunk.rows])


def look(
    row: ManifestRow, folder: str, validation: Validation, known_item: bool | None = None
) -> tuple[Evidence, bytes]:
    """Gather the evidence on one row; the mask file's bytes come along for storing them.

    Args:
        folder: URL of the manifest's folder.

    Raises:
        StorageError: when the storage itself fails.
    """
    policy = validation.policy
    declared = read_declaration(row.segments)
    data = b""
    try:
        source = _resolve(row.mask_url, folder, validation.sources)
        data = validation.sources.read(source, policy.max_bytes)
        mask = decode_mask(data, policy.max_pixels)
    except MaskRefused as refusal:
        evidence = Evidence(row, declared, policy, refusal=refusal, known_item=known_item)
        return evidence, data
    measures = measure(mask.pixels)
    size = _known_size(row, folder, validation.sources)
    evidence = Evidence(
        row,
        declared.with_ignored(policy.ignore_values, measures.values.tolist()),
        policy,
        size=(size.height, size.width),
        image_orientation=size.orientation,
        mask=mask,
        measures=measures,
        declares_taxonomy=_declares_taxonomy(declared, validation),
        known_item=known_item,
    )
    return evidence, data


def _declares_taxonomy(declared: Declaration, validation: Validation) -> bool:
    taxonomy = validation.policy.taxonomy
    if taxonomy and {s.label for s in declared.segments} >= taxonomy.keys():
        return True
    return validation.taxonomy_list is not None and declared.signature == validation.taxonomy_list


def shared_list(manifest: Manifest) -> frozenset[tuple[int | None, str | None]] | None:
    """The list of Segments that a manifest's rows share: a taxonomy, not what each row found.

    Told from the first rows alone, so that it does not depend on how rows are cut into chunks.
    """
    rows = next(manifest.chunks(_FIRST_ROWS)).rows
    lists = {read_declaration(row.segments).signature for row in rows}
    (shared, *others) = lists
    return shared if not others and len(rows) > 1 and len(shared) > 1 else None


def _resolve(url: str | None, folder: str, sources: AllowedRoots) -> Source:
    if url is None or not url.strip():
        raise MaskRefused(
            "FILE-MISSING",
            "mask_url is empty: write where the mask file is into the manifest",
            found="no URL",
            expected="a URL or a path relative to the manifest",
        )
    return sources.resolve(url, folder)


@dataclass(frozen=True, slots=True)
class _KnownSize:
    height: int | None
    width: int | None
    orientation: int = 1


def needs_image(row: ManifestRow) -> bool:
    """Whether the row's size is read from its image."""
    return bool(_pixels(row.height) is None and _pixels(row.width) is None and row.image_url)


def _known_size(row: ManifestRow, folder: str, sources: AllowedRoots) -> _KnownSize:
    height, width = _pixels(row.height), _pixels(row.width)
    if needs_image(row) and row.image_url:
        try:
            size = sources.image_size(sources.resolve(row.image_url, folder))
        except MaskRefused:
            size = None
        if size is not None:
            return _KnownSize(size.height, size.width, size.orientation)
    return _KnownSize(height, width)


def _pixels(value: object) -> int | None:
    if isinstance(value, (int, float)) and math.isfinite(value) and value >= 1:
        return int(value) if value == int(value) else None
    return None


def _accept(
    place: int, evidence: Evidence, data: bytes, findings: Sequence[Finding], masks: MaskStore
) -> _Accepted:
    mask, measures = evidence.mask, evidence.measures
    if mask is None or measures is None:
        # A policy may silence any rule, but there is no publishing a mask nobody could read.
        raise AssertionError(f"{evidence.row.manifest} row {evidence.row.number} has no mask")
    stored = data if mask.canonical else canonical_png(mask.pixels)
    described = [[s.index, s.label, s.metadata_text] for s in evidence.declaration.segments]
    return _Accepted(
        place=place,
        row=evidence.row,
        declaration=evidence.declaration,
        measures=measures,
        mask_sha256=masks.put(stored),
        bytes=len(stored),
        fingerprint=fingerprint_of_parts(
            mask.pixels,
            measures.height,
            measures.width,
            described,
            evidence.row.annotation_id,
        ),
        findings=findings,
    )


def _validated_table(
    accepted: Sequence[_Accepted], chunk: ManifestChunk, validation: Validation
) -> pa.Table:
    extras = chunk.extras
    rows = [one.row for one in accepted]
    own = table_of(
        {
            "dataset": [validation.dataset] * len(rows),
            "model_run": [validation.model_run] * len(rows),
            "reference_id": [row.reference_id for row in rows],
            "annotation_id": [row.annotation_id for row in rows],
            "mask_path": [validation.masks.path_of(one.mask_sha256) for one in accepted],
            "mask_sha256": [one.mask_sha256 for one in accepted],
            "fingerprint": [one.fingerprint for one in accepted],
            "height": [one.measures.height for one in accepted],
            "width": [one.measures.width for one in accepted],
            "n_segments": [len(one.declaration.segments) for one in accepted],
            "bytes": [one.bytes for one in accepted],
            "mask_url": [recorded(row.mask_url or "", chunk.folder) for row in rows],
            "image_url": [row.image_url and recorded(row.image_url, chunk.folder) for row in rows],
            "manifest": [row.manifest for row in rows],
            "manifest_row": [row.number for row in rows],
            "findings": [
                [
                    {"rule": f.rule, "severity": f.severity.value, "message": f.message}
                    for f in one.findings
                ]
                for one in accepted
            ],
        },
        VALIDATED,
    )
    if not extras.schema.names:
        return own
    carried = extras.take(pa.array([one.place for one in accepted], pa.int64()))
    for column_field in extras.schema:
        own = own.append_column(column_field, carried.column(column_field.name))
    return own


def _segments_table(accepted: Sequence[_Accepted], validation: Validation) -> pa.Table:
    rows = SegmentRows()
    for one in accepted:
        rows.add(one.row.reference_id, one.declaration.segments, one.measures)
    return rows.table(validation.dataset, validation.model_run)


def rejected_table(
    findings: Sequence[tuple[ManifestRow, Finding]], dataset: str | None, model_run: str | None
) -> pa.Table:
    """The rejected table's rows for these findings."""
    return table_of(
        {
            "dataset": [dataset] * len(findings),
            "model_run": [model_run] * len(findings),
            "reference_id": [row.reference_id for row, _ in findings],
            "manifest": [row.manifest for row, _ in findings],
            "manifest_row": [row.number for row, _ in findings],
            "rule": [found.rule for _, found in findings],
            "severity": [found.severity.value for _, found in findings],
            "message": [found.message for _, found in findings],
            "found": [found.found for _, found in findings],
            "expected": [found.expected for _, found in findings],
        },
        REJECTED,
    )
