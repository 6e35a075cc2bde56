"""Validating a chunk of manifest rows: which are accepted, which are rejected, and why.

Each mask is read, decoded, measured, fingerprinted and stored once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, islice

import pyarrow as pa

from segpipe.manifests.items import ItemList
from segpipe.manifests.manifest import Manifest
from segpipe.manifests.rows import ManifestBatch, ManifestChunk, ManifestRow
from segpipe.masks.decoding import decode_mask
from segpipe.masks.encoding import canonical_png
from segpipe.masks.measures import Measures, measure_decoded
from segpipe.masks.refusal import MaskRefused
from segpipe.predictions.declarations import Declaration, read_declaration, read_declarations
from segpipe.predictions.fingerprint import fingerprint_of_parts
from segpipe.storage.mask_store import MaskStore
from segpipe.storage.sources import AllowedRoots, Fetched, recorded
from segpipe.tables.schemas import REJECTED, VALIDATED
from segpipe.tables.segments import SegmentRows
from segpipe.tables.writing import table_of
from segpipe.validation.ground_truth import ChunkTruth, GroundTruth, TruthCounts
from segpipe.validation.row_files import KnownSize, MaskLimits, read_all_files, read_files
from segpipe.validation.rules import Evidence, Finding, Policy, Severity, judge, rules_in_force
from segpipe.validation.rules.catalogue import CATALOGUE, Found
from segpipe.validation.rules.imports import IMPORT_UNREADABLE
from segpipe.validation.rules.judging import finding
from segpipe.workers.chunks import seldom_collected

# If this many first rows list the same Segments, the list is taken for a taxonomy.
_FIRST_ROWS = 8


@dataclass(frozen=True)
class Validation:
    """What validating a chunk needs besides its rows; the same for all chunks of a partition.

    Attributes:
        dataset, model_run: of the predictions; None if a manifest is validated on its own.
        sources: where masks and images may be read from.
        masks: store for the canonical masks.
        policy: severities and limits.
        items: the dataset's items; None if they are not checked.
        taxonomy_list: (index, label) of all classes, if every row lists them all whether or not
            they are in its mask; None if rows list only what they found.
        truth: published ground truth that predictions are compared with; None for no comparison.
    """

    dataset: str | None
    model_run: str | None
    sources: AllowedRoots
    masks: MaskStore
    policy: Policy = field(default_factory=Policy)
    items: ItemList | None = None
    taxonomy_list: frozenset[tuple[int | None, str | None]] | None = None
    truth: GroundTruth | None = None


@dataclass(frozen=True)
class ValidatedChunk:
    """The tables for the rows of a chunk.

    Attributes:
        validated: VALIDATED plus the manifest's carried columns.
        pixels: text per row of ``validated``: equal for masks whose pixels are, however encoded.
        segments: SEGMENTS and declared metadata, in the order of ``validated``.
        rejected: REJECTED; all findings of every rejected row.
        rows: rows of the chunk.
        findings: rule -> number of rows with a finding of it, accepted rows included.
        identities: of the files of the rows, two per row (see ``row_files.identities_of``); and of
            the ground truth, one more per row, if there is one.
        truth: how many rows were compared with it.
    """

    validated: pa.Table
    pixels: pa.Array
    segments: pa.Table
    rejected: pa.Table
    rows: int
    findings: Counter[str]
    identities: Sequence[str | None]
    truth: TruthCounts


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


@seldom_collected()
def validate_batch(batch: ManifestBatch, validation: Validation) -> ValidatedChunk:
    """:func:`validate_chunk` for rows in Arrow form."""
    return validate_chunk(batch.chunk(), validation)


def validate_chunk(chunk: ManifestChunk, validation: Validation) -> ValidatedChunk:
    """Apply the rules to every row of a chunk, and store the masks of accepted rows.

    Raises:
        StorageError: if storage itself fails; no row is judged then.
    """
    accepted: list[_Accepted] = []
    rejected: list[tuple[ManifestRow, Finding]] = []
    counts: Counter[str] = Counter()
    identities: list[str | None] = []
    rules = rules_in_force(validation.policy)
    truth = ChunkTruth(validation.truth, [row.reference_id for row in chunk.rows])
    files = read_all_files(
        chunk.rows,
        chunk.folder,
        validation.sources,
        _limits(validation.policy),
        wanted=partial(_is_importable, policy=validation.policy),
    )
    with validation.masks.several() as put:
        known_items = _known_items(chunk, validation)
        declarations = read_declarations(
            [row.segments for row in chunk.rows], tuple(validation.policy.taxonomy)
        )
        for place, (row, declared, read, known) in enumerate(
            zip(chunk.rows, declarations, files, known_items, strict=True)
        ):
            identities += (*read.identities, *truth.identity(row.reference_id))
            findings = import_findings(row, validation.policy)
            evidence = None
            if read.wanted:
                evidence = _evidence(row, declared, read.mask, read.size, validation, known, truth)
                findings += judge(evidence, rules)
            counts.update({found.rule for found in findings})
            if evidence is None or any(f.severity is Severity.REJECT for f in findings):
                rejected.extend((row, found) for found in findings)
            else:
                accepted.append(_accept(place, evidence, findings, put))
    return ValidatedChunk(
        validated=_validated_table(accepted, chunk, validation),
        pixels=pa.array([_pixels_of(one.measures) for one in accepted], pa.string()),
        segments=_segments_table(accepted, validation),
        rejected=rejected_table(rejected, validation.dataset, validation.model_run),
        rows=len(chunk.rows),
        findings=counts,
        identities=identities,
        truth=truth.counts,
    )


def import_findings(row: ManifestRow, policy: Policy) -> list[Finding]:
    """What the importer of a row found, with the policy's severities.

    A record that the importer refused has no mask: its findings reject it whatever a policy says,
    so that the reason is told and not that the mask is missing.
    """
    found = [
        finding(
            CATALOGUE.get(one.rule, IMPORT_UNREADABLE),
            policy,
            Found(one.message, one.found, one.expected, remedy=one.remedy),
        )
        for one in row.import_findings
    ]
    if (
        row.mask_url is None
        and row.mask is None
        and not any(one.severity is Severity.REJECT for one in found)
    ):
        return [replace(one, severity=Severity.REJECT) for one in found]
    return [one for one in found if one.severity is not Severity.OFF]


def _limits(policy: Policy) -> MaskLimits:
    return MaskLimits(policy.max_bytes, policy.max_pixels)


def _is_importable(row: ManifestRow, policy: Policy) -> bool:
    """Whether no finding of the row's importer rejects it already."""
    return not any(found.severity is Severity.REJECT for found in import_findings(row, policy))


