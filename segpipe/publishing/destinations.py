"""The destinations predictions can be published to, by name.

Settings, command line, front door and Dagster's assets go by this one table. To add a destination,
write its package beside this file, with a class of the Destination protocol, and enter it here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from segpipe.errors import SettingsError

if TYPE_CHECKING:
    from segpipe.publishing.destination import Destination
    from segpipe.storage.files import Folder

#: The destinations segpipe brings.
CATALOG, NUCLEUS = "catalog", "nucleus"


@dataclass(frozen=True)
class DestinationContext:
    """What a root gives a destination to be opened with.

    Attributes:
        folder: ``sent/<name>`` of the root, for what the destination keeps there.
        settings: its table of ``segpipe.toml``; None where it has none.
        catalog: opens the root's catalog.
    """

    folder: Folder
    settings: Any
    catalog: Callable[[], Destination]


def _no_metadata(settings: Any) -> Mapping[str, str]:
    return {}


@dataclass(frozen=True)
class DestinationEntry:
    """One destination that can be published to.

    Attributes:
        name: as settings, commands and calls name it.
        title: what it is, in a sentence after "published to".
        asset: name of the Dagster asset of what is published there, and of its step.
        kind: shown on the asset.
        open: opens it for a root. Its own libraries are imported there and not before.
            Raises SettingsError where it is not set up.
        short_title: the title where there is little room; the title itself where empty.
        table: the field of Settings, and the table of ``segpipe.toml``, that it cannot be
            without; None where it needs none.
        metadata: where its predictions are, given its settings, for the asset's page.
    """

    name: str
    title: str
    asset: str
    kind: str
    open: Callable[[DestinationContext], Destination]
    short_title: str = ""
    table: str | None = None
    metadata: Callable[[Any], Mapping[str, str]] = _no_metadata


def _open_catalog(context: DestinationContext) -> Destination:
    return context.catalog()


def _open_nucleus(context: DestinationContext) -> Destination:
    if context.settings is None:
        raise SettingsError(
            "publishing to Nucleus needs a table [nucleus] with its dataset_id in segpipe.toml"
        )
    from segpipe.publishing.nucleus.destination import NucleusDestination

    return NucleusDestination(context.settings, context.folder.folder("ledger"))


def _nucleus_metadata(settings: Any) -> Mapping[str, str]:
    return {"dataset_id": settings.dataset_id}


DESTINATIONS: dict[str, DestinationEntry] = {
    one.name: one
    for one in (
        DestinationEntry(
            CATALOG, "the catalog", "published_predictions", "deltalake", _open_catalog
        ),
        DestinationEntry(
            NUCLEUS,
            "Scale Nucleus",
            "nucleus_predictions",
            "scale_nucleus",
            _open_nucleus,
            short_title="Nucleus",
            table="nucleus",
            metadata=_nucleus_metadata,
        ),
    )
}


def destination_entry(name: str) -> DestinationEntry:
    """The entry of a destination.

    Raises:
        SettingsError: if there is no such destination.
    """
    entry = DESTINATIONS.get(name)
    if entry is None:
        known = ", ".join(DESTINATIONS)
        raise SettingsError(f"there is no destination {name!r}; there are: {known}")
    return entry
