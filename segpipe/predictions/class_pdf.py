"""Class PDFs: the probability of each class, which a Segment's metadata may hold.

The key is ``class_pdf``, else ``pdf``. Forms are a mapping of class to number, as struct, map or
JSON text, and a list of numbers in the order of the taxonomy. Metadata keeps it as it was given;
:class:`ClassPdf` is what typed columns, views and pictures take of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from functools import lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from segpipe.errors import listed, shortened
from segpipe.predictions.json_text import RepeatedKeys, json_value

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Keys of metadata that hold a class PDF; the first that is there is read.
KEYS = ("class_pdf", "pdf")
# Entropies are rounded to so many decimals: the last bits of a logarithm differ between machines.
_DECIMALS = 12
_NUMBERS = frozenset({int, float})


class ClassPdf:
    """The probability of each of N classes; equal to one of equal classes and probabilities.

    Args:
        classes: N names, sorted.
        probabilities: N numbers from 0 to 1, in the same order; float64 of shape (N,) is kept as it
            is. Usually their sum is 1; the rule PDF-SUM warns where it is not.
    """

    __slots__ = ("_given", "classes")

    def __init__(
        self, classes: tuple[str, ...], probabilities: tuple[float, ...] | NDArray[np.float64]
    ) -> None:
        self.classes = classes
        self._given = probabilities

    @property
    def probabilities(self) -> tuple[float, ...]:
        """N numbers, in the order of the classes."""
        given = self._given
        return given if isinstance(given, tuple) else tuple(given.tolist())

    @property
    def numbers(self) -> Sequence[float] | NDArray[np.float64]:
        """The probabilities as they were given."""
        return self._given

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ClassPdf):
            return NotImplemented
        return (self.classes, self.probabilities) == (other.classes, other.probabilities)

    def __hash__(self) -> int:
        return hash((self.classes, self.probabilities))

    def __repr__(self) -> str:
        return f"ClassPdf({self.classes}, {self.probabilities})"

    @property
    def total(self) -> float:
        """The sum of the probabilities."""
        return math.fsum(self.probabilities)

    @property
    def entropy(self) -> float | None:
        """Shannon's entropy in nats, of the probabilities divided by their sum: 0 for one certain
        class, ``log(N)`` where all are equal; None where all are 0."""
        entropy = float(self._uncertainties[0][0])
        return None if math.isnan(entropy) else entropy

    @property
    def margin(self) -> float:
        """The highest probability minus the second; of one class, its probability."""
        return float(self._uncertainties[1][0])

    @property
    def _uncertainties(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        import numpy as np

        numbers = np.array(self.probabilities, np.float64)
        return uncertainties(numbers, np.array([numbers.size], np.int64))

    def of(self, label: str | None) -> float | None:
        """The probability of a class; None where the PDF does not name it."""
        try:
            return self.probabilities[self.classes.index(label)]
        except ValueError:
            return None

    def top(self, most: int) -> list[tuple[str, float]]:
        """The classes of the highest probabilities with these, highest first, equal ones by name.

        Args:
            most: how many.
        """
        pairs = zip(self.classes, self.probabilities, strict=True)
        return sorted(pairs, key=lambda pair: -pair[1])[:most]

    def grouped(self, groups: Mapping[str, str]) -> ClassPdf:
        """The PDF of groups of classes: the sum of each group's probabilities.

        Args:
            groups: class -> its group; a class that is not in it stays by itself.
        """
        if groups.keys().isdisjoint(self.classes):
            return self
        members: dict[str, list[float]] = {}
        for name, probability in zip(self.classes, self.probabilities, strict=True):
            members.setdefault(groups.get(name, name), []).append(probability)
        return _sorted((name, _within(math.fsum(own))) for name, own in members.items())

    def as_metadata(self) -> dict[str, float]:
        """Class -> probability, as it stands in metadata."""
        return dict(zip(self.classes, self.probabilities, strict=True))


def uncertainties(
    probabilities: NDArray[np.float64], sizes: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Entropies and margins of N PDFs: float64 of shape (N,), the entropy NaN where all are 0.

    See :attr:`ClassPdf.entropy` and :attr:`ClassPdf.margin`.

    Args:
        probabilities: float64 of shape (sum of the sizes,): those of the first PDF, the second, ...
        sizes: int64 of shape (N,): number of classes of each, at least 1.
    """
    import numpy as np

    entropies, margins = np.full(len(sizes), np.nan), np.zeros(len(sizes))
    begins = np.cumsum(sizes) - sizes
    for size in np.unique(sizes).tolist():
        places = np.flatnonzero(sizes == size)
        rows = probabilities[begins[places, None] + np.arange(size)]
        highest = np.partition(rows, size - 2, axis=1)[:, -2:] if size > 1 else rows
        margins[places] = highest[:, -1] - (highest[:, 0] if size > 1 else 0)
        totals = rows.sum(axis=1, keepdims=True)
        shares = rows / np.where(totals > 0, totals, 1)
        parts = -shares * np.log(np.where(shares > 0, shares, 1))
        found = np.maximum(parts.sum(axis=1), 0.0).round(_DECIMALS) + 0.0
        entropies[places] = np.where(totals[:, 0] > 0, found, np.nan)
    return entropies, margins


