"""COCO results: a list of instances, each with a mask of its own and a score.

The instances of an image are painted into one mask; an option chooses which is on top where they
overlap. Index 0 is ``background``, index k the k-th instance of the image in the file; where there
are more than 255, see ``identifiers``. One unreadable instance refuses its image: a prediction that
silently lacks an instance would be a different prediction.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from segpipe.errors import SettingsError
from segpipe.formats.annotated_instances import AnnotatedInstance, in_one_mask
from segpipe.formats.coco import (
    IMAGE_COLUMNS,
    CocoCategory,
    CocoImage,
    CocoImages,
    categories_of,
    unreadable,
)
from segpipe.formats.identifiers import Over256
from segpipe.formats.imported import Imported, RecordSource, refused
from segpipe.formats.json_values import brief, identity, kind_of, number, read_json
from segpipe.formats.overlaps import Instance, Overlaps
from segpipe.formats.run_lengths import RunLengthError, RunLengths, read_segmentation
from segpipe.manifests.rows import ImportFinding

_Record = Mapping[str, Any]
# An image's id and its instances, each with its position in the file; or why there is no image.
_Result = tuple[int | str, Sequence[tuple[int, _Record]]] | ImportFinding


@dataclass(frozen=True)
class CocoResults(RecordSource):
    """Instances, by image.

    Attributes:
        by_image: image id -> position in the file and record of each of its instances; empty for
            images that become background only.
        without_image: a finding for each record that has no image id.
        file_names: the ids that are names of files, because the records have no other.
    """

    by_image: Mapping[int | str, Sequence[tuple[int, _Record]]]
    images: CocoImages
    categories: Mapping[int, CocoCategory]
    overlaps: Overlaps = Overlaps.SCORE
    over: Over256 = Over256.REFUSE
    without_image: Sequence[ImportFinding] = field(default=())
    file_names: Set[int | str] = frozenset()

    @classmethod
    def open(
        cls,
        results: Path,
        categories: Path,
        images: Path | None,
        overlaps: Overlaps,
        over: Over256,
        *,
        empty: bool,
    ) -> CocoResults:
        """Read the results.

        Args:
            results: the JSON file of the results.
            categories: a JSON file that holds ``categories``, such as the ground truth.
            images: one that holds ``images``: file names and sizes.
            overlaps: which instance is on top.
            over: what is done with more than 256 ids.
            empty: listed images without a result become predictions of background only.

        Raises:
            SettingsError: if a file cannot be read, or lacks what the format requires.
        """
        named = categories_of(read_json(categories), categories)
        if not named:
            raise SettingsError(f"{categories} holds no categories")
        content = _records(read_json(results), results)
        return cls.of(content, named, images, overlaps, over, empty=empty)

    @classmethod
    def of(
        cls,
        results: Sequence[object],
        categories: Mapping[int, CocoCategory],
        images: Path | None,
        overlaps: Overlaps,
        over: Over256,
        *,
        empty: bool,
        without_results: Iterable[int | str] = (),
    ) -> CocoResults:
        """From results that were read.

        Args:
            without_results: ids of images that have none, and become background only.

        Raises:
            SettingsError: as :meth:`open`.
        """
        if empty and images is None:
            raise SettingsError("--empty-images needs the list of images: --images FILE")
        known = CocoImages.of(read_json(images), images) if images else CocoImages()
        records, without_image, file_names = _by_image(results, known)
        for id in (*without_results, *(known.by_id if empty else ())):
            records.setdefault(id, [])
        return cls(records, known, categories, overlaps, over, without_image, file_names)

    @property
    def carried(self) -> Mapping[str, pa.DataType]:
        """The image's id in COCO."""
        return IMAGE_COLUMNS

    def __len__(self) -> int:
        return len(self.by_image) + len(self.without_image)

    def records(self) -> Iterator[_Result]:
        """One per image, in order of first occurrence; then the results without an image id."""
        yield from self.by_image.items()
        yield from self.without_image

    def without_records(self) -> CocoResults:
        """Without the results."""
        return replace(self, by_image={}, without_image=())

    def read(self, record: _Result) -> Iterator[Imported]:
        """The prediction of an image."""
        if isinstance(record, ImportFinding):
            yield refused("", "a result without image_id", record)
        else:
            yield self._imported(*record)

    def _imported(self, id: int | str, records: Sequence[tuple[int, _Record]]) -> Imported:
        shown = f"image {id!r}"
        other: dict[str, Any] = {"carried": {"image_id": str(id)}}
        image = self.images.image(id)
        if id in self.file_names and not self.images.listed:
            image = CocoImage(id, str(id))
        if isinstance(image, ImportFinding):
            return refused(str(id), shown, image, **other)
        read = [self._instance(position, record, image) for position, record in records]
        findings = [one for one in read if isinstance(one, ImportFinding)]
        instances = [one for one in read if not isinstance(one, ImportFinding)]
        size = _size(image, instances, shown)
        if isinstance(size, ImportFinding) and (instances or not findings):
            findings.append(size)
        if findings or isinstance(size, ImportFinding):
            return refused(image.reference_id, shown, *findings, **other)
        indexed = in_one_mask(
            [one.labelled for one in instances], *size, self.overlaps, self.over, shown
        )
        return Imported(
            image.reference_id,
            shown,
            indexed.mask,
            indexed.segments,
            indexed.findings,
            height=size[0],
            width=size[1],
            **other,
        )

    def _instance(
        self, position: int, record: _Record, image: CocoImage
    ) -> _Instance | ImportFinding:
        where = f"result {position} (image {image.id!r})"
        category_id, score = identity(record.get("category_id")), record.get("score")
        if not isinstance(category_id, int) or category_id not in self.categories:
            found = brief(record.get("category_id"))
            return unreadable(f"{where}: the category {found} is none of the categories", found)
        if score is not None and number(score) is None:
            return unreadable(
                f"{where}: the score is {brief(score)}, expected a number", brief(score)
            )
        try:
            runs = read_segmentation(record.get("segmentation"), image.height, image.width)
        except RunLengthError as error:
            return unreadable(f"{where}: {error}", str(error))
        return _Instance(runs, number(score), self.categories[category_id])


