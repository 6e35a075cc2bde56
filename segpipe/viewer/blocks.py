"""What the viewer needs of one file of the catalog, or of one partition's tables, as columns.

The files are immutable, so a block is made once and kept. Its columns are plain numbers beside a
dictionary of labels: a label is a code, and a prediction has one area for each label, not for each
Segment.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from segpipe.errors import TableError
from segpipe.publishing.table_format import PREDICTIONS
from segpipe.storage.files import Folder
from segpipe.tables.schemas import MEASURED
from segpipe.validation.partition_tables import DIGEST_KEY
from segpipe.validation.summary import REJECTED_FILE, SEGMENTS_FILE, VALIDATED_FILE

#: Bins of the histogram of Segments' confidences, from 0 to 1.
BINS = 20
#: Schema metadata: the names of the labels and of the rules, and the histogram, as JSON.
LABELS_KEY, RULES_KEY, BINS_KEY = b"labels", b"rules", b"bins"
_PAIR = pa.struct([("label", pa.int32()), ("area", pa.float32())])
_DRAWN = pa.struct([("index", pa.int16()), ("label", pa.int32())])
#: The columns of a block. ``key`` is the start of the fingerprint or, of a rejected row, a digest
#: of its place in the manifest; ``pairs`` has each label of the prediction once, largest first.
BLOCK = pa.schema(
    [
        pa.field("reference_id", pa.string()),
        pa.field("date", pa.string()),
        pa.field("key", pa.uint64()),
        pa.field("height", pa.int32()),
        pa.field("width", pa.int32()),
        pa.field("replaced", pa.bool_()),
        pa.field("published", pa.int64()),
        pa.field("n_segments", pa.int32()),
        pa.field("confidence", pa.float32()),
        pa.field("entropy", pa.float32()),
        pa.field("pairs", pa.list_(_PAIR)),
        pa.field("rules", pa.list_(pa.int32())),
        # What is only looked up, for pictures.
        pa.field("mask_sha256", pa.string()),
        pa.field("image_url", pa.string()),
        pa.field("manifest", pa.string()),
        pa.field("manifest_row", pa.int64()),
        pa.field("drawn", pa.list_(_DRAWN)),
    ]
)
_PREDICTION = ("reference_id", "fingerprint", "height", "width", "mask_sha256", "image_url")
_TYPES = {field.name: field for field in MEASURED}
_SHOWN = [
    [name]
    for name in (
        "label", "index", "metadata", "confidence", "area_px", "area_fraction", "class_pdf",
        "entropy", "margin",
    )
]  # fmt: skip
_DIGESTS = ("mask_path", "mask_sha256", "fingerprint")
# Rows that are decoded before it is looked whether the one that is wanted is among them.
_AT_ONCE = 1024
_MEMBERS = ("label", "index", "confidence", "entropy", "area_fraction")


@dataclass(frozen=True, slots=True)
class Segments:
    """S Segments of N predictions, one after the other.

    Attributes:
        counts: N integers, how many each prediction has.
        labels: S labels; the other arrays have S numbers, NaN where there is none.
    """

    counts: NDArray[np.int64]
    labels: pa.Array
    index: NDArray[np.int16]
    confidence: NDArray[np.float32]
    entropy: NDArray[np.float32]
    area: NDArray[np.float32]


def catalog_block(folder: Folder, path: str) -> pa.Table:
    """The block of a data file of the catalog's table.

    Args:
        folder: of the table.

    Raises:
        StorageError, pa.ArrowException, OSError: if it cannot be read.
    """
    with folder.open_input(path) as handle:
        file = pq.ParquetFile(handle)
        wanted = [*_PREDICTION, "manifest", "partition", "previous_fingerprint", "published_at"]
        leaves = [file.schema.column(n).path for n in range(len(file.schema))]
        columns = [path for path in leaves if path in wanted or _is_member(path)]
        parts = [
            _of_catalog(_plain(pa.Table.from_batches([one])))
            for one in file.iter_batches(20_000, columns=columns)
        ]
    return _joined(parts)


def catalog_row(folder: Folder, path: str, place: int) -> dict[str, Any]:
    """One row of a data file of the catalog's table, with what is shown of its Segments; without
    the digests, which take longest to read and which its block holds.

    Args:
        place: of the row in the file; no row group but its own is read, and that only so far.

    Raises:
        StorageError, pa.ArrowException, OSError: if it cannot be read.
        IndexError: if the file has no such row.
    """
    with folder.open_input(path) as handle:
        file = pq.ParquetFile(handle)
        leaves = [file.schema.column(n).path for n in range(len(file.schema))]
        columns = [
            leaf
            for leaf in leaves
            if leaf.split(".")[3:4] in ([], *_SHOWN) and leaf not in _DIGESTS
        ]
        for group in range(file.metadata.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            if place >= rows:
                place -= rows
                continue
            for batch in file.iter_batches(_AT_ONCE, [group], columns, use_threads=False):
                if place < batch.num_rows:
                    found: dict[str, Any] = batch.slice(place, 1).to_pylist()[0]
                    return found
                place -= batch.num_rows
    raise IndexError(path)


def _plain(rows: pa.Table) -> pa.Table:
    """Rows in the catalog's types: what a merge has written may come as views of text."""
    members = [_TYPES[one.name] for one in rows.schema.field("segments").type.value_type]
    kinds = {"segments": pa.list_(pa.struct(members))}
    fields = [pa.field(n, kinds.get(n, PREDICTIONS.field(n).type)) for n in rows.schema.names]
    return rows.cast(pa.schema(fields))


