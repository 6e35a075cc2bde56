"""The upload asset of each destination: how it is called and what is said of it."""

from __future__ import annotations

from dataclasses import dataclass

from segpipe.publishing.destinations import DESTINATIONS, DestinationEntry
from segpipe.settings import Settings


@dataclass(frozen=True)
class Upload:
    """The asset of what is published to a destination, and the step that publishes.

    Attributes:
        destination: as the settings call it.
        asset: name of the asset and of its step.
        pool: limits uploads at a time; by ``default_limit`` in dagster.yaml where it has no limit
            of its own.
        kind: shown on the asset.
        words: where the predictions are published, in words.
    """

    destination: str
    asset: str
    pool: str
    kind: str
    words: str


def uploads_of(settings: Settings) -> list[Upload]:
    """The uploads of a root, in the order of its destinations."""
    return [_upload(DESTINATIONS[name]) for name in settings.destinations]


def _upload(entry: DestinationEntry) -> Upload:
    pool = f"segpipe_{entry.name}"
    return Upload(entry.name, entry.asset, pool, entry.kind, f"to {entry.title}")
