"""Which manifest a partition's tables were made of: its digest, stored beside them."""

from __future__ import annotations

import json

from segpipe.errors import TableError
from segpipe.manifests.manifest import Manifest
from segpipe.storage.files import Folder
from segpipe.validation.summary import Summary

MANIFEST_FILE = "_manifest.json"


def note_manifest(tables: Folder, manifest_sha256: str, outcome: str) -> None:
    """Store of which manifest the tables are.

    Args:
        outcome: identifies the tables, see :attr:`Summary.outcome`.
    """
    content = json.dumps([manifest_sha256, outcome]).encode()
    if not tables.exists(MANIFEST_FILE) or tables.read(MANIFEST_FILE) != content:
        tables.write(MANIFEST_FILE, content)


def check_manifest_of(tables: Folder, manifest: Manifest, partition: str) -> None:
    """Raise an error unless tables are of a manifest as it is now.

    Args:
        partition: its name, for the message.

    Raises:
        TableError: if there are none, they are of another manifest, or it is not known of which.
    """
    remedy = (
        "Select prediction_manifest, validated_masks and published_predictions together, or "
        "materialize the partition first"
    )
    outcome = Summary.read(tables).outcome
    try:
        noted = json.loads(tables.read(MANIFEST_FILE)) if tables.exists(MANIFEST_FILE) else None
    except ValueError:
        noted = None
    if not isinstance(noted, list) or len(noted) != 2 or noted[1] != outcome:
        raise TableError(
            f"{tables.shown} does not say of which manifest its tables are: they are of an earlier "
            f"segpipe, or of a run that did not finish. {remedy}"
        )
    if noted[0] != manifest.content_sha256():
        raise TableError(
            f"the manifest of {partition} has changed since its masks were validated: what would "
            f"be published is what the one before said. {remedy}"
        )