def _known_items(chunk: ManifestChunk, validation: Validation) -> Sequence[bool | None]:
    if validation.items is None:
        return [None] * len(chunk.rows)
    return validation.items.contains([row.reference_id for row in chunk.rows])


def read_evidence(row: ManifestRow, folder: str, validation: Validation) -> tuple[Evidence, bytes]:
    """Read the files of one row.

    Args:
        folder: URL of the manifest's folder.

    Returns:
        The evidence for the rules, and the bytes of the mask file.

    Raises:
        StorageError: if storage itself fails.
    """
    files = read_files(row, folder, validation.sources, _limits(validation.policy))
    declared = read_declaration(row.segments, tuple(validation.policy.taxonomy))
    return _evidence(row, declared, files.mask, files.size, validation, None), files.mask.data


def _evidence(
    row: ManifestRow,
    declared: Declaration,
    fetched: Fetched,
    size: KnownSize,
    validation: Validation,
    known_item: bool | None,
    truth: ChunkTruth | None = None,
) -> Evidence:
    """The evidence for a row whose files were read."""
    policy = validation.policy
    near_item = None
    if known_item is False and validation.items is not None:
        near_item = validation.items.near(row.reference_id or "")
    evidence = partial(
        Evidence,
        row,
        policy=policy,
        size=(size.height, size.width),
        image_orientation=size.orientation,
        size_unknown=size.unknown,
        known_item=known_item,
        near_item=near_item,
    )
    try:
        if fetched.refusal is not None:
            raise fetched.refusal
        mask = decode_mask(fetched.data, policy.max_pixels)
    except MaskRefused as refusal:
        return evidence(declared, refusal=refusal)
    measures = measure_decoded(mask)
    return evidence(
        declared.with_ignored(policy.ignore_values, measures.values.tolist()),
        mask=mask,
        measures=measures,
        declares_taxonomy=_declares_taxonomy(declared, validation),
        truth=None if truth is None else truth.against(row.reference_id, mask, policy.max_pixels),
    )


def _declares_taxonomy(declared: Declaration, validation: Validation) -> bool:
    taxonomy = validation.policy.taxonomy
    if taxonomy and {s.label for s in declared.segments} >= taxonomy.keys():
        return True
    return validation.taxonomy_list is not None and declared.signature == validation.taxonomy_list


def shared_list(manifest: Manifest) -> frozenset[tuple[int | None, str | None]] | None:
    """The list of (index, label) that all rows share, if there is one; else None.

    Such a list is a taxonomy, not what each row found. Only the first rows are compared, so that
    the result does not depend on the size of chunks.
    """
    chunks = manifest.chunks(_FIRST_ROWS, manifest.columns_without_masks)
    rows = list(islice(chain.from_iterable(chunk.rows for chunk in chunks), _FIRST_ROWS))
    lists = {read_declaration(row.segments).signature for row in rows}
    (shared, *others) = lists
    return shared if not others and len(rows) > 1 and len(shared) > 1 else None


def _accept(
    place: int,
    evidence: Evidence,
    findings: Sequence[Finding],
    put: Callable[[bytes], str],
) -> _Accepted:
    mask, measures = evidence.mask, evidence.measures
    if mask is None or measures is None:
        # No policy can switch off the rules about masks that cannot be read.
        raise AssertionError(f"{evidence.row.manifest} row {evidence.row.number} has no mask")
    stored = canonical_png(mask.pixels) if mask.canonical is None else mask.canonical
    described = [[s.index, s.label, s.metadata_text] for s in evidence.declaration.segments]
    return _Accepted(
        place=place,
        row=evidence.row,
        declaration=evidence.declaration,
        measures=measures,
        mask_sha256=put(stored),
        bytes=len(stored),
        fingerprint=fingerprint_of_parts(measures, described, evidence.row.annotation_id),
        findings=findings,
    )


def _pixels_of(measures: Measures) -> str:
    return f"{measures.height} x {measures.width} {measures.pixels_digest}"


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
            "mask_url": [row.mask_url and recorded(row.mask_url, chunk.folder) for row in rows],
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
    rows = SegmentRows(validation.policy.metadata)
    for one in accepted:
        rows.add(one.row.reference_id, one.declaration.segments, one.measures)
    return rows.table(validation.dataset, validation.model_run)


def rejected_table(
    findings: Sequence[tuple[ManifestRow, Finding]], dataset: str | None, model_run: str | None
) -> pa.Table:
    """REJECTED, one row per finding."""
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
            "remedy": [found.remedy for _, found in findings],
        },
        REJECTED,
    )
