"""Preparing predictions for an upload to Nucleus: with mask files, or with their URLs."""

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


class OutgoingPredictions:
    """Prepares predictions for an upload, with mask files or with their URLs.

    Args:
        wanted: reference id -> prediction.
        masks: where the mask files are.

    Raises:
        SettingsError: if Nucleus is to fetch masks from where it has no access.
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
    def prepared(self, ids: Sequence[str]) -> Iterator[list[Outgoing]]:
        """These predictions, ready to send; temporary mask files are deleted afterwards.

        Raises:
            StorageError: if a mask cannot be read.
        """
        with tempfile.TemporaryDirectory(prefix="segpipe-") as temporary:
            yield [self._outgoing(self._wanted[id], Path(temporary)) for id in ids]

    def _outgoing(self, one: Content, temporary: Path) -> Outgoing:
        name = MaskStore.name_of(one.mask_sha256)
        if self._base:
            mask = f"{self._base}/{name}"
        elif self._masks.folder.is_local:
            mask = str(Path(self._masks.folder.path) / name)
        else:
            path = temporary / Path(name).name
            path.write_bytes(self._masks.read(one.mask_sha256))
            mask = str(path)
        return Outgoing(one.reference_id, mask, one.segments, one.annotation_id)
