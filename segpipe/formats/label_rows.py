"""The rows of a label map, from the files that people and tools keep them in.

Every form is told apart by its content or its extension, and read where it has one meaning.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from segpipe.errors import SettingsError

#: Location in the file, for messages, and the columns of a row by their names in lower case.
LocatedRow = tuple[str, Mapping[str, Any]]

#: The forms that are read, for messages.
FORMS = (
    "read are: CSV with columns index,label (commas, semicolons or tabs); JSON or TOML with "
    'index = label ({"0": "sky"}), label = index, or a list of objects with id and name; '
    "config.json of Hugging Face (id2label); data.yaml of YOLO (names); labelmap.txt of CVAT, for "
    "--colours"
)
_NUMBER = re.compile(r"\s*\d{1,9}\s*")
_CVAT = re.compile(r"#\s*label\s*:\s*color_rgb", re.IGNORECASE)
#: Where files of other tools keep their label map.
_HOLDERS = ("labels", "id2label", "categories", "names")
_BYTE_ORDER_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16",
                     codecs.BOM_UTF16_BE: "utf-16"}  # fmt: skip


def read_rows(path: Path) -> Iterator[LocatedRow]:
    """The rows of a file.

    Raises:
        SettingsError: if it cannot be read, or has none of the forms that are.
    """
    text, extension = _text(path), path.suffix.lower()
    if _CVAT.match(text):
        return _of_cvat(text, path)
    if extension in (".yaml", ".yml"):
        return _of_yaml(text, path)
    if extension in (".csv", ".tsv") or (extension not in (".json", ".toml") and _is_table(text)):
        return _of_table(text, path)
    try:
        content = tomllib.loads(text) if extension == ".toml" else json.loads(text)
    except (ValueError, RecursionError) as error:
        kind = {".toml": "valid TOML", ".json": "valid JSON"}.get(extension, "one that is read")
        raise SettingsError(f"the label map {path} is not {kind}: {error}; {FORMS}") from None
    return _of_content(content, path)


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
        mark = next((one for one in _BYTE_ORDER_MARKS if data.startswith(one)), b"")
        return data.decode(_BYTE_ORDER_MARKS.get(mark, "utf-8"))
    except OSError as error:
        raise SettingsError(f"the label map {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise SettingsError(
            f"the label map {path} cannot be read: it is not UTF-8 text (byte "
            f"{error.object[error.start]:#04x} at {error.start}); save it as UTF-8"
        ) from None


def _is_table(text: str) -> bool:
    """Whether a text of no known extension has rows of several columns."""
    return not text.lstrip().startswith(("{", "[")) and _delimiter(text) is not None


def _delimiter(text: str) -> str | None:
    """What separates columns, by the first line; None where nothing does."""
    first = text.lstrip("\r\n").partition("\n")[0]
    counts = {one: first.count(one) for one in (",", ";", "\t")}
    most = max(counts, key=lambda one: counts[one])
    return most if counts[most] else None


def _of_table(text: str, path: Path) -> Iterator[LocatedRow]:
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=_delimiter(text) or ",", skipinitialspace=True
    )
    names: Sequence[str] | None = None
    for cells in reader:
        if not cells or not any(cell.strip() for cell in cells):
            continue
        if names is None:
            if len(cells) == 2 and _NUMBER.fullmatch(cells[0]):
                names = ("index", "label")  # without a line of names
            else:
                names = [cell.strip().lower() for cell in cells]
                continue
        if any(cell.strip() for cell in cells[len(names) :]):
            raise SettingsError(
                f"{path}, line {reader.line_num}: {len(cells)} cells for {len(names)} columns; "
                "put a label that holds the separator in quotation marks"
            )
        yield f"line {reader.line_num}", dict(zip(names, cells, strict=False))


def _of_cvat(text: str, path: Path) -> Iterator[LocatedRow]:
    """``label:r,g,b:parts:actions``, a line for each; labels may hold colons."""
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        cells = line.rsplit(":", 3)
        if len(cells) != 4:
            raise SettingsError(
                f"{path}, line {number}: it is {line!r}, expected label:r,g,b:parts:actions"
            )
        yield f"line {number}", {"label": cells[0], "colour": cells[1]}


def _of_yaml(text: str, path: Path) -> Iterator[LocatedRow]:
    """Of YOLO's ``data.yaml``, whose list ``names`` is in the order of the classes."""
    import yaml

    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        words = " ".join(str(error).split())
        raise SettingsError(f"the label map {path} is not valid YAML: {words}; {FORMS}") from None
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, list):
        content = dict(enumerate(names))
    elif isinstance(names, dict):
        content = names
    if isinstance(content, dict):
        content = {str(key): value for key, value in content.items()}
        flags = [key for key, value in content.items() if isinstance(value, bool)]
        if flags:
            raise SettingsError(
                f"{path}: to YAML, the name of {flags[0]} is {content[flags[0]]}, as yes, no, "
                "on and off are: put it in quotation marks"
            )
    return _of_content(content, path)


def _of_content(content: Any, path: Path) -> Iterator[LocatedRow]:
    if isinstance(content, dict):
        for name in _HOLDERS:
            if isinstance(content.get(name), (dict, list)):
                content = content[name]
                break
    if isinstance(content, dict) and content and _is_inverse(content):
        for label, index in content.items():
            yield f"key {label!r}", {"label": label, "index": index}
    elif isinstance(content, dict):
        for key, value in content.items():
            row = value if isinstance(value, dict) else {"label": value}
            yield f"key {key!r}", {"index": key, **row}
    elif isinstance(content, list) and all(isinstance(row, dict) for row in content):
        for number, row in enumerate(content):
            yield f"entry {number}", {str(key).lower(): value for key, value in row.items()}
    else:
        hint = ": a list of names does not say their indexes" if isinstance(content, list) else ""
        raise SettingsError(
            f"the label map {path} is a {type(content).__name__}, expected index = label{hint}; "
            f"{FORMS}"
        )


def _is_inverse(content: Mapping[str, Any]) -> bool:
    """Whether an object says ``label = index``: no key is a number, every value is."""
    return all(
        not _NUMBER.fullmatch(key) and isinstance(value, int) and not isinstance(value, bool)
        for key, value in content.items()
    )
