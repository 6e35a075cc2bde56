"""What a partition's tables were made from, told without reading a mask.

A mask is taken to be the same when its size and what its storage says of its age and identity are
the same: size, times of change and inode on a disk, ETag in an object store. With the same
manifest, policy and code the same tables come out, so the pass can be left out. Where storage does
not say enough, as on the web, nothing is left out.
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
from segpipe.manifests.rows import ManifestRow
from segpipe.storage.files import Folder
from segpipe.storage.mask_store import MaskStore
from segpipe.validation.chunk import Validation
from segpipe.validation.row_files import identities_of
from segpipe.validation.rules import Policy

#: Where the digest is kept, beside the tables.
INPUTS_FILE = "_inputs.json"
_ROWS_AT_ONCE = 4096
# The columns that say which files a row needs.
_WHERE_FILES_ARE = ("mask_url", "image_url", "height", "width")
# What of a policy decides nothing about what a pass finds, set to what it is by default.
_NO_POLICY = Policy()
_WITHOUT_EFFECT: dict[str, Any] = {
    name: getattr(_NO_POLICY, name)
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
    """A digest of all that went into a pass, and of what came out.

    Attributes:
        digest: of manifest, masks, images, policy and code.
        outcome: digests of the tables that came out, to tell tables of another pass.
    """

    digest: str
    outcome: str

    def write(self, folder: Folder) -> None:
        """Keep it beside the tables."""
        folder.write(INPUTS_FILE, json.dumps([self.digest, self.outcome]).encode())

    @classmethod
    def read(cls, folder: Folder) -> Inputs | None:
        """Those of the last pass; None where they are not known."""
        if not folder.exists(INPUTS_FILE):
            return None
        try:
            digest, outcome = json.loads(folder.read(INPUTS_FILE))
            return cls(str(digest), str(outcome))
        except ValueError:
            return None


def deciding(policy: Policy) -> str:
    """What of a policy decides what a pass finds, as text: equal texts, equal findings."""
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
            deciding(validation.policy),
            None if validation.items is None else validation.items.digest(),
            manifest.content_sha256(),
        ]
        self._digest = hashlib.sha256(json.dumps(decides, sort_keys=True).encode())
        self._known = True

    def add(self, identities: Iterable[str | None]) -> None:
        """The files of further rows; see ``row_files.identities_of``."""
        for identity in identities:
            if identity is None:
                self._known = False
            else:
                self._digest.update(identity.encode("utf-8", "backslashreplace") + b"\n")

    def hexdigest(self) -> str | None:
        """None where a source does not tell whether it changed."""
        return self._digest.hexdigest() if self._known else None


def inputs_digest(manifest: Manifest, validation: Validation, code_version: str) -> str | None:
    """The :class:`InputsDigest` of a manifest as it and its masks are now.

    No mask is opened: one look at each file's entry in its folder or store.
    """
    digest = InputsDigest(manifest, validation, code_version)
    for chunk in manifest.chunks(_ROWS_AT_ONCE, _WHERE_FILES_ARE):

        def identities(row: ManifestRow, folder: str = chunk.folder) -> Sequence[str | None]:
            return identities_of(row, folder, validation.sources)

        for found in validation.masks.folder.each(identities, chunk.rows):
            digest.add(found)
            if None in found:
                return None
    return digest.hexdigest()


def masks_are_there(folder: Folder, name: str, masks: MaskStore) -> bool:
    """Whether every mask a table names is in the store; they count as new then."""
    with folder.open_input(name) as handle:
        for batch in pq.ParquetFile(handle).iter_batches(
            batch_size=_ROWS_AT_ONCE, columns=["mask_sha256"]
        ):
            if not all(masks.folder.each(masks.keep, batch.column(0).to_pylist())):
                return False
    return True
