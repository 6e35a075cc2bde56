"""Label Studio: a JSON export of tasks, with brush strokes as run lengths.

Read are strokes (``brushlabels``, or ``brush`` with the ``labels`` of the same region) of JSON and
JSON-MIN exports; the later is on top. Other regions are left out and counted. An item is named by
the task's image, without the eight digits that Label Studio puts before uploaded files.
(Label Studio 1.x; label_studio_sdk 2.1, ``converter/brush.py``.)
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pyarrow as pa

from segpipe.errors import SettingsError
from segpipe.formats.annotated_instances import AnnotatedInstance, cut_out, in_one_mask, left_out
from segpipe.formats.brush_runs import decode_brush
from segpipe.formats.coco import unreadable
from segpipe.formats.folder_scan import LeftOut
from segpipe.formats.identifiers import Over256
from segpipe.formats.imported import Imported, RecordSource, refused
from segpipe.formats.json_values import brief, identity, kind_of, number, read_json
from segpipe.formats.overlaps import Overlaps
from segpipe.formats.run_lengths import RunLengthError
from segpipe.masks.decoding import MAX_PIXELS

_UPLOADED = re.compile(r"[0-9a-f]{8}-")
_Json = Mapping[str, Any]


class Given(StrEnum):
    """Whose regions of a task are imported."""

    ANNOTATIONS = "annotations"
    PREDICTIONS = "predictions"


@dataclass(frozen=True)
class LabelledTask:
    """One annotation or prediction of a task.

    Attributes:
        place: the task's position in the file, for messages.
        regions: its result.
        size: height and width, where the task says them: those of an image without a stroke.
    """

    place: int
    task_id: str | None
    item: str
    by: str | None
    regions: tuple[Any, ...]
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class LabelStudio(RecordSource):
    """The annotations, or predictions, of an export's tasks."""

    tasks: tuple[LabelledTask, ...]
    overlaps: Overlaps
    over: Over256
    left_out: tuple[LeftOut, ...] = ()

    @classmethod
    def open(cls, path: Path, given: Given, overlaps: Overlaps, over: Over256) -> LabelStudio:
        """Read the export.

        Raises:
            SettingsError: if it cannot be read, is none, or has nothing of what was asked for.
        """
        content = read_json(path)
        if not isinstance(content, list) or not all(isinstance(one, dict) for one in content):
            raise SettingsError(
                f"{path} is {kind_of(content)}, expected the list of tasks that Label Studio "
                "exports as JSON or JSON-MIN"
            )
        tasks: list[LabelledTask] = []
        others: list[LeftOut] = []
        for place, task in enumerate(content):
            found, without = _of_task(place, task, given)
            tasks += found
            others += without
        if not tasks:
            other = next(one for one in Given if one is not given)
            hint = f"; --of {other}?" if any(task.get(other) for task in content) else ""
            raise SettingsError(f"{path}: no task has {given}{hint}")
        return cls(tuple(tasks), overlaps, over, tuple(others))

    @property
    def carried(self) -> Mapping[str, pa.DataType]:
        """The task's id, and who or which model annotated it."""
        return {"task_id": pa.string(), "annotated_by": pa.string()}

    def __len__(self) -> int:
        return len(self.tasks)

    def records(self) -> Iterator[LabelledTask]:
        """The annotations, in the file's order."""
        return iter(self.tasks)

    def without_records(self) -> LabelStudio:
        """Without the tasks."""
        return replace(self, tasks=(), left_out=())

    def read(self, record: LabelledTask) -> Iterator[Imported]:
        """The prediction of an annotation."""
        shown = f"task {record.task_id or record.place} ({record.item})"
        carried = {"task_id": record.task_id, "annotated_by": record.by}
        try:
            (height, width), instances, others = _instances(record)
        except RunLengthError as error:
            finding = unreadable(f"{shown}: {error}", str(error))
            yield refused(record.item, shown, finding, carried=carried)
            return
        indexed = in_one_mask(instances, height, width, self.overlaps, self.over, shown)
        yield Imported(
            record.item,
            shown,
            indexed.mask,
            indexed.segments,
            (*left_out(others, shown), *indexed.findings),
            height=height,
            width=width,
            carried=carried,
        )


def _of_task(place: int, task: _Json, given: Given) -> tuple[list[LabelledTask], list[LeftOut]]:
    """What is imported of a task, and what is left out."""
    id = identity(task.get("id"))
    task_id = None if id is None else str(id)
    data = task.get("data")
    item = _item(data if isinstance(data, dict) else task, task_id or str(place))
    said = task.get(given)
    if data is None and given is Given.ANNOTATIONS and "annotations" not in task:
        by = identity(task.get("annotator"))
        minimal = tuple(_of_minimal(task))
        return [LabelledTask(place, task_id, item, None if by is None else str(by), minimal)], []
    if not isinstance(said, list) or not said:
        return [], [LeftOut(item, f"tasks without {given}")]
    found, others = [], []
    for one in said:
        result = one.get("result") if isinstance(one, dict) else None
        if isinstance(one, dict) and one.get("was_cancelled"):
            others.append(LeftOut(item, "tasks that were skipped"))
            continue
        by = one.get("completed_by", one.get("model_version")) if isinstance(one, dict) else None
        by = by.get("email", by.get("id")) if isinstance(by, dict) else by
        regions = tuple(result) if isinstance(result, list) else (result,)
        said_by = None if by is None else str(by)
        found.append(LabelledTask(place, task_id, item, said_by, regions, _size(data)))
    return found, others


