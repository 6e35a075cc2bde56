"""What the columns of segpipe's tables mean: the one source of the words that ``docs/tables.md``,
the catalog's column comments and Dagster's pages show.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """What a column means.

    Attributes:
        meaning: for people who use the table, without segpipe at hand.
        unit: of its numbers; empty where it has none.
        since: the first format of the tables that has it.
    """

    meaning: str
    unit: str = ""
    since: int = 1

    @property
    def comment(self) -> str:
        """Meaning and unit in one line."""
        return f"{self.meaning} ({self.unit})" if self.unit else self.meaning


#: A Segment and its measures, in ``segments.parquet`` and nested in the catalog.
SEGMENT_COLUMNS: Mapping[str, Column] = {
    "label": Column("class name"),
    "index": Column("pixel value in the mask"),
    "metadata": Column("the Segment's metadata as JSON, as it was given"),
    "confidence": Column("the metadata's confidence; null where it has none", "0 to 1"),
    "area_px": Column("pixels of the mask that have the index", "pixels"),
    "area_fraction": Column("share of the mask's pixels", "0 to 1"),
    "bbox_x": Column("left edge of the box around its pixels", "pixels"),
    "bbox_y": Column("top edge of the box around its pixels", "pixels"),
    "bbox_w": Column("width of the box", "pixels"),
    "bbox_h": Column("height of the box", "pixels"),
    "centroid_x": Column("mean column of its pixels", "pixels"),
    "centroid_y": Column("mean row of its pixels", "pixels"),
    "class_pdf": Column(
        "class -> probability, sorted by class, from the metadata's class_pdf or pdf; null where "
        "it has none",
        "0 to 1",
        since=2,
    ),
    "entropy": Column("Shannon's entropy of class_pdf; null without one", "nats", since=2),
    "margin": Column(
        "highest probability of class_pdf minus the second; null without one", "0 to 1", since=2
    ),
}

#: A column that ``[metadata]`` in segpipe.toml declares.
DECLARED = Column(
    "the metadata's value under this key, declared in segpipe.toml; null where it has none or one "
    "of another type",
    since=2,
)

#: The columns of all tables, by name: a name means the same wherever it occurs.
COLUMNS: Mapping[str, Column] = {
    "dataset": Column("the dataset whose items are predicted"),
    "model_run": Column("the model run that predicted"),
    "reference_id": Column("the dataset item"),
    "annotation_id": Column("carried from the manifest; never used to match"),
    "mask_path": Column("the canonical mask file, relative to the root"),
    "mask_sha256": Column("SHA-256 of the mask file, which is also its name"),
    "fingerprint": Column("SHA-256 of what the prediction means: pixels, Segments, annotation id"),
    "height": Column("height of mask and image", "pixels"),
    "width": Column("width of mask and image", "pixels"),
    "n_segments": Column("Segments declared"),
    "bytes": Column("size of the mask file", "bytes"),
    "mask_url": Column("where the mask was read from; null where its row held it"),
    "image_url": Column("the item's image, as the manifest gives it"),
    "manifest": Column("manifest file"),
    "manifest_row": Column("row in that file, counted from 0"),
    "findings": Column("warnings and conversions: rule, severity, message"),
    "rule": Column("id of the rule that was broken; `segpipe rules ID` explains it"),
    "severity": Column("reject, warn or convert"),
    "message": Column("what was found and what to do"),
    "found": Column("the value found"),
    "expected": Column("the value expected"),
    "remedy": Column("what to do about it"),
    "segments": Column("the prediction's Segments, sorted by index"),
    "partition": Column("day of the manifest, YYYY-MM-DD"),
    "run_id": Column("the run that published this prediction"),
    "previous_fingerprint": Column("of the prediction this one replaced; null where it is new"),
    "published_at": Column("when it was published", "UTC"),
    "outcome": Column("inserted, unchanged, ignored, replaced or failed"),
    "time": Column("when the run published", "UTC"),
    "change": Column("added, replaced or removed"),
    "fingerprint_before": Column("of the earlier version; null where it had none"),
    "fingerprint_after": Column("of the later version; null where it has none"),
    "segments_added": Column("Segments only the later version has, as `index label`"),
    "segments_removed": Column("Segments only the earlier version has, as `index label`"),
    "segments_changed": Column("Segments that differ otherwise, as `index label`"),
    **SEGMENT_COLUMNS,
}
