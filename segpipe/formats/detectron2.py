"""What detectron2's evaluators write: COCO's formats, with two habits of their own.

``COCOEvaluator`` writes ``coco_instances_results.json``, a list of COCO results. What it keeps
before that, a list of ``{"image_id", "instances"}``, goes into ``instances_predictions.pth``, which
people save as ``instances_predictions.json``; there, ``category_id`` is the place of the category
among the sorted ids of the data set until evaluation replaces it. ``COCOPanopticEvaluator`` writes
``predictions.json``, panoptic annotations without areas.
(detectron2 0.6, ``evaluation/coco_evaluation.py`` and ``panoptic_evaluation.py``.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from segpipe.errors import SettingsError
from segpipe.formats.coco import CocoCategory, categories_of
from segpipe.formats.coco_panoptic import CocoPanoptic
from segpipe.formats.coco_results import CocoResults
from segpipe.formats.identifiers import Over256
from segpipe.formats.imported import Format
from segpipe.formats.json_values import identity, kind_of, read_json
from segpipe.formats.overlaps import Overlaps

_PANOPTIC = "predictions.json"
_INSTANCES = ("coco_instances_results.json", "instances_predictions.json")
_CONTIGUOUS, _DATASET = "contiguous", "dataset"


def open_detectron2(
    source: Path,
    categories: Path | None,
    images: Path | None,
    annotations: Path | None,
    overlaps: Overlaps,
    over: Over256,
    category_ids: str | None = None,
    *,
    allowed: Sequence[str | PathLike[str]] = (),
) -> Format:
    """Open instances (a JSON file) or panoptic predictions (a folder of PNGs).

    Args:
        categories: a JSON file with categories; instances need one.
        images: one with images: file names and sizes.
        annotations: ``predictions.json``, where it is not in the folder.
        overlaps: which instance is on top.
        over: what is done with more than 256 ids.
        category_ids: ``contiguous`` or ``dataset``; None to take what the file fits.
        allowed: folders that links may lead into.

    Raises:
        SettingsError: if a file cannot be read or lacks what its form requires, or if ids of
            categories can be read in two ways.
    """
    content = None if source.is_dir() else read_json(source)
    panoptic = source.is_dir() or (isinstance(content, dict) and "annotations" in content)
    if panoptic and category_ids is not None:
        raise SettingsError("'category_ids' is for instances: panoptic predictions have COCO's")
    if source.is_dir():
        said = annotations or source / _PANOPTIC
        if not said.is_file():
            beside = next((source / name for name in _INSTANCES if (source / name).is_file()), None)
            hint = f"; for its instances: {beside}" if beside else ""
            raise SettingsError(f"there is no {said}: give it with --annotations FILE{hint}")
        return CocoPanoptic.open(source, said, categories, over, allowed=allowed)
    if panoptic:
        return CocoPanoptic.open(source.parent, source, categories, over, allowed=allowed)
    if categories is None:
        raise SettingsError("instances need --categories FILE: their names, from the ground truth")
    named = categories_of(read_json(categories), categories)
    if not named:
        raise SettingsError(f"{categories} holds no categories")
    results, empty, per_image = _instances(content, source)
    if (category_ids or _said(results, named, source, per_image)) == _CONTIGUOUS:
        results = [_with_dataset_id(one, _places(named)) for one in results]
    return CocoResults.of(
        results, named, images, overlaps, over, empty=False, without_results=empty
    )


def _instances(content: object, path: Path) -> tuple[list[object], list[int | str], bool]:
    """The results, the images without any, and whether they were listed per image."""
    if not isinstance(content, list):
        raise SettingsError(f"{path} is {kind_of(content)}, expected a list of instances")
    results: list[object] = []
    empty: list[int | str] = []
    per_image = False
    for one in content:
        members = one.get("instances") if isinstance(one, dict) else None
        if not isinstance(members, list):
            results.append(one)
            continue
        per_image = True
        id = identity(one.get("image_id"))
        if not members and id is not None:
            empty.append(id)
        results += [{"image_id": id, **m} if isinstance(m, dict) else m for m in members]
    return results, empty, per_image


def _places(categories: Mapping[int, CocoCategory]) -> dict[int, int]:
    """Contiguous id -> id in the data set; only things are counted where stuff is told apart."""
    things = sorted(id for id, one in categories.items() if one.isthing is not False)
    return dict(enumerate(things))


def _said(
    results: Sequence[object],
    categories: Mapping[int, CocoCategory],
    path: Path,
    per_image: bool,
) -> str:
    """Which ids the results have.

    Raises:
        SettingsError: if they can be either, and mean different categories.
    """
    if not per_image:
        return _DATASET
    found = {identity(one.get("category_id")) for one in results if isinstance(one, dict)}
    used = {id for id in found if isinstance(id, int)}
    places = _places(categories)
    if not used <= places.keys():
        return _DATASET
    if used <= categories.keys() and any(places[id] != id for id in used):
        raise SettingsError(
            f"{path}: category_id can be the id in --categories, or its place among them from 0, "
            "as detectron2 counts until it evaluates: say --category-ids dataset or contiguous"
        )
    return _CONTIGUOUS


def _with_dataset_id(one: object, places: Mapping[int, int]) -> Any:
    if not isinstance(one, dict):
        return one
    id = identity(one.get("category_id"))
    return {**one, "category_id": places.get(id, id) if isinstance(id, int) else id}
