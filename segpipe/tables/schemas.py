"""The Arrow schemas of segpipe's tables, and writing them a chunk at a time."""

from __future__ import annotations

import pyarrow as pa

FINDING = pa.struct(
    [
        pa.field("rule", pa.string()),
        pa.field("severity", pa.string()),
        pa.field("message", pa.string()),
    ]
)
IDENTITY = [
    pa.field("dataset", pa.string()),
    pa.field("model_run", pa.string()),
    pa.field("reference_id", pa.string()),
]
_WHERE = [pa.field("manifest", pa.string()), pa.field("manifest_row", pa.int64())]
#: One row per accepted prediction. Columns a manifest adds follow under their own names.
VALIDATED = pa.schema(
    [
        *IDENTITY,
        pa.field("annotation_id", pa.string()),
        pa.field("mask_path", pa.string()),
        pa.field("mask_sha256", pa.string()),
        pa.field("fingerprint", pa.string()),
        pa.field("height", pa.int32()),
        pa.field("width", pa.int32()),
        pa.field("n_segments", pa.int32()),
        pa.field("bytes", pa.int64()),
        pa.field("mask_url", pa.string()),
        pa.field("image_url", pa.string()),
        *_WHERE,
        pa.field("findings", pa.list_(FINDING)),
    ]
)
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
]
#: One row per (prediction, segment), in the order of VALIDATED and by index within a prediction.
SEGMENTS = pa.schema([*IDENTITY, *MEASURED])
#: One row per finding of a row that was rejected; all of them, not the first.
REJECTED = pa.schema(
    [
        *IDENTITY,
        *_WHERE,
        pa.field("rule", pa.string()),
        pa.field("severity", pa.string()),
        pa.field("message", pa.string()),
        pa.field("found", pa.string()),
        pa.field("expected", pa.string()),
    ]
)
#: What happened to each prediction when it was published.
RECEIPTS = pa.schema(
    [
        *IDENTITY,
        pa.field("outcome", pa.string()),
        pa.field("fingerprint", pa.string()),
        pa.field("previous_fingerprint", pa.string()),
        pa.field("message", pa.string()),
        pa.field("run_id", pa.string()),
        pa.field("time", pa.timestamp("us", tz="UTC")),
    ]
)
