"""Parses the Segments a manifest row declares, in any of the column's forms, without validating.

The forms are lists of structs, structs of lists, either in JSON text, and within all of them
metadata as struct, map or JSON text. Whatever cannot be read keeps its raw value, so that a rule
can show it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import Any

from segpipe.errors import MetadataError, shortened
from segpipe.predictions.class_pdf import KEYS, ClassPdf, PdfReading, read_class_pdf
from segpipe.predictions.json_text import RepeatedKeys, json_value
from segpipe.predictions.metadata import canonical_form, confidence_of
from segpipe.predictions.pdf_column import PdfColumn
from segpipe.predictions.prediction import Segment

#: Segments of a row that are read. Of more, the number alone is told: 256 pixel values exist.
MOST_READ = 4096
# Values of a JSON text, by its commas and brackets. Python takes a hundred bytes and more for some.
_MOST_VALUES = 250_000
#: Characters of a label.
LONGEST_LABEL = 1000
_FIELDS = frozenset({"label", "index", "metadata"})
_REQUIRED = ("label", "index")


@dataclass(slots=True)
class DeclaredSegment:
    """One Segment as a row declares it.

    Attributes:
        label: text, or None where it is missing, too long or not text.
        index: whole number, or None where ``raw_index`` is not one; any range.
        raw_index: as it stands in the manifest.
        raw_label: likewise.
        metadata_text: ``metadata`` as canonical JSON.
        metadata_error: why there is no metadata that can be used; None if there is.
        confidence: from the metadata, where it is a number.
        odd_confidence: the metadata has a confidence that is none.
        class_pdf: the class PDF; None where there is none that can be used.
        agrees: the class PDF is known to sum to 1, the label to be its highest class, and the
            confidence, if there is one, to be the label's probability, each well within what the
            rules tolerate; False where that is not known.
    """

    label: str | None
    index: int | None
    raw_index: object
    raw_label: object = None
    metadata_text: str = "{}"
    metadata_error: str | None = None
    confidence: float | None = None
    odd_confidence: bool = False
    class_pdf: ClassPdf | None = None
    agrees: bool = field(default=False, compare=False, repr=False)
    _metadata: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)
    _pdf: PdfReading | None = field(default=None, compare=False, repr=False)

    @property
    def metadata(self) -> Mapping[str, Any]:
        """Canonical; empty where ``metadata_error`` says why there is none."""
        if self._metadata is None:
            self._metadata = json_value(self.metadata_text)
        return self._metadata

    @property
    def has_pdf(self) -> bool:
        """Whether the metadata has something under a key of class PDFs."""
        return self.class_pdf is not None or self._pdf is not None

    @property
    def pdf(self) -> PdfReading | None:
        """What the metadata has under a key of class PDFs; None where that is nothing."""
        if self._pdf is None and self.class_pdf is not None:
            key = next(key for key in KEYS if key in self.metadata)
            self._pdf = PdfReading(key, self.class_pdf, self.class_pdf.total)
        return self._pdf

    @pdf.setter
    def pdf(self, read: PdfReading | None) -> None:
        self._pdf = read
        self.class_pdf = None if read is None else read.pdf

    @property
    def name(self) -> str:
        """The Segment in a message: its index and label."""
        label = self.raw_label if self.label is None else self.label
        return f"{shortened(repr(self.raw_index), 80)} ({shortened(repr(label), 120)})"


@dataclass(frozen=True)
class Declaration:
    """All Segments of a row, sorted by index.

    Attributes:
        problem: why the cell could not be read; None if it was.
        unread: number of Segments, where they are too many to be read.
    """

    segments: tuple[DeclaredSegment, ...]
    problem: str | None = None
    unread: int = 0

    @property
    def count(self) -> int:
        """Number of Segments, read or not."""
        return self.unread or len(self.segments)

    @cached_property
    def indexes(self) -> frozenset[int]:
        """The pixel values the row explains."""
        return frozenset(s.index for s in self.segments if s.index is not None)

    @cached_property
    def signature(self) -> frozenset[tuple[int | None, str | None]]:
        """The indexes and labels alone: equal for rows that list the same classes."""
        return frozenset((s.index, s.label) for s in self.segments)

    def with_ignored(
        self, ignore_values: Mapping[int, str], present: Collection[int]
    ) -> Declaration:
        """A copy with a Segment for each ignore value that occurs but is not declared."""
        missing = [v for v in ignore_values if v in present and v not in self.indexes]
        if not missing or self.problem is not None:
            return self
        ignored = [
            DeclaredSegment(ignore_values[value], value, value, metadata_text='{"ignore":true}')
            for value in missing
        ]
        return Declaration(tuple(sorted((*self.segments, *ignored), key=_order)))

    def as_segments(self) -> tuple[Segment, ...]:
        """The Segments of a row that broke no rule."""
        return tuple(
            Segment(s.label, s.index, dict(s.metadata))
            for s in self.segments
            if s.label is not None and s.index is not None
        )


def read_declaration(cell: object, taxonomy: Sequence[str] = ()) -> Declaration:
    """:func:`read_declarations` of one cell."""
    (declaration,) = read_declarations([cell], taxonomy)
    return declaration


def read_declarations(cells: Iterable[object], taxonomy: Sequence[str] = ()) -> list[Declaration]:
    """Parse ``segments`` cells of manifest rows; never raises for what a cell holds.

    Args:
        taxonomy: the classes, in the order of class PDFs that are lists.
    """
    segments = _Segments(taxonomy)
    declarations = [_declaration(cell, segments) for cell in cells]
    segments.finish()
    return declarations


def _declaration(cell: object, segments: _Segments) -> Declaration:
    if isinstance(cell, str):
        try:
            cell = _parsed(cell)
        except (ValueError, RecursionError) as error:
            return Declaration((), f"segments is not valid JSON ({error})")
    if cell is None:
        return Declaration((), "segments is null")
    if isinstance(cell, Mapping) and any(isinstance(cell.get(key), list) for key in _REQUIRED):
        longest = max(len(cell[key]) for key in _REQUIRED if isinstance(cell.get(key), list))
        if longest > MOST_READ:
            return _too_many(longest)
        cell = _members_of_lists(cell)
        if isinstance(cell, str):
            return Declaration((), cell)
    if not isinstance(cell, (list, tuple)):
        return Declaration((), f"segments is {_kind(cell)}, expected a list")
    if len(cell) > MOST_READ:
        return _too_many(len(cell))
    for place, member in enumerate(cell):
        if type(member) is not dict and not isinstance(member, Mapping):
            return Declaration((), f"segments[{place}] is {_kind(member)}, expected an object")
    return segments.listed(_in_order([segments.made(member) for member in cell]))


def _parsed(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: if it is none, or more than is read.
        RecursionError: if it is nested beyond reason.
    """
    if len(text) > _MOST_VALUES:
        values = sum(map(text.count, ",[{"))
        if values > _MOST_VALUES:
            raise ValueError(f"it has {values:,} values, and at most {_MOST_VALUES:,} are read")
    return json_value(text)


