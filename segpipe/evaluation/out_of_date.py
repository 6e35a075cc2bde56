"""Whether a stored evaluation is of the ground truth as it is now."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Protocol

from segpipe.evaluation.of_partition import validated_ids
from segpipe.evaluation.stored import EvaluationStore
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
    if stored is None:
        ids = validated_ids(validated)
        before: list[str | None] = [None] * len(ids)
    else:
        inputs = stored.inputs
        if isinstance(inputs, Mapping) and inputs.get("truth") == truth.state:
            return None
        rows = stored.table("items", ["reference_id", "truth_fingerprint"])
        ids, before = (rows[name].to_pylist() for name in rows.column_names)
    return None if before == [*truth.fingerprints(ids)] else truth_version(validated, truth)


def truth_version(validated: Folder, truth: GroundTruth) -> str:
    """A digest (hex) of the ground truth of a partition's validated items.

    Raises:
        StorageError, CatalogError: if something cannot be read.
    """
    ids = validated_ids(validated)
    found = zip(ids, truth.fingerprints(ids), strict=True)
    pairs = sorted((id, fingerprint) for id, fingerprint in found if fingerprint is not None)
    return hashlib.sha256(repr(pairs).encode()).hexdigest()
