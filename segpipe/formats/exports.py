"""The formats published predictions can be exported in."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from segpipe.errors import SettingsError
from segpipe.formats.exporting import Progress, export_mask_folder, published
from segpipe.formats.exporting_coco import export_coco_panoptic
from segpipe.publishing.catalog import Catalog
from segpipe.views.consolidation import Consolidation


class ExportFormat(StrEnum):
    """An export format; importing an export again gives the same predictions."""

    COCO_PANOPTIC = "coco-panoptic"
    MASK_FOLDER = "mask-folder"


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
    progress: Progress | None = None,
) -> int:
    """Write a model run's published predictions to a folder.

    Args:
        out: the folder; created, or empty.
        date: of one partition, ``YYYY-MM-DD``; all partitions where None.
        consolidation: decides which labels are things, where ``like`` does not.
        like: see :func:`segpipe.formats.exporting_coco.export_coco_panoptic`.
        progress: called after each prediction.

    Returns:
        The number of predictions written.

    Raises:
        SettingsError: if nothing of it is published, or ``like`` cannot be used.
        CatalogError: if the catalog cannot be read.
        StorageError: if a mask cannot be read, or a file cannot be written.
    """
    if like is not None and kind is not ExportFormat.COCO_PANOPTIC:
        raise SettingsError(f"--like is for coco-panoptic; {kind} has no numbers of its own")
    predictions = published(catalog, dataset, model_run, date, progress)
    if kind is ExportFormat.COCO_PANOPTIC:
        return export_coco_panoptic(predictions, out, consolidation, like)
    return export_mask_folder(predictions, out)
