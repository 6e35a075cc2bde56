"""A format: text files with a digit per pixel and a line per row.

In the project this would be ``formats/text_grids.py``, with ``TEXT_GRIDS`` among the entries of
``formats/opening.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from segpipe.formats.files import Naming, SourceFiles
from segpipe.formats.imported import Imported, refused
from segpipe.formats.label_map import LabelEntry, read_label_map
from segpipe.formats.opening import ImportFormat
from segpipe.manifests.rows import ImportFinding
from segpipe.predictions.prediction import Segment


@dataclass(frozen=True)
class TextGrids:
    """Text files in a folder, as a :class:`segpipe.formats.imported.Format`."""

    files: SourceFiles
    labels: Mapping[int, LabelEntry]

    @property
    def carried(self) -> Mapping[str, pa.DataType]:
        """Types of further columns: none."""
        return {}

    def __len__(self) -> int:
        return len(self.files.paths)

    def predictions(self) -> Iterator[Imported]:
        """One file at a time; one that cannot be read is refused, and the next follows."""
        for path in self.files.paths:
            shown = self.files.shown(path)
            reference_id = Naming().reference_id(path, self.files.source)
            try:
                rows = [[int(digit) for digit in line] for line in path.read_text().split()]
                mask = np.array(rows, np.uint8)  # H x W
                values = np.unique(mask).tolist()
                segments = tuple(Segment(self.labels[value].label, value) for value in values)
            except (OSError, ValueError, KeyError) as error:
                message = f"{shown} is not a grid of known digits: {error}"
                yield refused(reference_id, shown, ImportFinding("IMPORT-UNREADABLE", message))
                continue
            yield Imported(reference_id, shown, mask, segments)


def open_text_grids(source: Path, **options: Any) -> TextGrids:
    """Find the files and read the label map.

    Raises:
        SettingsError: if there are no such files, or the label map cannot be used.
    """
    files = SourceFiles.find(source, (".txt",))
    return TextGrids(files, read_label_map(Path(options["labels"])))


TEXT_GRIDS = ImportFormat(
    "text-grids",
    """Text files with a digit per pixel and a line per row.

    \b
    segpipe import text-grids grids --labels labels.csv ...
    """,
    ("labels",),
    open_text_grids,
    required=("labels",),
)
