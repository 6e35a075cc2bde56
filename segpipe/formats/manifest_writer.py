"""Writing a model's predictions as a manifest and its masks, one prediction at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from os import PathLike
from types import TracebackType
from typing import Any

import pyarrow as pa

from segpipe.errors import ManifestError, MetadataError
from segpipe.formats.given_masks import MaskLike, png_or_indexes
from segpipe.formats.scores import ScoresLike, segmented
from segpipe.manifests.columns import FINDINGS_COLUMN
from segpipe.manifests.delivery import Delivery
from segpipe.manifests.held_masks import MASK_COLUMN
from segpipe.manifests.partition import Partition
from segpipe.manifests.rows import ImportFinding
from segpipe.manifests.writer import RowWriter, whole_number
from segpipe.masks.encoding import canonical_png
from segpipe.predictions.metadata import canonical_form
from segpipe.predictions.prediction import Segment
from segpipe.settings import RootLike, Settings
from segpipe.storage.mask_store import MaskStore

_MASKS = "masks"
_MEMBERS = frozenset({"label", "index", "metadata"})

#: A Segment, or ``{"label": ..., "index": ..., "metadata": {...}}``.
SegmentLike = Segment | Mapping[str, Any]


class ManifestWriter:
    """Writes a manifest row by row, and its masks beside it.

    ::

        with ManifestWriter("ROOT", model_run="unet-v1", date="2026-01-05") as writer:
            writer.add("frame-0001", mask, [Segment("Road", 0), Segment("Person", 1)])

    The manifest appears when the block ends without an error, and not at all otherwise. An
    :meth:`add` that fails refuses its item alone; catch ``SegpipeError`` around it, and the others
    are delivered. A manifest that is there is replaced only where ``replace`` or ``source`` says
    so. Masks are content-addressed, so writing the same predictions again changes nothing. Memory
    use does not grow with the number of rows.

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
        manifests = Settings.of(root).folder("manifests")
        self.folder = manifests.folder(*self.partition.folders)
        self.masks = MaskStore(self.folder.folder(_MASKS), _MASKS)
        self._importing, self._inline = importing, inline
        self.delivery = Delivery.named(self.folder, name, source, replace=replace)
        self._file = RowWriter(self.delivery, carried or {}, importing=importing, inline=inline)

    @property
    def rows(self) -> int:
        """Number of rows written so far."""
        return self._file.rows

    def __enter__(self) -> ManifestWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
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
        **carried: Any,
    ) -> None:
        """Write one prediction. What raises ManifestError costs this item alone.

        Args:
            reference_id: the dataset item.
            mask: H x W array of integers or bool, values 0 to 255 (NumPy, or anything with
                ``__array__``, such as a tensor); a Pillow image of mode L, P, 1 or I;16; or a PNG,
                as bytes or a path, which is stored unchanged and checked when the manifest is
                validated.
            segments: one for each value in the mask.
            annotation_id: unique per item.
            image_url: of the item's image; absolute, or relative to the manifest file.
            height, width: of the item's image in pixels. Where neither they nor ``image_url`` are
                given, the array's are written.
            findings: an importer's warnings about the prediction.
            carried: values of further columns: numbers, text, times, lists and dicts of them.

        Raises:
            ManifestError: naming the item, if the array is no index mask, the PNG cannot be read,
                a Segment is malformed, or a value cannot be held unaltered beside those before it.
            StorageError: if the mask cannot be stored.
        """
        given = png_or_indexes(mask, str(reference_id))
        if not isinstance(given, bytes) and image_url is None and height is None and width is None:
            height, width = given.shape
        cells = row_cells(
            reference_id,
            segments,
            annotation_id=annotation_id,
            image_url=image_url,
            height=height,
            width=width,
            findings=findings,
        )
        row = self._file.checked(cells, carried)
        data = given if isinstance(given, bytes) else canonical_png(given)
        if self._inline:
            row.cells[MASK_COLUMN] = data
        else:
            row.cells["mask_url"] = self.masks.path_of(self.masks.put(data))
        self._file.append(row)

    def add_stored(self, cells: dict[str, Any], carried: Mapping[str, Any]) -> None:
        """Write the row of a prediction whose mask is in ``masks``.

        Args:
            cells: :func:`row_cells` with ``mask_url``.
            carried: values of further columns.

        Raises:
            ManifestError: if a value cannot be held unaltered beside those before it.
        """
        self._file.append(self._file.checked(cells, carried))

    def add_scores(
        self,
        reference_id: str,
        scores: ScoresLike,
        labels: Sequence[str],
        void_below: float | None = None,
        **other: Any,
    ) -> None:
        """Write one prediction from probabilities per class, such as a softmax's output.

        ::

            writer.add_scores("frame-0001", torch.softmax(logits, dim=0), ["Road", "Person"])

        A pixel belongs to the class with the highest probability; of equal ones, to the first. Each
        class with pixels becomes a Segment; its index is the number of the class. Its metadata
        hold the mean over its pixels of the probability of each class (``class_pdf``) and of its
        own (``confidence``), from float64 sums in a fixed order; a mean that rounding carried above
        1 is 1. Scores are read in blocks and not copied as a whole.

        Args:
            reference_id: the dataset item.
            scores: C x H x W, float16, float32 or float64 (NumPy, or anything with
                ``__array__``, such as a tensor), 1 to 256 classes: probabilities from 0, which sum
                up to 1 within 0.001 in every pixel. Logits are refused.
            labels: of the C classes, all different.
            void_below: 0 to 1: pixels whose highest probability is lower become an ignored
                Segment ``void`` of index 255, without confidence and PDF; it needs a class less.
            other: ``annotation_id``, ``image_url``, ``height``, ``width``, ``findings`` and
                carried columns, as for :meth:`add`.

        Raises:
            ManifestError: naming the item, and where there is one the worst pixel, if the scores
                are no probabilities of these classes; and as :meth:`add` does.
            StorageError: if the mask cannot be stored.
        """
        mask, segments = segmented(scores, labels, str(reference_id), void_below)
        self.add(reference_id, mask, segments, **other)

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
) -> dict[str, Any]:
    """The cells of a prediction's row, but for its mask; see :meth:`ManifestWriter.add`.

    Raises:
        ManifestError: naming the item, if a Segment is malformed.
    """
    return {
        "reference_id": reference_id,
        "segments": segment_cells(segments, reference_id),
        "annotation_id": annotation_id,
        "height": height,
        "width": width,
        "image_url": image_url,
        FINDINGS_COLUMN: _findings(findings, reference_id),
    }


