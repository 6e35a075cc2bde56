"""Writing a model's predictions as a manifest and its masks, one prediction at a time."""

from __future__ import annotations

import os
import warnings
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from os import PathLike
from types import TracebackType
from typing import Any

import pyarrow as pa

from segpipe.errors import ManifestError
from segpipe.formats.given_masks import MaskLike, png_or_indexes
from segpipe.formats.given_segments import SegmentLike, segment_cells, unread_confidence
from segpipe.formats.model_outputs.writing import OutputWriter
from segpipe.formats.row_check import AddedItems, RowCheck
from segpipe.manifests.columns import FINDINGS_COLUMN
from segpipe.manifests.delivery import Delivery
from segpipe.manifests.held_masks import MASK_COLUMN
from segpipe.manifests.partition import Partition
from segpipe.manifests.rows import ImportFinding
from segpipe.manifests.writer import RowWriter
from segpipe.masks.encoding import canonical_png
from segpipe.masks.image_size import ImageSize
from segpipe.masks.refusal import MaskRefused
from segpipe.settings import RootLike, Settings
from segpipe.storage.mask_store import MaskStore

_MASKS = "masks"
_CHECKED_ROWS = 100
_OTHER_PROCESS = (
    "a ManifestWriter belongs to the process that opened it; what another one adds would be lost. "
    'Open one in each, under a name of its own, such as name=f"worker-{number}"'
)


