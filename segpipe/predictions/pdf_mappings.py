"""Plain class PDFs in metadata that are Python's mappings, or JSON of any plain form."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from segpipe.predictions.canonical_numbers import with_canonical_numbers
from segpipe.predictions.class_pdf import KEYS
from segpipe.predictions.json_text import EXACT, is_plain, plain_names
from segpipe.predictions.plain_pdfs import PdfClasses, PlainPdfs

_NUMBERS = frozenset({int, float})


def read_mappings(given: Sequence[tuple[int, str | dict[str, Any]]]) -> Iterator[PlainPdfs]:
    """The plain class PDFs of metadata, by their number of classes.

    Args:
        given: places, and what is there: a mapping, or JSON.
    """
    found = _Found()
    for place, one in given:
        if isinstance(one, str):
            if "\\" not in one:
                try:
                    value = orjson.loads(one)
                except ValueError:  # Python's json says more, and takes NaN
                    continue
                found.add(place, value, one)
        else:
            found.add(place, one, None)
    return found.by_size()


class _Found:
    def __init__(self) -> None:
        self._named: dict[tuple[str, ...], PdfClasses] = {}
        self._places: list[int] = []
        self._classes: list[PdfClasses] = []
        self._confidences: list[float] = []
        self._values: list[Any] = []
        self._texts: list[bytes] = []

    def add(self, place: int, given: Any, text: str | None) -> None:
        """Add metadata, if it is plain.

        Args:
            text: JSON that it was read from, by a reader that does not tell of repeated keys.
        """
        if type(given) is not dict:
            return
        key = KEYS[0] if KEYS[0] in given else KEYS[1]
        pdf = given.get(key)
        if type(pdf) is not dict or not pdf:
            return
        names = tuple(pdf)
        classes = self._named.get(names)
        if classes is None:
            if not plain_names(names):
                return
            classes = self._named[names] = PdfClasses(names)
        texts = _texts_beside(given, key) if len(given) > 1 else 0
        # As many quotation marks as keys and texts, twice: no key was lost.
        if texts is None or (
            text is not None and text.count('"') != 2 * (len(given) + len(pdf) + texts)
        ):
            return
        try:
            self._texts.append(orjson.dumps(given, option=orjson.OPT_SORT_KEYS))
        except TypeError:
            return
        confidence = given.get("confidence")
        self._confidences.append(math.nan if confidence is None else confidence)
        self._places.append(place)
        self._classes.append(classes)
        self._values += pdf.values()

    def by_size(self) -> Iterator[PlainPdfs]:
        """What was added."""
        texts = with_canonical_numbers(self._texts) if self._texts else None
        if texts is None:
            return
        sizes = np.array([len(one.sorted) for one in self._classes], np.int64)
        flat, ends = self._numbers(), np.cumsum(sizes)
        confidences = np.array(self._confidences, np.float64)
        for size in np.unique(sizes).tolist():
            own = np.flatnonzero(sizes == size)
            numbers = flat[(ends[own] - size)[:, None] + np.arange(size)]
            chosen = own.tolist()
            classes = [self._classes[place] for place in chosen]
            if classes.count(classes[0]) == len(classes):
                numbers = numbers[:, classes[0].order]
            else:
                order = np.array([one.order for one in classes])
                numbers = np.take_along_axis(numbers, order, axis=1)
            yield PlainPdfs(
                [self._places[place] for place in chosen],
                classes,
                numbers,
                confidences[own],
                [texts[place] for place in chosen],
            )

    def _numbers(self) -> NDArray[np.float64]:
        """All values as float64, one after the other; NaN for those that are no numbers."""
        values = self._values
        if not _NUMBERS.issuperset(map(type, values)):
            values = [one if type(one) in _NUMBERS else math.nan for one in values]
        try:
            return np.fromiter(values, np.float64, len(values))
        except OverflowError:  # integers beyond floats
            return np.array([one if abs(one) <= 1 else math.nan for one in values], np.float64)


def _texts_beside(given: dict[str, Any], key: str) -> int | None:
    """How many texts stand beside the PDF; None if anything there is not plain."""
    if not plain_names(tuple(given)):
        return None
    texts = 0
    for name, value in given.items():
        kind = type(value)
        if kind is float:
            if not 0 < value < EXACT:
                return None
        elif kind is str:
            if not is_plain(value) or name == "confidence":
                return None
            texts += 1
        elif kind is not int and name != key:
            return None
    return texts
