"""The columns that manifests carried into the validated tables: which there are, and filters."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from segpipe.errors import SegpipeError, nearest
from segpipe.predictions.view import View
from segpipe.root import Root
from segpipe.tables.schemas import VALIDATED
from segpipe.validation.summary import VALIDATED_FILE
from segpipe.viewer.blocks import fingerprint_keys
from segpipe.viewer.refusal import RequestRefused
from segpipe.viewer.rows import REJECTED
from segpipe.viewer.snapshot import Snapshot
from segpipe.viewer.sources import MaterializedPartition

_MOST_REMEMBERED = 256
# Partitions whose columns are looked up for the list of all: the newest.
_MOST_LISTED = 200

# Items, and their keys.
_Having = tuple[pa.Array, NDArray[np.uint64]]


class CarriedColumns:
    """The carried columns of a root's partitions."""

    def __init__(self, root: Root) -> None:
        self._folder = root.settings.folder("validated")
        self._policies = root.settings.policies
        self._schemas: dict[tuple[str, str], dict[str, str]] = {}
        self._found: OrderedDict[tuple[str, ...], tuple[pa.Array, NDArray[np.uint64]]] = (
            OrderedDict()
        )
        self._lock = threading.Lock()

    def all(self, partitions: Sequence[MaterializedPartition]) -> dict[str, str]:
        """Name -> type, of the newest partitions."""
        newest = sorted(partitions, key=lambda one: one.date, reverse=True)[:_MOST_LISTED]
        found: dict[str, str] = {}
        for one in newest:
            found = {**self._of(one), **found}
        return dict(sorted(found.items()))

    def _of(self, one: MaterializedPartition) -> dict[str, str]:
        key = one.path, one.summary.validated_digest
        known = self._schemas.get(key)
        if known is None:
            try:
                with self._folder.folder(*one.path.split("/")).open_input(VALIDATED_FILE) as file:
                    schema = pq.read_schema(file)
            except (SegpipeError, OSError, pa.ArrowException):
                return {}
            known = {f.name: str(f.type) for f in schema if f.name not in VALIDATED.names}
            self._schemas[key] = known
        return known

    def where(self, snapshot: Snapshot, name: str, value: str) -> NDArray[np.bool_]:
        """N bools: the rows whose manifest row has a value, as text, in a column.

        Of the rejected ones nothing is known: their columns are in no table.

        Raises:
            RequestRefused: if no partition has the column.
        """
        mask = np.zeros(len(snapshot), bool)
        known = self.all(snapshot.partitions)
        if name not in known and not any(name in self._of(one) for one in snapshot.partitions):
            words = nearest(name, [*known]) if known else ": no manifest carried any"
            raise RequestRefused(f"no manifest carried a column {name!r}{words}")
        for number, group in enumerate(snapshot.groups):
            start, stop = snapshot.group_starts[number : number + 2]
            dates = snapshot.rows.date[start:stop]
            ids = snapshot.rows.ids.slice(start, stop - start)
            as_given = self._policies.of(group.model_run).publish_as is View.GIVEN
            for one in snapshot.partitions:
                if one.model_run != group.model_run or name not in self._of(one):
                    continue
                having, keys = self._having(one, name, value)
                at = pc.fill_null(pc.index_in(ids, value_set=having), -1).to_numpy()
                own = (at >= 0) & (dates == snapshot.names.dates.known(one.date))
                if as_given and keys.size:  # else another row of the item has been published
                    own &= snapshot.rows.key[start:stop] == keys[at]
                mask[start:stop] |= own
        mask[snapshot.rows.outcome == REJECTED] = False
        return mask

    def _having(self, one: MaterializedPartition, name: str, value: str) -> _Having:
        """The items of a partition with a value in a column, and their keys."""
        key = one.path, one.summary.validated_digest, name, value
        with self._lock:
            if key in self._found:
                self._found.move_to_end(key)
                return self._found[key]
        try:
            with self._folder.folder(*one.path.split("/")).open_input(VALIDATED_FILE) as file:
                rows = pq.ParquetFile(file).read(columns=["reference_id", "fingerprint", name])
        except (OSError, pa.ArrowException) as error:
            raise RequestRefused(f"the column {name!r} cannot be read: {error}", 503) from None
        rows = rows.filter(_equals(rows[name], value))
        found = rows["reference_id"].combine_chunks(), fingerprint_keys(rows["fingerprint"])
        with self._lock:
            self._found[key] = found
            while len(self._found) > _MOST_REMEMBERED:
                self._found.popitem(last=False)
        return found


def _equals(column: pa.ChunkedArray, value: str) -> pa.ChunkedArray:
    """Where a column's value, as text, is the one asked for."""
    if pa.types.is_nested(column.type) or pa.types.is_binary(column.type):
        raise RequestRefused(f"values of type {column.type} cannot be filtered by")
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_floating(column.type):
        texts = pa.chunked_array([[None if v is None else str(v) for v in column.to_pylist()]])
        return pc.equal(texts.cast(pa.string()), value)
    return pc.equal(column.cast(pa.string()), value)
