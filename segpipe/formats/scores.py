"""Probabilities per class, C x H x W, as a mask and Segments with class PDFs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segpipe.errors import ManifestError, shortened
from segpipe.formats.given_masks import ArrayLike, as_array
from segpipe.formats.score_diagnosis import why_no_probabilities
from segpipe.masks.scores import VOID_INDEX, ScoredMask, scored_mask
from segpipe.predictions.prediction import Segment

#: What can be given as scores.
ScoresLike = NDArray[Any] | ArrayLike
#: Label of pixels that are left to no class.
VOID = "void"
_MOST_CLASSES = 256


def segmented(
    scores: ScoresLike,
    labels: Sequence[str],
    of: str,
    void_below: float | None = None,
    metadata: Sequence[Mapping[str, Any]] | None = None,
) -> tuple[NDArray[np.uint8], list[Segment]]:
    """The mask by argmax, and a Segment for each class that has pixels.

    Args:
        scores: C x H x W probabilities, float16, float32 or float64.
        labels: of the C classes.
        of: the item or file, for messages.
        void_below: see :meth:`ManifestWriter.add_scores`.
        metadata: further metadata of each class' Segment.

    Returns:
        H x W uint8, and the Segments: their index is the number of the class, their metadata
        ``confidence`` and ``class_pdf``.

    Raises:
        ManifestError: naming ``of``, if the scores are no probabilities of these classes.
    """
    array = as_array(scores, f"the scores of {of!r}")
    _check_labels(labels, of)
    _check_form(array, labels, of)
    _check_bound(void_below, labels, of)
    scored = scored_mask(array, void_below)
    if scored is None:
        raise ManifestError(f"the array of scores of {of!r} {why_no_probabilities(array, labels)}")
    extra = metadata or [{}] * len(labels)
    return scored.mask, list(map(_segment_of(scored, labels, extra), np.flatnonzero(scored.areas)))


def _segment_of(
    scored: ScoredMask, labels: Sequence[str], metadata: Sequence[Mapping[str, Any]]
) -> Any:
    def segment(value: int) -> Segment:
        if value >= len(labels):
            return Segment(VOID, VOID_INDEX, {"ignore": True})
        # Sums may be up to TOLERANCE beyond 1; a probability is not.
        means = np.minimum(scored.means[value], 1.0).tolist()
        own = {
            "confidence": means[value],
            "class_pdf": dict(zip(map(str, labels), means, strict=True)),
        }
        return Segment(str(labels[value]), int(value), {**metadata[value], **own})

    return segment


def _check_labels(labels: Sequence[str], of: str) -> None:
    if isinstance(labels, (str, bytes, Mapping)) or not hasattr(labels, "__len__"):
        raise ManifestError(
            f"the labels of the scores of {of!r} are {shortened(repr(labels), 80)}, expected a "
            "list: the name of each class, in the order of the scores"
        )
    odd = next((one for one in labels if not isinstance(one, str)), None)
    if odd is not None:
        raise ManifestError(
            f"a label of the scores of {of!r} is {shortened(repr(odd), 80)} "
            f"({type(odd).__name__}), expected text"
        )
    seen: dict[str, int] = {}
    for place, label in enumerate(labels):
        if label in seen:
            raise ManifestError(
                f"the labels of the scores of {of!r} have {shortened(repr(str(label)), 80)} "
                f"twice, for the classes {seen[label]} and {place}: give each class its own name"
            )
        seen[label] = place


def _check_form(scores: NDArray[Any], labels: Sequence[str], of: str) -> None:
    said = f"the array of scores of {of!r}"
    kind, shape = scores.dtype, scores.shape
    if kind.kind != "f" or kind.itemsize > 8:
        hint = ": a mask of indexes is given to add" if scores.ndim == 2 else ""
        raise ManifestError(
            f"{said} holds {kind}, expected probabilities as float16, float32 or float64{hint}"
        )
    if isinstance(scores, np.ma.MaskedArray) and np.ma.is_masked(scores):
        raise ManifestError(f"{said} has pixels that are masked out: fill them first")
    if scores.ndim != 3 or 0 in shape:
        raise ManifestError(f"{said} has shape {shape}, expected C x H x W{_shape_hint(shape)}")
    if len(labels) != shape[0] and len(labels) == shape[2]:
        raise ManifestError(
            f"{said} has shape {shape}, which is H x W x C for {len(labels)} labels; expected "
            "C x H x W: give numpy.moveaxis(scores, -1, 0)"
        )
    if shape[0] > _MOST_CLASSES:
        raise ManifestError(
            f"{said} has {shape[0]:,} classes (shape {shape}), more than the {_MOST_CLASSES} "
            "values of a mask: add up the probabilities of classes that belong together"
        )
    if len(labels) != shape[0]:
        raise ManifestError(
            f"{said} has {shape[0]} classes (shape {shape}, C x H x W), and there are "
            f"{len(labels)} labels: give a label for each class, in the order of the scores"
        )


def _shape_hint(shape: tuple[int, ...]) -> str:
    if len(shape) == 2:
        return ": for the probability p of one class give numpy.stack([1 - p, p]) and two labels"
    if len(shape) == 4:
        return ": it is a batch; add each of its items, such as scores[0]"
    return ""


def _check_bound(void_below: float | None, labels: Sequence[str], of: str) -> None:
    if void_below is None:
        return
    if isinstance(void_below, bool) or not isinstance(void_below, (int, float)):
        raise ManifestError(f"void_below is {void_below!r}, expected a number from 0 to 1")
    if not 0 <= void_below <= 1:
        raise ManifestError(
            f"void_below is {void_below}, expected a probability from 0 to 1"
            + (f": {void_below / 100:g} for {void_below:g} %" if 1 < void_below <= 100 else "")
        )
    if len(labels) > VOID_INDEX:
        raise ManifestError(
            f"{len(labels)} classes leave no value of the mask of {of!r} for pixels below "
            "void_below: leave it out, or add up classes that belong together"
        )
