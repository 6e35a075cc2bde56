"""The list of a dataset's items, for checking that predictions are for known items."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from segpipe.errors import SettingsError
from segpipe.storage.failures import storage_errors
from segpipe.storage.files import Folder
from segpipe.storage.redaction import redacted

# Ids such as 000123 or 1e5 must stay text.
_AS_TEXT = pa.csv.ConvertOptions(
    column_types={"reference_id": pa.string()}, strings_can_be_null=False
)


class ItemList:
    """A set of reference ids, stored as 64-bit hashes.

    An unknown id is taken for a known one with a probability of the list's length over 10**19.

    Args:
        ids: string array; nulls are ignored.
    """

    def __init__(self, ids: pa.Array) -> None:
        self._hashes = np.unique(reference_id_hashes(ids.drop_null()))

    def __len__(self) -> int:
        return int(self._hashes.size)

    @classmethod
    def read(cls, url: str, storage_options: Mapping[str, Any] | None = None) -> ItemList:
        """Read a Parquet or CSV file with a ``reference_id`` column, or a text file of ids.

        Raises:
            SettingsError: if the file has no such column or cannot be read.
            StorageError: if storage fails.
        """
        parent, _, name = url.rpartition("/")
        folder = Folder(parent or ".", storage_options if "://" in url else None)
        shown = redacted(url)
        with storage_errors(f"reading the list of items {shown}"):
            handle = folder.open_input(name)
        try:
            with handle:
                if name.endswith(".parquet"):
                    column = pq.read_table(handle, columns=["reference_id"])["reference_id"]
                elif name.endswith(".csv"):
                    column = pa.csv.read_csv(handle, convert_options=_AS_TEXT)["reference_id"]
                else:
                    lines = handle.read().decode("utf-8-sig").splitlines()
                    column = pa.chunked_array([[line for line in lines if line]], pa.string())
            ids = pa.concat_arrays(column.cast(pa.string()).chunks)
        except (pa.ArrowException, KeyError, ValueError) as error:
            raise SettingsError(
                f"the list of items {shown} cannot be read ({error}): expected a reference_id "
                "column, or a text file with one id a line"
            ) from None
        return cls(ids)

    def digest(self) -> str:
        """SHA-256 (hex) of the list's content, whatever its order."""
        return hashlib.sha256(self._hashes.tobytes()).hexdigest()

    def count_of(self, hashes: NDArray[np.uint64]) -> int:
        """How many of the list's items are among these :func:`reference_id_hashes`."""
        return int(np.intersect1d(hashes, self._hashes).size)

    def contains(self, reference_ids: Sequence[str | None]) -> list[bool]:
        """Whether each id is in the list."""
        hashes = reference_id_hashes(pa.array([id or "" for id in reference_ids], pa.string()))
        known: list[bool] = np.isin(hashes, self._hashes).tolist()
        return known


def reference_id_hashes(ids: pa.Array) -> NDArray[np.uint64]:
    """A hash per id.

    Args:
        ids: string array of shape (N,), without nulls.

    Returns:
        uint64 of shape (N,).
    """
    from pandas.util import hash_array  # takes 0.3 s to import, and is not always needed

    hashes: NDArray[np.uint64] = hash_array(
        np.asarray(ids.to_numpy(zero_copy_only=False), dtype=object)
    )
    return hashes
