"""The files of a manifest row: its mask, and the image whose size is read."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from segpipe.manifests.rows import ManifestRow
from segpipe.masks.image_size import SizeUnknown
from segpipe.masks.refusal import MaskRefused
from segpipe.storage.sources import AllowedRoots, Fetched, Source, is_remote
from segpipe.workers.chunks import FETCHED_AT_ONCE, map_threads

#: Identities of a row's mask and image: a file that changes gets another one. None if its storage
#: reports none.
Identities = tuple[str | None, str | None]


@dataclass(frozen=True, slots=True)
class KnownSize:
    """The size of a row's image.

    Attributes:
        height, width: in pixels; None where not known.
        orientation: EXIF orientation, 1 to 8; 1 if the image's header was not read.
        unknown: why the image does not tell its size; empty if it does, or was not asked.
    """

    height: int | None
    width: int | None
    orientation: int = 1
    unknown: str = ""


@dataclass(frozen=True, slots=True)
class RowFiles:
    """What was read for a row.

    Attributes:
        mask: its bytes, or why it could not be read.
        size: of the image, from the manifest or from the image itself.
        identities: of both files, determined before they were read.
        wanted: False if nothing was read because the row did not need it.
    """

    mask: Fetched
    size: KnownSize
    identities: Identities
    wanted: bool = True


@dataclass(frozen=True, slots=True)
class MaskLimits:
    """Limits on a mask, before it is decoded.

    Attributes:
        bytes: of its file, or of the PNG in its row.
        pixels: of a mask that a row holds in another form.
    """

    bytes: int
    pixels: int


def read_files(
    row: ManifestRow, folder: str, sources: AllowedRoots, limits: MaskLimits
) -> RowFiles:
    """Read a row's files, each once; the mask from the row itself where it holds one.

    Args:
        folder: URL of the manifest's folder.

    Raises:
        StorageError: if storage itself fails.
    """
    mask = _mask(row, folder, sources, limits)
    image = _image_identity(row, folder, sources)
    return RowFiles(mask, _known_size(row, folder, sources), (mask.identity, image))


def read_all_files(
    rows: Sequence[ManifestRow],
    folder: str,
    sources: AllowedRoots,
    limits: MaskLimits,
    wanted: Callable[[ManifestRow], bool],
) -> Iterator[RowFiles]:
    """:func:`read_files` for each row, in order; remote files are fetched ahead.

    Args:
        wanted: whether a row's files are read at all.
    """

    def read(row: ManifestRow) -> RowFiles:
        if wanted(row):
            return read_files(row, folder, sources, limits)
        identities = identities_of(row, folder, sources)
        return RowFiles(Fetched(b"", None), KnownSize(None, None), identities, wanted=False)

    sources = replace(sources)  # what lies in folders is looked up once, and not remembered
    remote = any(is_remote(url, folder) for row in rows for url in _urls(row))
    return map_threads(read, rows, FETCHED_AT_ONCE if remote else 1)


def _mask(row: ManifestRow, folder: str, sources: AllowedRoots, limits: MaskLimits) -> Fetched:
    if row.mask is None:
        source = _source(row.mask_url, folder, sources)
        return sources.fetch(source, limits.bytes) if isinstance(source, Source) else source
    # What the row holds is part of the manifest, which has a digest of its own.
    identity = _identity(row.mask_url, folder, sources)
    try:
        if row.mask_url and row.mask_url.strip():
            raise MaskRefused(
                "MASK-TWICE",
                "the row holds a mask in the column mask, and mask_url names another: leave one of "
                "them empty",
                found="mask and mask_url",
                expected="one of them",
            )
        return Fetched(row.mask.png(limits.bytes, limits.pixels), identity)
    except MaskRefused as refusal:
        return Fetched(b"", identity, refusal)


def identities_of(row: ManifestRow, folder: str, sources: AllowedRoots) -> Identities:
    """The identities of a row's files, without reading the files.

    Raises:
        StorageError: if storage itself fails.
    """
    return _identity(row.mask_url, folder, sources), _image_identity(row, folder, sources)


def needs_image(row: ManifestRow) -> bool:
    """Whether the row's size is read from its image."""
    return bool(_pixels(row.height) is None and _pixels(row.width) is None and row.image_url)


def _urls(row: ManifestRow) -> Iterator[str]:
    if row.mask_url:
        yield row.mask_url
    if row.image_url and needs_image(row):
        yield row.image_url


def _image_identity(row: ManifestRow, folder: str, sources: AllowedRoots) -> str | None:
    return _identity(row.image_url if needs_image(row) else None, folder, sources)


def _identity(url: str | None, folder: str, sources: AllowedRoots) -> str | None:
    if url is None:
        return "none"
    source = _source(url, folder, sources)
    return sources.identity(source) if isinstance(source, Source) else source.identity


def _source(url: str | None, folder: str, sources: AllowedRoots) -> Source | Fetched:
    """Where a file is; or the refusal, if it may not be read."""
    if url is None or not url.strip():
        nowhere = MaskRefused(
            "FILE-MISSING",
            "mask_url is empty: write where the mask file is into the manifest, or the mask itself "
            "into the column mask",
            found="no URL",
            expected="a URL or a path relative to the manifest",
        )
        return Fetched(b"", "none", nowhere)
    try:
        return sources.resolve(url, folder)
    except MaskRefused as refusal:
        return Fetched(b"", f"refused {refusal.rule}", refusal)


def _known_size(row: ManifestRow, folder: str, sources: AllowedRoots) -> KnownSize:
    height, width = _pixels(row.height), _pixels(row.width)
    if needs_image(row) and row.image_url:
        try:
            size = sources.image_size(sources.resolve(row.image_url, folder))
        except MaskRefused as refusal:
            return KnownSize(height, width, unknown=refusal.message)
        except SizeUnknown as error:
            return KnownSize(height, width, unknown=str(error))
        return KnownSize(size.height, size.width, size.orientation)
    return KnownSize(height, width)


def _pixels(value: object) -> int | None:
    if isinstance(value, (int, float)) and math.isfinite(value) and value >= 1:
        return int(value) if value == int(value) else None
    return None
