"""Items that occur more than once in a partition, and masks that are shared by several items.

Of equal predictions for an item one is kept. Different ones are all rejected, since no order
between rows or files is trusted. Repeated reference ids are found in a pass over that column alone,
so that the main pass has to defer only the rows concerned.
"""

from __future__ import annotations

import hashlib
from collections import Counter, OrderedDict
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from segpipe.errors import listed
from segpipe.manifests.items import reference_id_hashes
from segpipe.manifests.manifest import Manifest
from segpipe.validation.rules import Found

# Hashes in memory at once: 8 bytes each, and as much again for sorting. A larger manifest takes
# several passes.
_HASHES_AT_ONCE = 4_000_000


def repeated_reference_ids(manifest: Manifest, hashes_at_once: int = _HASHES_AT_ONCE) -> pa.Array:
    """The reference ids that occur in more than one row: a string array in no particular order.

    Memory is bounded by ``hashes_at_once`` and the repeated ids, not by the manifest.

    Raises:
        ManifestError: if a manifest file turns out to be damaged.
    """
    parts = -(-manifest.rows // hashes_at_once)
    repeated: Counter[str] = Counter()
    for part in range(parts):
        suspects = _repeated_hashes(manifest, part, parts)
        if not suspects.size:
            continue
        # Different ids may have equal hashes: count the ids themselves.
        counted: Counter[str] = Counter()
        for ids in manifest.reference_ids():
            ids = ids.drop_null()
            counted.update(
                ids.filter(pa.array(np.isin(reference_id_hashes(ids), suspects))).to_pylist()
            )
        repeated.update({id: count for id, count in counted.items() if count > 1})
    return pa.array(list(repeated), pa.string())


def _repeated_hashes(manifest: Manifest, part: int, parts: int) -> np.ndarray:
    collected = []
    for ids in manifest.reference_ids():
        hashes = reference_id_hashes(ids.drop_null())
        collected.append(hashes if parts == 1 else hashes[hashes % parts == part])
    hashes = np.sort(np.concatenate(collected))
    return np.unique(hashes[1:][hashes[1:] == hashes[:-1]])


@dataclass(slots=True)
class _Seen:
    fingerprint: bytes
    rows: list[tuple[str, int]]
    differs: bool = False
    kept: bool = False


@dataclass
class Duplicates:
    """The accepted rows of repeated reference ids, and which of them are kept.

    First every accepted row of a repeated id is added with :meth:`note`. Then :meth:`conflict` and
    :meth:`keep` are called once per row.

    Args:
        repeated: string array of the ids, see :func:`repeated_reference_ids`.
    """

    repeated: pa.Array
    _seen: dict[str, _Seen] = field(default_factory=dict)

    def is_repeated(self, reference_ids: pa.ChunkedArray) -> pa.ChunkedArray:
        """A boolean per id: is it one of the repeated ones?"""
        return pc.is_in(reference_ids, value_set=self.repeated)

    def note(self, reference_id: str, fingerprint: str, manifest: str, number: int) -> None:
        """Add one accepted row of a repeated id.

        Args:
            fingerprint: hex.
            manifest, number: the file, and the row in it.
        """
        digest = bytes.fromhex(fingerprint)
        seen = self._seen.setdefault(reference_id, _Seen(digest, []))
        seen.rows.append((manifest, number))
        seen.differs = seen.differs or seen.fingerprint != digest

    def conflict(self, reference_id: str) -> Found | None:
        """The finding for an id whose rows differ; None if they are equal."""
        seen = self._seen[reference_id]
        if not seen.differs:
            return None
        numbers: dict[str, list[str]] = {}
        for manifest, number in seen.rows:
            numbers.setdefault(manifest, []).append(str(number))
        rows = listed([f"{name} rows {' and '.join(of)}" for name, of in numbers.items()])
        return Found(
            f"{len(seen.rows)} rows predict {reference_id!r} with different content ({rows}): "
            "keep one of them; no order between rows is trusted to choose",
            found=rows,
            expected="one row per item",
        )

    def keep(self, reference_id: str) -> bool:
        """True on the first call for an id, False afterwards."""
        seen = self._seen[reference_id]
        first, seen.kept = not seen.kept, True
        return first


# Masks remembered. Bounded, because a partition may hold any number of them.
_LOOK_BACK = 200_000


class SameMasks:
    """Finds items whose masks have identical pixels, among the last 200 000 different masks."""

    def __init__(self) -> None:
        # A dict gets slow here: finding its first key scans the slots of all removed ones.
        self._seen: OrderedDict[bytes, str] = OrderedDict()

    def other_item(self, pixels: str, reference_id: str) -> str | None:
        """An earlier item with the same mask, if there is one; the mask is remembered.

        Args:
            pixels: equal for masks whose pixels are; not the file's digest, which differs between
                encoders.
        """
        key = hashlib.blake2b(pixels.encode(), digest_size=16).digest()
        other = self._seen.pop(key, None)
        self._seen[key] = reference_id if other is None else other
        if len(self._seen) > _LOOK_BACK:
            self._seen.popitem(last=False)
        return other if other != reference_id else None
