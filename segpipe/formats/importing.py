"""Importing: records of another format, streamed into a manifest."""

from __future__ import annotations

import dataclasses
import datetime
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from segpipe.errors import ManifestError
from segpipe.formats.clashes import Clashes
from segpipe.formats.folder_scan import LeftOut
from segpipe.formats.imported import Format, RecordSource, ScannedFolder
from segpipe.formats.manifest_writer import ManifestWriter
from segpipe.formats.opening import FORMATS, open_source
from segpipe.formats.stored_records import StoredRecord, stored, stored_records
from segpipe.manifests.delivery import digest_of, is_import_of_unknown_source, source_in
from segpipe.manifests.landing import Landing
from segpipe.manifests.partition import Partition
from segpipe.manifests.rows import ImportFinding
from segpipe.masks.fast_path import expecting
from segpipe.settings import RootLike, Settings
from segpipe.workers.chunks import Workers

_MOST_MESSAGES = 10
_LONGEST_WORDS = 40
_HERE = Workers(1)


@dataclass(frozen=True)
class ImportSummary:
    """Result of an import.

    Attributes:
        imported: number of predictions written.
        refused: number of records that validation will reject with the reason: written as refused,
            or different predictions of one item.
        findings: rule -> number of records with a finding of it.
        messages: the first findings' messages.
        folder: where the manifest is, for messages.
        manifest: name of its file.
        replaced_rows: number of rows of the file it replaced; None where there was none.
        left_out: what is in the source's folder and was not imported, with the reason.
    """

    imported: int
    refused: int
    findings: Mapping[str, int]
    messages: tuple[str, ...]
    folder: str = ""
    manifest: str = ""
    replaced_rows: int | None = None
    left_out: tuple[LeftOut, ...] = ()


def import_masks(
    kind: str,
    source: str | PathLike[str],
    *,
    root: RootLike,
    model_run: str,
    date: str | datetime.date | None = None,
    name: str | None = None,
    replace: bool = False,
    progress: Callable[[int, int], None] | None = None,
    workers: int | None = None,
    **options: Any,
) -> ImportSummary:
    """Write a manifest, and its masks, from masks in another format.

    ::

        segpipe.import_masks("mask-folder", "masks/", root="ROOT", model_run="unet-v1",
                             date="2026-01-05", labels="labels.csv", ignore={255: "void"})

    No value is scaled, rounded or guessed. Records that cannot be read are refused; the reason is
    in the rejected table once the partition is validated. All others are imported.

    Args:
        kind: name of a format, as of the command: ``mask-folder``, ``coco-results``, ...; all are
            in docs/formats.md.
        source: the folder or file.
        root: the root, or its path or URL; the manifest goes where the root expects it.
        model_run: name of the model run.
        date: the partition's day, ``YYYY-MM-DD``; today (UTC) by default.
        name: of the manifest file, without ``.parquet``. By default it is made from the format and
            the source, so that imports of different sources stand beside each other, and the same
            source again replaces its own.
        replace: whether a file of that name is replaced which another source wrote.
        progress: called with the number of records done and of all records.
        workers: how many processes read the masks, 0 for one per processor; what the settings say
            by default. The source is on this machine, so a Dask cluster is not used.
        options: those of the commands, with ``_`` for ``-``: ``labels``, ``objects``,
            ``ignore`` (value -> label), ``colours``, ``annotations``, ``categories``, ``images``,
            ``overlaps``, ``empty_images``, ``scores``, ``over`` (``--over-256``), ``strip_prefix``,
            ``strip_suffix``, ``ignore_unevaluated``, ``values`` (``--value``; value -> value),
            ``two_channel``, ``objects_apart``, ``listed``, ``category_ids``, ``of``, ``task``,
            ``allow_root`` (folders). Each format takes some of them.

    Raises:
        SettingsError: if the format is unknown, an option is missing or not one of the format's,
            or the source or ``name`` cannot be used.
        ManifestError: if there is a manifest of that name that must not be replaced.
        StorageError: if a mask or the manifest cannot be written.
        ChunkError: if masks end every process that works on them.
    """
    settings = Settings.of(root)
    count = settings.workers if workers is None else workers
    opened = open_source(kind, source, **_with_allowed_roots(kind, settings, options))
    day = date or datetime.datetime.now(datetime.UTC).date()
    identity = _identity(kind, source, options)
    partition = Partition(model_run, str(day))
    writer = ManifestWriter(
        settings,
        model_run,
        day,
        name=name or _own_name(settings, partition, kind, Path(source), identity),
        replace=replace,
        source=identity,
        carried=opened.carried,
        importing=True,
    )
    replaced_rows = writer.delivery.replaced_rows()
    with writer:
        summary = import_format(opened, writer, progress, Workers(count))
    return dataclasses.replace(summary, replaced_rows=replaced_rows if writer.rows else None)


