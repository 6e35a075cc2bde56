"""The gallery and its items as one HTML file, for an attachment or what a CI run keeps."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from PIL import Image

from segpipe.errors import SegpipeError, SettingsError, listed
from segpipe.root import Root
from segpipe.viewer.bundle import one_file
from segpipe.viewer.filters import Filters
from segpipe.viewer.refusal import RequestRefused
from segpipe.viewer.viewer import Viewer

#: How many items a file holds, and how many bytes of pictures, where nothing else is said.
MOST_ITEMS, MOST_BYTES = 200, 24 * 2**20
#: An image beyond this many bytes is put in smaller, with this longest side in pixels.
_LARGE_IMAGE, _LONGEST_SIDE, _QUALITY = 300_000, 1600, 85
_THUMBNAIL = 320
_PAGE = 200
Json = dict[str, Any]
#: Keeps a picture of a kind, and returns its name.
Put = Callable[[str, str, bytes], str]


@dataclass(frozen=True)
class StaticPage:
    """A gallery as one file.

    Attributes:
        html: the file, UTF-8.
        shown: items in it.
        total: predictions that the filters leave.
        notes: what is left out or smaller, a sentence each.
    """

    html: bytes
    shown: int
    total: int
    notes: tuple[str, ...]


def static_page(
    root: Root,
    filters: Filters,
    *,
    most_items: int = MOST_ITEMS,
    most_bytes: int = MOST_BYTES,
) -> StaticPage:
    """The gallery of what filters leave of one model run, with its items and pictures.

    Args:
        most_items: the first so many, by reference id, are in it.
        most_bytes: of their pictures; the items after that are left out.

    Raises:
        SettingsError: if the filters leave nothing, or there are several datasets and neither the
            filters nor the settings name one of them.
        SegpipeError: if a table of the root cannot be read.
    """
    viewer = Viewer(root)
    viewer.index.renew()
    found = viewer.items(filters, 1, None)
    if not found["total"] and "rejected" in filters.outcomes and filters.of_accepted:
        raise SettingsError(
            f"of rejected rows no table has {' or '.join(filters.of_accepted)}: leave --label out, "
            "or --rejected"
        )
    there = viewer.facts()["datasets"]
    unclear = len(there) > 1 and root.settings.dataset not in there and filters.dataset is None
    if not found["total"] or unclear:
        raise SettingsError(_nothing(viewer, filters))
    content = _Content(viewer, most_items, most_bytes)
    for card in _cards(viewer, filters):
        if not content.take(card):
            break
    notes = (*content.notes(found["total"]), *found["notes"])
    held = content.held(filters, notes)
    title = f"{', '.join(filters.runs)} · {held['root']['dataset']}"
    return StaticPage(one_file(title, held), len(content.cards), found["total"], notes)


def _nothing(viewer: Viewer, filters: Filters) -> str:
    facts, name = viewer.facts(), " or ".join(filters.runs)
    own = filters.dataset or viewer.root.settings.dataset
    kind = "rejected" if filters.outcomes == ("rejected",) else "published"
    runs = [run for run in facts["model_runs"] if run["name"] in filters.runs and run[kind]]
    there = {run["dataset"] for run in runs}
    if there and own not in there:
        words = f"dataset {own!r} has nothing {kind} of model run {name!r}; datasets that have: "
        return f"{words}{listed(sorted(there))}. Name one with --dataset"
    if filters.dataset is not None and own not in facts["datasets"]:
        known = f"there are: {listed(facts['datasets'])}" if facts["datasets"] else "it is empty"
        return f"the root holds nothing of dataset {own!r}; {known}"
    return (
        f"model run {name!r} has no prediction that passes the filters: `segpipe browse` shows "
        "what there is; --rejected is for rejected rows alone"
    )


def _cards(viewer: Viewer, filters: Filters) -> Iterator[Json]:
    after = None
    while True:
        page = viewer.items(filters, _PAGE, after)
        yield from page["items"]
        after = page["next"]
        if after is None:
            return


@dataclass
class _Content:
    """What a file holds, as it is gathered."""

    viewer: Viewer
    most_items: int
    most_bytes: int
    cards: list[Json] = field(default_factory=list)
    items: Json = field(default_factory=dict)
    pictures: dict[str, str] = field(default_factory=dict)
    size: int = 0
    smaller: int = 0
    undrawn: int = 0
    changed: int = 0

    def take(self, card: Json) -> bool:
        """Put an item in; False where there is no room for it and those after it."""
        if len(self.cards) >= self.most_items:
            return False
        key = card["key"]
        try:
            item = self.viewer.item(key, {}, Filters())
            prediction = next(one for one in item["predictions"] if one["key"] == key)
        except (RequestRefused, StopIteration):
            self.changed += 1  # not there any more, or published otherwise meanwhile
            return True
        item["predictions"] = [prediction]
        history = item["history"]
        item["history"] = [one for one in history if one["model_run"] == card["model_run"]]
        pictures = self._pictures_of(key, item, prediction, card)
        size = sum(map(len, pictures.values()))
        if self.cards and self.size + size > self.most_bytes:
            return False
        self.size += size
        self.pictures |= pictures
        card["areas"] = _areas(prediction["segments"])
        self.cards.append(card)
        self.items[key] = item
        return True

    def _pictures_of(self, key: str, item: Json, prediction: Json, card: Json) -> dict[str, str]:
        """An item's pictures by their names, which take the place of addresses."""
        made: dict[str, str] = {}

        def put(name: str, kind: str, data: bytes) -> str:
            name = f"{name} {key}"
            made[name] = f"{kind},{base64.b64encode(data).decode()}"
            return name

        card["thumb"] = f"thumb {key}"
        try:
            name, shown, colours = self.viewer.thumbnail(key, _THUMBNAIL)
            thumbnails = self.viewer.thumbnails
            thumb = thumbnails.kept(name) or thumbnails.made(shown, _THUMBNAIL, colours, name)
            put("thumb", "image/webp", thumb)
        except (RequestRefused, SegpipeError) as error:
            self.undrawn += 1
            card["undrawn"] = str(error)
        rows = self.viewer.rows
        if prediction["mask"] is not None:
            mask = _read(lambda: rows.mask(key))
            prediction["mask"] = None if mask is None else put("mask", "image/png", mask)
        if item["image"] is not None:
            item["image"] = self._image(item["image"], put, key)
        for finding in prediction["findings"]:
            if finding["offending"] is not None:
                marks = _read(partial(rows.offending, key, finding["rule"]))
                name = f"offending {finding['rule']}"
                finding["offending"] = None if marks is None else put(name, "image/png", marks)
        return made

    def _image(self, told: Json, put: Put, key: str) -> Json | None:
        try:
            data, kind = self.viewer.rows.image(key)
        except (RequestRefused, SegpipeError):
            return None
        if len(data) > _LARGE_IMAGE and (reduced := _reduced(data)) is not None:
            data, kind = reduced, "image/jpeg"
            self.smaller += 1
        return {**told, "url": put("image", kind, data)}

    def notes(self, total: int) -> Iterator[str]:
        """What is left out."""
        shown = len(self.cards)
        if shown + self.changed < total:
            why = "items" if shown == self.most_items else "bytes of pictures"
            limit = self.most_items if shown == self.most_items else self.most_bytes
            yield (
                f"{shown:,} of {total:,} predictions, by reference id: this file holds at most "
                f"{limit:,} {why}"
            )
        if self.changed:
            yield (
                f"{self.changed:,} were changed or unpublished while this file was made, and are "
                "left out"
            )
        if self.smaller:
            yield (
                f"{self.smaller:,} large images are shown with a longest side of "
                f"{_LONGEST_SIDE:,} pixels; masks are whole"
            )
        if self.undrawn:
            yield f"{self.undrawn:,} without a picture: the mask cannot be decoded"

    def held(self, filters: Filters, notes: tuple[str, ...]) -> Json:
        """What the page shows, as its modules expect it."""
        facts = self.viewer.facts()
        dataset = filters.dataset or facts["dataset"]
        labels = {label for card in self.cards for label in card["areas"]}
        rules = Counter(rule for card in self.cards for rule in card["rules"])
        days = sorted({card["date"] for card in self.cards})
        known = [rule for rule in facts["rules"] if rule["id"] in rules]
        rejected = Counter(
            rule for card in self.cards if card["outcome"] == "rejected" for rule in card["rules"]
        )
        root = {
            **facts, "root": None, "dataset": dataset, "datasets": [dataset], "columns": [],
            "days": days,
            "model_runs": [one for one in facts["model_runs"] if one["name"] in filters.runs],
            "labels": [one for one in facts["labels"] if one["name"] in labels],
            "rules": known, "notes": notes,
        }  # fmt: skip
        return {
            "root": root,
            "cards": self.cards,
            "items": self.items,
            "pictures": self.pictures,
            "notes": notes,
            "rules": [
                {**rule, "rule": rule["id"], "count": rejected[rule["id"]]}
                for rule in known
                if rejected[rule["id"]] and rule["severity"] == "reject"
            ],
        }


def _read(picture: Callable[[], bytes]) -> bytes | None:
    """A picture; None where it cannot be made."""
    try:
        return picture()
    except (RequestRefused, SegpipeError):
        return None


def _areas(segments: list[Mapping[str, Any]]) -> dict[str, float]:
    """Label -> share of the mask."""
    areas: dict[str, float] = {}
    for segment in segments:
        share = segment["area_fraction"] or 0.0
        areas[segment["label"]] = areas.get(segment["label"], 0.0) + share
    return areas


def _reduced(data: bytes) -> bytes | None:
    """An image as a smaller JPEG, turned as its EXIF data say; None where that is none."""
    try:
        image = Image.open(io.BytesIO(data))
        exif = image.getexif()
        image.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
        out = io.BytesIO()
        image.convert("RGB").save(out, format="JPEG", quality=_QUALITY, exif=exif)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    return out.getvalue() if len(out.getvalue()) < len(data) else None
