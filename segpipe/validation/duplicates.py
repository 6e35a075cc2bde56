"""Predictions that occur more than once in a partition.

Equal ones are kept once; differing ones are all rejected, for no order between rows or files is
trusted. Which reference ids occur twice is found in a pass over that column alone, so that the main
pass only has to set aside the rows in question.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from segpipe.manifests.items import reference_id_hashes
from segpipe.manifests.manifest import Manifest
from segpipe.validation.rules import Found
from segpipe.validation.rules.wording import listed

# Hashes held at once, 8 bytes each and as many again to sort them. A larger manifest is looked
# through in several passes.
_HASHES_AT_ONCE = 4_000_000


def repeated_reference_ids(manifest: Manifest, hashes_at_once: int = _HASHES_AT_ONCE) -> pa.Array:
    """The reference ids that occur in more than one row, as a string array without order.

    Memory is bounded by ``hashes_at_once`` and the ids that do repeat, not by the manifest.
    """
    parts = -(-manifest.rows // hashes_at_once)
    repeated: Counter[str] = Counter()
    for part in range(parts):
        suspects = _repeated_hashes(manifest, part, parts)
        if not suspects.size:
            continue
        # Equal hashes are only a suspicion: count the ids themselves.
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
    """What was seen of the reference ids that repeat, and what becomes of their rows.

    Every accepted row of a repeated id is noted first; then each is asked about once.
    """

    repeated: pa.Array
    _seen: dict[str, _Seen] = field(default_factory=dict)

    def is_repeated(self, reference_ids: pa.ChunkedArray) -> pa.ChunkedArray:
        """A boolean per id."""
        return pc.is_in(reference_ids, value_set=self.repeated)

    def note(self, reference_id: str, fingerprint: str, manifest: str, number: int) -> None:
        """Take notice of one accepted row of a repeated id."""
        digest = bytes.fromhex(fingerprint)
        seen = self._seen.setdefault(reference_id, _Seen(digest, []))
        seen.rows.append((manifest, number))
        seen.differs = seen.differs or seen.fingerprint != digest

    def conflict(self, reference_id: str) -> Found | None:
        """What to say of an id whose rows differ; None where they are equal."""
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
        """True for the first of an id's equal rows, False for its repetitions."""
        seen = self._seen[reference_id]
        first, seen.kept = not seen.kept, True
        return first


# Masks looked back on. A bound, because a partition may hold any number of them.
_LOOK_BACK = 200_000


class SameMasks:
    """Finds items that have the very same mask, among the last 200 000 predictions."""

    def __init__(self) -> None:
        # A dict would look for its first key through the places of all that were removed.
        self._seen: OrderedDict[bytes, str] = OrderedDict()

    def other_item(self, mask_sha256: str, reference_id: str) -> str | None:
        """The item seen before with this mask; None where there was none."""
        key = bytes.fromhex(mask_sha256[:32])
        other = self._seen.pop(key, None)
        self._seen[key] = reference_id if other is None else other
        if len(self._seen) > _LOOK_BACK:
            self._seen.popitem(last=False)
        return other if other != reference_id else None
