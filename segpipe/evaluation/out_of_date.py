"""Whether a stored evaluation is of the ground truth as it is now."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Protocol

from segpipe.errors import TableError
from segpipe.evaluation.of_partition import rejected_ids, validated_ids
from segpipe.evaluation.stored import EvaluationStore, StoredEvaluation
from segpipe.storage.files import Folder
from segpipe.validation.ground_truth import GroundTruth


class VersionedTruth(GroundTruth, Protocol):
    """Ground truth that tells one state of itself from another."""

    @property
    def state(self) -> str:
        """The same, and the truth is the same."""


def changed_truth(store: EvaluationStore, validated: Folder, truth: VersionedTruth) -> str | None:
    """A digest (hex) of the ground truth of a partition's items, where the partition was not
    evaluated with it; None where its evaluation is up to date, or there is no ground truth.

    Args:
        store: of the partition's evaluations.
        validated: the folder of its validated tables.

    Raises:
        StorageError, TableError, CatalogError: if something cannot be read.
    """
    stored = store.stored()
    if stored is not None:
        inputs = stored.inputs
        if isinstance(inputs, Mapping) and inputs.get("truth") == truth.state:
            return None
        same = _has_truth(stored, truth, validated)
    else:
        same = not any(truth.fingerprints(validated_ids(validated)))
    return None if same else truth_version(validated, truth)


def is_current(
    store: EvaluationStore,
    stored: StoredEvaluation | None,
    inputs: Mapping[str, str],
    truth: GroundTruth,
    validated: Folder,
) -> bool:
    """Whether a stored evaluation is what evaluating again would find; where other items' ground
    truth has changed, that is noted, so that the items are not looked at the next time.

    Args:
        inputs: of the evaluation, as they are now.
        validated: the folder of the partition's validated tables.

    Raises:
        StorageError, CatalogError: if something cannot be read, or be noted.
    """
    if stored is None or not isinstance(stored.inputs, Mapping):
        return False
    if stored.inputs == inputs:
        return True
    if stored.inputs.get("predictions") != inputs["predictions"]:
        return False
    try:
        same = _has_truth(stored, truth, validated)
    except TableError:
        return False
    if same:
        store.note_inputs(stored, inputs)
    return same


def _has_truth(stored: StoredEvaluation, truth: GroundTruth, validated: Folder) -> bool:
    """Whether an evaluation's items have the same ground truth now, and rejected ones that it does
    not hold have none.
    """
    rows = stored.table("items", ["reference_id", "truth_fingerprint"])
    ids: list[str]
    before: list[str | None]
    ids, before = (rows[name].to_pylist() for name in rows.column_names)
    known = {*ids}
    others = [id for id in rejected_ids(validated) if id not in known]
    return before == [*truth.fingerprints(ids)] and not any(truth.fingerprints(others))


def truth_version(validated: Folder, truth: GroundTruth) -> str:
    """A digest (hex) of the ground truth of a partition's validated items.

    Raises:
        StorageError, CatalogError: if something cannot be read.
    """
    ids = validated_ids(validated)
    found = zip(ids, truth.fingerprints(ids), strict=True)
    pairs = sorted((id, fingerprint) for id, fingerprint in found if fingerprint is not None)
    return hashlib.sha256(repr(pairs).encode()).hexdigest()
