"""Checkpoints of the table's log in a folder, which are there whole or not at all.

The library writes a checkpoint under its name and syncs nothing: after a cut of the power it may be
torn, and then nobody can open the table until it is set aside. So the library writes it elsewhere,
from a copy of the log, and it takes its name once it is certain.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from deltalake import DeltaTable

from segpipe.publishing.log_damage import HINT
from segpipe.publishing.log_entries import (
    LOG,
    checkpoint_version,
    checkpoints_in,
    entry_name,
    versions_in,
)
from segpipe.storage.atomic import replace_file
from segpipe.storage.local_paths import is_plain, plain_place

#: So many versions apart, as by the library's own default.
APART = 100


def write_checkpoint(log: str, version: int) -> None:
    """Write the checkpoint of a version that is certain, unless it is there.

    Args:
        log: path of the log's folder.

    Raises:
        DeltaError: if the log cannot be read.
        OSError, StorageError: if it cannot be written.
    """
    there = [name for name in checkpoints_in(log) if checkpoint_version(name) <= version]
    last = checkpoint_version(there[-1]) if there else -1
    if last == version:
        return
    temporary = tempfile.gettempdir()
    place = temporary if is_plain(temporary) else str(plain_place())
    with tempfile.TemporaryDirectory(prefix="segpipe-checkpoint-", dir=place) as folder:
        copy = Path(folder) / LOG
        copy.mkdir()
        names = [name for name in there if checkpoint_version(name) == last]
        names += [entry_name(one) for one in versions_in(log) if last < one <= version]
        for name in names:
            shutil.copyfile(f"{log}/{name}", copy / name)
        DeltaTable(folder).create_checkpoint()
        # The hint comes last: the library insists on the checkpoint it names.
        for name in [*(one for one in checkpoints_in(str(copy)) if one not in names), HINT]:
            replace_file(f"{log}/{name}", (copy / name).read_bytes(), synced=True)