def mixture(pdfs: Sequence[tuple[ClassPdf, int]]) -> ClassPdf:
    """The mean of PDFs, each with a weight; a class that one does not name has 0 there.

    Computed exactly, so that the order does not matter.

    Args:
        pdfs: at least one, each with its weight, 0 or more. If all weights are 0, they count alike.
    """
    total = sum(weight for _, weight in pdfs)
    sums: dict[str, Fraction] = {}
    for pdf, weight in pdfs:
        share = Fraction(weight, total) if total else Fraction(1, len(pdfs))
        for name, probability in zip(pdf.classes, pdf.probabilities, strict=True):
            sums[name] = sums.get(name, Fraction(0)) + Fraction(probability) * share
    return _sorted((name, float(value)) for name, value in sums.items())


def _sorted(pairs: Iterable[tuple[str, float]]) -> ClassPdf:
    classes, probabilities = zip(*sorted(pairs), strict=True)
    return ClassPdf(classes, probabilities)


def _within(total: float) -> float:
    """A sum of probabilities, at most 1: rounding may carry it beyond."""
    return min(1.0, total)


class Unread(StrEnum):
    """Why metadata holds no class PDF that can be used."""

    FORM = "form"  # nothing that assigns numbers to classes
    CLASSES = "classes"  # a list of numbers, and which class each is for is not known
    RANGE = "range"  # a number is below 0, above 1, infinite or NaN


@dataclass(slots=True)
class PdfReading:
    """What metadata holds under a key of class PDFs.

    Attributes:
        key: the key.
        pdf: the PDF; None where ``unread`` says why there is none.
        words: what was found instead of a PDF; empty if there is one.
        numbers: class -> number, where a number is out of range; else empty.
        total: the sum of the numbers; NaN where there are none.
    """

    key: str
    pdf: ClassPdf | None
    total: float = math.nan
    unread: Unread | None = None
    words: str = ""
    numbers: Mapping[str, float] | None = None


def class_pdf_of(metadata: Mapping[str, Any], taxonomy: Sequence[str] = ()) -> ClassPdf | None:
    """The class PDF that metadata holds; None where it holds none that can be used.

    Args:
        taxonomy: the classes, in the order of PDFs that are lists; without it, these are not read.
    """
    reading = read_class_pdf(metadata, taxonomy)
    return None if reading is None else reading.pdf


def read_class_pdf(metadata: Mapping[str, Any], taxonomy: Sequence[str] = ()) -> PdfReading | None:
    """What metadata holds under ``class_pdf``, else under ``pdf``; None where that is nothing.

    Null, a mapping without classes, and text under ``pdf`` that is no JSON object or list (the name
    of a document, say) are nothing. A class whose number is null is not part of the PDF, since
    Parquet's structs have a null for each class of other rows.

    Args:
        metadata: of a Segment, canonical or not.
        taxonomy: the classes, in the order of PDFs that are lists.
    """
    for key in KEYS:
        value = metadata.get(key)
        if value is not None:
            if type(metadata) is RepeatedKeys and key in metadata.repeated:
                return _no_pdf(key, f"the metadata has {key} twice; the last one is stored")
            reading = _reading(key, value, taxonomy)
            if reading is not None:
                return reading
    return None


def _no_pdf(key: str, words: str, unread: Unread = Unread.FORM) -> PdfReading:
    return PdfReading(key, None, unread=unread, words=words)


def _reading(key: str, value: object, taxonomy: Sequence[str]) -> PdfReading | None:
    if type(value) is dict:
        return _of_mapping(key, value)
    if isinstance(value, str):
        if not value.strip() or (key != KEYS[0] and value.lstrip()[:1] not in ("{", "[")):
            return None
        try:
            value = json_value(value)
        except (ValueError, RecursionError) as error:
            return _no_pdf(key, f"it is text, but not JSON ({shortened(str(error))})")
    if type(value) is RepeatedKeys:
        twice = listed(sorted(map(repr, value.repeated)), most=3)
        return _no_pdf(key, f"it has {twice} twice, and only one can be meant")
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        if value and all(isinstance(one, (list, tuple)) and len(one) == 2 for one in value):
            return _of_pairs(key, value)  # an Arrow map
        return _of_list(key, value, taxonomy)
    if not isinstance(value, Mapping):
        return _no_pdf(key, f"it is {shortened(repr(value))}, no mapping of class to probability")
    return _of_mapping(key, value)


