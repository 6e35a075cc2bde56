"""The rules on a single row, at the line that makes it, and the items a writer has."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segpipe.errors import ManifestError, StorageError, shortened
from segpipe.manifests.rows import ManifestRow
from segpipe.masks.decoding import decode_mask
from segpipe.masks.image_size import ImageSize, SizeUnknown
from segpipe.masks.measures import measure_decoded
from segpipe.masks.refusal import MaskRefused
from segpipe.predictions.declarations import read_declaration
from segpipe.storage.sources import AllowedRoots, is_remote
from segpipe.validation.rules import Evidence, Policy, Severity, judge

_RECENT = 4096


@dataclass(frozen=True)
class RowCheck:
    """Judges rows as a run of the partition will.

    Left to the run is what needs more than the row and its image: the dataset's list of items,
    ground truth, and the rows beside it.

    Attributes:
        sources: where images may be read from.
        folder: URL of the manifest's folder.
    """

    policy: Policy
    sources: AllowedRoots
    folder: str

    def judge(self, cells: Mapping[str, Any], png: bytes, image: ImageSize | None) -> None:
        """Apply the rules of the policy.

        Args:
            cells: of the row, checked.
            png: its mask.
            image: size of its image, where that was read.

        Raises:
            ManifestError: naming the item and each rule that would reject the row.
        """
        height, width = cells["height"], cells["width"]
        item, segments = cells["reference_id"], cells["segments"]
        row = ManifestRow("", 0, item, "mask", segments, height=height, width=width)
        evidence = self._evidence(row, (_positive(height), _positive(width)), png)
        if image is not None:
            size = image.height, image.width
            evidence = replace(evidence, size=size, image_orientation=image.orientation)
        found = [one for one in judge(evidence) if one.severity is Severity.REJECT]
        if found:
            told = "; ".join(f"{one.rule}: {one.message}" for one in found)
            raise ManifestError(
                f"{row.reference_id!r} would be rejected: {told} (check=False writes it as it is)"
            )

    def _evidence(
        self, row: ManifestRow, size: tuple[int | None, int | None], png: bytes
    ) -> Evidence:
        declared = read_declaration(row.segments, tuple(self.policy.taxonomy))
        try:
            mask = decode_mask(png, self.policy.max_pixels)
        except MaskRefused as refusal:
            return Evidence(row, declared, self.policy, size, refusal=refusal)
        measures = measure_decoded(mask)
        declared = declared.with_ignored(self.policy.ignore_values, measures.values.tolist())
        # Only all rows together show whether they list a taxonomy; it is taken for one.
        return Evidence(
            row, declared, self.policy, size, None, mask, measures, declares_taxonomy=True
        )

    def image_size(self, url: str, *, also_remote: bool) -> ImageSize | None:
        """Size of an image from its header; None where that is left to the run.

        Args:
            url: absolute, or relative to the manifest.
            also_remote: whether a request is worth it.

        Raises:
            MaskRefused: if it must not be read.
        """
        if is_remote(url, self.folder) and not also_remote:
            return None
        try:
            return self.sources.image_size(self.sources.resolve(url, self.folder))
        except (SizeUnknown, StorageError):
            return None


def _positive(pixels: int | None) -> int | None:
    return pixels if pixels is not None and pixels > 0 else None


class AddedItems:
    """The items that were added, in 8 bytes each: a digest, of which two of a million items are
    the same by chance once in 40 million such writers."""

    def __init__(self) -> None:
        self._recent: set[int] = set()
        self._older: NDArray[np.uint64] = np.empty(0, np.uint64)

    def refuse_repeated(self, reference_id: str) -> None:
        """Check that an item is new.

        Raises:
            ManifestError: if it was added before.
        """
        digest = _digest(reference_id)
        if digest in self._recent or self._among_older(digest):
            raise ManifestError(
                f"{shortened(repr(reference_id), 200)} was added before: an item has one "
                "prediction in a model run (check=False writes it as it is)"
            )

    def add(self, reference_id: str) -> None:
        """Note an item."""
        self._recent.add(_digest(reference_id))
        if len(self._recent) >= _RECENT:
            recent = np.fromiter(self._recent, np.uint64, len(self._recent))
            self._older = np.sort(np.concatenate([self._older, recent]))
            self._recent = set()

    def _among_older(self, digest: int) -> bool:
        place = int(np.searchsorted(self._older, np.uint64(digest)))
        return place < self._older.size and int(self._older[place]) == digest


def _digest(reference_id: str) -> int:
    text = reference_id.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")