def _too_many(count: int) -> Declaration:
    return Declaration((), f"segments lists {count:,} Segments, of which none is read", count)


def _members_of_lists(lists: Mapping[str, Any]) -> list[dict[str, Any]] | str:
    """Segments from lists of their members, as Hugging Face writes a list of structs.

    Returns:
        The Segments, or text that says why there are none.
    """
    given = {key: value for key, value in lists.items() if value is not None or key in _REQUIRED}
    for key in _REQUIRED:
        if not isinstance(given.get(key), (list, tuple)):
            return f"segments.{key} is {_kind(given.get(key))}, expected a list"
    count = len(given["label"])
    for key, value in given.items():
        if not isinstance(value, (list, tuple)) or len(value) != count:
            length = f"of {len(value)}" if isinstance(value, (list, tuple)) else ""
            found = f"{_kind(value)} {length}".strip()
            return f"segments.{key} is {found}, expected a list of {count} as segments.label is"
    return [dict(zip(given, member, strict=True)) for member in zip(*given.values(), strict=True)]


def _in_order(segments: list[DeclaredSegment]) -> list[DeclaredSegment]:
    before = -1
    for segment in segments:  # as they mostly are already
        index = segment.index
        if index is None or index <= before:
            return sorted(segments, key=_order)
        before = index
    return segments


def _order(segment: DeclaredSegment) -> tuple[bool, int, str]:
    return segment.index is None, segment.index or 0, segment.label or ""


class _Segments:
    """Makes Segments of members of cells. Class PDFs are read together, when all are made. What has
    no metadata is made once: most rows list the same few.

    Args:
        taxonomy: the classes, in the order of class PDFs that are lists.
    """

    def __init__(self, taxonomy: Sequence[str]) -> None:
        self._taxonomy = taxonomy
        self._pdfs = PdfColumn()
        self._with_pdfs: list[tuple[DeclaredSegment, Mapping[str, Any]]] = []
        self._plain: dict[tuple[str, int], DeclaredSegment] = {}
        self._lists: dict[tuple[int, ...], Declaration] = {}

    def listed(self, segments: list[DeclaredSegment]) -> Declaration:
        """A declaration of Segments in order; the same one for the same Segments."""
        key = tuple(map(id, segments))
        if key not in self._lists:
            self._lists[key] = Declaration(tuple(segments))
        return self._lists[key]

    def made(self, member: Mapping[str, Any]) -> DeclaredSegment:
        """A Segment; what follows of a class PDF is there after :meth:`finish`."""
        label, index = member.get("label"), member.get("index")
        whole = _is_whole(member)
        given = member["metadata"] if whole else _given_at_several_places(member)
        if given is None and type(label) is str and type(index) is int:
            plain = self._plain.get((label, index))
            if plain is None:
                plain = self._plain[label, index] = _without_metadata(label, index)
            return plain
        segment = _without_metadata(label, index)
        if given is not None:
            if self._pdfs.add(given, segment.label):
                self._with_pdfs.append((segment, member))
            else:
                _describe(segment, given if whole else member, self._taxonomy, whole=whole)
        return segment

    def finish(self) -> None:
        """Read the class PDFs."""
        for (segment, member), read in zip(self._with_pdfs, self._pdfs.read(), strict=True):
            if read is None:
                _describe(segment, member, self._taxonomy, whole=False)
            else:
                segment.metadata_text, segment.confidence, segment.class_pdf, segment.agrees = read


