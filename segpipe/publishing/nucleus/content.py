"""Comparing a prediction as Nucleus holds it with the one to be published.

The fingerprint is stored in the annotation id if the user set none, and the mask's digest in the
name of its file. Both are returned when the prediction is read. Neither is trusted alone: the
Segments have to be equal as well.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from segpipe.validation.validated import PredictionBatch

#: Prefix of the fingerprint in annotation ids that segpipe sets.
PREFIX = "segpipe:"
#: Prefix of the digest that is the fingerprint of predictions that segpipe did not write.
FOREIGN = "other:"
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
    held: Mapping[str, Any], wanted: Content | None, same_pixels: Callable[[str, str], bool]
) -> str:
    """The fingerprint of the prediction that Nucleus holds for an item.

    It is the wanted prediction's if mask, Segments and a user's annotation id are equal. It is not
    known whether the service changes the stored annotation id when it replaces a prediction. An
    outdated annotation id of segpipe's is therefore no difference if the mask's file name matches.

    Args:
        held: the prediction as it was read back.
        wanted: the prediction to be published; None if there is none for the item.
        same_pixels: whether mask files of two digests (hex) are known to hold the same pixels, as
            different versions of zlib compress them.

    Returns:
        A fingerprint (hex), or FOREIGN and a digest for what segpipe did not write.
    """
    if wanted is not None and _is(held, wanted, same_pixels):
        return wanted.fingerprint
    claimed = str(held.get("annotation_id") or "").removeprefix(PREFIX)
    if _DIGEST.fullmatch(claimed) and (wanted is None or claimed != wanted.fingerprint):
        return claimed  # written by segpipe, with another fingerprint
    described = json.dumps(
        [_segments(held), held.get("annotation_id"), held.get("mask_url")], sort_keys=True
    )
    return FOREIGN + hashlib.sha256(described.encode("utf-8", "surrogatepass")).hexdigest()


def _is(held: Mapping[str, Any], wanted: Content, same_pixels: Callable[[str, str], bool]) -> bool:
    if _segments(held) != _segments({"annotations": wanted.segments}):
        return False
    annotation_id = held.get("annotation_id")
    if wanted.user_id is not None and annotation_id != wanted.user_id:
        return False
    if wanted.user_id is None and not str(annotation_id or "").startswith(PREFIX):
        return False
    named = _DIGEST.search(_file_name(str(held.get("mask_url") or "")))
    if named is not None:
        return named[1] == wanted.mask_sha256 or same_pixels(named[1], wanted.mask_sha256)
    # The name of the file was not returned; the fingerprint covers the mask as well.
    return bool(annotation_id == f"{PREFIX}{wanted.fingerprint}")


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
