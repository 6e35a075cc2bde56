"""Rules that recognize how the mask's values and the Segments' indexes are numbered differently.

Where two causes explain the same pixels, the message names both: only the author of the mask knows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from segpipe.predictions.declarations import DeclaredSegment
from segpipe.validation.rules.catalogue import Found, Severity, rule
from segpipe.validation.rules.evidence import Evidence
from segpipe.validation.rules.pixels import described, numbers, values_found

#: Values that datasets use for pixels to be ignored.
IGNORE_VALUES = (255, 254, 0)
_HIGHEST = 255
# Classes that are spread over 8 bits: with more, almost any value is close to one of them.
_MOST_SPREAD = 32


@rule(
    "IGNORE-255",
    Severity.REJECT,
    meaning="The only value without a Segment is one that datasets use for ignored pixels.",
    remedy="Say what the value means: an ignore label (ignore_values in the policy) or a class (a "
    "Segment for it).",
    example="values 0, 1, 2, 255 with Segments for 0, 1, 2",
    yields_to=("BINARY-255", "OFF-BY-ONE"),
    requires="unexplained",
)
def ignore_255(evidence: Evidence) -> Iterator[Found]:
    value = _ignored_value(evidence)
    if value is None or evidence.measures is None:
        return
    ignoring = f"set {_setting(value)} in the policy if its pixels are to be ignored, or add a "
    ignoring += f"Segment for {value} if they are a class"
    others = list(_other_causes(evidence))
    yield values_found(
        f"{described(evidence.measures, value)} (row, column) is the only value without a "
        f"Segment: an ignore label? {'; '.join([_upper(ignoring), *others])}",
        evidence,
        remedy=f"{'. '.join(map(_upper, [ignoring, *others]))}.",
    )


def _ignored_value(evidence: Evidence) -> int | None:
    """The mask's only value without a Segment, if it may be an ignore label; else None."""
    if len(evidence.unexplained) != 1 or len(evidence.values) < 2:
        return None
    (value,) = evidence.unexplained
    return value if value in IGNORE_VALUES else None


def _other_causes(evidence: Evidence) -> Iterator[str]:
    """What explains the values as well as an ignore label does, and what to do then."""
    values, indexes = evidence.values, evidence.declaration.indexes
    for by, undone in ((1, "add 1 to"), (-1, "subtract 1 from")):
        if len(values) > 1 and _shifted(values, by) <= indexes:
            yield (
                f"but if the mask is shifted by one (reduce_zero_label), {undone} its values"
                f"{_wrapping(values, by)}: Segments explain all of them then"
            )
    if values == {0, _HIGHEST} and _HIGHEST not in indexes:
        yield "but if the mask is 0/255 and 255 is an object, write the index of its Segment for it"


def _setting(value: int) -> str:
    return f'ignore_values = {{{value} = "void"}}'


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


@rule(
    "BINARY-255",
    Severity.REJECT,
    meaning="A 0/255 mask whose Segments do not have 255: the object is most likely written as "
    "255, and its Segment has another index, or there is none.",
    remedy="Give the object's Segment the index 255, or write the mask with 0 and 1.",
    example="values 0, 255 with Segments for 0 and 1",
    requires="unexplained",
)
def binary_255(evidence: Evidence) -> Iterator[Found]:
    indexes, values = evidence.declaration.indexes, evidence.values
    if not (_HIGHEST in values <= {0, _HIGHEST}) or _HIGHEST in indexes:
        return
    objects = [s for s in evidence.declaration.segments if s.index]
    if 1 in indexes <= {0, 1}:
        yield values_found(
            "the mask is 0/255 and its Segments say "
            f"{numbers(indexes)}: give the object's Segment the index 255, or write 1 for it",
            evidence,
            remedy=f"Give the Segment {objects[0].label!r} the index 255, or write 1 instead of "
            f"255{_background(evidence)}.",
        )
    elif indexes == {0} or (len(objects) == 1 and indexes <= {0, objects[0].index}):
        meant = _meant(objects)
        yield values_found(
            f"the mask is 0/255 and its Segments say {numbers(indexes)}: is 255 an object, or "
            f"an ignore label? For an object, {meant}; to ignore its pixels, set "
            f"{_setting(_HIGHEST)} in the policy",
            evidence,
            remedy=f"If 255 is an object, {meant}; if its pixels are to be ignored, set "
            f"{_setting(_HIGHEST)} in the policy{_background(evidence)}.",
        )


def _meant(objects: list[DeclaredSegment]) -> str:
    if not objects:
        return "add a Segment with the index 255"
    (one,) = objects
    return f"give the Segment {one.label!r} the index 255, or write {one.index} instead of 255"


def _background(evidence: Evidence) -> str:
    """What remains to be done if the mask's 0 has no Segment either."""
    return "; and add a Segment for 0, the background" if 0 in evidence.unexplained else ""


