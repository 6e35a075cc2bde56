"""The list of a dataset's items, for checking that predictions are for known items."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from segpipe.errors import SettingsError
from segpipe.manifests.footer import check_footer
from segpipe.manifests.limits import Limits
from segpipe.manifests.plain_types import plain_array
from segpipe.manifests.reading_plan import ReadingPlans
from segpipe.manifests.row_sizes import sized
from segpipe.names import folded, stem
from segpipe.storage.failures import storage_errors
from segpipe.storage.files import Folder
from segpipe.storage.local_paths import local_path
from segpipe.storage.redaction import redacted

#: Bytes of a list of items, and of the ids in it: ten million ids of 50.
MOST_BYTES = 500_000_000
# Ids such as 000123 or 1e5 must stay text.
_AS_TEXT = pa.csv.ConvertOptions(
    column_types={"reference_id": pa.string()}, strings_can_be_null=False
)

# Printable ASCII without blanks at its ends, which looks like nothing else.
_FOLDS_TO_ITSELF = r"\A[!-~](?:[ -~]*[!-~])?\z"


class ItemList:
    """A set of reference ids, stored as 64-bit hashes.

    An unknown id is taken for a known one with a probability of the list's length over 10**19.

    Args:
        ids: string array; nulls are ignored.
    """

    def __init__(self, ids: pa.Array) -> None:
        ids = ids.drop_null()
        self._hashes = np.unique(reference_id_hashes(ids))
        # An id that folds to itself is found by its hash; the others are few, or not ASCII.
        unusual = ids.filter(pc.invert(pc.match_substring_regex(ids, _FOLDS_TO_ITSELF)))
        by_look = ((folded(id), id) for id in unusual.to_pylist())
        self._unusual: dict[str, str] = {look: id for look, id in by_look if look != id}

    def __len__(self) -> int:
        return int(self._hashes.size)

    @classmethod
    def read(cls, url: str, storage_options: Mapping[str, Any] | None = None) -> ItemList:
        """Read a Parquet or CSV file with a ``reference_id`` column, a JSON list, or lines of text.

        Members of a JSON list, and lines of JSON, are ids or objects with a ``reference_id``.

        Raises:
            SettingsError: if the file has no such column or cannot be read.
            StorageError: if storage fails.
        """
        try:
            url = local_path(url) or url
        except ValueError as error:
            raise SettingsError(
                f"the list of items {redacted(url)} cannot be read ({error})"
            ) from None
        parent, _, name = url.rpartition("/")
        folder = Folder(parent or ".", storage_options if "://" in url else None)
        shown = redacted(url)
        with storage_errors(f"reading the list of items {shown}"):
            handle = folder.open_input(name)
        try:
            with handle:
                ids = _read_ids(handle, name.lower(), shown)
        except (pa.ArrowException, KeyError, ValueError, RecursionError) as error:
            raise SettingsError(
                f"the list of items {shown} cannot be read ({error}): expected a reference_id "
                "column, a JSON list of ids, or a text file with one id a line"
            ) from None
        return cls(ids)

    def digest(self) -> str:
        """SHA-256 (hex) of the list's content, whatever its order."""
        return hashlib.sha256(self._hashes.tobytes()).hexdigest()

    def count_of(self, hashes: NDArray[np.uint64]) -> int:
        """How many of the list's items are among these :func:`reference_id_hashes`."""
        return int(np.intersect1d(hashes, self._hashes).size)

    def near(self, reference_id: str) -> str | None:
        """An item that looks like an id that is not in the list; None if there is none.

        It differs in blanks, invisible characters, the way its letters are composed, a folder
        before it or a file extension after it.
        """
        look = folded(reference_id)
        file = re.split(r"[/\\]", look)[-1]
        likely = [*dict.fromkeys((look, stem(look), file, stem(file)))]
        for one, known in zip(likely, self.contains(likely), strict=True):
            if one in self._unusual:
                return self._unusual[one]
            if known and one and one != reference_id:
                return one
        return None

    def contains(self, reference_ids: Sequence[str | None]) -> list[bool]:
        """Whether each id is in the list."""
        hashes = reference_id_hashes(pa.array([id or "" for id in reference_ids], pa.string()))
        if not self._hashes.size:
            return [False] * len(hashes)
        # They are sorted: looking one id up costs the same in a list of a million.
        places = np.minimum(np.searchsorted(self._hashes, hashes), self._hashes.size - 1)
        known: list[bool] = (self._hashes[places] == hashes).tolist()
        return known


def _read_ids(handle: IO[bytes], name: str, shown: str) -> pa.Array:
    """The ids in a file, as a string array; its name tells the format.

    Raises:
        ValueError: if it is of no such format, or has more than is read.
    """
    if name.endswith((".parquet", ".pq")):
        return _parquet_ids(handle, shown)
    data = handle.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise ValueError(f"it has more than {MOST_BYTES:,} bytes")
    if name.endswith(".csv"):
        column = pa.csv.read_csv(pa.BufferReader(data), convert_options=_AS_TEXT)["reference_id"]
    else:
        text = data.decode("utf-8-sig")
        if name.endswith(".json") or _is_json_list(text):
            return _json_ids(json.loads(text))
        lines = [line for line in text.splitlines() if line]
        if name.endswith((".jsonl", ".ndjson")):
            return _json_ids([json.loads(line) for line in lines])
        return pa.array(lines, pa.string())
    chunks = [plain_array(chunk).cast(pa.string()) for chunk in column.chunks]
    return pa.concat_arrays(chunks) if chunks else pa.array([], pa.string())


def _parquet_ids(handle: IO[bytes], shown: str) -> pa.Array:
    check_footer(shown, handle)
    if "reference_id" not in pq.ParquetFile(handle).schema_arrow.names:
        raise KeyError("reference_id")
    plan = ReadingPlans(shown, handle).of(handle, ["reference_id"], 65_536)
    chunks, size = [], 0
    for batch in plan.batches(handle, ["reference_id"]):
        for part in sized(batch, Limits()):  # ids too long for a manifest are left out
            chunks.append(part.rows.column(0).cast(pa.string()))
            size += chunks[-1].nbytes
            if size > MOST_BYTES:
                raise ValueError(f"its ids have more than {MOST_BYTES:,} bytes")
    return pa.concat_arrays(chunks) if chunks else pa.array([], pa.string())


def _is_json_list(text: str) -> bool:
    """Whether text without the name of a JSON file is a JSON list all the same."""
    if not text.lstrip().startswith("["):
        return False
    try:
        return isinstance(json.loads(text), list)
    except (ValueError, RecursionError):
        return False


def _json_ids(members: object) -> pa.Array:
    """The ids in a JSON list of ids, or of objects with one.

    Raises:
        ValueError: if it is something else.
    """
    if not isinstance(members, list):
        raise ValueError("the JSON is not a list")
    ids = []
    for place, member in enumerate(members):
        id = member.get("reference_id") if isinstance(member, dict) else member
        if isinstance(id, bool) or not isinstance(id, (str, int)):
            raise ValueError(f"member {place} is {json.dumps(member)[:80]}, expected an id")
        ids.append(str(id))
    return pa.array(ids, pa.string())


def reference_id_hashes(ids: pa.Array) -> NDArray[np.uint64]:
    """A hash per id.

    Args:
        ids: string array of shape (N,), without nulls.

    Returns:
        uint64 of shape (N,).
    """
    # As quick as what pandas has, and the library alone does without its 80 MB.
    hash = partial(hashlib.blake2b, digest_size=8, usedforsecurity=False)
    digests = (hash(id.encode()).digest() for id in ids.to_numpy(zero_copy_only=False))
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)
