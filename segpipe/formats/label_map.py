"""Label maps and colour tables: the entries of the rows that ``label_rows`` reads."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segpipe.errors import SettingsError
from segpipe.formats.label_rows import FORMS, read_rows

_INDEX_NAMES = ("index", "id", "value", "idx", "labelid", "class_id", "category_id")
_LABEL_NAMES = ("label", "name", "class", "category", "names")
_ISTHING_NAMES = ("isthing", "kind", "stuff")
_COLOUR_NAMES = ("colour", "color", "rgb", "hex")
_ISTHING_VALUES = {
    "1": True,
    "true": True,
    "thing": True,
    "0": False,
    "false": False,
    "stuff": False,
}
_Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class LabelEntry:
    """One entry of a label map or colour table.

    Attributes:
        index: the value in the mask; None in a colour table without indexes.
        isthing: whether its segments are instances; None where the file does not have it.
        colour: red, green and blue, 0 to 255; None where the file has none.
    """

    label: str
    index: int | None
    isthing: bool | None = None
    colour: tuple[int, int, int] | None = None

    @property
    def metadata(self) -> dict[str, Any]:
        """Metadata of its segments: ``isthing``, where the map has it."""
        return {} if self.isthing is None else {"isthing": self.isthing}


def read_label_map(path: Path) -> dict[int, LabelEntry]:
    """Read a label map: value -> entry.

    A CSV file has columns such as ``index,label`` and may have ``isthing``; JSON and TOML are
    ``{"0": "Sky"}``, a list of such rows, or either of them under ``labels``; see ``label_rows``
    for the others.

    Raises:
        SettingsError: naming the file and the line or key.
    """
    entries: dict[int, LabelEntry] = {}
    for entry in _entries(path):
        if entry.index is None:
            hint = ""
            if entry.colour is not None:
                hint = "; it has a colour: import with colour-map --colours"
            raise SettingsError(f"{path}: {entry.label!r} has no index{hint}; {FORMS}")
        if entry.index in entries:
            other = entries[entry.index].label
            raise SettingsError(
                f"{path}: index {entry.index} stands for {other!r} and for {entry.label!r}"
            )
        entries[entry.index] = entry
    if not entries:
        raise SettingsError(f"{path} holds no labels")
    return entries


def read_colour_table(path: Path) -> list[LabelEntry]:
    """Read a colour table: its entries in the file's order, each with a colour.

    A CSV file has ``r,g,b,label`` or ``colour,label`` with ``#rrggbb``, and may have ``index``;
    CVAT's ``labelmap.txt`` is read as well.

    Raises:
        SettingsError: naming the file and the line or key.
    """
    entries = list(_entries(path))
    seen: dict[tuple[int, int, int], str] = {}
    for entry in entries:
        if entry.colour is None:
            raise SettingsError(
                f"{path}: {entry.label!r} has no colour (r, g, b or #rrggbb); {FORMS}"
            )
        if entry.colour in seen:
            raise SettingsError(
                f"{path}: the colour {shown(entry.colour)} stands for {seen[entry.colour]!r} and "
                f"for {entry.label!r}"
            )
        seen[entry.colour] = entry.label
    if not entries:
        raise SettingsError(f"{path} holds no colours")
    return entries


def shown(colour: Sequence[int]) -> str:
    """A colour as ``#rrggbb``."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _entries(path: Path) -> Iterator[LabelEntry]:
    for location, row in read_rows(path):
        label = _first_of(row, _LABEL_NAMES)
        if label is None or not str(label).strip():
            raise SettingsError(
                f"{path}, {location}: there is no label (columns: {', '.join(map(str, row))}; "
                f"expected one of {', '.join(_LABEL_NAMES)}); {FORMS}"
            )
        yield LabelEntry(
            str(label),
            _index(_first_of(row, _INDEX_NAMES), path, location),
            _ISTHING_VALUES.get(str(_first_of(row, _ISTHING_NAMES)).strip().lower()),
            _colour(row, path, location),
        )


def _first_of(row: _Row, names: Sequence[str]) -> Any:
    """The first of several columns that has a value; None where none has."""
    return next((row[name] for name in names if row.get(name) not in (None, "")), None)


def _index(value: Any, path: Path, location: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if re.fullmatch(r"\s*\d{1,9}(\.0*)?\s*", str(value)):
        return int(float(value))
    raise SettingsError(f"{path}, {location}: the index is {value!r}, expected a whole number")


def _colour(row: _Row, path: Path, location: str) -> tuple[int, int, int] | None:
    value = _first_of(row, _COLOUR_NAMES)
    if value is None and {"r", "g", "b"} <= row.keys():
        value = [row["r"], row["g"], row["b"]]
    if value is None:
        return None
    found = re.fullmatch(r"\s*#?([0-9a-fA-F]{6})\s*", value) if isinstance(value, str) else None
    if found:
        red, green, blue = bytes.fromhex(found[1])
        return red, green, blue
    parts = re.split(r"[\s,;]+", value.strip()) if isinstance(value, str) else value
    try:
        red, green, blue = (int(part) for part in parts)
    except (TypeError, ValueError):
        red = green = blue = -1
    if not all(0 <= part <= 255 for part in (red, green, blue)):
        raise SettingsError(
            f"{path}, {location}: the colour is {value!r}, "
            "expected #rrggbb or three numbers 0 to 255"
        )
    return red, green, blue
