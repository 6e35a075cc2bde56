"""What a Segment is in an evaluation: a thing, stuff, a crowd or void."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum

from segpipe.predictions.flags import flag_of
from segpipe.predictions.prediction import Segment
from segpipe.validation.rules.labels import BACKGROUND, is_ignored


class Kind(IntEnum):
    """The kind of a Segment; a crowd that is predicted is a segment like any other."""

    STUFF = 0
    CROWD = 1
    THING = 2
    VOID = 3


class ItemKinds:
    """The kinds of an item's classes, and of its Segments.

    As in views, the taxonomy decides before the Segments' metadata, ``background`` is stuff, and a
    class of which nothing is known is a thing. Of metadata, that of the ground truth decides.

    Args:
        taxonomy: label -> ``thing`` or ``stuff``.
        truth, predicted: the Segments of both sides.

    Attributes:
        undecided: labels of which nothing says thing or stuff.
    """

    def __init__(
        self, taxonomy: Mapping[str, str], truth: Iterable[Segment], predicted: Iterable[Segment]
    ) -> None:
        self._is_thing: dict[str, bool] = {}
        unsure: set[str] = set()
        for segments in (truth, predicted):
            for segment in segments:
                label = segment.label
                if label in self._is_thing:
                    continue
                kind = taxonomy.get(label)
                flag = flag_of(segment.metadata.get("isthing")) if kind is None else kind == "thing"
                if flag is not None:
                    self._is_thing[label] = flag
                elif not is_ignored(segment):
                    unsure.add(label)
        self.undecided = unsure - self._is_thing.keys()
        for label in sorted(self.undecided):
            self._is_thing[label] = label.casefold() != BACKGROUND
        self.undecided = {label for label in self.undecided if self._is_thing[label]}

    def of(self, segments: Sequence[Segment]) -> list[Kind]:
        """The kind of each Segment."""
        return [self._of(segment) for segment in segments]

    def _of(self, segment: Segment) -> Kind:
        metadata = segment.metadata
        if "ignore" in metadata and is_ignored(segment):
            return Kind.VOID
        if "iscrowd" in metadata and flag_of(metadata["iscrowd"]):
            return Kind.CROWD
        return Kind.THING if self._is_thing[segment.label] else Kind.STUFF
