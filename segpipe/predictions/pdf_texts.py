"""Plain class PDFs in JSON, whose numbers a compiled loop takes out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from segpipe.masks.fast_path import is_loaded
from segpipe.predictions.class_pdf import KEYS
from segpipe.predictions.json_text import plain_names
from segpipe.predictions.plain_pdfs import PdfClasses, PlainPdfs

# Classes of a text are compared with all of them one by one, where they are in another order.
_MOST_CLASSES = 256
# Of texts that are read together: what counts their bytes has 32 bits, and some characters take 4.
_MOST_CHARACTERS = 2**28
# Texts among which the classes are looked up.
_FIRST = 8
# Characters of a float as Python writes it, at most.
_LONGEST_NUMBER = 25


def read_texts(given: Sequence[str]) -> PlainPdfs | None:
    """The plain class PDFs of JSON metadata with the most usual form: ``class_pdf`` of the same
    classes everywhere, with a ``confidence`` or without, and nothing else.

    Returns:
        None if there are none, or the fast path is not loaded.
    """
    if not given or not is_loaded():
        return None
    names = next(filter(None, map(_names_in, given[:_FIRST])), None)
    if names is None:
        return None
    from segpipe.predictions import pdf_kernel

    classes = PdfClasses(names)
    together = _together(given)
    if together is None:
        return None
    text, ends = together
    quoted, name_ends = _joined([f'{name}"' for name in names])
    name_ends = np.append(0, name_ends).astype(np.uint64)
    plain, confident = np.zeros(len(given), bool), np.zeros(len(given), bool)
    number_text = np.empty(len(text) + len(given), np.uint8)
    number_ends = np.empty(len(given) * (len(names) + 1) + 1, np.int32)
    count = pdf_kernel.find_numbers(
        text, ends, quoted, name_ends, number_text, number_ends, plain, confident
    )
    if not count:
        return None
    numbers = _floats(number_text, number_ends[: count * (len(names) + 1) + 1])
    numbers = numbers.reshape(count, len(names) + 1)[:, [*classes.order, len(names)]]
    confident = confident[plain]
    return PlainPdfs(
        places=np.flatnonzero(plain).tolist(),
        classes=[classes] * count,
        numbers=np.ascontiguousarray(numbers[:, :-1]),
        confidences=np.where(confident, numbers[:, -1], np.nan),
        texts=_written(numbers, confident, classes),
    )


def _names_in(text: str) -> tuple[str, ...] | None:
    """The classes of a PDF in JSON, if they are plain."""
    try:
        pdf = orjson.loads(text)[KEYS[0]]
        names = tuple(pdf)
    except (ValueError, TypeError, KeyError):
        return None
    fits = type(pdf) is dict and 0 < len(names) <= _MOST_CLASSES and plain_names(names)
    return names if fits else None


def _together(
    given: Sequence[str],
) -> tuple[NDArray[np.uint8], NDArray[np.uint64]] | None:
    """UTF-8 of texts one after the other, and their ends; None if there is too much, or a text is
    not Unicode. Arrow does it in a fifth of the time of ``join`` and ``encode``."""
    if sum(map(len, given)) > _MOST_CHARACTERS:
        return None
    try:
        _, ends, text = pa.array(given, pa.string()).buffers()
    except UnicodeEncodeError:
        return None
    ends = np.frombuffer(ends, np.int32, len(given) + 1)[1:].astype(np.uint64)
    return np.frombuffer(text, np.uint8), ends


def _joined(texts: Sequence[str]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Texts one after the other, and their ends."""
    encoded = [text.encode() for text in texts]
    return np.frombuffer(b"".join(encoded), np.uint8), np.cumsum([*map(len, encoded)])


def _floats(text: NDArray[np.uint8], ends: NDArray[np.int32]) -> NDArray[np.float64]:
    """The numbers of which these are the texts, after a leading 0."""
    texts = pa.StringArray.from_buffers(len(ends) - 1, pa.py_buffer(ends), pa.py_buffer(text))
    numbers: NDArray[np.float64] = texts.cast(pa.float64()).to_numpy()
    return numbers


def _written(
    numbers: NDArray[np.float64], confident: NDArray[np.bool_], classes: PdfClasses
) -> list[str]:
    """Metadata as canonical JSON.

    Args:
        numbers: float64 of shape (N, C + 1): those of the classes, and the confidence.
    """
    from segpipe.predictions import pdf_kernel

    before = [f',"{name}":' for name in classes.sorted]
    before[0] = f'{{"{KEYS[0]}":{{{before[0][1:]}'
    names, name_ends = _joined([*before, ',"confidence":', "}"])
    text = _json(np.ascontiguousarray(numbers[:, :-1]))
    confidences = _json(np.ascontiguousarray(numbers[:, -1]))
    size = len(names) + _LONGEST_NUMBER * numbers.shape[1]
    out = np.empty((size + 2) * len(numbers), np.uint8)
    end = pdf_kernel.write_texts(text, confidences, confident, names, name_ends, out)
    return str(out[: end - 1].data, "ascii").split("\n")


def _json(numbers: NDArray[Any]) -> NDArray[np.uint8]:
    return np.frombuffer(orjson.dumps(numbers, option=orjson.OPT_SERIALIZE_NUMPY), np.uint8)
