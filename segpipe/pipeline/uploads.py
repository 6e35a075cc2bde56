"""The upload asset of each destination: how it is called and what is said of it."""

from __future__ import annotations

from dataclasses import dataclass

from segpipe.settings import CATALOG, NUCLEUS, Settings


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


UPLOADS = {
    CATALOG: Upload(
        CATALOG, "published_predictions", "segpipe_catalog", "deltalake", "to the catalog"
    ),
    NUCLEUS: Upload(
        NUCLEUS, "nucleus_predictions", "segpipe_nucleus", "scale_nucleus", "to Scale Nucleus"
    ),
}


def uploads_of(settings: Settings) -> list[Upload]:
    """The uploads of a root, in the order of its destinations."""
    return [UPLOADS[name] for name in settings.destinations]
