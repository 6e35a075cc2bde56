"""A root mounted in a Dagster code location, and what its things are called there."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import dagster as dg

from segpipe.errors import SettingsError
from segpipe.pipeline.partitions import MODEL_RUNS, day_by_model_run
from segpipe.pipeline.steps import StepProgress, silent
from segpipe.root import Root
from segpipe.validation.inputs import validation_key

# What Dagster allows in the names of jobs, sensors, pools and the like. Two underscores are kept
# for joining parts: else the prefixes "a_b" and ["a", "b"] would lead to the same names.
_NAME = re.compile(r"[A-Za-z0-9]+(_[A-Za-z0-9]+)*")

Event = dg.MaterializeResult[Any] | dg.AssetCheckResult | dg.AssetObservation


@dataclass(frozen=True)
class Mount:
    """One root's assets in a code location.

    Several roots may be mounted beside each other, each with a key prefix of its own. Within
    segpipe assets are called by their own names (``validated_masks``); a mount turns these into
    keys and names that are unique in the code location.

    Attributes:
        root: the root whose partitions the assets are.
        key_prefix: put before all asset keys, and joined by ``__`` before all other names.
        progress: told how far a step is; the command line draws its bar with it.
        pooled: whether uploads wait for a place in their pool. A run outside Dagster's daemon does
            not: nobody would give back the place of one that was killed.

    Raises:
        SettingsError: if the prefix has parts Dagster does not allow in names.
    """

    root: Root
    key_prefix: tuple[str, ...] = ()
    progress: StepProgress = silent
    pooled: bool = True

    def __post_init__(self) -> None:
        for part in self.key_prefix:
            if not _NAME.fullmatch(part):
                raise SettingsError(
                    f"the key prefix {part!r} cannot be used: Dagster's names have letters, "
                    "digits and underscores; here no two beside each other, nor at an end"
                )

    def root_of_now(self) -> Root:
        """The root with the policies its settings file has now.

        Raises:
            SettingsError: if the file cannot be used any more.
        """
        return Root(self.root.settings.with_policies_of_now())

    @cached_property
    def model_runs(self) -> dg.DynamicPartitionsDefinition:
        """Model runs, registered when their first manifest arrives."""
        return dg.DynamicPartitionsDefinition(name=self.name(MODEL_RUNS))

    @cached_property
    def partitions(self) -> dg.MultiPartitionsDefinition:
        """All days from the first to tomorrow, for every registered model run."""
        return day_by_model_run(self.root.settings.first_date, self.model_runs)

    @cached_property
    def _policy_version(self) -> str:
        """Another one when rules change: a part of every code version.

        Dagster knows one code version for all partitions, so a model run's own rules count for all;
        a rerun reads no mask where they did not change.
        """
        policies = self.root.settings.policies
        rules = {name: validation_key(policy) for name, policy in policies.by_model_run.items()}
        common = validation_key(policies.common)
        own = sorted((name, rule) for name, rule in rules.items() if rule != common)
        return hashlib.sha256(repr([common, *own]).encode()).hexdigest()[:8]

    def name(self, name: str) -> str:
        """What a job, step, sensor, schedule, pool or group is called."""
        return "_".join(["__".join(self.key_prefix), name]) if self.key_prefix else name

    def key(self, asset: dg.AssetKey | str) -> dg.AssetKey:
        """The key of an asset of segpipe."""
        path = [asset] if isinstance(asset, str) else asset.path
        return dg.AssetKey([*self.key_prefix, *path])

    def specs(self, specs: Iterable[dg.AssetSpec]) -> list[dg.AssetSpec]:
        """Assets as they are called here, in their group and with their partitions."""
        return [
            spec.replace_attributes(
                key=self.key(spec.key),
                deps=[self.key(dep.asset_key) for dep in spec.deps],
                group_name=self.name(spec.group_name or "segpipe"),
                code_version=f"{spec.code_version}.{self._policy_version}",
                partitions_def=self.partitions,
            )
            for spec in specs
        ]

    def selected(self, keys: Iterable[dg.AssetKey]) -> set[str]:
        """Names of the assets of segpipe among the keys a step is to materialize."""
        depth = len(self.key_prefix)
        return {key.path[depth] for key in keys if tuple(key.path[:depth]) == self.key_prefix}

    def placed(self, events: Iterable[Event]) -> Iterator[Event]:
        """What a step reports of assets by their own names, with their keys here."""
        for event in events:
            if event.asset_key is None:
                raise ValueError(f"of which asset is {event!r}?")
            key = self.key(event.asset_key)
            match event:
                case dg.MaterializeResult():
                    yield dg.MaterializeResult(
                        key, metadata=event.metadata, data_version=event.data_version
                    )
                case dg.AssetCheckResult():
                    yield event._replace(asset_key=key)
                case dg.AssetObservation():
                    yield dg.AssetObservation(
                        key, metadata=event.metadata, partition=event.partition
                    )
