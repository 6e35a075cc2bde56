"""Importing: another format's records, streamed into a manifest."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any

from segpipe.formats.imported import Format, Imported
from segpipe.formats.manifest_writer import ManifestWriter
from segpipe.formats.opening import open_source
from segpipe.settings import HasSettings
from segpipe.validation.rules.catalogue import CATALOGUE, Severity

_MOST_MESSAGES = 10


@dataclass(frozen=True)
class ImportSummary:
    """What an import came to.

    Attributes:
        imported: predictions written.
        refused: records written as refused: validation rejects them with the reason.
        findings: rule -> records it spoke of.
        messages: the first things said, whole.
        folder: where the manifest is, fit to be shown.
    """

    imported: int
    refused: int
    findings: Mapping[str, int]
    messages: tuple[str, ...]
    folder: str = ""


def import_masks(
    kind: str,
    source: str | PathLike[str],
    *,
    root: str | PathLike[str] | HasSettings,
    model_run: str,
    date: str | datetime.date | None = None,
    progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> ImportSummary:
    """Write a manifest, and its masks, from masks in another format.

    ::

        segpipe.import_masks("mask-folder", "masks/", root="ROOT", model_run="unet-v1",
                             date="2026-01-05", labels="labels.csv", ignore={255: "void"})

    No value is scaled, rounded or guessed. What cannot be read is refused with the reason, which
    stands in the rejected table once the partition is validated; the others go through.

    Args:
        kind: ``mask-folder``, ``colour-map``, ``arrays``, ``cityscapes``, ``coco-panoptic`` or
            ``coco-results``.
        source: the folder or file.
        root: the root, or its path or URL; the manifest goes where the root expects it.
        date: the day, ``YYYY-MM-DD``; today (UTC) by default.
        progress: called with the records done and the records there are.
        options: as the commands have them, with ``_`` for ``-``: ``labels``, ``objects``,
            ``ignore`` (value -> label), ``colours``, ``annotations``, ``categories``, ``images``,
            ``overlaps``, ``empty_images``, ``over`` (what ``--over-256`` is), ``strip_prefix``,
            ``strip_suffix``, ``ignore_unevaluated``; each format takes its own.

    Raises:
        SettingsError: if there is no such format, an option is missing or not the format's, or the
            source cannot be used.
        StorageError: if a mask or the manifest cannot be written.
    """
    opened = open_source(kind, source, **options)
    day = date or datetime.datetime.now(datetime.UTC).date()
    writer = ManifestWriter(root, model_run, day, carried=opened.carried, importing=True)
    with writer:
        return import_format(opened, writer, progress)


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
    return ImportSummary(
        writer.rows - refused, refused, dict(findings), tuple(messages), writer.folder.shown
    )


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