def _is_member(path: str) -> bool:
    parts = path.split(".")
    return len(parts) == 4 and parts[0] == "segments" and parts[-1] in _MEMBERS


def validated_block(folder: Folder, digest: str) -> pa.Table:
    """The block of a partition's accepted predictions.

    Args:
        digest: of the tables, as their summary has it.

    Raises:
        TableError: if the tables are of another pass than the summary.
        StorageError, pa.ArrowException, OSError: if it cannot be read.
    """
    with folder.open_input(VALIDATED_FILE) as one, folder.open_input(SEGMENTS_FILE) as other:
        names = [*_PREDICTION, "n_segments", "manifest", "manifest_row", "findings"]
        validated, members = pq.ParquetFile(one), pq.ParquetFile(other)
        _check(folder, validated, digest)
        _check(folder, members, digest)
        rows = validated.read(columns=names)
        has = [name for name in _MEMBERS if name in members.schema_arrow.names]
        segments = _flat(rows["n_segments"].to_numpy().astype(np.int64), members.read(columns=has))
    findings = rows["findings"].combine_chunks()
    rules = findings.flatten().field("rule")
    return _block(rows, segments, _lengths(findings), rules)


def rejected_block(folder: Folder, digest: str) -> pa.Table:
    """The block of a partition's rejected rows, each with all its rules.

    Args:
        digest: of the table, as the summary has it.

    Raises:
        TableError: if the table is of another pass than the summary.
        StorageError, pa.ArrowException, OSError: if it cannot be read.
    """
    with folder.open_input(REJECTED_FILE) as handle:
        names = ["reference_id", "manifest", "manifest_row", "rule"]
        file = pq.ParquetFile(handle)
        _check(folder, file, digest)
        found = file.read(columns=names)
    found = found.sort_by([("manifest", "ascending"), ("manifest_row", "ascending")])
    grouped = found.group_by(["manifest", "manifest_row"], use_threads=False).aggregate(
        [("reference_id", "first"), ("rule", "list")]
    )
    rules = grouped["rule_list"].combine_chunks()
    rows = pa.table(
        {
            "reference_id": pc.fill_null(grouped["reference_id_first"], ""),
            "manifest": grouped["manifest"],
            "manifest_row": grouped["manifest_row"],
        }
    )
    return _block(
        rows, _flat(np.zeros(len(rows), np.int64), None), _lengths(rules), rules.flatten()
    )


def _check(folder: Folder, file: pq.ParquetFile, digest: str) -> None:
    if (file.metadata.metadata or {}).get(DIGEST_KEY.encode()) != digest.encode():
        raise TableError(f"{folder.shown}: its tables are being replaced")


def _of_catalog(rows: pa.Table) -> pa.Table:
    nested = rows["segments"].combine_chunks()
    members = nested.flatten()
    fields = pa.table({field.name: members.field(field.name) for field in members.type})
    segments = _flat(_lengths(nested), fields)
    return _block(rows, segments, np.zeros(len(rows), np.int64), pa.array([], pa.string()))


def _lengths(lists: pa.Array) -> NDArray[np.int64]:
    return cast(
        NDArray[np.int64], pc.fill_null(pc.list_value_length(lists), 0).to_numpy().astype(np.int64)
    )


