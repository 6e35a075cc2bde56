"""Images and categories, as all of COCO's JSON files have them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa

from segpipe.errors import SettingsError
from segpipe.formats.json_values import brief, flag, identity, kind_of
from segpipe.manifests.rows import ImportFinding

#: The further column of predictions from COCO files: the image's id.
IMAGE_COLUMNS = {"image_id": pa.string()}


@dataclass(frozen=True)
class CocoImage:
    """An entry of ``images``.

    Attributes:
        height, width: in pixels, where the entry has them.
        clash: this entry and a different one with the same id, for messages; None without one.
    """

    id: int | str
    file_name: str | None = None
    height: int | None = None
    width: int | None = None
    clash: str | None = None

    @property
    def reference_id(self) -> str:
        """The file's name without extension; the id where there is none."""
        path = PurePosixPath(self.file_name or "")
        return path.with_suffix("").as_posix() if path.name else str(self.id)

    @property
    def shown(self) -> str:
        """Its name and size, for messages."""
        size = f" ({self.height} x {self.width})" if self.height and self.width else ""
        return f"{self.file_name!r}{size}"


@dataclass(frozen=True)
class CocoCategory:
    """An entry of ``categories``; ``isthing`` is None where the entry lacks it."""

    id: int
    name: str
    isthing: bool | None = None


@dataclass(frozen=True)
class CocoImages:
    """The images of a data set, by id.

    Attributes:
        listed: whether there is a list; without one, every id is taken as an image.
    """

    by_id: Mapping[int | str, CocoImage] = field(default_factory=dict)
    listed: bool = False

    @classmethod
    def of(cls, content: Any, path: Path) -> CocoImages:
        """Parse the list ``images``.

        Args:
            content: the file's, parsed.
            path: the file, for messages.

        Raises:
            SettingsError: naming the entry that is malformed.
        """
        images: dict[int | str, CocoImage] = {}
        for entry in _entries(content, "images", path):
            id, name = identity(entry.get("id")), entry.get("file_name")
            if id is None:
                found = entry.get("id")
                raise SettingsError(
                    f"{path}: an image has the id {brief(found)}, expected a number"
                )
            image = CocoImage(
                id,
                name if isinstance(name, str) and name else None,
                _size(entry.get("height")),
                _size(entry.get("width")),
            )
            before = images.setdefault(id, image)
            if replace(before, clash=None) != image:
                images[id] = replace(before, clash=f"{before.shown} and for {image.shown}")
        return cls(images, True)

    def id_of(self, name: str) -> int | str:
        """The id of the image with a file name; the name itself where none, or several, have it.

        Folders and extensions may be missing on either side; where both have them, folders agree.
        """
        wanted = _parts(name)
        similar = [id for id, parts in self._by_stem.get(wanted[-1:], ()) if _agree(parts, wanted)]
        exact = [id for id in similar if self.by_id[id].file_name == name]
        found = exact or similar
        return found[0] if len(found) == 1 else name

    @cached_property
    def _by_stem(self) -> Mapping[tuple[str, ...], Sequence[tuple[int | str, tuple[str, ...]]]]:
        """File name without extension -> ids and parts of the names of the images that have it."""
        images: dict[tuple[str, ...], list[tuple[int | str, tuple[str, ...]]]] = {}
        for id, image in self.by_id.items():
            parts = _parts(image.file_name or "")
            images.setdefault(parts[-1:], []).append((id, parts))
        return images

    def image(self, id: int | str) -> CocoImage | ImportFinding:
        """The image of an id; a finding where it is not listed, or ambiguous."""
        image = self.by_id.get(id)
        if image is None:
            if not self.listed:
                return CocoImage(id)
            hint = ""
            if isinstance(id, str) and re.fullmatch("[0-9]{1,18}", id) and int(id) in self.by_id:
                hint = f"; {int(id)} as a number is"
            return unreadable(f"image {id!r} is not in the list of images{hint}", repr(id))
        if image.clash is not None:
            return unreadable(f"the image id {id!r} stands for {image.clash}", image.clash)
        return image


def categories_of(content: Any, path: Path) -> dict[int, CocoCategory]:
    """Category id -> category, from a list or from ``categories``.

    Args:
        content: the file's, parsed.
        path: the file, for messages.

    Raises:
        SettingsError: naming the entry that is malformed or contradictory.
    """
    holder = {"categories": content} if isinstance(content, list) else content
    categories: dict[int, CocoCategory] = {}
    for entry in _entries(holder, "categories", path):
        id, name = identity(entry.get("id")), entry.get("name")
        if not isinstance(id, int) or not isinstance(name, str) or not name.strip():
            raise SettingsError(f"{path}: a category is {brief(entry)}, expected id and name")
        if id in categories and categories[id].name != name:
            raise SettingsError(
                f"{path}: the category {id} stands for {categories[id].name!r} and for {name!r}"
            )
        categories[id] = CocoCategory(id, name, flag(entry.get("isthing")))
    return categories


def unreadable(message: str, found: str = "", expected: str = "") -> ImportFinding:
    """A finding about a record that cannot be read."""
    return ImportFinding("IMPORT-UNREADABLE", message, found, expected)


def _entries(content: Any, name: str, path: Path) -> Iterator[Mapping[str, Any]]:
    found = content.get(name) if isinstance(content, dict) else None
    if not isinstance(found, list):
        raise SettingsError(f"{path} has no list {name!r} (found: {kind_of(content)})")
    for entry in found:
        if not isinstance(entry, dict):
            raise SettingsError(
                f"{path}: an entry of {name!r} is {brief(entry)}, expected an object"
            )
        yield entry


def _parts(name: str) -> tuple[str, ...]:
    """Folders and file of a name, without the extension; both kinds of slashes separate."""
    path = PurePosixPath(name.replace("\\", "/"))
    return (path.with_suffix("") if path.name else path).parts


def _agree(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    length = min(len(one), len(other))
    return length > 0 and one[-length:] == other[-length:]


def _size(value: object) -> int | None:
    side = identity(value)
    return side if isinstance(side, int) and side > 0 else None
