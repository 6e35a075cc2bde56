"""Masks that came with a request, as a place validation can read them from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from segpipe.masks.decoding import MAX_BYTES
from segpipe.masks.refusal import MaskRefused
from segpipe.storage.sources import AllowedRoots, Fetched, Source

_SCHEME = "received:"
#: What the client calls remote; everything else is a path on the client's machine.
REMOTE = ("http://", "https://", "s3://", "gs://")


@dataclass(frozen=True)
class ReceivedMasks(AllowedRoots):
    """The bytes of a request's masks, and remote masks below the roots that are allowed.

    No path of this machine is read, whatever a request names.

    Attributes:
        masks: PNG bytes, in the order of the request's segmentations; empty where they are remote.
    """

    masks: Sequence[bytes] = field(default=(), repr=False)

    @classmethod
    def of(cls, allowed: AllowedRoots, masks: Sequence[bytes]) -> ReceivedMasks:
        """With the remote ones of these roots."""
        roots = tuple(root for root in allowed.roots if root.startswith(REMOTE))
        options: Mapping[str, object] = allowed.storage_options
        return cls(roots, options, masks)

    def url_of(self, place: int, sent: str) -> str:
        """The URL under which validation finds the mask of the n-th segmentation."""
        return f"{_SCHEME}{place}" if self.masks else sent

    def resolve(self, url: str, relative_to: str) -> Source:
        """See :meth:`AllowedRoots.resolve`."""
        if self.masks and url.startswith(_SCHEME):
            return Source(None, url, "the mask of the request")
        if not url.startswith(REMOTE):
            raise MaskRefused(
                "URL-REFUSED",
                "a path of the client's machine: send the mask along, or an http, https, s3 or gs "
                "URL",
                found="a local path",
                expected="a remote URL",
            )
        return super().resolve(url, relative_to)

    def fetch(self, source: Source, max_bytes: int = MAX_BYTES) -> Fetched:
        """See :meth:`AllowedRoots.fetch`."""
        if not source.path.startswith(_SCHEME):
            return super().fetch(source, max_bytes)
        data = self.masks[int(source.path.removeprefix(_SCHEME))]
        if len(data) <= max_bytes:
            return Fetched(data, None)
        larger = MaskRefused(
            "TOO-LARGE",
            f"the mask has {len(data):,} bytes, over the limit of {max_bytes:,}",
            found=f"{len(data)} bytes",
            expected=f"at most {max_bytes} bytes",
        )
        return Fetched(b"", None, larger)
