"""Importing: another format's records, streamed into a manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from segpipe.formats.imported import Format, Imported
from segpipe.manifest_writer import ManifestWriter
from segpipe.rules.catalogue import CATALOGUE, Severity

_MOST_MESSAGES = 10


@dataclass(frozen=True)
class ImportSummary:
    """What an import came to.

    Attributes:
        imported: predictions written.
        refused: records written as refused: validation rejects them with the reason.
        findings: rule -> records it spoke of.
        messages: the first things said, whole.
    """

    imported: int
    refused: int
    findings: Mapping[str, int]
    messages: tuple[str, ...]


def import_format(
    source: Format, writer: ManifestWriter, progress: Callable[[int, int], None] | None = None
) -> ImportSummary:
    """Write every record of a source to a manifest, one in memory at a time.

    Args:
        writer: made with ``importing`` and the source's carried columns.
        progress: told how many of how many records are done.

    Raises:
        StorageError: if a mask or the manifest cannot be written.
    """
    refused = 0
    findings: Counter[str] = Counter()
    messages: list[str] = []
    total = len(source)
    for done, record in enumerate(source.predictions(), 1):
        findings.update({finding.rule for finding in record.findings})
        messages += [finding.message for finding in record.findings][
            : max(0, _MOST_MESSAGES - len(messages))
        ]
        refused += not _write(record, writer)
        if progress is not None:
            progress(done, max(done, total))
    return ImportSummary(writer.rows - refused, refused, dict(findings), tuple(messages))


def _write(record: Imported, writer: ManifestWriter) -> bool:
    if record.mask is None or any(_rejects(finding.rule) for finding in record.findings):
        writer.refuse(record.reference_id, record.findings, **record.carried)
        return False
    writer.add(
        record.reference_id,
        record.mask,
        record.segments,
        annotation_id=record.annotation_id,
        image_url=record.image_url,
        height=record.height,
        width=record.width,
        findings=record.findings,
        **record.carried,
    )
    return True


def _rejects(rule: str) -> bool:
    return rule not in CATALOGUE or CATALOGUE[rule].severity is Severity.REJECT