def _of_pairs(key: str, pairs: Sequence[Any]) -> PdfReading | None:
    names = [name for name, _ in pairs]
    if not all(isinstance(name, str) for name in names):
        return _no_pdf(key, f"it names a class {shortened(repr(names[0]))}, expected text")
    if len({*names}) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})[:3]
        return _no_pdf(key, f"it has {listed(list(map(repr, twice)))} twice")
    return _of_mapping(key, dict(pairs))


def _of_list(key: str, numbers: Sequence[Any], taxonomy: Sequence[str]) -> PdfReading | None:
    if len(numbers) != len(taxonomy) or not taxonomy:
        of = f"it is a list of {len(numbers):,} numbers"
        known = f"the policy's taxonomy has {len(taxonomy):,} classes"
        words = f"{of}, and {known}" if taxonomy else f"{of}, and the policy has no taxonomy"
        return _no_pdf(key, words, Unread.CLASSES)
    if None in numbers:
        return _no_pdf(key, f"it has no number for {taxonomy[list(numbers).index(None)]!r}")
    return _of_mapping(key, dict(zip(taxonomy, numbers, strict=True)))


def _of_mapping(key: str, given: Mapping[Any, Any]) -> PdfReading | None:
    values = list(given.values())
    kinds = set(map(type, values))
    if not kinds <= _NUMBERS:
        given = {name: value for name, value in given.items() if value is not None}
        read = [_number(value) for value in given.values()]
        if None in read:
            name, value = list(given.items())[read.index(None)]
            said = "an object" if isinstance(value, Mapping) else shortened(repr(value), 80)
            return _no_pdf(key, f"of {shortened(repr(name), 120)} it has {said}, no number")
        values, kinds = read, {float}
    if not values:
        return None
    try:
        classes, in_order = _alphabetical(tuple(given))
        total = math.fsum(values)
    except (TypeError, OverflowError, ValueError):  # names that are no text; beyond floats
        return _unusual(key, given, values)
    lowest = min(values)
    if not (lowest >= 0 and max(values) <= 1 and total == total):
        return _out_of_range(key, dict(zip(given, map(float, values), strict=True)), total)
    probabilities = in_order(values)
    if not lowest or int in kinds:  # adding 0 makes integers floats, and a negative zero positive
        probabilities = tuple([value + 0.0 for value in probabilities])
    return PdfReading(key, ClassPdf(classes, probabilities), total)


def _unusual(key: str, given: Mapping[Any, Any], values: Sequence[Any]) -> PdfReading:
    odd = next((name for name in given if not isinstance(name, str)), None)
    if odd is not None:
        return _no_pdf(key, f"it names a class {shortened(repr(odd))}, expected text")
    numbers = {}
    for name, value in zip(given, values, strict=True):
        try:
            numbers[name] = float(value)
        except OverflowError:
            numbers[name] = math.inf if value > 0 else -math.inf
    return _out_of_range(key, numbers, math.nan)


def _out_of_range(key: str, numbers: Mapping[str, float], total: float) -> PdfReading:
    wrong = [f"{name!r} has {number}" for name, number in numbers.items() if not 0 <= number <= 1]
    return PdfReading(key, None, total, Unread.RANGE, listed(wrong, most=3), numbers)


def _number(value: object) -> float | None:
    """A number, also one in text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        value = value.item() if hasattr(value, "item") else value
        if isinstance(value, bool) or not hasattr(value, "__float__"):
            return None
    try:
        return float(value)  # type: ignore[arg-type]
    except ValueError:
        return None
    except OverflowError:
        return math.inf


@lru_cache(maxsize=64)
def _alphabetical(
    names: tuple[str, ...],
) -> tuple[tuple[str, ...], Callable[[Sequence[float]], tuple[float, ...]]]:
    """The names sorted, and what puts their values into the same order."""
    if not all(isinstance(name, str) for name in names):
        raise TypeError
    order = sorted(range(len(names)), key=names.__getitem__)
    in_order = itemgetter(*order) if len(order) > 1 else tuple
    return tuple(names[place] for place in order), in_order
