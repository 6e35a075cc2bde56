"""What stands left of the manifests: the assets that deliver them."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import dagster as dg

from segpipe.errors import SettingsError, nearest
from segpipe.pipeline.partitions import DATE

#: How an asset's partitions correspond to the manifests'.
Correspondence = Literal["day", "cell", "none"]
_CORRESPONDENCES = ("day", "cell", "none")


@dataclass(frozen=True)
class ManifestDep:
    """An asset that manifests depend on: inference, a model, a set of images.

    Attributes:
        asset: its key, such as ``vision/inference``.
        partitions: ``day`` if it has daily partitions, ``cell`` if it has the grid of days and
            model runs (:func:`segpipe.pipeline.partitions_of`), ``none`` if it has none.
        follow: request a partition, from its manifest to its destinations, when this asset is
            materialized. By default an asset with partitions is followed; another would request
            all of them.

    Raises:
        SettingsError: if ``partitions`` is none of these.
    """

    asset: str
    partitions: Correspondence = "none"
    follow: bool | None = None

    def __post_init__(self) -> None:
        if self.partitions not in _CORRESPONDENCES:
            raise SettingsError(
                f"manifest_deps: partitions of {self.asset} is {self.partitions!r}"
                f"{nearest(self.partitions, _CORRESPONDENCES)}"
            )

    @property
    def key(self) -> dg.AssetKey:
        """Its key."""
        return dg.AssetKey.from_user_string(self.asset)

    @property
    def followed(self) -> bool:
        """Whether its materializations request partitions."""
        return self.partitions != "none" if self.follow is None else self.follow

    def dep(self) -> dg.AssetDep:
        """Dagster's dependency."""
        return dg.AssetDep(self.key, partition_mapping=self._mapping())

    def _mapping(self) -> dg.PartitionMapping | None:
        if self.partitions == "none":
            return None
        if self.partitions == "cell":
            return dg.IdentityPartitionMapping()
        with warnings.catch_warnings():
            # A beta feature of Dagster; tests cover what is used here.
            warnings.simplefilter("ignore", dg.BetaWarning)
            return dg.MultiToSingleDimensionPartitionMapping(DATE)


def follow(deps: Sequence[ManifestDep]) -> dg.AutomationCondition[Any] | None:
    """Request a manifest when an asset it follows was materialized; None if it follows none."""
    keys = [dep.key for dep in deps if dep.followed]
    if not keys:
        return None
    condition = dg.AutomationCondition
    updated = condition.any_deps_match(condition.newly_updated()).allow(
        dg.AssetSelection.assets(*keys)
    )
    waiting = condition.any_deps_in_progress() | condition.in_progress()
    return (updated.since_last_handled() & ~waiting).with_label("what delivers it was materialized")


def follow_within_run(keys: Iterable[dg.AssetKey]) -> dg.AutomationCondition[Any]:
    """Request an asset together with one it is made of."""
    condition = dg.AutomationCondition
    return condition.any_deps_match(condition.will_be_requested()).allow(
        dg.AssetSelection.assets(*keys)
    )