def _size(data: object) -> tuple[int, int] | None:
    """Height and width, as an export of segpipe has them in a task's data."""
    sides = [identity(data.get(name)) for name in ("height", "width")] if (
        isinstance(data, dict)
    ) else []  # fmt: skip
    known = [side for side in sides if isinstance(side, int) and side > 0]
    return (known[0], known[1]) if len(known) == 2 and known[0] * known[1] <= MAX_PIXELS else None


def _of_minimal(task: _Json) -> Iterator[_Json]:
    """The regions of a task of JSON-MIN, as the full form has them."""
    for members in task.values():
        for one in members if isinstance(members, list) else ():
            if isinstance(one, dict) and "original_width" in one:
                kind = next((name for name in one if name.endswith("labels")), "")
                yield {**one, "type": kind, "value": one}


def _item(data: _Json, otherwise: str) -> str:
    """The name of the task's image; of a task that segpipe exported, its reference id."""
    if isinstance(data.get("reference_id"), str) and data["reference_id"]:
        return str(data["reference_id"])
    texts = [value for value in data.values() if isinstance(value, str) and value]
    url = data.get("image") if isinstance(data.get("image"), str) else None
    url = url or next((one for one in texts if "/" in one or "." in one), None)
    if not url:
        return otherwise
    parts = urlsplit(url)
    local = parse_qs(parts.query).get("d", [])  # of local files: /data/local-files/?d=PATH
    path = PurePosixPath(local[0] if local else unquote(parts.path))
    uploaded = "/upload/" in parts.path
    return (_UPLOADED.sub("", path.stem, count=1) if uploaded else path.stem) or otherwise


def _instances(
    task: LabelledTask,
) -> tuple[tuple[int, int], list[AnnotatedInstance], Counter[str]]:
    """Size, instances, and what is no stroke.

    Raises:
        RunLengthError: naming the region that is malformed.
    """
    regions = task.regions
    labels: dict[str, list[str]] = {}
    for region in regions:
        if isinstance(region, dict) and region.get("type") == "labels":
            labels.setdefault(str(region.get("id")), []).extend(_names(region, "labels"))
    instances: list[AnnotatedInstance] = []
    others: Counter[str] = Counter()
    sizes: set[tuple[int, int]] = set()
    for place, region in enumerate(regions):
        if not isinstance(region, dict):
            raise RunLengthError(f"region {place} is {brief(region)}, expected an object")
        kind, value = region.get("type"), region.get("value")
        if not isinstance(value, dict) or value.get("format") != "rle":
            if kind != "labels":
                others[f"of type {kind}"] += 1
            continue
        names = _names(region, "brushlabels") or labels.get(str(region.get("id")), [])
        try:
            instance, size = _instance(region, value, names)
        except RunLengthError as error:
            raise RunLengthError(f"region {place}: {error}") from None
        instances.append(instance)
        sizes.add(size)
    if not sizes and not others and task.size is not None:
        sizes.add(task.size)
    if len(sizes) != 1:
        listed = ", ".join(f"{height} x {width}" for height, width in sorted(sizes))
        raise RunLengthError(
            f"its regions are of several sizes: {listed}" if sizes
            else "it has no brush stroke, and so no size"
        )  # fmt: skip
    return sizes.pop(), instances, others


def _instance(
    region: _Json, value: _Json, names: list[str]
) -> tuple[AnnotatedInstance, tuple[int, int]]:
    height, width = identity(region.get("original_height")), identity(region.get("original_width"))
    if not isinstance(height, int) or not isinstance(width, int) or min(height, width) < 1:
        raise RunLengthError(f"original_height and original_width are {height!r} and {width!r}")
    if height * width > MAX_PIXELS:
        raise RunLengthError(f"{height} x {width} is over the limit of {MAX_PIXELS:,} pixels")
    if len(names) != 1:
        raise RunLengthError(f"it has {len(names)} labels ({', '.join(names)}), expected one")
    rle = value.get("rle")
    mask = decode_brush(rle if isinstance(rle, list) else [-1], height, width)
    metadata = {} if region.get("id") is None else {"region_id": str(region["id"])}
    return AnnotatedInstance(names[0], cut_out(mask, number(region.get("score"))), metadata), (
        height,
        width,
    )


def _names(region: _Json, key: str) -> list[str]:
    value = region.get("value")
    given = value.get(key) if isinstance(value, dict) else None
    return [one for one in given if isinstance(one, str)] if isinstance(given, list) else []
