"""Records read, their masks encoded and stored: the work on a source that many processes share.

What is left for the process that writes the manifest are the rows, in the source's order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from segpipe.errors import ManifestError
from segpipe.formats.given_masks import index_values
from segpipe.formats.ids import Ids
from segpipe.formats.imported import Imported, RecordSource
from segpipe.formats.manifest_writer import row_cells
from segpipe.manifests.rows import ImportFinding
from segpipe.masks.encoding import canonical_png
from segpipe.storage.mask_store import MaskStore
from segpipe.validation.rules.catalogue import CATALOGUE, Severity
from segpipe.workers.chunks import Workers, seldom_collected

# Few enough that several processes end at about the same time.
_RECORDS_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A record of a source, without its pixels.

    Attributes:
        source: the file or record it came from, for messages.
        cells: of the manifest's row, with the path of the mask; empty where there is none.
        digest: of what a fingerprint covers; None where the record was refused.
        error: why no manifest can hold it; empty where one can.
    """

    reference_id: str
    source: str
    findings: tuple[ImportFinding, ...]
    carried: Mapping[str, Any]
    cells: dict[str, Any]
    digest: bytes | None = None
    error: str = ""


def stored_records(
    source: RecordSource, count: int, masks: MaskStore, workers: Workers
) -> Iterator[StoredRecord]:
    """All records of a source, in order.

    Args:
        count: how many there are.
        masks: the store they are put into.
        workers: read them.

    Raises:
        StorageError: if a mask cannot be stored.
        ChunkError: if records end every process that works on them.
    """
    work = _Reading(source.without_records(), masks)
    for chunk in workers.map(work, _chunks(source.records()), -(-count // _RECORDS_AT_ONCE)):
        yield from chunk


@dataclass(frozen=True)
class _Reading:
    """Reads and stores a chunk of records; picklable."""

    source: RecordSource
    masks: MaskStore

    def __call__(self, records: Sequence[Any]) -> list[StoredRecord]:
        with seldom_collected(), self.masks.several() as put:
            return [
                stored(one, lambda png: self.masks.path_of(put(png)))
                for record in records
                for one in self.source.read(record)
            ]


def _chunks(records: Iterable[Any]) -> Iterator[Sequence[Any]]:
    records = iter(records)
    while chunk := list(islice(records, _RECORDS_AT_ONCE)):
        yield chunk


def stored(record: Imported, put: Callable[[bytes], str]) -> StoredRecord:
    """A record with its mask stored; the mask of a refused one is not.

    Args:
        put: stores a PNG and returns its path.

    Raises:
        StorageError: if the mask cannot be stored.
    """
    told = record.reference_id, record.source, record.findings, record.carried
    if record.mask is None or any(rejects(finding.rule) for finding in record.findings):
        return StoredRecord(*told, {})
    try:
        mask = record.mask
        if not isinstance(mask, Ids):
            mask = Ids.of(index_values(mask, str(record.reference_id)))
        size = (record.height, record.width)
        if record.image_url is None and size == (None, None):
            size = mask.shape
        cells = row_cells(
            record.reference_id,
            record.segments,
            annotation_id=record.annotation_id,
            image_url=record.image_url,
            height=size[0],
            width=size[1],
            findings=record.findings,
        )
    except ManifestError as error:
        return StoredRecord(*told, {}, error=str(error))
    png = mask.png or canonical_png(np.ascontiguousarray(mask.pixels, np.uint8))
    cells["mask_url"] = put(png)
    return StoredRecord(*told, cells, _digest(mask, cells))


def _digest(mask: Ids, cells: Mapping[str, Any]) -> bytes:
    """Of what a fingerprint covers; unlike one, without measuring the mask."""
    segments = sorted(repr(one) for one in cells["segments"])
    meaning = repr((mask.digest, segments, cells["annotation_id"]))
    return hashlib.blake2b(meaning.encode("utf-8", "backslashreplace"), digest_size=16).digest()


def rejects(rule: str) -> bool:
    """Whether a record with a finding of this rule is refused."""
    return rule not in CATALOGUE or CATALOGUE[rule].severity is Severity.REJECT
