"""A folder with a PNG for each object: binary masks, painted into one mask for each item.

What a mask is of is said by its name, ``ITEM_LABEL_K.png``, or by a table with the columns
``file``, ``item``, ``label`` and maybe ``score``. PNGs of Label Studio's brush export are read
likewise (``task-1-annotation-2-by-3-tag-Car-0.png``). A mask has the value 0 and one other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import pyarrow as pa

from segpipe.errors import SettingsError
from segpipe.formats.annotated_instances import AnnotatedInstance, cut_out, in_one_mask
from segpipe.formats.coco import unreadable
from segpipe.formats.files import Naming, SourceFiles, linked_out, read
from segpipe.formats.folder_scan import LeftOut
from segpipe.formats.folder_source import ItemFile
from segpipe.formats.identifiers import Over256, listed_with_areas
from segpipe.formats.ids import Ids
from segpipe.formats.imported import Imported, RecordSource, finding_of, refused
from segpipe.formats.json_values import brief, number
from segpipe.formats.label_map import LabelEntry
from segpipe.formats.label_rows import read_rows
from segpipe.formats.overlaps import Overlaps
from segpipe.manifests.rows import ImportFinding
from segpipe.masks.decoding import decode_mask
from segpipe.masks.refusal import MaskRefused

_STROKE = re.compile(r"task-(\d+)-annotation-(\d+)-by-([^-]*)-([^-]*)-(.+)-(\d+)")
_NUMBERED = re.compile(r"(.+?)_?(\d{1,9})")
_NO_OBJECT = "not named as an object: ITEM_LABEL_K.png"


@dataclass(frozen=True)
class ObjectMask:
    """The mask of an object.

    Attributes:
        shown: its path below the source, for messages.
        order: its number among those of its item.
    """

    path: Path
    shown: str
    item: str
    label: str
    order: int = 0
    score: float | None = None


@dataclass(frozen=True)
class ObjectsApart(RecordSource):
    """Masks of objects, by item."""

    files: SourceFiles
    naming: Naming
    objects: tuple[ObjectMask, ...]
    labels: Mapping[str, LabelEntry]
    overlaps: Overlaps
    over: Over256

    @classmethod
    def open(
        cls,
        files: SourceFiles,
        naming: Naming,
        overlaps: Overlaps,
        over: Over256,
        *,
        labels: Mapping[int, LabelEntry] | None = None,
        label: str = "",
        table: Path | None = None,
    ) -> ObjectsApart:
        """Tell the objects from the names of files, or from a table.

        Args:
            labels: the labels there are; their names may hold underscores.
            label: of every object, whose names are then ``ITEM_K.png``.
            table: says what each file is of.

        Raises:
            SettingsError: if the table cannot be used, or no file is an object.
        """
        names = {entry.label: entry for entry in (labels or {}).values()}
        if table is not None:
            objects = list(_listed(table, files.source, label))
            told = "not in the table"
        else:
            found = (_named(path, files.shown(path), label, names) for path in files)
            objects = [one for one in found if one is not None]
            told = _NO_OBJECT if not label else "not named as an object: ITEM_K.png"
        if not objects:
            raise SettingsError(
                f"{files.source}: no PNG is named ITEM_LABEL_K.png, such as cat7_paw_0.png; say "
                "what each is in a table, --listed FILE with the columns file, item and label"
            )
        unknown = sorted({one.label for one in objects} - names.keys()) if names else []
        if unknown:
            raise SettingsError(f"{brief(unknown[0])} is none of the labels of --labels")
        kept = files.keeping([one.path for one in objects], told)
        return cls(kept, naming, tuple(objects), names, overlaps, over)

    @property
    def carried(self) -> Mapping[str, pa.DataType]:
        """``sequence`` and ``frame`` where files lie in subfolders."""
        return self.files.columns

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """What is in the folder and is no object."""
        return self.files.left_out

    def __len__(self) -> int:
        return len({one.item for one in self.objects})

    def records(self) -> Iterator[tuple[ItemFile, tuple[ObjectMask, ...]]]:
        """The items by name, each with its objects by number."""
        by_item: dict[str, list[ObjectMask]] = {}
        for one in self.objects:
            by_item.setdefault(one.item, []).append(one)
        for item, members in sorted(by_item.items()):
            path = self.files.source / f"{item}.png"
            id = self.naming.reference_id(path, self.files.source)
            file = ItemFile(path, item, id, self.files.frame(path, id))
            yield file, tuple(sorted(members, key=lambda one: (one.order, one.shown)))

    def without_records(self) -> ObjectsApart:
        """Without the files."""
        return replace(self, objects=(), files=replace(self.files, paths=(), left_out=()))

    def read(self, record: tuple[ItemFile, tuple[ObjectMask, ...]]) -> Iterator[Imported]:
        """The prediction of an item."""
        item, members = record
        found = [self._instance(one) for one in members]
        problems = [one for one in found if isinstance(one, ImportFinding)]
        instances = [one for one in found if not isinstance(one, ImportFinding)]
        sizes = {size for _, size in instances}
        if len(sizes) > 1:
            listed = ", ".join(f"{height} x {width}" for height, width in sorted(sizes))
            words = f"{item.shown}: its objects' masks are of several sizes: {listed}"
            problems.append(ImportFinding("SIZE-MISMATCH", words, listed, "one size"))
        if problems:
            yield refused(item.reference_id, item.shown, *problems, carried=item.carried)
            return
        ((height, width),) = sizes
        indexed = in_one_mask(
            [one for one, _ in instances], height, width, self.overlaps, self.over, item.shown
        )
        yield item.imported(indexed.mask, indexed.segments, indexed.findings)

    def _instance(
        self, one: ObjectMask
    ) -> tuple[AnnotatedInstance, tuple[int, int]] | ImportFinding:
        linked = linked_out(one.path, one.shown, self.files.boundary)
        data = linked or read(one.path, one.shown)
        if isinstance(data, ImportFinding):
            return data
        try:
            mask = decode_mask(data)
        except MaskRefused as refusal:
            return finding_of(refusal, one.shown)
        areas = Ids.of_mask(mask).areas
        values = [value for value in areas if value]
        if len(values) > 1:
            return unreadable(
                f"{one.shown}: it holds {listed_with_areas(values, areas)}, and the mask of an "
                "object has one value beside 0; several objects in one PNG: leave --objects-apart "
                "out",
                f"{len(values)} values",
                "0 and one other",
            )
        entry = self.labels.get(one.label)
        painted = cut_out(mask.pixels > 0, one.score)
        metadata = {**(entry.metadata if entry else {}), "source_file": one.shown}
        return AnnotatedInstance(one.label, painted, metadata), mask.pixels.shape


def _named(path: Path, shown: str, label: str, labels: Iterable[str]) -> ObjectMask | None:
    """The object that a file's name says it is; None where it says none."""
    stroke = _STROKE.fullmatch(path.stem)
    folder = PurePosixPath(shown).parent
    if stroke is not None:
        task = folder / f"task-{stroke[1]}-annotation-{stroke[2]}"
        return ObjectMask(path, shown, task.as_posix(), stroke[5], int(stroke[6]))
    numbered = _NUMBERED.fullmatch(path.stem)
    if numbered is None or (not label and not path.stem.endswith(f"_{numbered[2]}")):
        return None
    name, order = numbered[1], int(numbered[2])
    if label:
        return ObjectMask(path, shown, (folder / name).as_posix(), label, order)
    known = [one for one in labels if name.endswith(f"_{one}")]
    own = max(known, key=len, default=name.rpartition("_")[2])
    item = name.removesuffix(f"_{own}")
    if not own or item == name or not item:
        return None
    return ObjectMask(path, shown, (folder / item).as_posix(), own, order)