class ManifestWriter(OutputWriter):
    """Writes a manifest row by row, and its masks beside it.

    ::

        with ManifestWriter("ROOT", model_run="unet-v1", date="2026-01-05") as writer:
            writer.add("frame-0001", mask, [Segment("Road", 0), Segment("Person", 1)])

    The manifest appears when the block ends without an error, and not at all otherwise. An
    :meth:`add` that fails refuses its item alone; catch ``SegpipeError`` around it, and the others
    are delivered. A manifest that is there is replaced only where ``replace`` or ``source`` says
    so. Masks are content-addressed, so writing the same predictions again changes nothing. Memory
    use does not grow with the number of rows, but for 8 bytes each. What models return goes in by
    ``add_instances``, ``add_panoptic``, ``add_semantic``, ``add_scores`` and ``add_huggingface``. A
    writer belongs to the process that opened it: several processes open one each, by ``name``.

    Args:
        root: the root, or its path or URL; the manifest goes where the root expects it.
        model_run: name of the model run.
        date: the day, ``YYYY-MM-DD``.
        name: of the manifest file, without ``.parquet``; several writers of one partition need
            different names, and so does a later delivery that stands beside the first.
        replace: whether a file of that name is replaced when the block ends.
        source: what the predictions come from, such as a camera or a folder's path: a file of that
            name which was written with the same ``source`` is replaced.
        carried: name -> type of further columns, where known beforehand. The others get the
            narrowest type that holds all their values unaltered.
        importing: the rows come from an importer, which may refuse some. A manifest without
            rows is then no error.
        inline: the manifest holds the masks themselves, in its column ``mask``, and there are no
            files of them: one object to write, move and read.

    Raises:
        SettingsError: if the root's settings, the model run's name, the date or ``name`` cannot be
            used.
        ManifestError: if there is a manifest of that name that must not be replaced.
        StorageError: if the storage does not say.
    """

    def __init__(
        self,
        root: RootLike,
        model_run: str,
        date: str | date,
        *,
        name: str = "predictions",
        replace: bool = False,
        source: str | None = None,
        carried: Mapping[str, pa.DataType] | None = None,
        importing: bool = False,
        inline: bool = False,
    ) -> None:
        self.partition = Partition(model_run, str(date))
        settings = Settings.of(root)
        self.folder = settings.folder("manifests").folder(*self.partition.folders)
        self.masks = MaskStore(self.folder.folder(_MASKS), _MASKS)
        self._importing, self._inline = importing, inline
        self.delivery = Delivery.named(self.folder, name, source, replace=replace)
        self._file = RowWriter(self.delivery, carried or {}, importing=importing, inline=inline)
        policy = settings.policies.of(model_run)
        self._check = RowCheck(policy, settings.sources(), self.folder.url)
        self._items = AddedItems()
        self._told: set[str] = set()
        self._process = os.getpid()

    @property
    def rows(self) -> int:
        """Number of rows written so far."""
        return self._file.rows

    def __getstate__(self) -> Any:
        raise ManifestError(_OTHER_PROCESS)

    def __enter__(self) -> ManifestWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if os.getpid() != self._process:
            return  # what is kept belongs to the process this one was forked from
        if error is not None:
            self._file.discard()
            if self.rows:
                error.add_note(
                    f"{self.rows} predictions of {self.partition} were added before this and are "
                    "in no manifest; their masks are stored. Run again, or catch "
                    "segpipe.SegpipeError around add, so that the block ends without an error and "
                    "delivers all others"
                )
            return
        self._file.deliver(_no_masks if self._inline else self.masks.sync)
        if not self.rows and not self._importing:
            raise ManifestError(
                f"no prediction was added, so no manifest of {self.partition} was written: a "
                "partition without predictions has none"
            )

    def add(
        self,
        reference_id: str,
        mask: MaskLike,
        segments: Sequence[SegmentLike],
        *,
        annotation_id: str | None = None,
        image_url: str | PathLike[str] | None = None,
        height: int | None = None,
        width: int | None = None,
        findings: Sequence[ImportFinding] = (),
        check: bool | None = None,
        **carried: Any,
    ) -> None:
        """Write one prediction. What raises ManifestError costs this item alone.

        Args:
            reference_id: the dataset item.
            mask: H x W array of integers or bool, values 0 to 255 (NumPy, or anything with
                ``__array__``, such as a tensor); a Pillow image of mode L, P, 1 or I;16; or a PNG,
                as bytes or a path, which is stored unchanged.
            segments: one for each value in the mask.
            annotation_id: unique per item.
            image_url: of the item's image; absolute, or relative to the manifest file.
            height, width: of the item's image in pixels. Where they are not given, the array's are
                written; beside an ``image_url`` where its image has that size, or must not be read.
                Else the run reads the image and compares.
            findings: an importer's warnings about the prediction.
            check: whether the rules that reject a row are applied at once, and an item that was
                added before is refused; by default the rules to the first hundred rows. A later row
                that breaks one is rejected by the run.
            carried: values of further columns: numbers, text, times, lists and dicts of them.

        Raises:
            ManifestError: naming the item, if the array is no index mask, the PNG cannot be read,
                a Segment is malformed, a value cannot be held unaltered beside those before it, or
                the row was checked and breaks a rule.
            StorageError: if the mask cannot be stored.
        """
        self._check_process()
        checking = not self._importing and (self.rows < _CHECKED_ROWS if check is None else check)
        given = png_or_indexes(mask, str(reference_id))
        image = None
        if not isinstance(given, bytes) and height is None and width is None:
            if image_url is None:
                height, width = given.shape
            elif isinstance(image_url, (str, PathLike)) and not self._importing:
                (height, width), image, told = self._image(
                    os.fspath(image_url), given.shape, checking
                )
                findings = (*findings, *told)
        cells = row_cells(
            reference_id,
            segments,
            annotation_id=annotation_id,
            image_url=image_url,
            height=height,
            width=width,
            findings=findings,
            declared=self._check.policy.metadata,
        )
        row = self._file.checked(cells, carried)
        data = given if isinstance(given, bytes) else canonical_png(given)
        if checking:
            self._check.judge(row.cells, data, image)
        if not self._importing:
            self._tell_unread_confidence(reference_id, segments)
            if check is not False:
                self._items.refuse_repeated(row.cells["reference_id"])
        if self._inline:
            row.cells[MASK_COLUMN] = data
        else:
            row.cells["mask_url"] = self.masks.path_of(self.masks.put(data))
        self._file.append(row)
        if not self._importing:
            self._items.add(row.cells["reference_id"])

    def _image(
        self, url: str, shape: tuple[int, ...], checking: bool
    ) -> tuple[tuple[int | None, int | None], ImageSize | None, tuple[ImportFinding, ...]]:
        """The size to write beside an image, the image's where it was read, and what is told."""
        own = shape[0], shape[1]
        try:
            image = self._check.image_size(url, also_remote=checking)
        except MaskRefused as refusal:
            words = f"{refusal.message}. The mask's own size stands in the row, not compared"
            self._warn("image", words)
            return own, None, (ImportFinding("SIZE-UNVERIFIED", words),)
        same = image is not None and (image.height, image.width) == own
        return (own if same else (None, None)), image, ()

    def _tell_unread_confidence(self, of: str, segments: Sequence[SegmentLike]) -> None:
        if "confidence" in self._told:
            return
        name = unread_confidence(segments)
        if name is not None:
            self._warn(
                "confidence",
                f"Segments of {of!r} have {name!r} in their metadata and no 'confidence', so "
                "segpipe sees none: write it as 'confidence' (0 to 1) where it is one",
            )

    def _warn(self, about: str, words: str) -> None:
        """Warn once."""
        if about not in self._told:
            self._told.add(about)
            warnings.warn(words, stacklevel=4)

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            raise ManifestError(_OTHER_PROCESS)

    def add_stored(self, cells: dict[str, Any], carried: Mapping[str, Any]) -> None:
        """Write the row of a prediction whose mask is in ``masks``.

        Args:
            cells: those of ``row_cells``, with ``mask_url``.
            carried: values of further columns.

        Raises:
            ManifestError: if a value cannot be held unaltered beside those before it.
        """
        self._file.append(self._file.checked(cells, carried))

    def refuse(self, reference_id: str, findings: Sequence[ImportFinding], **carried: Any) -> None:
        """Write a row without a mask; validation rejects it with these findings.

        Args:
            reference_id: the dataset item.
            carried: values of further columns.

        Raises:
            ManifestError: if a value cannot be held unaltered beside those before it.
        """
        cells = {
            "reference_id": reference_id,
            FINDINGS_COLUMN: _findings(findings, reference_id),
        }
        self._file.append(self._file.checked(cells, carried))


