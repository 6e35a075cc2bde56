"""Values of masks that are imported as other values, because somebody said so: ``255=1``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from segpipe.errors import SettingsError
from segpipe.formats.identifiers import listed_with_areas
from segpipe.formats.ids import Ids
from segpipe.manifests.rows import ImportFinding

_RULE = re.compile(r"(\d{1,9})(?:\.\.(\d{1,9}))?=(\d{1,9})(?:\.\.(\d{1,9}))?")
_LONGEST = 65_536


@dataclass(frozen=True)
class ValueMap:
    """What values of a source's masks become before their labels are looked up.

    A value that is not listed stays what it is, unless another one becomes it: then one number
    has two meanings, and the mask is refused.

    Attributes:
        becomes: value -> value it is imported as.
    """

    becomes: Mapping[int, int] = field(default_factory=dict)

    @classmethod
    def read(cls, given: Mapping[int, int] | Sequence[str]) -> ValueMap:
        """From a mapping, or from texts such as ``255=1`` and ``1..12=0..11,255=255``.

        Raises:
            SettingsError: naming the part that is malformed, or the value that is listed twice.
        """
        if isinstance(given, Mapping):
            return cls(dict(given))
        becomes: dict[int, int] = {}
        for part in (part for text in given for part in text.split(",")):
            for value, new in _pairs(part):
                if becomes.setdefault(value, new) != new:
                    raise SettingsError(f"--value: {value} becomes {becomes[value]} and {new}")
        return cls(becomes)

    def applied(self, ids: Ids, source: str) -> Ids | ImportFinding:
        """The ids with listed values replaced; a finding where a number would mean two things.

        Args:
            source: the file, for messages.
        """
        if not self.becomes:
            return ids
        areas = ids.areas
        origin = {new: value for value, new in self.becomes.items() if value != new}
        doubtful = [value for value in areas if value in origin and value not in self.becomes]
        if doubtful:
            first = doubtful[0]
            return ImportFinding(
                "IMPORT-UNREADABLE",
                f"{source}: {listed_with_areas(doubtful, areas)}: --value makes {first} of "
                f"{origin[first]}, and the mask has {first} itself. If both are the same, add "
                f"--value {first}={first}; otherwise say with --value what {first} becomes",
                found=str(first),
                expected="values that --value lists, or that none of them becomes",
            )
        return ids.becoming({value: self.becomes.get(value, value) for value in areas})


def _pairs(part: str) -> list[tuple[int, int]]:
    """Values and what they become, of one ``A=B`` or ``A..B=C..D``."""
    found = _RULE.fullmatch(part.strip())
    if found is None:
        raise SettingsError(
            f"--value {part}: expected VALUE=NEW, such as 255=1, or 1..12=0..11 for a range"
        )
    old, new = _range(found[1], found[2]), _range(found[3], found[4])
    if not 0 < len(old) == len(new) <= _LONGEST:
        raise SettingsError(f"--value {part}: the ranges have {len(old)} and {len(new)} values")
    return list(zip(old, new, strict=True))


def _range(first: str, last: str | None) -> range:
    return range(int(first), int(last or first) + 1)
