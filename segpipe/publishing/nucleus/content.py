"""Comparing a prediction as Nucleus holds it with the one to be published.

The fingerprint is stored in the annotation id if the user set none, and the mask's digest in the
name of its file. Both are returned when the prediction is read. Neither is trusted alone: the
Segments have to be equal as well.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import numpy as np

from segpipe.errors import StorageError
from segpipe.masks.decoding import decode_mask
from segpipe.masks.measures import measure_decoded
from segpipe.masks.refusal import MaskRefused
from segpipe.predictions.declarations import read_declaration
from segpipe.predictions.fingerprint import fingerprint_of_parts
from segpipe.storage.mask_store import MaskStore
from segpipe.validation.validated import PredictionBatch

#: Prefix of the fingerprint in annotation ids that segpipe sets.
PREFIX = "segpipe:"
#: Prefix of the digest that is the fingerprint of predictions that segpipe did not write.
FOREIGN = "other:"
_ANY_SIZE = sys.maxsize  # its own masks were judged before
_DIGEST = re.compile(r"(?<![0-9a-f])([0-9a-f]{64})(?![0-9a-f])")


@dataclass(frozen=True, slots=True)
class Content:
    """A prediction to be published.

    Attributes:
        fingerprint, mask_sha256: hex.
        segments: label, index and metadata of each Segment, sorted by index.
        user_id: the annotation id that the user set; None if segpipe sets one.
    """

    reference_id: str
    fingerprint: str
    mask_sha256: str
    segments: Sequence[Mapping[str, Any]]
    user_id: str | None

    @property
    def annotation_id(self) -> str:
        """The annotation id to send."""
        return self.user_id if self.user_id is not None else f"{PREFIX}{self.fingerprint}"


def contents(batch: PredictionBatch) -> Iterator[Content]:
    """The predictions of a batch."""
    names = ("reference_id", "fingerprint", "mask_sha256", "annotation_id")
    columns = [batch.rows[name].to_pylist() for name in names]
    for row, segments in zip(zip(*columns, strict=True), batch.segments, strict=True):
        reference_id, fingerprint, mask_sha256, user_id = row
        described = [
            {
                "label": one["label"],
                "index": one["index"],
                # Canonical JSON: all numbers are finite.
                **({"metadata": json.loads(one["metadata"])} if one["metadata"] != "{}" else {}),
            }
            for one in segments.as_py()
        ]
        yield Content(reference_id, fingerprint, mask_sha256, described, user_id)


def held_fingerprint(
    held: Mapping[str, Any], wanted: Content | None, masks: MaskStore | None
) -> str:
    """The fingerprint of the prediction that Nucleus holds for an item.

    It is the wanted prediction's if mask, Segments and a user's annotation id are equal. It is not
    known whether the service changes the stored annotation id when it replaces a prediction. An
    outdated annotation id of segpipe's is therefore no difference if the mask's file name matches.

    Another one is recognized by the fingerprint in its annotation id or, where a user set that, by
    its mask, which is named after its digest, and its Segments.

    Args:
        held: the prediction as it was read back.
        wanted: the prediction to be published; None if there is none for the item.
        masks: where masks that segpipe sent before are found; None if that is not known.

    Returns:
        A fingerprint (hex), or FOREIGN and a digest for what segpipe did not write.
    """
    if wanted is not None and _is(held, wanted, masks):
        return wanted.fingerprint
    claimed = str(held.get("annotation_id") or "").removeprefix(PREFIX)
    if _DIGEST.fullmatch(claimed) and (wanted is None or claimed != wanted.fingerprint):
        return claimed  # written by segpipe, with another fingerprint
    if masks is not None and (own := _own_fingerprint(held, masks)) is not None:
        return own
    described = json.dumps(
        [_segments(held), held.get("annotation_id"), held.get("mask_url")], sort_keys=True
    )
    return FOREIGN + hashlib.sha256(described.encode("utf-8", "surrogatepass")).hexdigest()


def _own_fingerprint(held: Mapping[str, Any], masks: MaskStore) -> str | None:
    """The fingerprint of a prediction with an annotation id of a user's, from its mask in the store
    and its Segments; None if it is not segpipe's."""
    annotation_id = held.get("annotation_id")
    named = _DIGEST.search(_file_name(str(held.get("mask_url") or "")))
    if named is None or not isinstance(annotation_id, str) or annotation_id.startswith(PREFIX):
        return None
    declared = read_declaration(held.get("annotations"))
    if declared.problem is not None or len(declared.as_segments()) != len(declared.segments):
        return None
    try:
        measures = measure_decoded(decode_mask(masks.read(named[1]), _ANY_SIZE))
    except (StorageError, MaskRefused):
        return None  # another store's
    described = [[one.index, one.label, one.metadata_text] for one in declared.segments]
    return fingerprint_of_parts(measures, described, annotation_id)


def _is(held: Mapping[str, Any], wanted: Content, masks: MaskStore | None) -> bool:
    if _segments(held) != _segments({"annotations": wanted.segments}):
        return False
    annotation_id = held.get("annotation_id")
    if wanted.user_id is not None and annotation_id != wanted.user_id:
        return False
    if wanted.user_id is None and not str(annotation_id or "").startswith(PREFIX):
        return False
    named = _DIGEST.search(_file_name(str(held.get("mask_url") or "")))
    if named is not None:
        return named[1] == wanted.mask_sha256 or _same_pixels(named[1], wanted.mask_sha256, masks)
    # The name of the file was not returned; the fingerprint covers the mask as well.
    return bool(annotation_id == f"{PREFIX}{wanted.fingerprint}")


def _same_pixels(one: str, other: str, masks: MaskStore | None) -> bool:
    """Whether two mask files are in the store and hold the same pixels, as different versions of
    zlib compress them."""
    if masks is None or not (masks.is_right(one) and masks.is_right(other)):
        return False  # it cannot be told: counts as another
    files = (masks.read(sha256) for sha256 in (one, other))
    try:
        first, second = (decode_mask(file, _ANY_SIZE).pixels for file in files)
    except MaskRefused:
        return False
    return np.array_equal(first, second)


def _file_name(mask_url: str) -> str:
    """The last part of the path of a URL, or of a path.

    The query of a URL is left out: a signature looks like a digest.
    """
    path = re.split("[?#]", mask_url, maxsplit=1)[0] if "://" in mask_url else mask_url
    return unquote(path).rpartition("/")[2]


def _segments(held: Mapping[str, Any]) -> list[str]:
    """Segments as sorted JSON, for comparing: integers stay integers, no metadata equals {}."""
    found = []
    for one in held.get("annotations") or ():
        described = [one.get("index"), one.get("label"), one.get("metadata") or {}]
        found.append(json.dumps(described, sort_keys=True))
    return sorted(found)
