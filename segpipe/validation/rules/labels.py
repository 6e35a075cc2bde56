"""Rules that compare labels with the policy's taxonomy and task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from segpipe.errors import listed, shortened
from segpipe.names import Looks, shown
from segpipe.predictions.declarations import LONGEST_LABEL, DeclaredSegment
from segpipe.predictions.prediction import Segment
from segpipe.validation.rules.catalogue import Found, Severity, rule
from segpipe.validation.rules.evidence import Evidence

#: What importers call the pixels that no object covers; always at index 0.
BACKGROUND = "background"
_BACKGROUND_INDEX = 0
# With fewer classes, each may have exactly one instance by chance.
_SUSPICIOUSLY_MANY = 10
# A policy's taxonomy has no numbers, so no settings say what a number is called.
_NAMES_FOR_NUMBERS = (
    "Write names, where NAMES is the class list of the model (number -> name): "
    "`segments = [{**one, 'label': NAMES[one['label']]} for one in segments]`. Numbers stay in "
    "Hugging Face data sets whose feature `label` is a ClassLabel with names; masks of class "
    "numbers come in without Segments by `segpipe import mask-folder --labels FILE`, a CSV with "
    "index,label."
)


@rule(
    "LABEL-EMPTY",
    Severity.REJECT,
    meaning="A Segment has no label, so its pixels belong to no class.",
    remedy="Give every Segment its class name.",
    example="{label: '', index: 3}",
    essential=True,
    requires="unusual_segments",
)
def label_empty(evidence: Evidence) -> Iterator[Found]:
    blank = [s for s in evidence.unusual_segments if s.label is None or not s.label.strip()]
    if blank:
        indexes = listed([repr(s.raw_index) for s in blank])
        found = blank[0].raw_label if blank[0].label is None else blank[0].label
        remedy = ""
        if isinstance(found, str) and len(found) > LONGEST_LABEL:
            said = f"found {len(found):,} characters, at most {LONGEST_LABEL:,}): write the "
            said += "class's name alone"
        elif isinstance(found, str) or found is None:
            said = f"found {found!r}): give it its class name"
        else:
            said = f"found {shortened(repr(found))}, expected text): write the class's name, not "
            said += "its number"
            remedy = _NAMES_FOR_NUMBERS if _whole(found) else ""
        yield Found(
            f"the Segment of index {indexes} has no usable label ({said}",
            found=shortened(repr(found)),
            expected="a class name",
            remedy=remedy,
        )


def _whole(label: object) -> bool:
    return isinstance(label, (int, float)) and not isinstance(label, bool) and label % 1 == 0


@rule(
    "LABEL-UNKNOWN",
    Severity.WARN,
    meaning="A label is not in the taxonomy: a typo, or another numbering of the classes. Ignored "
    "Segments and the background that importers write need not be in it.",
    remedy="Correct the label, or add it to [policy.taxonomy].",
    example="'building ' where the taxonomy has 'Building'",
)
def label_unknown(evidence: Evidence) -> Iterator[Found]:
    taxonomy = evidence.policy.taxonomy
    if not taxonomy:
        return
    allowed = {*taxonomy, *evidence.policy.ignore_values.values()}
    unknown = sorted(
        {
            s.label
            for s in evidence.declaration.segments
            if s.label and s.label not in allowed and not is_no_class(s)
        }
    )
    if unknown:
        looks = Looks(allowed)
        described = [f"{shown(label)}{_nearest(label, looks)}" for label in unknown]
        yield Found(
            f"not in the taxonomy: {listed(described)}",
            found=listed([shown(label) for label in unknown]),
            expected=listed(sorted(taxonomy)),
        )


def is_no_class(segment: DeclaredSegment | Segment) -> bool:
    """Whether a Segment is marked as ignored, or is the background that importers write."""
    background = segment.label == BACKGROUND and segment.index == _BACKGROUND_INDEX
    return background or is_ignored(segment)


def is_ignored(segment: DeclaredSegment | Segment) -> bool:
    """Whether a Segment is marked as ignored."""
    ignored = segment.metadata.get("ignore")
    if ignored is None:
        return False
    if isinstance(ignored, str):
        return ignored.strip().lower() in ("true", "1")
    return isinstance(ignored, (bool, int, float)) and ignored == 1


def _nearest(label: str, looks: Looks) -> str:
    nearest = looks.nearest(label)
    return "" if nearest is None else f" ({shown(nearest)}?)"


@rule(
    "TYPE-MISMATCH",
    Severity.WARN,
    meaning="The Segments do not look like the task the policy declares.",
    remedy="Correct `task` in the policy, or the Segments: one per class for semantic, one per "
    "object for instance.",
    example="task = 'semantic' and two Segments labelled Road",
)
def type_mismatch(evidence: Evidence) -> Iterator[Found]:
    policy = evidence.policy
    if policy.task is None:
        return
    labels = Counter(
        s.label
        for s in evidence.declaration.segments
        if s.label and s.label not in policy.ignore_values.values()
    )
    twice = sorted(label for label, count in labels.items() if count > 1)
    if policy.task == "semantic" and twice:
        counted = listed([f"{label} {labels[label]} times" for label in twice])
        yield Found(
            f"declared semantic, but {counted}: panoptic or instance?",
            found=counted,
            expected="one Segment per label",
        )
    if policy.task == "instance" and not twice and len(labels) >= _SUSPICIOUSLY_MANY:
        yield Found(
            f"declared instance, but each of {len(labels)} labels has one Segment: semantic?",
            found=f"{len(labels)} labels, one Segment each",
            expected="one Segment per object",
        )
    if policy.task == "panoptic":
        stuff = [label for label in twice if policy.taxonomy.get(label) == "stuff"]
        if stuff:
            yield Found(
                f"stuff occurs more than once: {listed(stuff)}; merge its Segments",
                found=listed(stuff),
                expected="one Segment per stuff label",
            )
