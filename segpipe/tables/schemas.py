"""The Arrow schemas of segpipe's tables."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

#: The format of the tables, and its key: in the footer of Parquet files (from format 2 on), and in
#: the properties of the catalog's Delta table. Format 2 has class PDFs and declared metadata.
FORMAT_KEY, FORMAT = "segpipe.format", 2


def _strings(*names: str) -> list[pa.Field]:
    return [pa.field(name, pa.string()) for name in names]


#: Which prediction a row is about.
IDENTITY = _strings("dataset", "model_run", "reference_id")
#: A prediction and its mask; how every table with one row per prediction begins.
PREDICTION = [
    *IDENTITY,
    *_strings("annotation_id", "mask_path", "mask_sha256", "fingerprint"),
    pa.field("height", pa.int32()),
    pa.field("width", pa.int32()),
]
_MANIFEST_ROW = [pa.field("manifest", pa.string()), pa.field("manifest_row", pa.int64())]
_FINDING = _strings("rule", "severity", "message")
FINDING = pa.struct(_FINDING)
#: One row per accepted prediction. Columns a manifest adds follow under their own names.
VALIDATED = pa.schema(
    [
        *PREDICTION,
        pa.field("n_segments", pa.int32()),
        pa.field("bytes", pa.int64()),
        *_strings("mask_url", "image_url"),
        *_MANIFEST_ROW,
        pa.field("findings", pa.list_(FINDING)),
    ]
)
#: What depends on how a mask's PNG is compressed, as encoders do differently: no part of digests.
ENCODED = ("mask_path", "mask_sha256", "bytes")
#: A Segment and its measures: areas, box and centroid in pixels, ``area_fraction`` of the mask.
#: ``class_pdf`` (class -> probability, sorted by class), ``entropy`` (nats) and ``margin`` (highest
#: probability minus the second) are null without a class PDF.
MEASURED = [
    pa.field("label", pa.string()),
    pa.field("index", pa.int32()),
    pa.field("metadata", pa.string()),
    pa.field("confidence", pa.float64()),
    pa.field("area_px", pa.int64()),
    pa.field("area_fraction", pa.float64()),
    pa.field("bbox_x", pa.int32()),
    pa.field("bbox_y", pa.int32()),
    pa.field("bbox_w", pa.int32()),
    pa.field("bbox_h", pa.int32()),
    pa.field("centroid_x", pa.float64()),
    pa.field("centroid_y", pa.float64()),
    pa.field("class_pdf", pa.map_(pa.string(), pa.float64())),
    pa.field("entropy", pa.float64()),
    pa.field("margin", pa.float64()),
]
#: One row per (prediction, segment), in the order of VALIDATED and by index within a prediction.
SEGMENTS = pa.schema([*IDENTITY, *MEASURED])
_DECLARED = {
    "string": pa.string(), "float": pa.float64(), "bool": pa.bool_(), "int": pa.int64(),
}  # fmt: skip


def segments_schema(declared: Mapping[str, str]) -> pa.Schema:
    """SEGMENTS, and after its columns those of declared metadata.

    Args:
        declared: key of the metadata -> ``string``, ``float``, ``bool`` or ``int``.
    """
    return pa.schema(
        [*SEGMENTS, *(pa.field(key, _DECLARED[kind]) for key, kind in declared.items())]
    )


#: One row per finding of a rejected row; all findings, not only the first.
REJECTED = pa.schema(
    [*IDENTITY, *_MANIFEST_ROW, *_FINDING, *_strings("found", "expected", "remedy")]
)
#: What happened to each prediction when it was published.
RECEIPTS = pa.schema(
    [
        *IDENTITY,
        *_strings("outcome", "fingerprint", "previous_fingerprint", "message", "run_id"),
        pa.field("time", pa.timestamp("us", tz="UTC")),
    ]
)
