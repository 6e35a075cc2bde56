"""The labels that the tables of a root hold."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from segpipe.errors import SegpipeError
from segpipe.manifests.landing import Landing
from segpipe.publishing.catalog import Catalog
from segpipe.settings import Settings
from segpipe.storage.files import Folder
from segpipe.validation.summary import SEGMENTS_FILE
from segpipe.validation.validated import pieces

# Labels that are looked for; a data set with more has none that pictures could tell apart.
_MOST = 2_000
# Labels stand among all else that is known of Segments: in larger catalogs they are not looked for.
_MOST_PUBLISHED = 50_000


def seen_labels(settings: Settings) -> list[str]:
    """The labels of the validated partitions, sorted; where there are none, of a small catalog.

    Partitions that cannot be read are left out.

    Raises:
        SegpipeError: if storage fails.
    """
    labels: set[str] = set()
    folder = settings.folder("validated")
    for partition in Landing(folder).partitions():
        tables = folder.folder(*partition.folders)
        try:
            labels |= _labels_of(tables)
        except (SegpipeError, OSError, ValueError):
            continue  # not materialized, or being replaced: who shows it gives its labels colours
        if len(labels) > _MOST:
            break
    return sorted(labels or _published(settings))


def _labels_of(tables: Folder) -> set[str]:
    labels: set[str] = set()
    with tables.open_input(SEGMENTS_FILE) as handle:
        for batch in pieces(f"{tables.shown}/{SEGMENTS_FILE}", handle, 65_536, ["label"]):
            labels.update(pc.unique(batch["label"]).to_pylist())
    return labels


def _published(settings: Settings) -> set[str]:
    folder = settings.folder("catalog")
    catalog = Catalog(folder, settings.mask_store(), settings.dataset, settings.root)
    table = catalog.table.open(None)
    if table is None or table.count() > _MOST_PUBLISHED:
        return set()
    found = catalog.predictions(columns=["segments"])["segments"]
    lists: pa.ChunkedArray = pc.list_flatten(found)
    return set(pc.unique(pc.struct_field(lists, "label")).to_pylist()) if len(lists) else set()