def _no_masks() -> None:
    """There are no mask files to sync."""


def row_cells(
    reference_id: str,
    segments: Sequence[SegmentLike],
    *,
    annotation_id: str | None,
    image_url: str | PathLike[str] | None,
    height: int | None,
    width: int | None,
    findings: Sequence[ImportFinding],
    declared: Collection[str] = (),
) -> dict[str, Any]:
    """The cells of a prediction's row, but for its mask; see :meth:`ManifestWriter.add`.

    Raises:
        ManifestError: naming the item, if a Segment is malformed.
    """
    return {
        "reference_id": reference_id,
        "segments": segment_cells(segments, reference_id, declared),
        "annotation_id": annotation_id,
        "height": height,
        "width": width,
        "image_url": image_url,
        FINDINGS_COLUMN: _findings(findings, reference_id),
    }


def _findings(findings: Sequence[ImportFinding], of: str) -> list[dict[str, str]]:
    if isinstance(findings, str) or not all(isinstance(one, ImportFinding) for one in findings):
        raise ManifestError(
            f"{of!r}: 'findings' are an importer's ImportFindings; give a column of your own "
            "another name"
        )
    return list(map(_finding, findings))


def _finding(finding: ImportFinding) -> dict[str, str]:
    return {
        "rule": finding.rule,
        "message": finding.message,
        "found": finding.found,
        "expected": finding.expected,
        "remedy": finding.remedy,
    }