def _flat(counts: NDArray[np.int64], members: pa.Table | None) -> Segments:
    total = int(counts.sum())

    def numbers(name: str, kind: type[np.generic], missing: float) -> NDArray[Any]:
        if members is None or name not in members.column_names:
            return np.full(total, missing, kind)
        filled = pc.fill_null(members[name], missing if kind is np.float32 else int(missing))
        return np.asarray(filled.to_numpy(), kind)

    labels = pa.array([], pa.string()) if members is None else _one(members["label"])
    return Segments(
        counts,
        labels,
        numbers("index", np.int16, 0),
        numbers("confidence", np.float32, np.nan),
        numbers("entropy", np.float32, np.nan),
        numbers("area_fraction", np.float32, 0),
    )


def _one(column: pa.ChunkedArray) -> pa.Array:
    found = column.combine_chunks()
    return found if isinstance(found, pa.Array) else pa.concat_arrays(found.chunks)


def _block(
    rows: pa.Table, segments: Segments, rule_counts: NDArray[np.int64], rules: pa.Array
) -> pa.Table:
    """Rows of a table with their Segments and the rules found, as BLOCK."""
    total = rows.num_rows
    encoded = segments.labels.dictionary_encode()
    codes = encoded.indices.to_numpy().astype(np.int32)
    found = rules.dictionary_encode()
    owners = np.repeat(np.arange(total), segments.counts)

    def given(name: str, kind: pa.DataType) -> pa.Array:
        return _one(rows[name]).cast(kind) if name in rows.column_names else pa.nulls(total, kind)

    previous = given("previous_fingerprint", pa.string())
    confidence = _least(segments.confidence, owners, total)
    columns = {
        "reference_id": given("reference_id", pa.string()),
        "date": given("partition", pa.string()),
        "key": _keys(rows),
        "height": given("height", pa.int32()),
        "width": given("width", pa.int32()),
        "replaced": pc.is_valid(previous),
        "published": given("published_at", pa.timestamp("us", tz="UTC")).cast(pa.int64()),
        "n_segments": pa.array(segments.counts.astype(np.int32)),
        "confidence": pa.array(confidence),
        "entropy": pa.array(-_least(-segments.entropy, owners, total)),
        "pairs": _pairs(codes, segments.area, owners, total),
        "rules": _lists(rule_counts, found.indices.cast(pa.int32())),
        "mask_sha256": given("mask_sha256", pa.string()),
        "image_url": given("image_url", pa.string()),
        "manifest": given("manifest", pa.string()),
        "manifest_row": given("manifest_row", pa.int64()),
        "drawn": _lists(
            segments.counts,
            pa.StructArray.from_arrays(
                [pa.array(segments.index), pa.array(codes)], fields=list(_DRAWN)
            ),
        ),
    }
    sure = segments.confidence[~np.isnan(segments.confidence)]
    bins = np.histogram(np.clip(sure, 0, 1), BINS, (0, 1))[0]
    notes = {
        LABELS_KEY: json.dumps(encoded.dictionary.to_pylist()),
        RULES_KEY: json.dumps(found.dictionary.to_pylist()),
        BINS_KEY: json.dumps(bins.tolist()),
    }
    return pa.table([columns[name] for name in BLOCK.names], BLOCK.with_metadata(notes))


def _least(
    values: NDArray[np.float32], owners: NDArray[np.int64], total: int
) -> NDArray[np.float32]:
    """The least value of each owner, NaN where it has none."""
    least = np.full(total, np.inf, np.float32)
    there = ~np.isnan(values)
    np.minimum.at(least, owners[there], values[there])
    least[np.isinf(least)] = np.nan
    return least


def _pairs(
    codes: NDArray[np.int32], area: NDArray[np.float32], owners: NDArray[np.int64], total: int
) -> pa.Array:
    """Each label of each prediction once, with its share of the mask, the largest first."""
    kinds = int(codes.max()) + 1 if codes.size else 1
    both, inverse = np.unique(owners * kinds + codes, return_inverse=True)
    sums = np.bincount(inverse, area, both.size).astype(np.float32)
    owner, label = both // kinds, (both % kinds).astype(np.int32)
    order = np.lexsort((label, -sums, owner))
    pairs = pa.StructArray.from_arrays(
        [pa.array(label[order]), pa.array(sums[order])], fields=list(_PAIR)
    )
    return _lists(np.bincount(owner, minlength=total), pairs)


def _lists(counts: NDArray[np.int64], values: pa.Array) -> pa.Array:
    offsets = np.concatenate(([0], np.cumsum(counts))).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values)


