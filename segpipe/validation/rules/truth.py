"""Rules that compare a prediction with the published ground truth of its item.

Nothing is compared unless ``[evaluation] ground_truth`` names the model run of the truth.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from segpipe.errors import listed
from segpipe.names import shown
from segpipe.predictions.declarations import DeclaredSegment
from segpipe.predictions.prediction import Segment
from segpipe.validation.ground_truth import AgainstTruth
from segpipe.validation.rules.catalogue import Found, Severity, rule
from segpipe.validation.rules.evidence import Evidence
from segpipe.validation.rules.labels import is_ignored, is_no_class
from segpipe.validation.rules.wording import count, percent

# Pixels outside the largest class, void's included, from which no model meets the truth by chance.
# An empty frame, or an object of a few pixels, is predicted exactly by good models.
_PIXELS_TO_COPY = 100
# A Segment covers a class if it takes this share of the class's pixels, and these are at least this
# share of the Segment's and of the image's. Measured on 438 real and perturbed predictions of
# CamVid, Cityscapes, COCO, BDD100K, DAVIS and DeepLab, and on 20 images of real COCO results: no
# Segment covers two classes, nor with half of each share of class and Segment. Where every pair of
# classes in them is merged, half of the pairs (149 of 287) are seen in one of at most 12 items.
# Lower shares see more, but an object that a model overlooks is a merged one to the pixels.
_OF_CLASS = 0.8
_OF_SEGMENT = 0.2
_OF_IMAGE = 0.01


@rule(
    "IDENTICAL-TO-TRUTH",
    Severity.WARN,
    meaning="The prediction is the published ground truth of its item: every pixel has the class "
    "that it has there. No model is right to the last pixel.",
    remedy="Publish what the model predicted, not the labels it is compared with; and make sure "
    "that it was not given them.",
    example="the masks of the ground truth, in a manifest of the model run",
    requires="truth",
)
def identical_to_truth(evidence: Evidence) -> Iterator[Found]:
    truth = evidence.truth
    if truth is None:
        return
    predicted, true = _classes(evidence.declaration.segments), _classes(truth.segments)
    pixels: Counter[str | None] = Counter()
    for index, value, area in _pairs(truth):
        label = true.get(value)
        if index not in predicted or value not in true or predicted[index] != label:
            return
        pixels[label] += area
    if pixels.total() - max(pixels.values(), default=0) >= _PIXELS_TO_COPY:
        yield Found(
            f"each of {count(pixels.total())} is as in the ground truth "
            f"({shown(truth.model_run)}): were the labels submitted as a prediction?",
            found=f"{pixels.total()} of {pixels.total()} pixels",
            expected="differences",
        )


@rule(
    "INDEX-MIXED",
    Severity.WARN,
    meaning="One index covers several classes of the published ground truth, each nearly whole: "
    "classes or objects were merged on the way to the mask.",
    remedy="Look at what makes the mask: two entries of the class map with one value, a map of "
    "object ids written as classes, or ids beyond 255 cut to 8 bits (257 became 1). Nothing to do "
    "if the model does not tell these classes apart, or overlooked them.",
    example="index 3 (Road) where the ground truth has Road and Pavement",
    requires="truth",
)
def index_mixed(evidence: Evidence) -> Iterator[Found]:
    truth, mask = evidence.truth, evidence.mask
    if truth is None or mask is None:
        return
    image = mask.header.height * mask.header.width
    labels = {s.index: s.label for s in truth.segments if not is_no_class(s)}
    areas: Counter[str] = Counter()
    shared: defaultdict[int | None, Counter[str]] = defaultdict(Counter)
    for index, value, area in _pairs(truth):
        if value in labels:
            areas[labels[value]] += area
            shared[index][labels[value]] += area
    mixed = []
    for segment in evidence.declaration.segments:
        # A label the truth does not know may be a coarser class, such as vehicle for car and bus.
        if segment.index not in shared or is_no_class(segment) or segment.label not in areas:
            continue
        classes = shared[segment.index]
        least = max(_OF_SEGMENT * classes.total(), _OF_IMAGE * image)
        covered = [
            (label, area)
            for label, area in classes.items()
            if area >= least and area >= _OF_CLASS * areas[label]
        ]
        if len(covered) > 1:
            told = [
                f"{shown(label)} {count(area)} ({percent(area, areas[label])} of it)"
                for label, area in sorted(covered, key=lambda one: (-one[1], one[0]))
            ]
            mixed.append((segment, told))
    if mixed:
        each = listed([f"{segment.name} covers {' and '.join(of)}" for segment, of in mixed])
        yield Found(
            f"of the classes in the ground truth ({shown(truth.model_run)}), index {each}: "
            "are several written with one index, or were they overlooked?",
            found=listed([str(segment.index) for segment, _ in mixed], 256),
            expected="one class per index",
        )


def _pairs(truth: AgainstTruth) -> Iterator[tuple[int, int, int]]:
    """Value in the prediction, value in the truth, and their pixels."""
    pairs = truth.pairs
    return zip(pairs.one.tolist(), pairs.other.tolist(), pairs.pixels.tolist(), strict=True)


def _classes(segments: Iterable[DeclaredSegment | Segment]) -> dict[int | None, str | None]:
    """Index -> label; None for ignored pixels."""
    return {s.index: None if is_ignored(s) else s.label for s in segments}
