"""A root in a Dagster code location: its key prefix, and the keys and names that follow."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any

import dagster as dg

from segpipe.errors import SettingsError
from segpipe.pipeline.column_lineage import column_lineage, with_sources
from segpipe.pipeline.partitions import MODEL_RUNS, Grid, first_day, last_day
from segpipe.pipeline.resources import ROOT, RootResource
from segpipe.pipeline.steps import StepProgress, no_progress
from segpipe.pipeline.table_metadata import table_metadata
from segpipe.pipeline.upstream import ManifestDep
from segpipe.root import Root
from segpipe.validation.inputs import validation_key

# What Dagster allows in names of jobs, sensors, pools and the like. A double underscore only joins
# parts: otherwise the prefixes "a_b" and ["a", "b"] would give the same names.
_NAME = re.compile(r"[A-Za-z0-9]+(_[A-Za-z0-9]+)*")

Event = dg.MaterializeResult[Any] | dg.AssetCheckResult | dg.AssetObservation


@dataclass(frozen=True)
class PrefixedRoot:
    """One root in a code location, with the key prefix of its assets.

    A code location can hold several roots, each with its own key prefix. Within segpipe, assets
    have short names (``validated_masks``); this class turns them into keys and names that are
    unique in the code location.

    Attributes:
        root: the root whose partitions the assets are.
        key_prefix: prepended to all asset keys and, joined by ``__``, to all other names.
        progress: called with a step's progress; the command line draws its bar with it.
        pooled: whether uploads wait for a slot in their pool. A run outside Dagster's daemon does
            not: nothing would free the slot of a run that was killed.
        manifest_deps: assets the manifests depend on.
        begins: the first day with a partition, where it is known already; None to look for it.

    Raises:
        SettingsError: if the prefix has parts that Dagster does not allow in names.
    """

    root: Root
    key_prefix: tuple[str, ...] = ()
    progress: StepProgress = no_progress
    pooled: bool = True
    begins: date | None = None
    manifest_deps: tuple[ManifestDep, ...] = ()

    def __post_init__(self) -> None:
        for part in self.key_prefix:
            if not _NAME.fullmatch(part):
                raise SettingsError(
                    f"the key prefix {part!r} cannot be used: Dagster's names have letters, "
                    "digits and underscores; here no two beside each other, nor at an end"
                )

    def root_with_current_policies(self) -> Root:
        """The root with its policies read again from the settings file.

        Raises:
            SettingsError: if the file is not valid any more.
        """
        return Root(self.root.settings.with_current_policies())

    def root_of(self, resources: Any) -> Root:
        """The root with the workers that a run's resource names.

        Raises:
            SettingsError: if its scheduler has no address.
        """
        given: RootResource = getattr(resources, self.name(ROOT))
        return Root(self.root.settings.with_workers(given.workers, given.scheduler))

    @cached_property
    def model_runs(self) -> dg.DynamicPartitionsDefinition:
        """The model runs, each registered when its first manifest lands."""
        return dg.DynamicPartitionsDefinition(name=self.name(MODEL_RUNS))

    @cached_property
    def partitions(self) -> Grid:
        """All days from the first to today, for every registered model run.

        Raises:
            StorageError: if the landing folder cannot be listed.
        """
        return Grid(self.root, self.days[0], self.model_runs)

    @property
    def days(self) -> tuple[date, date]:
        """The first and the last day that have a partition at present, inclusive."""
        return self._first_day, last_day(self.root.settings)

    @cached_property
    def _first_day(self) -> date:
        return first_day(self.root) if self.begins is None else self.begins

    @cached_property
    def _policy_version(self) -> str:
        """A digest of the rules and of whose predictions are true, part of every code version.

        Dagster has one code version for all partitions, so the digest covers every model run's own
        rules; a rerun still reads no mask of a model run whose rules did not change.
        """
        policies = self.root.settings.policies
        rules = {name: validation_key(policy) for name, policy in policies.by_model_run.items()}
        common = validation_key(policies.common)
        own = sorted((name, rule) for name, rule in rules.items() if rule != common)
        truth = self.root.settings.ground_truth
        compared = [truth] if truth else []
        return hashlib.sha256(repr([common, *own, *compared]).encode()).hexdigest()[:8]

    def name(self, name: str) -> str:
        """The prefixed name of a job, step, sensor, schedule, pool or group."""
        return "_".join(["__".join(self.key_prefix), name]) if self.key_prefix else name

    def key(self, asset: dg.AssetKey | str) -> dg.AssetKey:
        """The prefixed key of a segpipe asset."""
        path = [asset] if isinstance(asset, str) else asset.path
        return dg.AssetKey([*self.key_prefix, *path])

    def specs(self, specs: Iterable[dg.AssetSpec]) -> list[dg.AssetSpec]:
        """Asset specs with prefixed keys and group, their partitions and full code version."""
        return [
            spec.replace_attributes(
                key=self.key(spec.key),
                deps=[self.key(dep.asset_key) for dep in spec.deps],
                group_name=self.name(self.root.settings.group),
                owners=list(self.root.settings.owners),
                tags={**spec.tags, **self.root.settings.tags},
                metadata=with_sources(
                    {
                        **spec.metadata,
                        **table_metadata(spec.key.path[-1], self.root.settings, self.key),
                    }
                ),
                code_version=f"{spec.code_version}.{self._policy_version}",
                partitions_def=self.partitions,
            )
            for spec in specs
        ]

    def asset_names(self, keys: Iterable[dg.AssetKey]) -> set[str]:
        """Unprefixed names of this root's assets among some keys."""
        depth = len(self.key_prefix)
        return {key.path[depth] for key in keys if tuple(key.path[:depth]) == self.key_prefix}

    def with_keys(self, events: Iterable[Event]) -> Iterator[Event]:
        """A step's events about unprefixed assets, with prefixed keys.

        Raises:
            ValueError: for an event without an asset key.
        """
        for event in events:
            if event.asset_key is None:
                raise ValueError(f"of which asset is {event!r}?")
            key = self.key(event.asset_key)
            match event:
                case dg.MaterializeResult():
                    metadata = dict(event.metadata or {})
                    view = str(metadata.get("published_as", ""))
                    lineage = column_lineage(event.asset_key.path[-1], self.key, view)
                    if lineage is not None:
                        metadata["dagster/column_lineage"] = lineage
                    yield dg.MaterializeResult(
                        key, metadata=metadata, data_version=event.data_version
                    )
                case dg.AssetCheckResult():
                    yield event._replace(asset_key=key)
                case dg.AssetObservation():
                    yield event._replace(asset_key=key)
