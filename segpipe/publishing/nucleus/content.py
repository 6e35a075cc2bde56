"""A prediction as Nucleus holds it, and whether that is the one that is to be there.

The fingerprint travels along: in the annotation id, where the user set none, and the mask's digest
in the name of its file. Both come back when the prediction is read. Neither is trusted alone: the
Segments that come back have to be the same too.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from segpipe.validation.validated import PredictionBatch

#: Before the fingerprint in annotation ids that segpipe sets.
PREFIX = "segpipe:"
#: Before the digest that stands for the fingerprint of what segpipe did not write.
FOREIGN = "other:"
_DIGEST = re.compile(r"(?<![0-9a-f])([0-9a-f]{64})(?![0-9a-f])")


@dataclass(frozen=True, slots=True)
class Content:
    """A prediction to be there.

    Attributes:
        segments: label, index and metadata of each, by index.
        user_id: the annotation id the user set; None where segpipe sets one.
    """

    reference_id: str
    fingerprint: str
    mask_sha256: str
    segments: Sequence[Mapping[str, Any]]
    user_id: str | None

    @property
    def annotation_id(self) -> str:
        """What is sent as annotation id."""
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
                # Canonical JSON: finite numbers of Python's own, and nothing else.
                **({"metadata": json.loads(one["metadata"])} if one["metadata"] != "{}" else {}),
            }
            for one in segments.as_py()
        ]
        yield Content(reference_id, fingerprint, mask_sha256, described, user_id)


def held_fingerprint(held: Mapping[str, Any], wanted: Content | None) -> str:
    """The fingerprint of what Nucleus holds for an item.

    It is that of the wanted prediction where the mask, the Segments and a user's annotation id are
    the same. Whether a replacement changes the stored annotation id is not known of the service,
    so an older one of segpipe's own makes no difference where the mask's name says what it is.

    Args:
        held: as it was read back.
    """
    if wanted is not None and _is(held, wanted):
        return wanted.fingerprint
    claimed = str(held.get("annotation_id") or "").removeprefix(PREFIX)
    if _DIGEST.fullmatch(claimed) and (wanted is None or claimed != wanted.fingerprint):
        return claimed  # another one of segpipe's, as it says itself
    told = json.dumps(
        [_segments(held), held.get("annotation_id"), held.get("mask_url")], sort_keys=True
    )
    return FOREIGN + hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()


def _is(held: Mapping[str, Any], wanted: Content) -> bool:
    if _segments(held) != _segments({"annotations": wanted.segments}):
        return False
    annotation_id = held.get("annotation_id")
    if wanted.user_id is not None and annotation_id != wanted.user_id:
        return False
    if wanted.user_id is None and not str(annotation_id or "").startswith(PREFIX):
        return False
    named = _DIGEST.search(_file_name(str(held.get("mask_url") or "")))
    if named is not None:
        return named[1] == wanted.mask_sha256
    # The name of the file did not come back; the fingerprint is of the mask too.
    return bool(annotation_id == f"{PREFIX}{wanted.fingerprint}")


def _file_name(mask_url: str) -> str:
    """The last part of a URL's path, or of a path. What comes after it in a URL is a signature,
    which looks like a digest and is none."""
    path = re.split("[?#]", mask_url, maxsplit=1)[0] if "://" in mask_url else mask_url
    return unquote(path).rpartition("/")[2]


def _segments(held: Mapping[str, Any]) -> list[str]:
    """Segments in a form that can be compared: whole numbers stay such, no metadata is none."""
    found = []
    for one in held.get("annotations") or ():
        described = [one.get("index"), one.get("label"), one.get("metadata") or {}]
        found.append(json.dumps(described, sort_keys=True))
    return sorted(found)
