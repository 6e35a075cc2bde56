"""The table ``[metadata]`` of segpipe.toml: keys of the metadata that are columns, with types."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from segpipe.errors import SettingsError, nearest, shortened
from segpipe.predictions.declared_metadata import Declared, MetadataType
from segpipe.tables.schemas import SEGMENTS

# Delta Lake takes no blanks, commas, semicolons, braces, brackets, tabs and ``=`` in columns, and a
# point would have to be quoted wherever one names the column.
_NAME = re.compile(r"[^\W\d][\w-]{0,127}")


def declared_metadata(given: Mapping[str, Any], shown: str) -> Declared:
    """The declared keys with their types.

    Args:
        given: the table, as TOML has it.
        shown: the file, for messages.

    Raises:
        SettingsError: for a type that there is not, a key that cannot name a column, and one that
            names a column of the segment table or another key, letter case aside.
    """
    # Segments that are queried have the manifest's day beside their own columns.
    names = (*SEGMENTS.names, "partition")
    taken = {name.casefold(): f"a column of the tables, {name!r}" for name in names}
    declared = {}
    for key, kind in given.items():
        where = f"{shown}: {shortened(repr(key), 200)} in [metadata]"
        if not _NAME.fullmatch(key):
            raise SettingsError(
                f"{where} cannot name a column: expected a letter or _, then letters, digits, _ "
                "and -, at most 128"
            )
        if key.casefold() in taken:
            raise SettingsError(
                f"{where} clashes with {taken[key.casefold()]} (letter case does not tell columns "
                "apart): declare another key of the metadata"
            )
        if kind not in list(MetadataType):
            known = [one.value for one in MetadataType]
            hint = nearest(kind, known) if isinstance(kind, str) else ""
            raise SettingsError(f"{where} is {kind!r}, expected one of {', '.join(known)}{hint}")
        taken[key.casefold()] = f"the key {key!r}"
        declared[key] = MetadataType(kind)
    return declared
