"""Masks of instances in the forms that models give them: arrays, run lengths, polygons, ids."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segpipe.errors import ManifestError, SettingsError, shortened
from segpipe.formats.given_masks import as_array
from segpipe.formats.ids import Ids
from segpipe.formats.model_outputs.given import scalar, whole_numbers
from segpipe.formats.run_lengths import RunLengthError, RunLengths, read_segmentation
from segpipe.masks.decoding import MAX_PIXELS

_HALF = 0.5
_LEAST = 6  # numbers of a polygon: three points
_FORMS = (
    "expected N x H x W, a list of H x W masks, of COCO run lengths ({size, counts}) or of "
    "polygons, or H x W ids (0 is background)"
)
_Size = tuple[int, int]


@dataclass(frozen=True)
class OneMask:
    """The mask of an instance: its number of pixels, and what returns it as H x W bool."""

    area: int
    decode: Callable[[], NDArray[np.bool_]]


@dataclass(frozen=True)
class InstanceMasks:
    """Masks of one size.

    Attributes:
        size: height and width in pixels.
        ids: H x W int32 where they came as ids: the place of each pixel's instance, from 1, and 0
            for none.
    """

    size: _Size
    masks: Sequence[OneMask]
    ids: NDArray[np.int32] | None = None


def read_masks(
    given: Any, size: tuple[int | None, int | None], threshold: float | None, of: str
) -> InstanceMasks:
    """Masks in any form.

    Args:
        size: height and width of the image, where given; polygons and no masks at all need it.
        threshold: from which a score belongs to its instance; None for 0.5, of scores from 0 to 1.
        of: the item, for messages.

    Raises:
        ManifestError: naming the item, if they are none, or of several sizes.
    """
    if given is None or (isinstance(given, (list, tuple)) and not given):
        return InstanceMasks(_needed(size, "there is no mask", of), ())
    if isinstance(given, (list, tuple)):
        return _listed(given, size, threshold, of)
    array = as_array(given, f"the masks of {of!r}")
    if array.ndim == 4 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim == 2 and array.dtype != np.bool_:
        return _of_ids(array, of)
    if array.ndim != 3 or 0 in array.shape[1:]:
        if array.shape == (0,):
            return InstanceMasks(_needed(size, "there is no mask", of), ())
        hint = ": of a single mask give masks[None]" if array.ndim == 2 else ""
        if array.ndim == 4:
            hint = ": there is a mask for each class; give that of the instance's class"
        raise ManifestError(f"the masks of {of!r} have shape {array.shape}, {_FORMS}{hint}")
    if array.shape[0]:
        _check_values(array, threshold, of)
    masks = [_of_array(one, threshold) for one in array]
    return InstanceMasks((array.shape[1], array.shape[2]), masks)


def _listed(
    given: Sequence[Any], size: tuple[int | None, int | None], threshold: float | None, of: str
) -> InstanceMasks:
    sizes: dict[_Size, list[int]] = {}
    masks = []
    for place, one in enumerate(given):
        said = f"mask {place} of {of!r}"
        form = _points(one)
        if form is None and not isinstance(one, Mapping):
            array = as_array(one, said)
            if array.ndim != 2 or 0 in array.shape:
                raise ManifestError(f"{said} has shape {array.shape}; {_FORMS}")
            _check_values(array, threshold, of)
            own: _Size = (array.shape[0], array.shape[1])
            masks.append(_of_array(array, threshold))
        else:
            runs = _runs(one, form, size, said, of)
            own = (runs.height, runs.width)
            masks.append(OneMask(runs.area, runs.decode))
        sizes.setdefault(own, []).append(place)
    if len(sizes) > 1:
        told = "; ".join(
            f"{height} x {width} ({len(places)}, such as mask {places[0]})"
            for (height, width), places in sizes.items()
        )
        raise ManifestError(
            f"the masks of {of!r} have several sizes (height x width): {told}. Bring each to the "
            "size of the image"
        )
    (common,) = sizes
    return InstanceMasks(common, masks)


def _runs(
    one: Any,
    polygons: list[list[float]] | None,
    size: tuple[int | None, int | None],
    said: str,
    of: str,
) -> RunLengths:
    try:
        if polygons is None:
            return read_segmentation(_plain_rle(one), *size)
        height, width = _needed(size, "polygons do not say the image's size", of)
        # Outlines of objects of a pixel or two have no area: such an instance has no pixels.
        polygons = [one for one in polygons if len(one) >= _LEAST or len(one) % 2]
        if not polygons:
            return RunLengths(height, width, np.array([height * width], np.int64))
        return read_segmentation(polygons, height, width)
    except (RunLengthError, SettingsError) as error:
        raise ManifestError(f"{said}: {error}") from None


def _plain_rle(one: Mapping[str, Any]) -> dict[str, Any]:
    """Run lengths as JSON has them: pycocotools gives counts as bytes, others arrays."""
    size: Any = one.get("size")
    counts: Any = one.get("counts")
    if isinstance(counts, bytes):
        counts = counts.decode("ascii", "backslashreplace")
    elif hasattr(counts, "tolist"):
        counts = counts.tolist()
    if hasattr(size, "tolist") or isinstance(size, tuple):
        size = [scalar(side) for side in size]
    return {"size": size, "counts": counts}


def _points(one: Any) -> list[list[float]] | None:
    """The polygons of an instance as COCO has them, ``[[x, y, x, y, ...], ...]``; else None.

    Also a single one, and points as pairs: P x 2, or P x 1 x 2 as OpenCV gives them.
    """
    if isinstance(one, (list, tuple)):
        if all(isinstance(scalar(value), (int, float)) for value in one):
            return [[scalar(value) for value in one]] if one else []
        parts = [_points(part) for part in one]
        if all(part is not None and len(part) == 1 for part in parts):
            flat = [part[0] for part in parts if part]
            pairs = all(len(part) == 2 for part in flat)
            return [[value for part in flat for value in part]] if pairs else flat
        return None
    if not hasattr(one, "__array__") or isinstance(one, type):
        return None
    array = as_array(one, "a mask")
    if array.ndim == 3 and array.shape[1:] == (1, 2):
        array = array[:, 0]
    if array.ndim != 2 or array.shape[1] != 2 or array.dtype == np.bool_:
        return None
    return [array.astype(np.float64).reshape(-1).tolist()] if array.size else []


def _of_ids(array: NDArray[Any], of: str) -> InstanceMasks:
    """The instances of an array of ids, by ascending id; 0 is background."""
    ids = Ids.of(whole_numbers(array, f"the array of ids of {of!r}"))
    least = min(ids.areas)
    if least < 0:
        raise ManifestError(
            f"the array of ids of {of!r} holds {least}, expected 0 for the background and ids "
            "from 1; panoptic ids are given to add_panoptic"
        )
    areas = [(id, area) for id, area in ids.areas.items() if id]
    place_of = {0: 0, **{id: place for place, (id, _) in enumerate(areas, 1)}}
    places = ids.becoming(place_of).pixels.astype(np.int32)
    masks = [
        OneMask(area, partial(np.equal, places, place)) for place, (_, area) in enumerate(areas, 1)
    ]
    return InstanceMasks(ids.shape, masks, places)


def _of_array(array: NDArray[Any], threshold: float | None) -> OneMask:
    decode = partial(_decoded, array, threshold)
    return OneMask(int(np.count_nonzero(decode())), decode)


def _decoded(array: NDArray[Any], threshold: float | None) -> NDArray[np.bool_]:
    if array.dtype == np.bool_:
        return array
    if threshold is None and array.dtype.kind != "f":
        return array.astype(np.bool_)
    decoded: NDArray[np.bool_] = array >= (_HALF if threshold is None else threshold)
    return decoded


def _check_values(array: NDArray[Any], threshold: float | None, of: str) -> None:
    """Check that values say which pixels belong to an instance.

    Raises:
        ManifestError: where that would be guessed.
    """
    if array.dtype == np.bool_:
        return
    if isinstance(array, np.ma.MaskedArray) and np.ma.is_masked(array):
        raise ManifestError(f"the masks of {of!r} have pixels that are masked out: fill them first")
    if array.dtype.kind not in "fiu":
        raise ManifestError(f"the masks of {of!r} hold {array.dtype}, expected bool or numbers")
    lowest, highest = array.min(), array.max()
    if array.dtype.kind == "f":
        if not (np.isfinite(lowest) and np.isfinite(highest)):
            raise ManifestError(f"the masks of {of!r} hold NaN or infinite values")
        if threshold is None and (lowest < 0 or highest > 1):
            raise ManifestError(
                f"the masks of {of!r} hold {lowest:g} to {highest:g}: logits are no probabilities. "
                "Give threshold=0.0 for logits of a sigmoid, or the probabilities"
            )
    elif threshold is None:
        on = 255 if highest > 1 else 1
        if lowest < 0 or not ((array == 0) | (array == on)).all():
            raise ManifestError(
                f"the masks of {of!r} hold whole numbers from {lowest} to {highest}, expected 0 "
                "and 1 (or 0 and 255): give threshold=... where they are scores"
            )


def _needed(size: tuple[int | None, int | None], why: str, of: str) -> _Size:
    height, width = scalar(size[0]), scalar(size[1])
    if not (isinstance(height, int) and isinstance(width, int) and min(height, width) > 0):
        found = f" (found: {shortened(repr((height, width)), 60)})" if height or width else ""
        raise ManifestError(f"{of!r}: {why}: give height=... and width=... of the image{found}")
    if height * width > MAX_PIXELS:
        raise ManifestError(
            f"{of!r}: {height} x {width} is over the limit of {MAX_PIXELS:,} pixels"
        )
    return height, width
