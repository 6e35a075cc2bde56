"""Predictions as they are sent to Nucleus: with the files of their masks, or with URLs of them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from segpipe.errors import SettingsError
from segpipe.publishing.nucleus.content import Content
from segpipe.publishing.nucleus.service import Outgoing
from segpipe.publishing.nucleus.settings import REMOTE, NucleusSettings
from segpipe.storage.mask_store import MaskStore

_REMOTE_SCHEMES = ("s3://", "gs://", "http://", "https://")


class Parcels:
    """Predictions as they are sent: with files of masks, or with their URLs.

    Args:
        masks: where the mask files are.

    Raises:
        SettingsError: if masks are to be fetched by Nucleus from where it cannot reach them.
    """

    def __init__(
        self, wanted: Mapping[str, Content], masks: MaskStore, settings: NucleusSettings
    ) -> None:
        self._wanted, self._masks = wanted, masks
        self._base = ""
        if settings.masks == REMOTE:
            self._base = (settings.masks_url or masks.folder.url).rstrip("/")
            if not self._base.startswith(_REMOTE_SCHEMES):
                raise SettingsError(
                    f'masks = "remote" in [nucleus]: Nucleus cannot fetch {masks.folder.shown}; '
                    "keep masks under an s3 or gs URL, set masks_url, or send them along "
                    '(masks = "local")'
                )

    @contextmanager
    def of(self, ids: Sequence[str]) -> Iterator[list[Outgoing]]:
        """These predictions; files that were made for sending are gone afterwards."""
        with tempfile.TemporaryDirectory(prefix="segpipe-") as aside:
            yield [self._parcel(self._wanted[id], Path(aside)) for id in ids]

    def _parcel(self, one: Content, aside: Path) -> Outgoing:
        name = MaskStore.name_of(one.mask_sha256)
        if self._base:
            mask = f"{self._base}/{name}"
        elif self._masks.folder.is_local:
            mask = str(Path(self._masks.folder.path) / name)
        else:
            path = aside / Path(name).name
            path.write_bytes(self._masks.read(one.mask_sha256))
            mask = str(path)
        return Outgoing(one.reference_id, mask, one.segments, one.annotation_id)