def _without_metadata(label: object, raw_index: object) -> DeclaredSegment:
    return DeclaredSegment(
        label if isinstance(label, str) and _is_label(label) else None,
        raw_index if type(raw_index) is int else _whole_number(raw_index),
        raw_index,
        label,
    )


def _describe(
    segment: DeclaredSegment, given: Any, taxonomy: Sequence[str], *, whole: bool
) -> None:
    """Fill in what the metadata says.

    Args:
        given: the metadata, if they are ``whole``; else the member they are in.
    """
    try:
        if not whole:
            given = _metadata(given)
        elif type(given) is not dict:
            given = _metadata_object(given)
        metadata, segment.metadata_text = canonical_form(given)
        if KEYS[0] in given or KEYS[1] in given:
            segment.pdf = read_class_pdf(given, taxonomy)
    except MetadataError as error:
        # A key may hold what is not Unicode; the message must.
        segment.metadata_error = str(error).encode("utf-8", "backslashreplace").decode("utf-8")
    except RecursionError:
        segment.metadata_error = "metadata is nested beyond reason"
    else:
        segment._metadata = metadata
        if "confidence" in metadata:
            segment.confidence = confidence_of(metadata)
            segment.odd_confidence = segment.confidence is None


def _given_at_several_places(member: Mapping[str, Any]) -> object:
    """What a member has as metadata, or beside label and index; a tuple of both where it has both.

    None where it has neither.
    """
    if type(member) is not dict:
        return (member,)
    given = member.get("metadata")
    beside = {key: one for key, one in member.items() if key not in _FIELDS and one is not None}
    return (given, beside) if given is not None and beside else beside or given


def _is_whole(member: Mapping[str, Any]) -> bool:
    """Whether all metadata of a Segment is under ``metadata``."""
    return len(member) == 3 and "label" in member and "index" in member and "metadata" in member


def _metadata(member: Mapping[str, Any]) -> Mapping[str, Any]:
    """The metadata of a Segment; members beside label and index belong to it as well."""
    given = member.get("metadata")
    metadata = given if type(given) is dict else _metadata_object(given)
    if _is_whole(member):
        return metadata
    beside = {
        key: value for key, value in member.items() if key not in _FIELDS and value is not None
    }
    clash = sorted(key for key in beside if key in metadata and metadata[key] != beside[key])
    if clash:
        raise MetadataError(f"metadata.{clash[0]} is given twice, with different values")
    if not beside:
        return metadata
    merged = {**beside, **metadata}
    twice = [one.repeated for one in (member, metadata) if isinstance(one, RepeatedKeys)]
    return merged if not twice else RepeatedKeys.of(merged, frozenset().union(*twice))


def _metadata_object(value: object) -> Mapping[str, Any]:
    if isinstance(value, str):
        if not value.strip():
            return {}
        try:
            value = _parsed(value)
        except ValueError as error:
            raise MetadataError(f"metadata is not valid JSON ({error})") from None
        if isinstance(value, list):
            raise MetadataError("metadata is a list, expected an object")
    if value is None:
        return {}
    if isinstance(value, list) and all(isinstance(pair, tuple) for pair in value):
        members = dict(value)  # how pyarrow gives a map
        if len(members) < len(value):
            raise MetadataError("metadata has a key twice")
        return members
    if not isinstance(value, Mapping):
        raise MetadataError(f"metadata is {_kind(value)}, expected an object")
    return value


def _whole_number(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Decimal) and value.is_finite() and value == value.to_integral_value():
        return int(value)
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit():
        return int(value) if len(value) < 20 else None
    return None


def _is_label(text: str) -> bool:
    """Whether a text can be stored as a label: it is Unicode, and not a text by mistake."""
    if len(text) > LONGEST_LABEL:
        return False
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _kind(value: object) -> str:
    names = {str: "text", dict: "an object", list: "a list", bool: "true/false", type(None): "null"}
    return names.get(type(value), type(value).__name__)
