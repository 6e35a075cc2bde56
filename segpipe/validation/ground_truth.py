"""Predictions beside the published ground truth of their items.

Where ground truth is kept, publishing knows: a pass is handed a :class:`GroundTruth`, and asks it
for the items of one chunk at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from segpipe.errors import listed
from segpipe.masks.co_occurrence import CoOccurrence, co_occurrence
from segpipe.masks.decoding import DecodedMask, decode_mask
from segpipe.masks.refusal import MaskRefused
from segpipe.names import shown
from segpipe.predictions.prediction import Segment

#: What became of a row: compared; or not, and why.
COMPARED, ABSENT, ANOTHER_SIZE, UNREADABLE = "compared", "absent", "another size", "unreadable"
# Items named in a warning.
_NAMED = 3


@dataclass(frozen=True)
class Truth:
    """The published ground truth of an item.

    Attributes:
        height, width: pixels.
        segments: one per pixel value.
        png: its canonical mask; None if the file is gone.
    """

    model_run: str
    height: int
    width: int
    segments: tuple[Segment, ...]
    png: bytes | None = field(repr=False)


class GroundTruth(Protocol):
    """Published ground truth, as it was when the pass began; picklable."""

    @property
    def model_runs(self) -> Sequence[str]:
        """Whose predictions are the truth; the first that has one for an item counts."""

    def fingerprints(self, reference_ids: Sequence[str | None]) -> Sequence[str | None]:
        """The fingerprint of each item's truth, in order; None where there is none."""

    def of(self, reference_ids: Sequence[str | None]) -> Mapping[str, tuple[str, Truth]]:
        """The fingerprint and the truth of those items that have one, by reference id."""


@dataclass(frozen=True)
class AgainstTruth:
    """A prediction beside the ground truth of its item.

    Attributes:
        model_run: of the ground truth.
        segments: of the ground truth.
        pairs: pixels by value of the prediction (``one``) and of the truth (``other``).
    """

    model_run: str
    segments: tuple[Segment, ...]
    pairs: CoOccurrence


@dataclass
class TruthCounts:
    """Rows by what became of them, and the first items that could not be compared.

    Attributes:
        rows: one of the constants above -> number of rows.
        named: the same -> reference ids, a few.
    """

    rows: Counter[str] = field(default_factory=Counter)
    named: dict[str, list[str]] = field(default_factory=dict)

    def add(self, outcome: str, reference_id: str = "") -> None:
        """Count a row."""
        self.rows[outcome] += 1
        named = self.named.setdefault(outcome, [])
        if outcome in (ANOTHER_SIZE, UNREADABLE) and len(named) < _NAMED:
            named.append(reference_id)

    def update(self, other: TruthCounts) -> None:
        """Add the rows of a later chunk."""
        self.rows.update(other.rows)
        for outcome, named in other.named.items():
            mine = self.named.setdefault(outcome, [])
            mine += named[: _NAMED - len(mine)]

    def warnings(self) -> list[str]:
        """What of the ground truth could not be used, as lines for people."""
        words = {
            ANOTHER_SIZE: "has another size than the prediction",
            # A mask that comes back changes no fingerprint, so only --force looks at it.
            UNREADABLE: "has no readable mask any more (delete what is left of its file, run the "
            "ground truth's partition again, then this one with --force)",
        }
        return [
            f"not compared with the ground truth: of {self.rows[outcome]} rows "
            f"({listed([shown(id) for id in self.named[outcome]])}"
            f"{', ...' if self.rows[outcome] > len(self.named[outcome]) else ''}) it {said}"
            for outcome, said in words.items()
            if self.rows[outcome]
        ]


class ChunkTruth:
    """The ground truth of a chunk's rows.

    Args:
        truth: None if nothing is compared.
        reference_ids: of the rows.

    Raises:
        StorageError, CatalogError: if it cannot be looked up.
    """

    def __init__(self, truth: GroundTruth | None, reference_ids: Sequence[str | None]) -> None:
        self._asked = truth is not None
        self._found = {} if truth is None else truth.of(reference_ids)
        self.counts = TruthCounts()

    def identity(self, reference_id: str | None) -> tuple[str, ...]:
        """What an inputs digest holds of a row's truth; nothing if nothing is compared."""
        if not self._asked:
            return ()
        fingerprint, _ = self._found.get(reference_id or "", (None, None))
        return (truth_identity(fingerprint),)

    def against(
        self, reference_id: str | None, mask: DecodedMask, max_pixels: int
    ) -> AgainstTruth | None:
        """A row's mask beside its truth; None, counted with the reason, if it has none to compare.

        Args:
            max_pixels: limit on the truth's width times height.
        """
        if not self._asked:
            return None
        _, truth = self._found.get(reference_id or "", (None, None))
        outcome, compared = _compared(truth, mask, max_pixels)
        self.counts.add(outcome, reference_id or "")
        return compared


def truth_identity(fingerprint: str | None) -> str:
    """What an inputs digest holds of an item's truth: its fingerprint; None where none is."""
    return f"truth {fingerprint or 'absent'}"


def _compared(
    truth: Truth | None, mask: DecodedMask, max_pixels: int
) -> tuple[str, AgainstTruth | None]:
    if truth is None:
        return ABSENT, None
    if (truth.height, truth.width) != (mask.header.height, mask.header.width):
        return ANOTHER_SIZE, None
    if truth.png is None:
        return UNREADABLE, None
    try:
        pairs = co_occurrence(mask, decode_mask(truth.png, max_pixels))
    except (MaskRefused, ValueError):  # damaged, or another mask under its name
        return UNREADABLE, None
    return COMPARED, AgainstTruth(truth.model_run, truth.segments, pairs)
