"""The inputs of a partition's tables as a digest, computed without reading a mask.

A mask counts as unchanged if its storage reports the same identity for it: size, times of change
and inode on a disk, ETag in an object store. The same masks, manifest, policy, ground truth and
code give the same tables, so the pass can be skipped. If storage does not report enough, as on the
web, no pass is skipped.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow.parquet as pq

from segpipe import __version__
from segpipe.manifests.manifest import Manifest
from segpipe.manifests.rows import ManifestChunk, ManifestRow
from segpipe.storage.files import Folder
from segpipe.storage.mask_store import MaskStore
from segpipe.validation.chunk import Validation
from segpipe.validation.ground_truth import truth_identity
from segpipe.validation.row_files import identities_of
from segpipe.validation.rules import Policy
from segpipe.validation.summary import REJECTED_FILE, SEGMENTS_FILE, VALIDATED_FILE

#: File of the digest, beside the tables.
INPUTS_FILE = "_inputs.json"
_ROWS_AT_ONCE = 4096
# The columns that decide which files a row needs.
_FILE_COLUMNS = ("mask_url", "image_url", "height", "width")
# Keys of a policy that do not affect what a pass finds, with their defaults.
_DEFAULT_POLICY = Policy()
_WITHOUT_EFFECT: dict[str, Any] = {
    name: getattr(_DEFAULT_POLICY, name)
    for name in (
        "publish_as",
        "retired",
        "max_rejection_rate",
        "min_coverage",
        "max_drift",
        "max_age_hours",
    )
}


@dataclass(frozen=True)
class Inputs:
    """Digests of everything that went into a pass, and of its tables.

    Attributes:
        digest: of manifest, masks, images, policy, ground truth and code.
        outcome: ``Summary.outcome`` of the tables, to recognize tables of another pass.
        tables: SHA-256 (hex) over the bytes of the tables' files, to recognize damaged ones.
    """

    digest: str
    outcome: str
    tables: str

    def write(self, folder: Folder) -> None:
        """Write it beside the tables."""
        folder.write(INPUTS_FILE, json.dumps([self.digest, self.outcome, self.tables]).encode())

    @classmethod
    def read(cls, folder: Folder) -> Inputs | None:
        """Those of the last pass; None if they are missing or damaged."""
        if not folder.exists(INPUTS_FILE):
            return None
        try:
            digest, outcome, tables = json.loads(folder.read(INPUTS_FILE))
            return cls(str(digest), str(outcome), str(tables))
        except (ValueError, TypeError):
            return None


def tables_digest(folder: Folder) -> str:
    """SHA-256 (hex) over the bytes of a partition's tables.

    Raises:
        StorageError: if one cannot be read.
    """
    digest = hashlib.sha256()
    for name in (VALIDATED_FILE, SEGMENTS_FILE, REJECTED_FILE):
        with folder.open_input(name) as handle:
            while part := handle.read(1 << 20):
                digest.update(part)
    return digest.hexdigest()


def validation_key(policy: Policy) -> str:
    """The part of a policy that affects what a pass finds, as text: equal keys, equal findings."""
    return repr(replace(policy, **_WITHOUT_EFFECT))


class InputsDigest:
    """SHA-256 over everything that decides what a pass over a manifest finds.

    Args:
        code_version: of the code that makes the tables.
    """

    def __init__(self, manifest: Manifest, validation: Validation, code_version: str) -> None:
        decides = [
            code_version,
            __version__,
            validation.dataset,
            validation.model_run,
            sorted(validation.sources.roots),
            validation.masks.path_of("00"),
            validation_key(validation.policy),
            None if validation.items is None else validation.items.digest(),
            manifest.content_sha256(),
            None if validation.truth is None else list(validation.truth.model_runs),
        ]
        self._digest = hashlib.sha256(json.dumps(decides, sort_keys=True).encode())
        self._known = True

    def add(self, identities: Iterable[str | None]) -> None:
        """Add the files of further rows; see ``row_files.identities_of``."""
        for identity in identities:
            if identity is None:
                self._known = False
            else:
                self._digest.update(identity.encode("utf-8", "backslashreplace") + b"\n")

    def hexdigest(self) -> str | None:
        """The digest (hex); None if a file's storage cannot report whether it changed."""
        return self._digest.hexdigest() if self._known else None


def inputs_digest(manifest: Manifest, validation: Validation, code_version: str) -> str | None:
    """The :class:`InputsDigest` (hex) of a manifest and its masks as they are now.

    No mask is opened: only the entry of each file in its folder or store is read.

    Raises:
        StorageError: if storage itself fails.
    """
    digest = InputsDigest(manifest, validation, code_version)
    columns = _FILE_COLUMNS if validation.truth is None else (*_FILE_COLUMNS, "reference_id")
    for chunk in manifest.chunks(_ROWS_AT_ONCE, columns):

        def identities(row: ManifestRow, folder: str = chunk.folder) -> Sequence[str | None]:
            return identities_of(row, folder, validation.sources)

        truth = _truth_identities(chunk, validation)
        found = validation.masks.folder.each(identities, chunk.rows)
        for files, of_truth in zip(found, truth, strict=True):
            digest.add([*files, *of_truth])
            if None in files:
                return None
    return digest.hexdigest()


def _truth_identities(
    chunk: ManifestChunk, validation: Validation
) -> Sequence[tuple[()] | tuple[str]]:
    """Of each row, what a pass adds for the ground truth of its item."""
    if validation.truth is None:
        return [()] * len(chunk.rows)
    ids = [row.reference_id for row in chunk.rows]
    return [(truth_identity(one),) for one in validation.truth.fingerprints(ids)]


def masks_are_there(folder: Folder, name: str, masks: MaskStore) -> bool:
    """Whether every mask of a table is in the store. Their age is renewed, so that no vacuum
    removes them meanwhile.

    Args:
        folder, name: the table, with a column ``mask_sha256``.
    """
    with folder.open_input(name) as handle:
        for batch in pq.ParquetFile(handle).iter_batches(
            batch_size=_ROWS_AT_ONCE, columns=["mask_sha256"]
        ):
            if not all(masks.kept(batch.column(0).to_pylist())):
                return False
    return True
