"""The asset that publishes to each destination."""

from __future__ import annotations

from dataclasses import dataclass

from segpipe.publishing.destinations import DESTINATIONS, DestinationEntry
from segpipe.settings import Settings


@dataclass(frozen=True)
class DestinationAsset:
    """The asset of the predictions published to a destination.

    Attributes:
        destination: its name in the settings.
        asset: name of the asset and of its step.
        pool: limits concurrent uploads; ``default_limit`` in dagster.yaml applies to a pool without
            a limit of its own.
        kind: shown on the asset.
        phrase: where the predictions are published, for descriptions.
    """

    destination: str
    asset: str
    pool: str
    kind: str
    phrase: str


def destination_assets(settings: Settings) -> list[DestinationAsset]:
    """The assets of a root's destinations, in the order of the settings."""
    return [_asset(DESTINATIONS[name]) for name in settings.destinations]


def _asset(entry: DestinationEntry) -> DestinationAsset:
    pool = f"segpipe_{entry.name}"
    return DestinationAsset(entry.name, entry.asset, pool, entry.kind, f"to {entry.title}")
