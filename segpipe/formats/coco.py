"""What COCO's JSON files have in common: images and categories."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from segpipe.errors import SettingsError


@dataclass(frozen=True)
class CocoImage:
    """An entry of ``images``."""

    id: int | str
    file_name: str | None = None
    height: int | None = None
    width: int | None = None

    @property
    def reference_id(self) -> str:
        """The file's name without extension; the id where there is none."""
        if self.file_name is None:
            return str(self.id)
        return PurePosixPath(self.file_name).with_suffix("").as_posix()


@dataclass(frozen=True)
class CocoCategory:
    """An entry of ``categories``; ``isthing`` is None where it does not say."""

    id: int
    name: str
    isthing: bool | None = None


def read_json(path: Path) -> Any:
    """A JSON file.

    Raises:
        SettingsError: if it cannot be read, or is not JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{path} is not JSON: {error}") from None


def images_of(content: Mapping[str, Any], path: Path) -> dict[int | str, CocoImage]:
    """Image id -> image.

    Raises:
        SettingsError: naming the entry, if one has no id, or one id is given twice.
    """
    images: dict[int | str, CocoImage] = {}
    for entry in _entries(content, "images", path):
        id, name = entry.get("id"), entry.get("file_name")
        if not isinstance(id, (int, str)) or isinstance(id, bool):
            raise SettingsError(f"{path}: an image has the id {id!r}, expected a number or text")
        image = CocoImage(
            id,
            name if isinstance(name, str) and name else None,
            _size(entry.get("height")),
            _size(entry.get("width")),
        )
        if id in images and images[id] != image:
            raise SettingsError(
                f"{path}: the image id {id!r} stands for {images[id].file_name!r} and for {name!r}"
            )
        images[id] = image
    return images


def categories_of(content: Any, path: Path) -> dict[int, CocoCategory]:
    """Category id -> category, from a list or from ``categories``.

    Raises:
        SettingsError: naming the entry.
    """
    holder = {"categories": content} if isinstance(content, list) else content
    categories: dict[int, CocoCategory] = {}
    for entry in _entries(holder, "categories", path):
        id, name, isthing = entry.get("id"), entry.get("name"), entry.get("isthing")
        if not isinstance(id, int) or not isinstance(name, str) or not name.strip():
            raise SettingsError(f"{path}: a category is {entry!r}, expected id and name")
        if id in categories and categories[id].name != name:
            raise SettingsError(
                f"{path}: the category {id} stands for {categories[id].name!r} and for {name!r}"
            )
        categories[id] = CocoCategory(id, name, None if isthing is None else bool(isthing))
    if not categories:
        raise SettingsError(f"{path} holds no categories")
    return categories


def _entries(content: Any, name: str, path: Path) -> Iterator[Mapping[str, Any]]:
    found = content.get(name) if isinstance(content, dict) else None
    if not isinstance(found, list):
        there = ", ".join(content) if isinstance(content, dict) else type(content).__name__
        raise SettingsError(f"{path} has no list {name!r} (found: {there})")
    for entry in found:
        if not isinstance(entry, dict):
            raise SettingsError(f"{path}: an entry of {name!r} is {entry!r}, expected an object")
        yield entry


def _size(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