def _listed(table: Path, source: Path, label: str) -> Iterator[ObjectMask]:
    """The objects of a table.

    Raises:
        SettingsError: naming the row that is malformed.
    """
    for order, (location, row) in enumerate(read_rows(table)):
        cells = {name: str(row.get(name) or "").strip() for name in ("file", "item", "label")}
        cells["label"] = cells["label"] or label
        missing = [name for name, value in cells.items() if not value]
        if missing:
            raise SettingsError(
                f"{table}, {location}: there is no {missing[0]} (columns: {', '.join(row)}; "
                "expected file, item, label)"
            )
        file, given = PurePosixPath(cells["file"]), row.get("score")
        for one in (file, PurePosixPath(cells["item"])):
            if one.is_absolute() or ".." in one.parts or "\0" in str(one):
                raise SettingsError(f"{table}, {location}: {brief(str(one))} is not in {source}")
        score = None if given in (None, "") else _score(str(given), table, location)
        path = source / file
        yield ObjectMask(path, file.as_posix(), cells["item"], cells["label"], order, score)


def _score(text: str, table: Path, location: str) -> float:
    try:
        value = number(float(text))
    except ValueError:
        value = None
    if value is None:
        raise SettingsError(f"{table}, {location}: the score is {brief(text)}, expected a number")
    return value
