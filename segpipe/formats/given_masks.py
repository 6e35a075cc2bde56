"""Masks as a person gives them to ``ManifestWriter``: arrays, tensors, images, PNGs."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segpipe.errors import ManifestError
from segpipe.masks.orientation import ORIENTATION_TAG

_INDEX_MODES = ("L", "P", "1", "I")
_ACCEPTED = (
    "expected an H x W array of whole numbers (NumPy, or anything with __array__), a Pillow image "
    "of mode L, P, 1 or I;16, or a PNG as bytes or path"
)


class ArrayLike(Protocol):
    """Anything NumPy can make an array of, such as a tensor."""

    def __array__(self) -> NDArray[Any]: ...


#: What can be given as a mask.
MaskLike = NDArray[Any] | ArrayLike | Image.Image | bytes | bytearray | str | PathLike[str]


def png_or_indexes(mask: MaskLike, of: str) -> bytes | NDArray[np.uint8]:
    """A given mask as PNG bytes, unchanged, or as H x W uint8 indexes.

    Args:
        of: the item, for messages.

    Raises:
        ManifestError: if it is neither, or holds what is no index.
    """
    if isinstance(mask, np.ndarray):
        return index_values(mask, of)
    if isinstance(mask, (bytes, bytearray, memoryview)):
        return bytes(mask)
    if isinstance(mask, (str, PathLike)):
        return _read(Path(mask), of)
    if isinstance(mask, Image.Image):
        return index_values(_pixels(mask, of), of)
    if hasattr(mask, "__array__") and not isinstance(mask, type):
        return index_values(as_array(mask, f"the mask of {of!r}"), of)
    hint = ""
    if isinstance(mask, (list, tuple)):
        hint = ": make it one with numpy.array(mask); a list of masks is given to add_instances"
    elif isinstance(mask, Mapping):
        hint = ": a model's result is given to add_huggingface or add_instances"
    raise ManifestError(f"the mask of {of!r} is of type {type(mask).__name__}, {_ACCEPTED}{hint}")


def as_array(given: NDArray[Any] | ArrayLike, said: str) -> NDArray[Any]:
    """An array, or what NumPy can make one of, such as a tensor; not copied where it need not be.

    Args:
        said: what it is, for messages: "the mask of 'a'".

    Raises:
        ManifestError: if it is neither.
    """
    if isinstance(given, np.ndarray):
        return given
    name = type(given).__name__
    if not hasattr(given, "__array__") or isinstance(given, type):
        raise ManifestError(
            f"{said} is of type {name}, expected an array (NumPy, or anything with __array__)"
        )
    try:
        return np.asarray(given)
    except Exception as error:  # whatever a framework raises, such as for a GPU's tensor
        words = (str(error).splitlines() or [type(error).__name__])[0]
        raise ManifestError(
            f"{said} ({name}) cannot be read as an array: {words}. Give an array in main memory, "
            "such as tensor.detach().cpu().numpy()"
        ) from None


def index_values(mask: NDArray[Any], of: str) -> NDArray[np.uint8]:
    """An array as mask indexes, H x W uint8; nothing is scaled or rounded.

    Args:
        mask: H x W, integers or bool.
        of: the item, for messages.

    Raises:
        ManifestError: if it has another shape or dtype, or values outside 0 to 255.
    """
    if mask.ndim != 2 or 0 in mask.shape:
        raise ManifestError(
            f"the mask of {of!r} has shape {mask.shape}, expected H x W{_shape_hint(mask)}"
        )
    if isinstance(mask, np.ma.MaskedArray) and np.ma.is_masked(mask):
        raise ManifestError(
            f"the mask of {of!r} has pixels that are masked out: give them an index of their own "
            "with mask.filled(INDEX)"
        )
    if mask.dtype == np.bool_:
        return mask.astype(np.uint8)
    if not np.issubdtype(mask.dtype, np.integer):
        raise ManifestError(
            f"the mask of {of!r} holds {mask.dtype}, expected whole numbers: {_kind_hint(mask)}"
        )
    lowest, highest = int(mask.min()), int(mask.max())
    if lowest < 0 or highest > 255:
        worst = lowest if lowest < 0 else highest
        raise ManifestError(
            f"the mask of {of!r} holds the value {worst}, expected 0 to 255: give the "
            f"{np.unique(mask).size} values that occur indexes of their own"
        )
    return np.ascontiguousarray(mask, dtype=np.uint8)


def _shape_hint(mask: NDArray[Any]) -> str:
    shape = mask.shape
    if len(shape) == 4 and mask.dtype == np.bool_:
        return ": a stack of instances' masks is given to add_instances"
    if len(shape) != 3:
        return ""
    if 1 in shape:  # argmax over one channel would make every pixel 0
        return f": its one channel is mask[{('0', ':, 0', '..., 0')[shape.index(1)]}]"
    if mask.dtype == np.bool_:  # of which argmax would make background an instance
        return ": a stack of instances' masks is given to add_instances"
    if mask.dtype.kind == "f":
        return (
            ": probabilities per class are given to add_scores, masks of instances with scores to "
            "add_instances; or apply argmax over the classes"
        )
    return ": scores per class? apply argmax over the classes; masks of instances? add_instances"


def _kind_hint(mask: NDArray[Any]) -> str:
    # What lies between 0 and 1 is a score, and would be cut.
    if np.issubdtype(mask.dtype, np.floating) and mask.max() > 1 and (mask % 1 == 0).all():
        return "these are whole but held as floats, so give mask.astype(numpy.int64)"
    return "apply argmax or a threshold to scores first"


def _pixels(image: Image.Image, of: str) -> NDArray[Any]:
    if image.mode not in _INDEX_MODES and not image.mode.startswith("I;16"):
        raise ManifestError(
            f"the mask of {of!r} is a Pillow image of mode {image.mode}, expected L, P, 1 or I;16, "
            "whose values are indexes. Colours and scores are not converted: give every colour "
            "its index first"
        )
    try:
        orientation = image.getexif().get(ORIENTATION_TAG, 1)
        pixels = np.asarray(image)
    except (OSError, SyntaxError, ValueError) as error:
        raise ManifestError(f"the mask of {of!r} cannot be decoded: {error}") from None
    if orientation not in (0, 1):
        raise ManifestError(
            f"the mask of {of!r} is an image with EXIF orientation {orientation}, which is not "
            "applied: give PIL.ImageOps.exif_transpose(mask), or numpy.asarray(mask) as it is"
        )
    return pixels


def _read(path: Path, of: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ManifestError(f"the mask of {of!r}, {path}: {error.strerror}") from None
    except ValueError as error:
        raise ManifestError(f"the mask of {of!r}, {str(path)!r}: {error}") from None