def _identity(kind: str, source: str | PathLike[str], options: Mapping[str, Any]) -> str:
    """What tells a source from others: the format, its place, and the file that explains it."""
    explained_by = options.get("annotations")
    places = [source] if explained_by is None else [source, explained_by]
    return "\n".join([kind, *(str(Path(place).resolve()) for place in places)])


def _own_name(
    settings: Settings, partition: Partition, kind: str, source: Path, identity: str
) -> str:
    """The name of the manifest of a source: the one it has, or one made of format and place.

    Raises:
        ManifestError: if there is an import of which nobody knows whether it is the same source.
    """
    manifests = settings.folder("manifests")
    digest = digest_of(identity)
    for entry in Landing(manifests).delivered(["/".join(partition.folders)]).files:
        if source_in(entry.folder, entry.name) == digest:
            return entry.name.removesuffix(".parquet")
    folder = manifests.folder(*partition.folders)
    if is_import_of_unknown_source(folder, "predictions.parquet"):
        raise ManifestError(
            f"{folder.shown}/predictions.parquet is an import that did not record its source: "
            "name='predictions', replace=True (--name predictions --replace) puts this one in its "
            "place; another name=... (--name) puts it beside it"
        )
    words = "-".join(re.findall(r"[A-Za-z0-9]+", source.resolve().stem))[:_LONGEST_WORDS]
    return "-".join([kind, *([words.lower()] if words else []), digest[:8]])


def _with_allowed_roots(
    kind: str, settings: Settings, options: Mapping[str, Any]
) -> Mapping[str, Any]:
    """The options; a folder's links may also lead into what the root's settings allow."""
    if kind not in FORMATS or "allow_root" not in FORMATS[kind].options:
        return options
    local = [one for one in settings.allowed_roots if "://" not in one]
    return {**options, "allow_root": (*(options.get("allow_root") or ()), *local)}


def import_format(
    source: Format,
    writer: ManifestWriter,
    progress: Callable[[int, int], None] | None = None,
    workers: Workers = _HERE,
) -> ImportSummary:
    """Write every record of a source to a manifest; the masks of a few are in memory at a time.

    Args:
        writer: opened, made with ``importing`` and the source's carried columns.
        progress: called with the number of records done and of all records.
        workers: read the records, where they can be read independently of each other.

    Raises:
        StorageError: if a mask or the manifest cannot be written.
        ChunkError: if records end every process that works on them.
    """
    refused = 0
    findings: Counter[str] = Counter()
    messages: list[str] = []
    total = len(source)
    clashes = Clashes()
    for done, record in enumerate(_stored(source, writer, workers), 1):
        found, imported = _write(record, writer)
        if imported:
            clash, count = clashes.noted(record)
            if clash is not None:
                found = (*found, clash)
                refused += count - 1
                findings[clash.rule] += count - 1
                imported = False
        findings.update({finding.rule for finding in found})
        messages += [finding.message for finding in found][: max(0, _MOST_MESSAGES - len(messages))]
        refused += not imported
        if progress is not None:
            progress(done, max(done, total))
    return ImportSummary(
        writer.rows - refused,
        refused,
        dict(findings),
        tuple(messages),
        writer.folder.shown,
        manifest=writer.delivery.file,
        left_out=source.left_out if isinstance(source, ScannedFolder) else (),
    )


def _stored(source: Format, writer: ManifestWriter, workers: Workers) -> Iterator[StoredRecord]:
    masks = writer.masks
    with expecting(len(source)):
        if isinstance(source, RecordSource):
            yield from stored_records(source, len(source), masks, workers)
            return
        for record in source.predictions():
            yield stored(record, lambda png: masks.path_of(masks.put(png)))


def _write(record: StoredRecord, writer: ManifestWriter) -> tuple[Sequence[ImportFinding], bool]:
    """Write a record's row; its findings, and whether it was imported and not refused."""
    try:
        if record.error:
            raise ManifestError(record.error)
        if record.digest is None:
            writer.refuse(record.reference_id, record.findings, **record.carried)
        else:
            writer.add_stored(record.cells, record.carried)
    except ManifestError as error:
        # One record that no manifest can hold costs no other.
        readable = record.reference_id.encode("utf-8", "backslashreplace").decode("utf-8")
        told = ImportFinding("IMPORT-UNREADABLE", f"{record.source}: {error}", str(error))
        findings = [_readable(one) for one in (*record.findings, told)]
        writer.refuse(readable, findings)
        return findings, False
    return record.findings, record.digest is not None


def _readable(finding: ImportFinding) -> ImportFinding:
    """A finding as text that every table can hold."""
    texts = dataclasses.astuple(finding)
    return ImportFinding(
        *(text.encode("utf-8", "backslashreplace").decode("utf-8") for text in texts)
    )
