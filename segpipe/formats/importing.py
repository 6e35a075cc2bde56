"""Importing: records of another format, streamed into a manifest."""

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
    """Result of an import.

    Attributes:
        imported: number of predictions written.
        refused: number of records written as refused; validation rejects them with the reason.
        findings: rule -> number of records with a finding of it.
        messages: the first findings' messages.
        folder: where the manifest is, for messages.
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

    No value is scaled, rounded or guessed. Records that cannot be read are refused; the reason is
    in the rejected table once the partition is validated. All others are imported.

    Args:
        kind: ``mask-folder``, ``colour-map``, ``arrays``, ``cityscapes``, ``coco-panoptic`` or
            ``coco-results``.
        source: the folder or file.
        root: the root, or its path or URL; the manifest goes where the root expects it.
        model_run: name of the model run.
        date: the partition's day, ``YYYY-MM-DD``; today (UTC) by default.
        progress: called with the number of records done and of all records.
        options: those of the commands, with ``_`` for ``-``: ``labels``, ``objects``,
            ``ignore`` (value -> label), ``colours``, ``annotations``, ``categories``, ``images``,
            ``overlaps``, ``empty_images``, ``over`` (``--over-256``), ``strip_prefix``,
            ``strip_suffix``, ``ignore_unevaluated``. Each format takes some of them.

    Raises:
        SettingsError: if the format is unknown, an option is missing or not one of the format's,
            or the source cannot be used.
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
        writer: opened, made with ``importing`` and the source's carried columns.
        progress: called with the number of records done and of all records.

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
    """Write a record; whether it was imported and not refused."""
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
