"""``segpipe.evaluate``: the predictions of one manifest beside the ground truth of another."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from os import PathLike
from pathlib import Path

import pyarrow.compute as pc

from segpipe.errors import EvaluationError, listed
from segpipe.evaluation.block import Conventions
from segpipe.evaluation.items import (
    NO_ROW,
    Item,
    Missing,
    by_id,
    evaluate_items,
    in_chunks,
)
from segpipe.evaluation.result import Evaluation
from segpipe.evaluation.schemas import EVALUATED, NO_PREDICTION
from segpipe.evaluation.side import only_one, read_sides
from segpipe.manifests.given_files import manifest_files
from segpipe.manifests.manifest import Manifest
from segpipe.manifests.rows import ManifestBatch
from segpipe.manifests.rows_by_item import RowsByItem
from segpipe.masks.fast_path import expecting
from segpipe.names import shown
from segpipe.storage.files import Folder
from segpipe.storage.mask_store import MaskStore
from segpipe.storage.redaction import refusals_without_secrets
from segpipe.storage.sources import AllowedRoots
from segpipe.storage.toml import read_toml
from segpipe.validation.chunk import Validation, shared_list
from segpipe.validation.rules.policy import Policies, Policy
from segpipe.workers.chunks import Workers, seldom_collected

ManifestLike = str | PathLike[str] | Sequence[str | PathLike[str]]
_ITEMS_PER_CHUNK = 256
_NAMED = 5


def evaluate(
    gt: ManifestLike,
    predictions: ManifestLike,
    *,
    boundary: bool = False,
    contours: bool = False,
    merge_stuff: bool = True,
    missing: str = "error",
    policy: str | PathLike[str] | None = None,
    allowed_roots: Sequence[str] = (),
    workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Compare predictions with ground truth, without a root; nothing is stored.

    Args:
        gt: manifest files of the ground truth, or folders of them.
        predictions: those of one model run.
        boundary: Boundary IoU as well, which takes longer.
        contours: F of DAVIS as well, of each class (``numbers["F"]``), which takes long.
        merge_stuff: the stuff Segments of a class are one segment, as is recommended; False for
            panopticapi's numbers of predictions that have several.
        missing: what an item counts for whose prediction is missing, of another size, or rejected
            by the rules: ``error``, ``false-negatives`` (all is missed), or ``leave-out``.
        policy: a TOML file with a ``[policy]`` table, for taxonomy and ignore values.
        allowed_roots: more folders or URLs masks may be read from, besides the manifests' own.
        workers: number of worker processes; 0 means one per processor.
        progress: called with the number of items done and of all items.

    Raises:
        EvaluationError: if there is nothing to compare, or predictions are missing.
        ManifestError: if there is no such manifest, or it cannot be used.
        SettingsError: if the policy, or ``missing``, cannot be used.
        StorageError: if storage fails.
    """
    what = Missing.named(missing)
    rules = Policy()
    if policy is not None:
        written = read_toml(Path(policy))
        with refusals_without_secrets(written):
            rules = Policies.read(written, str(policy)).common
    conventions = Conventions(
        rules.taxonomy, merge_stuff=merge_stuff, boundary=boundary, contours=contours
    )
    with tempfile.TemporaryDirectory(prefix="segpipe-evaluation-") as temporary:
        truth = _Given.open(gt, rules, allowed_roots, Path(temporary, "truth"))
        predicted = _Given.open(predictions, rules, allowed_roots, Path(temporary, "predicted"))
        ids = _ids(truth.rows, predicted.rows, what)
        work = partial(
            _evaluate_chunk,
            truth=truth.validation,
            predicted=predicted.validation,
            conventions=conventions,
            missing=what,
        )
        parts: list[Evaluation] = []
        done = 0
        with expecting(conventions.masks_worth * len(ids)):
            chunks = _chunks(ids, truth.rows, predicted.rows)
            for part in Workers(workers).map(work, chunks, -(-len(ids) // _ITEMS_PER_CHUNK)):
                parts.append(part)
                done += part.items.num_rows
                if progress is not None:
                    progress(done, len(ids))
        notes = _notes(truth.rows, predicted.rows)
    result = replace(Evaluation.together(parts), notes=notes)
    _check(result, what)
    return result


@dataclass(frozen=True)
class _Given:
    """A manifest, and how its rows are judged."""

    rows: RowsByItem
    validation: Validation

    @classmethod
    def open(
        cls, given: ManifestLike, policy: Policy, allowed_roots: Sequence[str], folder: Path
    ) -> _Given:
        names = [given] if isinstance(given, (str, PathLike)) else list(given)
        files = [file for name in names for file in manifest_files(str(name))]
        manifest = Manifest.open(files, policy.limits)
        roots = [*(place.url for place, _, _ in files), *allowed_roots]
        validation = Validation(
            dataset=None,
            model_run=None,
            sources=AllowedRoots(tuple(dict.fromkeys(roots))),
            masks=MaskStore(Folder(str(folder / "masks"))),  # nothing is stored
            policy=policy,
            taxonomy_list=shared_list(manifest),
        )
        folder.mkdir()
        return cls(RowsByItem(manifest, folder), validation)


@dataclass(frozen=True)
class _Chunk:
    """Items with their rows, compact to send to a worker."""

    ids: Sequence[str]
    truth: Sequence[ManifestBatch]
    predicted: Sequence[ManifestBatch]

    def __str__(self) -> str:
        return f"the items {self.ids[0]!r} to {self.ids[-1]!r}"


def _chunks(ids: Sequence[str], truth: RowsByItem, predicted: RowsByItem) -> Iterator[_Chunk]:
    for some in in_chunks(ids, _ITEMS_PER_CHUNK):
        yield _Chunk(some, [*truth.of(some)], [*predicted.of(some)])


@seldom_collected()
def _evaluate_chunk(
    chunk: _Chunk,
    truth: Validation,
    predicted: Validation,
    conventions: Conventions,
    missing: Missing,
) -> Evaluation:
    return evaluate_items(_items(chunk, truth, predicted), conventions, missing)


def _items(chunk: _Chunk, truth: Validation, predicted: Validation) -> Iterator[Item]:
    truths = by_id(read_sides(chunk.truth, truth))
    found = by_id(read_sides(chunk.predicted, predicted))
    for id in chunk.ids:
        yield Item(
            id,
            only_one(truths.get(id, [NO_ROW]), "ground truths"),
            only_one(found.get(id, [NO_ROW]), "predictions"),
        )


def _ids(truth: RowsByItem, predicted: RowsByItem, missing: Missing) -> list[str]:
    """The items of both manifests, those of the ground truth first.

    Raises:
        EvaluationError: if they have no item in common, or predictions are missing.
    """
    absent = [id for id in truth.places if id not in predicted.places]
    if len(absent) == len(truth.places):
        raise EvaluationError(
            f"no item is in both manifests: reference ids of the ground truth are {_few(truth)}, "
            f"those of the predictions {_few(predicted)}"
        )
    if absent and missing is Missing.ERROR:
        raise EvaluationError(
            f"{len(absent)} of {len(truth.places)} items of the ground truth have no prediction: "
            f"{listed([shown(id) for id in absent], 400)}. {_ADVICE}"
        )
    return [*truth.places, *(id for id in predicted.places if id not in truth.places)]


_ADVICE = (
    'Say what they count for: missing="false-negatives" (everything in them is missed) or '
    '"leave-out"'
)


def _few(rows: RowsByItem) -> str:
    ids = [shown(id) for id in [*rows.places][:3]]
    return ", ".join(ids) + (", ..." if len(rows.places) > len(ids) else "")


def _notes(truth: RowsByItem, predicted: RowsByItem) -> list[str]:
    sides = (("ground truth", truth), ("predictions", predicted))
    return [
        f"{rows.nameless} rows of the {side} have no reference id and are left out"
        for side, rows in sides
        if rows.nameless
    ]


def _check(result: Evaluation, missing: Missing) -> None:
    """Raise an error unless something was evaluated, and nothing is missing that may not be."""
    outcome = result.items["outcome"]
    if missing is Missing.ERROR:
        lost = result.items.filter(pc.equal(outcome, NO_PREDICTION))
        if lost.num_rows:
            named = [
                f"{shown(one['reference_id'])}: {one['reason']}"
                for one in lost.slice(0, _NAMED).to_pylist()
            ]
            more = f"; and {lost.num_rows - _NAMED} more" if lost.num_rows > _NAMED else ""
            raise EvaluationError(
                f"{lost.num_rows} predictions cannot be evaluated: {'; '.join(named)}{more}. "
                f"{_ADVICE}"
            )
    if not pc.any(pc.equal(outcome, EVALUATED)).as_py():
        raise EvaluationError("nothing could be evaluated. " + " ".join(result.remarks))
