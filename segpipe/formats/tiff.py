"""Index values in TIFFs, as microscopes and segmentation tools of biology write them.

Read is what Pillow reads without altering a value: one page of grey with 1, 8, 16 or 32 bits.
"""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segpipe.masks.decoding import MAX_PIXELS
from segpipe.masks.orientation import ORIENTATION_TAG
from segpipe.masks.refusal import MaskRefused

#: Extensions, lower case.
EXTENSIONS = (".tif", ".tiff")

# Beyond this many pages none is looked at: it is a stack.
_MOST_PAGES = 32
_SUBFILE_TYPE, _SMALLER_COPY = 254, 1
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339
_MODES = ("1", "L", "I", "I;16", "I;16B")
_AS_ARRAY = (
    "Save its values as an array, numpy.save('a.npy', tifffile.imread('a.tif')), one H x W array a "
    "file, and import with segpipe import arrays"
)


def tiff_values(data: bytes) -> NDArray[Any]:
    """The values of a TIFF, H x W, integers from 0; nothing is scaled, inverted or turned.

    Raises:
        MaskRefused: if it is damaged, or Pillow would alter its values.
    """
    try:
        with warnings.catch_warnings():
            # Of damaged tags, which matter only if it cannot be read; and of its limit on pixels,
            # which is below ours.
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(data), formats=["TIFF"])
        _check(image)
        values = np.asarray(image)
    except Image.DecompressionBombError:
        raise MaskRefused("TOO-LARGE", f"over the limit of {MAX_PIXELS:,} pixels") from None
    except (OSError, SyntaxError, ValueError, EOFError, KeyError, TypeError) as error:
        words = (str(error).splitlines() or [type(error).__name__])[0]
        raise _refused(f"the TIFF cannot be read: {words}", _AS_ARRAY) from None
    if values.dtype == np.bool_:
        return values.astype(np.uint8)
    if int(values.min()) < 0:
        raise _refused(f"it holds {values.min()}, and a value below 0 has no index", _AS_ARRAY)
    return values


def _check(image: Image.Image) -> None:
    """Refuse what is no mask, and what Pillow alters in decoding.

    Raises:
        MaskRefused: naming it.
    """
    tags: Any = image.tag_v2  # type: ignore[attr-defined]
    pages = _pages(image)
    if image.width * image.height > MAX_PIXELS:
        raise MaskRefused(
            "TOO-LARGE",
            f"{image.width * image.height:,} pixels, over the limit of {MAX_PIXELS:,}",
        )
    if pages > 1:
        raise _refused(f"the TIFF has {pages} pages, and a mask is one", _AS_ARRAY)
    if image.mode == "F":
        raise MaskRefused(
            "PROBABILITY-MAP",
            "the TIFF holds floats: scores are not classes",
            found="floats",
            expected="whole numbers",
            remedy="Apply argmax or a threshold to scores, and write whole numbers. Write labels "
            "that are held as floats as 16-bit integers.",
        )
    if image.mode not in _MODES:
        raise MaskRefused(
            "MASK-COLOUR",
            f"the TIFF is of mode {image.mode}, expected grey",
            found=image.mode,
            expected="grey",
            remedy="Where colours stand for classes, write PNGs, PIL.Image.open('a.tif').save("
            "'a.png'), and import them with segpipe import colour-map.",
        )
    bits = tags.get(_BITS, (1,))[0]
    if bits not in (1, 8, 16, 32) or (bits == 8 and tags.get(_SAMPLE_FORMAT, (1,))[0] != 1):
        raise _refused(f"the TIFF has signed values, or {bits} bits", _AS_ARRAY)
    if tags.get(_PHOTOMETRIC, 1) != 1:
        raise _refused("the TIFF counts from white (WhiteIsZero)", _AS_ARRAY)
    if tags.get(ORIENTATION_TAG, 1) != 1:
        raise _refused(f"the TIFF has orientation {tags[ORIENTATION_TAG]}", _AS_ARRAY)


def _pages(image: Image.Image) -> int:
    """Number of pages, without the smaller copies of the first one that GeoTIFFs have."""
    count = getattr(image, "n_frames", 1)
    for page in range(1, count if count <= _MOST_PAGES else 1):
        image.seek(page)
        if image.tag_v2.get(_SUBFILE_TYPE, 0) & _SMALLER_COPY:  # type: ignore[attr-defined]
            count -= 1
    image.seek(0)
    return count


def _refused(words: str, advice: str) -> MaskRefused:
    return MaskRefused("IMPORT-UNREADABLE", f"{words}. {advice}", words, remedy=f"{advice}.")