def segment_cells(segments: Sequence[SegmentLike], of: str) -> list[dict[str, Any]]:
    """Segments as cells of a manifest: label, index, and metadata as canonical JSON.

    Args:
        of: the item, for messages.

    Raises:
        ManifestError: naming the item, if a Segment is malformed.
    """
    if isinstance(segments, (str, bytes, Mapping, Segment)) or not isinstance(segments, Iterable):
        raise ManifestError(
            f"the Segments of {of!r} are {str(segments)[:80]!r} ({type(segments).__name__}), "
            "expected a list of segpipe.Segment"
        )
    return [_cell(segment, of) for segment in segments]


def _cell(segment: SegmentLike, of: str) -> dict[str, Any]:
    if isinstance(segment, Segment):
        label, index, metadata = segment.label, segment.index, segment.metadata
    elif isinstance(segment, Mapping):
        for name in ("label", "index"):
            if name not in segment:
                raise ManifestError(f"a Segment of {of!r} has no {name!r}")
        label, index, metadata = segment["label"], segment["index"], _metadata(segment, of)
    else:
        raise ManifestError(
            f"a Segment of {of!r} is {str(segment)[:80]!r} ({type(segment).__name__}), expected "
            "segpipe.Segment(label, index)"
        )
    if not isinstance(label, str):
        raise ManifestError(
            f"the label of a Segment of {of!r} is {label!r} ({type(label).__name__}), expected text"
        )
    try:
        if not label.isascii():
            label.encode("utf-8")
        _, text = canonical_form(metadata)
        cut = _cut_decimal(metadata)
    except UnicodeEncodeError:
        raise ManifestError(f"the label {label!r} of {of!r} is not valid Unicode text") from None
    except (MetadataError, AttributeError, TypeError) as error:
        raise ManifestError(f"a Segment of {of!r} cannot be written: {error}") from None
    if cut is not None:
        raise ManifestError(
            f"a Segment of {of!r} cannot be written: {cut} has more digits than a JSON number "
            "holds: give it as text"
        )
    if type(index) is not int or not 0 <= index < 256:
        index = whole_number(index, f"index of Segment {label!r} of {of!r}")
    return {"label": str.__str__(label), "index": index, "metadata": text}


def _cut_decimal(metadata: Any) -> Decimal | None:
    """A Decimal that a 64-bit float would cut; None where there is none."""
    if isinstance(metadata, Decimal):
        return None if Decimal(repr(float(metadata))) == metadata else metadata
    if isinstance(metadata, Mapping):
        metadata = metadata.values()
    elif not isinstance(metadata, (list, tuple)):
        return None
    return next((cut for one in metadata if (cut := _cut_decimal(one)) is not None), None)


def _metadata(segment: Mapping[str, Any], of: str) -> Mapping[str, Any]:
    """The metadata of a Segment; members beside label and index belong to it, as in manifests."""
    given = segment.get("metadata")
    if given is not None and not isinstance(given, Mapping):
        raise ManifestError(
            f"a Segment of {of!r} cannot be written: its metadata is {given!r}, expected a dict"
        )
    beside = {name: one for name, one in segment.items() if name not in _MEMBERS}
    twice = sorted(str(name) for name in beside if name in (given or {}))
    if twice:
        raise ManifestError(f"a Segment of {of!r} has {twice[0]!r} twice, beside its metadata")
    return {**beside, **(given or {})}


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