_DIGITS = np.zeros(256, np.uint64)
_DIGITS[np.frombuffer(b"0123456789abcdef", np.uint8)] = np.arange(16, dtype=np.uint64)


def _keys(rows: pa.Table) -> pa.Array:
    if "fingerprint" in rows.column_names:
        return pa.array(fingerprint_keys(rows["fingerprint"]))
    places = zip(rows["manifest"].to_pylist(), rows["manifest_row"].to_pylist(), strict=True)
    return pa.array([place_key(*place) for place in places], pa.uint64())


def fingerprint_keys(fingerprints: pa.ChunkedArray) -> NDArray[np.uint64]:
    """The first eight bytes of fingerprints as numbers; see :func:`fingerprint_key`."""
    heads = pc.utf8_rpad(pc.utf8_slice_codeunits(pc.fill_null(fingerprints, ""), 0, 16), 16, "0")
    text = "".join(heads.to_pylist()).encode("ascii", "replace")
    digits = _DIGITS[np.frombuffer(text, np.uint8)].reshape(-1, 16)
    key = np.zeros(len(fingerprints), np.uint64)
    for column in digits.T:
        key = key << np.uint64(4) | column
    return key


def place_key(manifest: str | None, row: int | None) -> int:
    """What tells a rejected row from others of its item."""
    return int.from_bytes(hashlib.blake2b(f"{row} {manifest}".encode(), digest_size=8).digest())


def fingerprint_key(fingerprint: str) -> int:
    """What tells a prediction from others of its item and model run."""
    return int(fingerprint[:16] or "0", 16)


def _joined(parts: Sequence[pa.Table]) -> pa.Table:
    """Blocks as one: their labels are numbered alike."""
    if len(parts) == 1:
        return parts[0]
    labels: dict[str, int] = {}
    bins = np.zeros(BINS, np.int64)
    renumbered = []
    for part in parts:
        own = notes_of(part, LABELS_KEY)
        codes = np.array([labels.setdefault(name, len(labels)) for name in own] or [0], np.int32)
        bins += np.array(notes_of(part, BINS_KEY), np.int64)
        for name, struct in (("pairs", _PAIR), ("drawn", _DRAWN)):
            part = part.set_column(
                BLOCK.get_field_index(name), BLOCK.field(name), _recoded(part[name], codes, struct)
            )
        renumbered.append(part)
    notes = {
        LABELS_KEY: json.dumps(list(labels)), RULES_KEY: "[]", BINS_KEY: json.dumps(bins.tolist()),
    }  # fmt: skip
    if not renumbered:
        return BLOCK.with_metadata(notes).empty_table()
    return pa.concat_tables(renumbered).combine_chunks().replace_schema_metadata(notes)


def _recoded(column: pa.ChunkedArray, codes: NDArray[np.int32], struct: pa.StructType) -> pa.Array:
    lists = _one(column)
    flat = lists.flatten()
    arrays = [
        pa.array(codes[flat.field(one.name).to_numpy()]) if one.name == "label"
        else flat.field(one.name)
        for one in struct
    ]  # fmt: skip
    return _lists(_lengths(lists), pa.StructArray.from_arrays(arrays, fields=list(struct)))


def notes_of(block: pa.Table, key: bytes) -> list[Any]:
    """What a block's schema says under a key."""
    return cast(list[Any], json.loads((block.schema.metadata or {})[key]))


def drawn_of(block: pa.Table, place: int) -> list[tuple[int, str]]:
    """Index and label of the Segments of a row."""
    labels = notes_of(block, LABELS_KEY)
    return [(one["index"], labels[one["label"]]) for one in block["drawn"][place].as_py() or ()]


def looked_up(block: pa.Table, place: int) -> Mapping[str, Any]:
    """Of a row, what pictures need: ``mask_sha256``, ``image_url``, ``manifest``."""
    names = ("mask_sha256", "image_url", "manifest", "manifest_row")
    return {name: block[name][place].as_py() for name in names}


def iter_pairs(block: pa.Table) -> Iterator[NDArray[Any]]:
    """Of a block's pairs: how many each row has, their labels' codes, their areas."""
    lists = _one(block["pairs"])
    flat = lists.flatten()
    yield _lengths(lists)
    yield flat.field("label").to_numpy()
    yield flat.field("area").to_numpy()


def iter_rules(block: pa.Table) -> Iterator[NDArray[Any]]:
    """Of a block's rules: how many each row has, and their codes."""
    lists = _one(block["rules"])
    yield _lengths(lists)
    yield lists.flatten().to_numpy()
