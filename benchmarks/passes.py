"""A pass over a manifest as ``segpipe run`` makes it, on one thread, stopped after every block.

The pass runs on a thread of its own that only ever works while whoever measures waits for it: what
is measured is ``materialize`` itself, tables, digests and all, beside other work in turn.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any

from benchmarks.landing import PARTITION, Masks
from segpipe.manifests.landing import Landing
from segpipe.masks import fast_path
from segpipe.storage.files import Folder
from segpipe.storage.mask_store import MaskStore
from segpipe.storage.sources import AllowedRoots
from segpipe.validation.chunk import Validation
from segpipe.validation.materialization import materialize
from segpipe.validation.summary import Summary
from segpipe.workers.chunks import Workers


@dataclass(frozen=True)
class _Stepwise(Workers):
    """One worker that halts before each chunk, and before it finds that there is none left."""

    halt: Callable[[], None] = lambda: None

    def map(self, work: Callable[[Any], Any], chunks: Iterable[Any], count: int) -> Iterator[Any]:
        remaining = iter(chunks)
        while True:
            self.halt()
            chunk = next(remaining, None)  # reading its rows is part of the work
            if chunk is None:
                return
            yield work(chunk)


class _TimedSync(Folder):
    """A folder that notes how long the system took to write everything to the disk."""

    seconds = 0.0

    def sync(self) -> None:
        started = perf_counter()
        super().sync()
        self.seconds += perf_counter() - started


class _TimedStore(MaskStore):
    """A store that notes how long putting masks took: only in a pass do its folders, and the disk
    below them, stand as they do in a pass."""

    seconds = 0.0

    def put(self, data: bytes) -> str:
        started = perf_counter()
        sha256 = super().put(data)
        self.seconds += perf_counter() - started
        return sha256


class Abandoned(Exception):
    """Whoever measured the pass has stopped."""


class Pass:
    """Everything segpipe does for the masks of a root, into an empty folder.

    Attributes:
        once: seconds for what is not done per block: opening and closing tables, duplicates.
        puts: seconds per mask that storing took, by block.
        sync: seconds the system took at the end to write everything to the disk; not in ``once``,
            for it writes what others left to be written, too.
    """

    def __init__(self, root: Path, masks: Masks, out: Path, rows: int, *, fast: bool) -> None:
        self._masks = masks
        self._fast = fast
        self._manifest = Landing(Folder(str(root / "manifests"))).manifest(PARTITION)
        _begin_store(out / "masks")
        self._folder = _TimedSync(str(out / "masks"))
        self._store = _TimedStore(self._folder)
        self._tables = Folder(str(out / "tables"))
        self._validation = Validation(
            dataset="bench",
            model_run=PARTITION.model_run,
            sources=AllowedRoots((str(root), str(masks.folder))),
            masks=self._store,
        )
        self._rows = rows
        self._go, self._halted = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._abandoned = False
        self._failure: BaseException | None = None
        self._summary: Summary | None = None
        self.once = self.sync = 0.0
        self.puts: dict[int, float] = {}

    def __enter__(self) -> Pass:
        self._thread.start()
        self.once = self._step()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._abandoned = True
        if self._thread.is_alive():
            self._go.release()
        self._thread.join()

    def run(self, block: slice) -> None:
        """The manifest's next chunk, which is this block."""
        before = self._store.seconds
        self._step()
        self.puts[block.start] = (self._store.seconds - before) / (block.stop - block.start)

    def finish(self) -> None:
        """Close the tables, after the last block; ``once`` and ``sync`` are known then.

        Raises:
            AssertionError: if not every mask was accepted.
        """
        ending = self._step()
        self.sync = self._folder.seconds
        self.once += ending - self.sync
        rows, summary = len(self._masks.files), self._summary
        if summary is None or summary.accepted != rows:
            raise AssertionError(f"not all of {rows} generated masks were accepted: {summary}")

    def _step(self) -> float:
        """Let the pass work until it halts again, or ends; the seconds it took."""
        started = perf_counter()
        with nullcontext() if self._fast else fast_path.disabled():
            self._go.release()
            self._halted.acquire()
        if self._failure is not None:
            raise self._failure
        return perf_counter() - started

    def _work(self) -> None:
        self._go.acquire()
        workers = _Stepwise(1, halt=self._halt)
        try:
            self._summary = materialize(
                self._manifest,
                self._validation,
                self._tables,
                workers=workers,
                rows_per_chunk=self._rows,
            )
        except Abandoned:
            pass
        except BaseException as failure:
            self._failure = failure
        finally:
            self._halted.release()

    def _halt(self) -> None:
        self._halted.release()
        self._go.acquire()
        if self._abandoned:
            raise Abandoned


def _begin_store(folder: Path) -> None:
    """A store that is in use has its 256 folders, and files in them: making them is a disk's work
    that a few hundred masks would be charged with, and the next million would not."""
    for number in range(256):
        (folder / f"{number:02x}").mkdir(parents=True)
        (folder / f"{number:02x}" / "first").write_bytes(b"first")