@dataclass(frozen=True)
class _Instance:
    runs: RunLengths
    score: float | None
    category: CocoCategory

    @property
    def labelled(self) -> AnnotatedInstance:
        metadata = {
            "isthing": self.category.isthing is not False,
            "category_id": self.category.id,
        }
        painted = Instance(self.runs.area, self.score, self.runs.decode)
        return AnnotatedInstance(self.category.name, painted, metadata)


def _records(content: object, path: Path) -> list[Any]:
    """The list of results; of an object with a list per file name, each with that name.

    Raises:
        SettingsError: if the file holds neither.
    """
    if isinstance(content, list):
        return content
    if (
        isinstance(content, dict)
        and content.keys().isdisjoint({"images", "annotations", "categories"})
        and all(isinstance(members, list) for members in content.values())
    ):
        return [
            {"file_name": name, **one} if isinstance(one, dict) else one
            for name, members in content.items()
            for one in members
        ]
    hint = " (is it the ground truth?)" if isinstance(content, dict) else ""
    raise SettingsError(
        f"{path} is {kind_of(content)}, expected a list of results, or an object with a list for "
        f"each file name{hint}"
    )


def _by_image(
    content: Sequence[object], known: CocoImages
) -> tuple[dict[int | str, list[tuple[int, _Record]]], list[ImportFinding], frozenset[int | str]]:
    """Image id -> position and record of its instances; a finding for each record without one.

    A record without ``image_id`` is of the image with its ``file_name``. The last result are the
    ids that are such names, because no list of images gives another.
    """
    records: dict[int | str, list[tuple[int, _Record]]] = {}
    without_image = []
    names: set[int | str] = set()
    for position, record in enumerate(content):
        id = identity(record.get("image_id")) if isinstance(record, dict) else None
        if isinstance(record, dict) and record.get("image_id") is None:
            name = record.get("file_name")
            id = name if isinstance(name, str) and name else None
            names.update(() if id is None else (id,))
        if isinstance(id, str) and id not in known.by_id:
            id = known.id_of(id)
        if isinstance(record, dict) and id is not None:
            records.setdefault(id, []).append((position, record))
        else:
            found = str(record)[:80]
            without_image.append(unreadable(f"result {position} has no image_id: {found}", found))
    return records, without_image, frozenset(names)


def _size(
    image: CocoImage, instances: Sequence[_Instance], shown: str
) -> tuple[int, int] | ImportFinding:
    """Height and width that the image and all instances agree on."""
    sizes = {(one.runs.height, one.runs.width) for one in instances}
    if image.height is not None and image.width is not None:
        sizes.add((image.height, image.width))
    if len(sizes) == 1:
        return sizes.pop()
    if not sizes:
        return unreadable(f"{shown}: its size is not known: give it in the list of images", "")
    listed = ", ".join(f"{height} x {width}" for height, width in sorted(sizes))
    swapped = len(sizes) == 2 and len({tuple(sorted(size)) for size in sizes}) == 1
    return ImportFinding(
        "SIZE-SWAPPED" if swapped else "SIZE-MISMATCH",
        f"{shown}: its masks and the list of images say several sizes (height x width): {listed}",
        found=listed,
        expected="one size",
    )
