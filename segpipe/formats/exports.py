"""The formats published predictions can be exported in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from enum import StrEnum
from pathlib import Path

from segpipe.errors import SettingsError
from segpipe.formats.exporting import Progress, export_mask_folder, published
from segpipe.formats.exporting_coco import export_coco_panoptic
from segpipe.formats.exporting_instances import (
    export_coco_results,
    export_label_studio,
    export_yolo,
)
from segpipe.publishing.catalog import Catalog
from segpipe.views.consolidation import Consolidation


class ExportFormat(StrEnum):
    """An export format.

    Importing an export of the first two again gives the same predictions. The others hold instances
    only, of which pixels, labels and confidences come back.
    """

    COCO_PANOPTIC = "coco-panoptic"
    MASK_FOLDER = "mask-folder"
    COCO_RESULTS = "coco-results"
    LABEL_STUDIO = "label-studio"
    YOLO_SEG = "yolo-seg"


def export_published(
    kind: ExportFormat,
    out: Path,
    catalog: Catalog,
    dataset: str,
    model_run: str,
    date: str | None = None,
    *,
    consolidation: Consolidation,
    like: Path | None = None,
    reference_ids: Collection[str] | None = None,
    progress: Progress | None = None,
    left_out: Counter[str] | None = None,
) -> int:
    """Write a model run's published predictions to a folder.

    Args:
        out: the folder; created, or empty.
        date: of one partition, ``YYYY-MM-DD``; all partitions where None.
        consolidation: decides which labels are things, where ``like`` does not.
        like: see :func:`segpipe.formats.exporting_coco.export_coco_panoptic`.
        reference_ids: only those of these items; of all where None.
        progress: called after each prediction.
        left_out: counts what the format cannot hold, by kind.

    Returns:
        The number of predictions written.

    Raises:
        SettingsError: if nothing of it is published, or ``like`` cannot be used.
        CatalogError: if the catalog cannot be read.
        StorageError: if a mask cannot be read, or a file cannot be written.
    """
    if like is not None and kind not in (ExportFormat.COCO_PANOPTIC, ExportFormat.COCO_RESULTS):
        raise SettingsError(f"--like is for COCO's formats; {kind} has no numbers of its own")
    predictions = published(catalog, dataset, model_run, date, progress, reference_ids)
    others = Counter[str]() if left_out is None else left_out
    if kind is ExportFormat.COCO_PANOPTIC:
        return export_coco_panoptic(predictions, out, consolidation, like)
    if kind is ExportFormat.COCO_RESULTS:
        return export_coco_results(predictions, out, consolidation, others, like)
    if kind is ExportFormat.LABEL_STUDIO:
        return export_label_studio(predictions, out, model_run, others)
    if kind is ExportFormat.YOLO_SEG:
        return export_yolo(predictions, out, others)
    return export_mask_folder(predictions, out)
