"""Label Studio's run lengths of brush strokes: the bits of RGBA samples, row by row.

The form is that of thi.ng's ``rle-pack``: 32 bits with the number of samples, 5 with the size of a
sample less 1, four times 4 with the sizes of counts less 1; then, for each stretch, a bit whether
one sample is repeated, 2 bits with the size of the count, the count less 1, and the sample or
samples. The mask is where alpha is not 0. Label Studio's own decoder
(``label_studio_sdk.converter.brush``) needs OpenCV, pandas and a score of other packages, and takes
seconds for a megapixel; this one checks what it reads, and a test compares the two.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from segpipe.formats.run_lengths import RunLengthError

_SAMPLE = 8
_COUNT_SIZES = (3, 4, 8, 16)
_CHANNELS = 4


def decode_brush(data: Sequence[int], height: int, width: int) -> NDArray[np.bool_]:
    """The mask of a stroke, H x W.

    Args:
        data: bytes, as whole numbers.
        height, width: in pixels, of the image.

    Raises:
        RunLengthError: if the bytes do not describe a mask of this size.
    """
    try:
        content = bytes(data)
    except (TypeError, ValueError):
        raise RunLengthError("its rle is no list of whole numbers from 0 to 255") from None
    samples = height * width * _CHANNELS
    bits = _Bits(content)
    said = bits.read(32)
    if said != samples:
        raise RunLengthError(
            f"its rle has {said:,} samples, expected {samples:,}: four for each pixel of "
            f"{height} x {width}"
        )
    if bits.read(5) + 1 != _SAMPLE:
        raise RunLengthError("its rle has samples of another size than 8 bits")
    sizes = [bits.read(4) + 1 for _ in range(4)]
    found = np.zeros(samples, np.uint8)
    place = 0
    while place < samples:
        repeated = bits.read(1)
        end = place + 1 + bits.read(sizes[bits.read(2)])
        if end > samples:
            raise RunLengthError("its rle goes beyond the image: damaged")
        if repeated:
            found[place:end] = bits.read(_SAMPLE)
        else:
            found[place:end] = np.frombuffer(bits.read_bytes(end - place), np.uint8)
        place = end
    return found[_CHANNELS - 1 :: _CHANNELS].reshape(height, width) > 0


def encode_brush(mask: NDArray[np.bool_]) -> list[int]:
    """The bytes of a mask, 255 in all channels, as whole numbers.

    Args:
        mask: H x W.
    """
    flat = mask.reshape(-1)
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    lengths = np.diff(starts, append=flat.size) * _CHANNELS
    words = [f"{flat.size * _CHANNELS:032b}{_SAMPLE - 1:05b}"]
    words += [f"{size - 1:04b}" for size in _COUNT_SIZES]
    for length, value in zip(lengths.tolist(), flat[starts].tolist(), strict=True):
        sample = f"{255 if value else 0:08b}"
        while length:
            kind = next((k for k, size in enumerate(_COUNT_SIZES) if length <= 2**size), 3)
            part = min(length, 2 ** _COUNT_SIZES[kind])
            words.append(f"1{kind:02b}{part - 1:0{_COUNT_SIZES[kind]}b}{sample}")
            length -= part
    text = "".join(words)
    text += "0" * (-len(text) % 8)
    return list(int(text, 2).to_bytes(len(text) // 8, "big"))


class _Bits:
    """Bits of bytes, the highest of each first."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    def read(self, size: int) -> int:
        """A number of ``size`` bits.

        Raises:
            RunLengthError: if there are not as many.
        """
        start, end = self._place, self._place + size
        if end > 8 * len(self._data):
            raise RunLengthError("its rle ends within the image: cut")
        self._place = end
        part = int.from_bytes(self._data[start >> 3 : (end + 7) >> 3], "big")
        return part >> (-end & 7) & ((1 << size) - 1)

    def read_bytes(self, count: int) -> bytes:
        """The next ``count`` bytes, wherever they begin."""
        return self.read(8 * count).to_bytes(count, "big")
