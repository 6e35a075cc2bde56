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

_IOU = "intersection over union"
_DIVIDED = "null where it is undefined"
#: The columns of evaluations; those that :data:`COLUMNS` has as well mean what is said here.
EVALUATION_COLUMNS: Mapping[str, Column] = {
    "outcome": Column(
        "of an item: evaluated, no ground truth, or no prediction; of a segment: TP, FP, FN, or "
        "ignored", since=2,
    ),
    "reason": Column(
        "why an item is not evaluated, or counts as missed; why a segment is what it is", since=2
    ),
    "valid_pixels": Column("pixels that are not void in the ground truth", "pixels", 2),
    "TP": Column("segments that are matched", since=2),
    "FP": Column("predicted segments that match none", since=2),
    "FN": Column("segments of the ground truth that match none", since=2),
    "mIoU": Column(f"mean IoU of the classes; {_DIVIDED}", "0 to 1", 2),
    "fwIoU": Column("IoU of the classes, weighted with their true pixels", "0 to 1", 2),
    "pixel_accuracy": Column("share of the valid pixels that have their class", "0 to 1", 2),
    "mean_accuracy": Column("mean recall of the classes of the ground truth", "0 to 1", 2),
    "mDice": Column("mean Dice of the classes", "0 to 1", 2),
    "boundary_IoU": Column(f"{_IOU} of boundaries; null unless asked for", "0 to 1", 2),
    **{
        f"{name}{of}": Column(f"{words}{said}", "0 to 1", 2)
        for name, words in (
            ("PQ", "panoptic quality"), ("SQ", "segmentation quality"),
            ("RQ", "recognition quality"),
        )
        for of, said in (
            ("", "; of items the mean over their classes"), ("_things", ", mean over things"),
            ("_stuff", ", mean over stuff"),
        )
    },
    "boundary_PQ": Column("panoptic quality by the lower of mask and boundary IoU", "0 to 1", 2),
    "F": Column("F of contours, as DAVIS has it; null unless asked for", "0 to 1", 2),
    "truth_fingerprint": Column("SHA-256 of what the ground truth means", since=2),
    "label": Column("class; in the ground truth, where predicted_label stands beside it", since=2),
    "kind": Column("thing or stuff; of a segment also crowd or void", since=2),
    "true_pixels": Column("of the class in the ground truth", "pixels", 2),
    "predicted_pixels": Column(
        "of the class in the prediction, where the ground truth is not void", "pixels", 2
    ),
    "correct_pixels": Column("that have their class in the prediction", "pixels", 2),
    "IoU": Column(f"{_IOU}, of a class or a matched segment; void apart", "0 to 1", 2),
    "Dice": Column("twice the correct pixels by the true and the predicted ones", "0 to 1", 2),
    "precision": Column("correct by predicted pixels", "0 to 1", 2),
    "recall": Column("correct by true pixels", "0 to 1", 2),
    "IoU_sum": Column("of the matched segments", since=2),
    "boundary_intersection": Column("of the boundaries", "pixels", 2),
    "boundary_union": Column("of the boundaries", "pixels", 2),
    "boundary_TP": Column("TP of boundary_PQ", since=2),
    "boundary_FP": Column("FP of boundary_PQ", since=2),
    "boundary_FN": Column("FN of boundary_PQ", since=2),
    "boundary_IoU_sum": Column("IoU_sum of boundary_PQ", since=2),
    "F_sum": Column("sum of F over items", since=2),
    "F_items": Column("items that have an F", since=2),
    "true_things": Column("segments of the ground truth that are things", since=2),
    "true_stuff": Column("segments of the ground truth that are stuff", since=2),
    "predicted_things": Column("predicted segments that are things", since=2),
    "predicted_stuff": Column("predicted segments that are stuff", since=2),
    "undecided": Column(
        "nothing says thing or stuff of the class in this item; null in tables of 0.2.0", since=2
    ),
    "predicted_label": Column("class in the prediction; null for void", since=2),
    "pixels": Column("that have both", "pixels", 2),
    "side": Column("truth or prediction", since=2),
    "index": Column("lowest pixel value of the segment", since=2),
    "indexes": Column("all its pixel values: stuff of a class is one segment", since=2),
    "area_px": Column("of the segment", "pixels", 2),
    "void_px": Column("of them, void on the other side", "pixels", 2),
    "crowd_px": Column("of them, on a crowd of the class", "pixels", 2),
    "matched_index": Column("index of the segment that it is matched with", since=2),
    "mask_IoU": Column("IoU of a matched segment, void in the union", "0 to 1", 2),
    "confidence": Column("of the segment; of a bin the mean", "0 to 1", 2),
    "entropy": Column("of the segment's class PDF", "nats", 2),
    "from": Column("lower end of a bin of confidence", "0 to 1", 2),
    "to": Column("upper end of the bin, which belongs to it", "0 to 1", 2),
    "segments": Column("predicted segments in the bin that are right or wrong", since=2),
    "matched": Column("of them, those that are matched", since=2),
    "accuracy": Column("share that is matched", "0 to 1", 2),
    "items": Column("rows of `items`", since=2),
    "evaluated": Column("items that were evaluated", since=2),
    "without_ground_truth": Column("items that were not, for want of ground truth", since=2),
    "without_prediction": Column("items that were not, for want of a prediction", since=2),
    "calibration_error": Column(f"expected calibration error; {_DIVIDED}", "0 to 1", 2),
    "risk_by_confidence": Column(
        f"area under the risk-coverage curve, by confidence; {_DIVIDED}", "0 to 1", 2
    ),
    "risk_by_entropy": Column(f"the same by the entropy of class PDFs; {_DIVIDED}", "0 to 1", 2),
    "catalog_version": Column("in which the ground truth was read", since=2),
}  # fmt: skip
