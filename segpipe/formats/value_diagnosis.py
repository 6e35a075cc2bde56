"""What is wrong where a mask has values that its label map does not know.

The rules of validation recognize the causes, here as there, so an import and a validation say the
same of one mask. What helps differs: an importer has options.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segpipe.formats.cityscapes import is_instance_id
from segpipe.formats.identifiers import ellipsis_after, listed, listed_with_areas
from segpipe.manifests.rows import ImportFinding, ManifestRow
from segpipe.masks.beyond_8_bits import STRETCH
from segpipe.masks.measures import measure
from segpipe.predictions.declarations import read_declaration
from segpipe.predictions.prediction import Segment
from segpipe.validation.rules import CATALOGUE, Evidence, Finding, Policy, Rules, judge
from segpipe.validation.rules.numbering import IGNORE_VALUES, spread_over_8_bits

_GENERAL = "VALUE-NO-SEGMENT"


def diagnosis(mask: NDArray[np.uint8], declared: Sequence[Segment]) -> Finding | None:
    """The best explanation that validation has for values without a Segment.

    Args:
        mask: H x W.
        declared: what is known of the mask's values.

    Returns:
        The finding of ``VALUE-NO-SEGMENT``, or of a rule that it yields to; None where every value
        has a Segment.
    """
    cells = [{"label": one.label, "index": one.index, "metadata": {}} for one in declared]
    evidence = Evidence(
        ManifestRow("", 0, "", None, cells),
        read_declaration(cells),
        Policy(),
        measures=measure(mask),
    )
    if not evidence.unexplained:
        return None
    general = CATALOGUE[_GENERAL]
    special = [one for id, one in CATALOGUE.items() if id in general.yields_to]
    found = judge(evidence, Rules([*special, general]))
    return found[0] if found else None


def unknown_values(
    ids: NDArray[Any],
    areas: Mapping[int, int],
    declared: Mapping[int, Segment],
    source: str,
) -> ImportFinding:
    """The finding for a mask with values that no label is known for.

    Args:
        ids: H x W, integers of any dtype.
        areas: value -> number of its pixels.
        declared: value -> Segment, of everything the label map and the options name.
        source: the file, for messages.
    """
    unknown = [value for value in areas if value not in declared]
    if min(areas) < 0 or max(areas) > 255:
        return _beyond_8_bits(unknown, areas, declared, source)
    small = [segment for value, segment in declared.items() if value <= 255]
    found = diagnosis(np.ascontiguousarray(ids, np.uint8), small)
    if found is None or found.rule == _GENERAL:
        return _general(unknown, areas, source)
    advice = _advice(found.rule, unknown, areas, declared)
    return ImportFinding(
        found.rule,
        f"{source}: the mask has {found.found}, the label map {found.expected}. "
        f"{CATALOGUE[found.rule].meaning} {advice}",
        found.found,
        found.expected,
        _remedy(advice),
    )


def _advice(
    rule: str, unknown: Sequence[int], areas: Mapping[int, int], declared: Mapping[int, Segment]
) -> str:
    """What to do, by the options of an import."""
    named = listed_with_areas(unknown, areas)
    if rule == "BINARY-255" and 1 in declared:
        return f"Import with --value 255=1: then 255 is {declared[1].label!r}"
    if rule == "OFF-BY-ONE":
        return _shifted(unknown, areas, declared)
    if rule == "VALUES-STRETCHED":
        return _stretched(areas, declared)
    if rule in ("IGNORE-255", "BINARY-255"):
        return _ignored(unknown[0], named, areas, declared)
    if rule == "VALUES-INTERPOLATED":
        return "No option brings the classes back: write the masks again, and then import them"
    if rule == "PROBABILITY-MAP":
        return "Apply argmax or a threshold to the scores, and import the classes"
    return f"{CATALOGUE[rule].remedy}"


def _shift(areas: Mapping[int, int], declared: Mapping[int, Segment], step: int) -> str | None:
    """The values for ``--value`` if the masks are shifted by a step; None if they are not.

    The step is taken modulo 256: subtracting 1 from 8-bit labels makes 255 of 0.
    """
    ignored = {index for index, one in declared.items() if one.metadata.get("ignore")}
    classes = {index for index in declared if index <= 255} - ignored
    if not all((value + step) % 256 in classes for value in areas if value not in ignored):
        return None
    becomes = {(index - step) % 256: index for index in classes}
    if step == -1:
        becomes.pop(0, None)  # 255 + 1: no value of a mask
    return f"--value {_compact(becomes)}"


def _shifted(
    unknown: Sequence[int], areas: Mapping[int, int], declared: Mapping[int, Segment]
) -> str:
    values = _shift(areas, declared, -1) or _shift(areas, declared, 1)
    if values is None:
        return "Number the label map as the masks are, or say with --value what each value becomes"
    ignoring = ""
    if len(unknown) == 1 and unknown[0] in IGNORE_VALUES:  # explains the mask as well as a shift
        ignoring = f"if {unknown[0]} is an ignore label, with --ignore {unknown[0]}=void; "
    return (
        f"If the masks are shifted and the label map is right, import with {values}; {ignoring}"
        "otherwise correct the label map"
    )


def _ignored(
    value: int, named: str, areas: Mapping[int, int], declared: Mapping[int, Segment]
) -> str:
    shift = _shift(areas, declared, 1)
    other = f"; where all values are one too low (reduce_zero_label), with {shift}" if shift else ""
    return (
        f"{named}: where these pixels are to be ignored, import with --ignore {value}=void{other}; "
        f"where they are a class or an object, add {value} to the label map"
    )


def _stretched(areas: Mapping[int, int], declared: Mapping[int, Segment]) -> str:
    """One mask may not tell the factor: 0, 80, 160 are 0, 2, 4 times 40 and 0, 1, 2 times 80."""
    highest = math.gcd(*areas)
    factors = [
        factor
        for factor in range(2, highest + 1)
        if highest % factor == 0 and all(value // factor in declared for value in areas)
    ]
    options = {
        factor: _compact({factor * k: k for k in declared if 0 < factor * k <= 255})
        for factor in factors
    }
    if not options:
        return _spread(areas, declared)
    if len(options) == 1:
        return f"Import with --value {options[factors[0]]}"
    listed_options = "; ".join(f"if it is {one}: --value {options[one]}" for one in factors)
    return f"This mask does not tell the factor. Import with that of the data: {listed_options}"


def _spread(areas: Mapping[int, int], declared: Mapping[int, Segment]) -> str:
    """The same for classes 0 to n that were stretched to 0 to 255."""
    spreads = spread_over_8_bits(frozenset(areas), frozenset(declared))
    options = {
        max(one.values()): f"--value {_compact({v: k for v, k in one.items() if v})}"
        for one in spreads
    }
    if len(options) == 1:
        return f"Import with {next(iter(options.values()))}"
    listed_options = "; ".join(f"if it is {highest}: {one}" for highest, one in options.items())
    return f"This mask does not tell the class that became 255. Import with: {listed_options}"


def _general(unknown: Sequence[int], areas: Mapping[int, int], source: str) -> ImportFinding:
    named = f"{listed_with_areas(unknown, areas)}{ellipsis_after(unknown)}"
    options = (
        "say with --value VALUE=NEW which of its values they are; or, where their pixels are to be "
        "ignored, import with --ignore VALUE=LABEL"
    )
    return ImportFinding(
        _GENERAL,
        f"{source}: the label map does not say what these values mean: {named}. Add them to it; "
        f"{options}",
        found=listed(unknown),
        expected="values of the label map",
        remedy=_remedy(f"Add the values to the label map; {options}"),
    )


def _beyond_8_bits(
    unknown: Sequence[int],
    areas: Mapping[int, int],
    declared: Mapping[int, Segment],
    source: str,
) -> ImportFinding:
    """For values as 16 bits hold them: ids of objects, mostly."""
    scaled = {value: value // STRETCH for value in areas if value % STRETCH == 0}
    if len(scaled) == len(areas) and all(value in declared for value in scaled.values()):
        becomes = {value: new for value, new in scaled.items() if value != new}
        advice = f"8-bit values times 257? Import with --value {_compact(becomes)}"
    elif all(is_instance_id(value) for value in unknown):
        advice = "Cityscapes instanceIds? Use segpipe import cityscapes, which reads them"
    else:
        advice = (
            "Ids of objects? Import with --objects LABEL in place of --labels (more than 256 in "
            "one mask: with --over-256 as well); ids that are class * 1000 + instance: with "
            "segpipe import cityscapes"
        )
    return ImportFinding(
        "MASK-16BIT",
        f"{source}: the label map does not say what these values mean: "
        f"{listed_with_areas(unknown, areas)}{ellipsis_after(unknown)}. {advice}",
        found=f"max {max(areas)}, {len(areas)} distinct",
        expected="values of the label map",
        remedy=_remedy(advice),
    )


def _remedy(advice: str) -> str:
    """The advice for a table, where the rule's own remedy would speak of manifests."""
    return advice if advice.endswith(".") else f"{advice}."


def _compact(becomes: Mapping[int, int]) -> str:
    """``1..12=0..11,255=0``: runs of numbers are written as ranges."""
    runs: list[tuple[int, int, int]] = []  # value, what it becomes, length
    for value, new in sorted(becomes.items()):
        if runs and (runs[-1][0] + runs[-1][2], runs[-1][1] + runs[-1][2]) == (value, new):
            runs[-1] = (*runs[-1][:2], runs[-1][2] + 1)
        else:
            runs.append((value, new, 1))
    return ",".join(
        f"{value}={new}"
        if length == 1
        else f"{value}..{value + length - 1}={new}..{new + length - 1}"
        for value, new, length in runs
    )
