"""A digest of a table's content that does not depend on how its rows are chunked.

Every column has its own hash streams: which values are valid, their lengths, and their bytes.
Values are hashed from Arrow's buffers, a chunk at a time, and never become Python objects.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# Small tables are collected first: the overhead per column equals about a hundred values.
_ROWS_AT_ONCE, _BYTES_AT_ONCE = 4096, 8_000_000


class TableDigest:
    """SHA-256 of rows that are added chunk by chunk.

    Args:
        version: of the code that made the rows; another version gives another digest.

    Attributes:
        rows: number of rows added so far.
    """

    def __init__(self, version: str) -> None:
        self._version = version
        self._streams: defaultdict[str, Any] = defaultdict(hashlib.sha256)
        self._waiting: list[pa.Table] = []
        self._waiting_rows = 0
        self._waiting_bytes = 0
        self.rows = 0

    def add(self, table: pa.Table) -> None:
        """Add rows; all tables must have the same schema."""
        if table.num_rows:
            self.rows += table.num_rows
            self._waiting.append(table)
            self._waiting_rows += table.num_rows
            self._waiting_bytes += table.nbytes
        if self._waiting_rows >= _ROWS_AT_ONCE or self._waiting_bytes >= _BYTES_AT_ONCE:
            self._digest_waiting()

    def _digest_waiting(self) -> None:
        if self._waiting:
            table = pa.concat_tables(self._waiting).combine_chunks()
            self._waiting, self._waiting_rows, self._waiting_bytes = [], 0, 0
            for field in table.schema:
                for chunk in table[field.name].chunks:
                    self._feed(f"{field.name} {field.type}", chunk)

    def hexdigest(self) -> str:
        """The digest (hex) of the rows added so far."""
        self._digest_waiting()
        whole = hashlib.sha256(f"{self._version} {self.rows}".encode())
        for name, stream in sorted(self._streams.items()):
            whole.update(f"\n{name} {stream.hexdigest()}".encode("utf-8", "backslashreplace"))
        return whole.hexdigest()

    def _feed(self, name: str, values: pa.Array) -> None:
        kind = values.type
        if pa.types.is_dictionary(kind):
            values, kind = values.dictionary_decode(), kind.value_type
        if isinstance(values, pa.ExtensionArray):
            values, kind = values.storage, kind.storage_type
        self._stream(f"{name} there", pc.is_valid(values).cast(pa.uint8()).to_numpy())
        if pa.types.is_null(kind):
            return
        if pa.types.is_struct(kind):
            members = zip(kind, values.flatten(), strict=True)
            for place, (field, member) in enumerate(members):
                self._feed(f"{name}.{place} {field.name}", member)
        elif pa.types.is_map(kind):
            entries = pa.StructArray.from_arrays([values.keys, values.items], ["key", "item"])
            offsets = values.offsets
            self._lists(name, pa.ListArray.from_arrays(offsets, entries), values.is_valid())
        elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
            self._lists(name, values, None)
        elif pa.types.is_fixed_size_list(kind) or pa.types.is_list_view(kind):
            self._lists(name, values.cast(pa.large_list(kind.value_type)), None)
        elif pa.types.is_boolean(kind):
            self._stream(name, values.fill_null(False).cast(pa.uint8()).to_numpy())
        elif pa.types.is_integer(kind) or pa.types.is_floating(kind):
            self._stream(name, values.fill_null(0).to_numpy(zero_copy_only=False))
        elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            self._text(name, values)
        elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
            large = pa.types.is_large_string(kind)
            self._text(name, values.view(pa.large_binary() if large else pa.binary()))
        elif pa.types.is_fixed_size_binary(kind):
            self._text(name, values.cast(pa.binary()))
        elif pa.types.is_timestamp(kind):  # as numbers: text would need to know the zone
            self._stream(name, values.cast(pa.int64()).fill_null(0).to_numpy())
        else:  # times, decimals and others that can be cast to text
            self._text(name, values.cast(pa.string()).view(pa.binary()))

    def _lists(self, name: str, values: pa.Array, valid: pa.Array | None) -> None:
        if valid is not None:
            values = pc.if_else(valid, values, None)
        lengths = pc.list_value_length(values).fill_null(0).cast(pa.int64())
        self._stream(f"{name} length", lengths.to_numpy())
        self._feed(f"{name} item", values.flatten())

    def _text(self, name: str, values: pa.Array) -> None:
        values = values.fill_null(b"")
        self._stream(f"{name} length", pc.binary_length(values).cast(pa.int64()).to_numpy())
        if pa.types.is_large_binary(values.type):
            values = values.cast(pa.binary())
        joined = pc.binary_join(pa.ListArray.from_arrays([0, len(values)], values), b"")
        self._streams[name].update(joined[0].as_buffer())

    def _stream(self, name: str, values: np.ndarray) -> None:
        self._streams[name].update(np.ascontiguousarray(values).data)
