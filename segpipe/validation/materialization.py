"""Materializing a partition: manifest in; validated, segments and rejected tables out.

All three tables come from one pass and belong together. The masks are synced first, the tables
appear one after the other, each synced, and the summary last. Each carries the pass's digest in its
footer, so that after a crash between two renames a reader reports a table of another pass instead
of mixing them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from itertools import chain, islice

import pyarrow as pa

from segpipe.errors import SegpipeError
from segpipe.manifests.manifest import Manifest
from segpipe.manifests.pixel_pieces import by_pixels
from segpipe.masks.fast_path import expecting
from segpipe.storage.files import Folder
from segpipe.validation.chunk import Validation, shared_list, validate_batch
from segpipe.validation.duplicates import Duplicates, repeated_reference_ids
from segpipe.validation.inputs import (
    Inputs,
    InputsDigest,
    inputs_digest,
    masks_are_there,
    tables_digest,
)
from segpipe.validation.pass_tables import CODE_VERSION, PassTables
from segpipe.validation.summary import SUMMARY_FILE, VALIDATED_FILE, Summary
from segpipe.validation.validated import ValidatedPredictions
from segpipe.workers.chunks import Workers

_DEFAULT_WORKERS = Workers()
#: Called with the number of manifest rows that are done, and of all.
Progress = Callable[[int, int], None]


def materialize(
    manifest: Manifest,
    validation: Validation,
    out: Folder,
    *,
    workers: Workers = _DEFAULT_WORKERS,
    rows_per_chunk: int = 256,
    force: bool = False,
    progress: Progress | None = None,
) -> Summary:
    """Validate every row of a manifest and write the three tables and the masks.

    Equal input gives byte-identical tables, whatever the number of workers. If no input changed
    since the tables were made, they are left as they are.

    Args:
        out: folder of the tables; tables of an earlier pass are replaced.
        workers: process the chunks of rows.
        force: read every mask, even if nothing seems to have changed.

    Raises:
        ManifestError: if a manifest file turns out to be damaged.
        ChunkError: if a chunk of rows ends every process that works on it.
        StorageError: if storage fails; the tables of an earlier pass are then untouched.
    """
    if not force and (unchanged := _unchanged(out, manifest, validation)) is not None:
        if progress is not None:
            progress(manifest.rows, manifest.rows)
        return unchanged
    inputs = InputsDigest(manifest, validation, CODE_VERSION)
    duplicates = Duplicates(repeated_reference_ids(manifest))
    validation = replace(validation, taxonomy_list=shared_list(manifest))
    work = partial(validate_batch, validation=validation)
    batches = manifest.batches(rows_per_chunk)
    pieces = [*by_pixels(islice(batches, 1))]
    count = -(-manifest.rows // rows_per_chunk) * len(pieces)
    with ExitStack() as stack:
        stack.enter_context(expecting(manifest.rows))
        tables = PassTables(stack, out, manifest.extras, duplicates, validation)
        done = 0
        for chunk in workers.map(work, chain(pieces, by_pixels(batches)), count):
            tables.add(chunk)
            # Identities from before each file was read: one that changes later is read again.
            inputs.add(chunk.identities)
            done += chunk.rows
            if progress is not None:
                progress(done, manifest.rows)
        summary = tables.finish(manifest.rows)
        summary = replace(summary, warnings=[*manifest.warnings, *summary.warnings])
        validation.masks.sync()
    out.write(SUMMARY_FILE, summary.to_json().encode())
    if (digest := inputs.hexdigest()) is not None:
        Inputs(digest, summary.outcome, tables_digest(out)).write(out)
    return summary


def _unchanged(out: Folder, manifest: Manifest, validation: Validation) -> Summary | None:
    """The summary of complete tables made from these same inputs; None if there are none."""
    known = Inputs.read(out)
    if known is None or known.digest != inputs_digest(manifest, validation, CODE_VERSION):
        return None
    try:
        summary = ValidatedPredictions(out).summary
        if summary.outcome != known.outcome or tables_digest(out) != known.tables:
            return None
        if not masks_are_there(out, VALIDATED_FILE, validation.masks):
            return None
    except (SegpipeError, OSError, pa.ArrowException):
        return None  # lost or damaged: made again
    return replace(summary, reused=True)
