"""The colours that labels of a root were given, kept in the root.

Each file in ``colours/`` is the whole table: ``00001.json``, then ``00002.json`` with more labels,
and so on. A file is written once, under a number that is free, so of two runs that give colours at
the same time one comes first, and the other goes on from what that has given. Where a store does
not hold conditional puts, the second may replace the first's file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from segpipe.errors import StorageError
from segpipe.pictures.palette import Colour, hex_colour, read_hex
from segpipe.storage.files import Folder

#: The folder in the root.
COLOURS_FOLDER = "colours"
_HEX = re.compile(r"#[0-9a-f]{6}")
_ATTEMPTS = 50

Table = Mapping[str, Colour]


@dataclass
class ColourRecord:
    """The table of a root, as it was read last.

    Attributes:
        number: of the newest file that was read; 0 for none.
        table: label -> colour, in the order they were given.
        looked: whether the root's tables were looked at for labels.
    """

    folder: Folder
    number: int = 0
    table: Table = field(default_factory=dict)
    looked: bool = False

    def read(self) -> None:
        """Read what was given since.

        Raises:
            StorageError: if it cannot be read, or is damaged.
        """
        newest = self._newest()
        if newest != self.number:
            self.table, self.number = _table(self.folder, _name(newest)), newest

    def add(self, more: Callable[[Table], Table]) -> None:
        """Give labels colours.

        Args:
            more: given the table, the labels to add with their colours; asked again where another
                run was faster.

        Raises:
            StorageError: if it cannot be written; the table has them nevertheless, for this
                process.
        """
        for _ in range(_ATTEMPTS):
            added = more(self.table)
            if not added:
                return
            grown = {**self.table, **added}
            if self._put(grown):
                self.table, self.number = grown, self.number + 1
                return
            self.read()
        raise StorageError(f"{self.folder.shown}: other runs write all the time")

    def _put(self, table: Table) -> bool:
        text = json.dumps({label: hex_colour(colour) for label, colour in table.items()}, indent=0)
        return self.folder.write_new(_name(self.number + 1), text.encode())

    def _newest(self) -> int:
        """The highest number, from the one known: files are numbered without gaps."""
        known, step = self.number, 1
        while self.folder.exists(_name(known + step)):
            known, step = known + step, 2 * step
        while step > 1:
            step //= 2
            if self.folder.exists(_name(known + step)):
                known += step
        return known


def _name(number: int) -> str:
    return f"{number:05d}.json"


def _table(folder: Folder, name: str) -> Table:
    try:
        found = json.loads(folder.read(name))
        if all(_HEX.fullmatch(colour) for colour in found.values()):
            return {label: read_hex(colour) for label, colour in found.items()}
    except (ValueError, AttributeError, TypeError, RecursionError):
        pass
    raise StorageError(
        f"{folder.shown}/{name} is damaged: remove it, and its labels get colours anew"
    )