@rule(
    "OFF-BY-ONE",
    Severity.REJECT,
    meaning="The values would all have Segments if they were shifted by one, also with 255 for the "
    "one below 0.",
    remedy="Check reduce_zero_label and the like: either the mask or the indexes are shifted.",
    example="values 1..12, or 0..10 and 255, with Segments for 0..11",
    yields_to=("BINARY-255",),
    requires="unexplained",
)
def off_by_one(evidence: Evidence) -> Iterator[Found]:
    # An ignore label that both have stays where it is.
    both = evidence.values & evidence.declaration.indexes & {_HIGHEST}
    values, indexes = evidence.values - both, evidence.declaration.indexes - both
    if len(indexes) < 2 or len(values) < 2:
        return
    by = _shift(values, indexes)
    if by is None:
        return
    wrapping, kept = _wrapping(values, by), f", except for {_HIGHEST}" if both else ""
    if by < 0:
        shift, undone = "one too high", "Subtract 1 from"
        numbered = f"index + 1{', and 0 for 255' if wrapping else ''}{kept}"
    else:
        shift, undone = "one too low", "Add 1 to"
        numbered = f"index - 1{', and 255 for 0' if wrapping else ''}{kept}"
    ignored = _ignored_value(evidence)
    other = ""
    if ignored is not None:
        other = f"; if {ignored} is an ignore label instead, set {_setting(ignored)} in the policy"
    elif len(evidence.unexplained) == 1:
        other = f"; if nothing is shifted, {numbers(evidence.unexplained)} lacks a Segment: add it"
    yield values_found(
        f"mask has {numbers(evidence.values)}, segments {numbers(evidence.declaration.indexes)}: "
        f"shifted by one? The mask's values are {shift}{wrapping}; check reduce_zero_label, or "
        f"number the Segments as the mask is{other}",
        evidence,
        remedy=f"{undone} the mask's values{wrapping}{kept}, or number the Segments as the mask is "
        f"({numbered}); check reduce_zero_label{other}.",
    )


def _shift(values: frozenset[int], indexes: frozenset[int]) -> int | None:
    """What has to be added to the values to make them the indexes: 1, -1, or None if neither."""
    lower, higher = _shifted(values, -1), _shifted(values, 1)
    # One value above the Segments' range, and none at its start, is a clear sign. A zero below the
    # range is not: it may be an unlabelled class, so in that case every value has to fit.
    top = max(indexes - {_HIGHEST} if 0 in values else indexes)
    if lower == indexes or (lower <= indexes and max(values) == top + 1):
        return -1
    # 255 for the class before the first, beside a value that no ignore label explains.
    if higher == indexes or (
        higher <= indexes and _HIGHEST in values and len(values - indexes) > 1
    ):
        return 1
    return None


def _shifted(values: frozenset[int], by: int) -> frozenset[int]:
    """The values with ``by`` added in 8 bits, as uint8 arrays do: 255 + 1 is 0."""
    return frozenset((value + by) % (_HIGHEST + 1) for value in values)


def _wrapping(values: frozenset[int], by: int) -> str:
    if by > 0 and _HIGHEST in values:
        return " (255 becomes 0)"
    return " (0 becomes 255)" if by < 0 and 0 in values else ""


@rule(
    "VALUES-STRETCHED",
    Severity.REJECT,
    meaning="The values are multiples of the Segments' indexes, or those spread over 0 to 255, as "
    "made to be seen by eye.",
    remedy="Write the indexes themselves; do not scale a mask to make it visible.",
    example="values 0, 23, 46 with Segments for 0, 1, 2",
    yields_to=("BINARY-255",),
    requires="unexplained",
)
def values_stretched(evidence: Evidence) -> Iterator[Found]:
    values, indexes = evidence.values, evidence.declaration.indexes
    factor = math.gcd(*values)
    divided = frozenset(value // max(factor, 1) for value in values)
    if factor > 1 and (divided == indexes or (divided <= indexes and len(values - {0}) > 1)):
        yield values_found(
            f"all values are multiples of {factor}, and divided by {factor} they are the Segments' "
            f"indexes: write {numbers(divided)} instead of {numbers(values)}",
            evidence,
            remedy=f"Divide the mask's values by {factor}; do not scale a mask to make it visible.",
        )
        return
    spread = [
        frozenset(one[value] for value in values) for one in spread_over_8_bits(values, indexes)
    ]
    if spread:
        meant = ", or ".join(map(numbers, spread))
        doubt = "; this mask does not tell which" if len(spread) > 1 else ""
        yield values_found(
            f"the values are the Segments' indexes spread over 0 to 255: write {meant} instead of "
            f"{numbers(values)}{doubt}",
            evidence,
            remedy=f"Write {meant} instead of {numbers(values)}{doubt}; do not let the tool that "
            "saves the mask stretch its contrast or normalize it.",
        )


def spread_over_8_bits(values: frozenset[int], indexes: frozenset[int]) -> list[dict[int, int]]:
    """Value -> index, if classes 0 to n were stretched to 0 to 255, for each n that explains all.

    255 k / n is no whole number for most k; both the one below and the nearest one are meant by k.
    Empty where the values have another explanation: 255 does not occur, or any but 0 has a Segment.
    """
    visible = values - {0}
    if len(visible) < 2 or _HIGHEST not in visible or visible & indexes:
        return []
    found = []
    for highest in sorted(index for index in indexes if index > 1):
        # With half of the classes absent, a value is close to one of them by chance.
        if highest > min(_MOST_SPREAD, 2 * len(visible)):
            break
        known = [k for k in range(highest + 1) if k in indexes]
        below = {_HIGHEST * k // highest: k for k in known}
        nearest = {(2 * _HIGHEST * k + highest) // (2 * highest): k for k in known}
        if values <= below.keys() or values <= nearest.keys():
            found.append({**below, **nearest})
    return found
