"""What a run prints: captured in Dagster's files, and shown where it would have been printed.

Dagster has a ``tail`` and a Python process for each of the two streams of each run to show it: a
tenth of a second of processor time. Here a thread does it. The files are those that Dagster writes.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, TextIO

from dagster._core.execution.compute_logs import redirect_to_file
from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.compute_log_manager import CapturedLogContext, ComputeIOType
from dagster._core.storage.local_compute_log_manager import (
    IO_TYPE_EXTENSION,
    LocalComputeLogManager,
)
from dagster._serdes import ConfigurableClassData
from dagster._utils import ensure_file, touch_file

_DEFAULT = ("dagster._core.storage.local_compute_log_manager", "LocalComputeLogManager")
_SHOWN_SECONDS = 0.2
_BLOCK_BYTES = 1 << 16


def with_captured_logs(instance: InstanceRef) -> InstanceRef:
    """The instance, capturing what runs print through :class:`CapturedLogs`.

    One whose settings name another class, such as one that writes to a bucket, is as it was.
    """
    logs = instance.compute_logs_data
    if (logs.module_name, logs.class_name) != _DEFAULT:
        return instance
    captured = ConfigurableClassData(__name__, CapturedLogs.__name__, logs.config_yaml)
    return instance._replace(compute_logs_data=captured)


class CapturedLogs(LocalComputeLogManager):
    """Dagster's files of what runs print, shown by a thread of the run's process."""

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> CapturedLogs:
        """As Dagster makes it of its settings."""
        return cls(inst_data=inst_data, **config_value)

    @contextmanager
    def capture_logs(self, log_key: Sequence[str]) -> Iterator[CapturedLogContext]:
        """Standard output and error go to files until the end of the block, and are shown."""
        with ExitStack() as streams:
            for kind, stream in (
                (ComputeIOType.STDOUT, sys.stdout),
                (ComputeIOType.STDERR, sys.stderr),
            ):
                path = self.get_captured_local_path(log_key, IO_TYPE_EXTENSION[kind])
                ensure_file(path)
                streams.enter_context(_shown(stream, path))
                streams.enter_context(redirect_to_file(stream, path))
            yield CapturedLogContext(log_key)
        touch_file(self.complete_artifact_path(log_key))  # type: ignore[no-untyped-call]


@contextmanager
def _shown(stream: TextIO, path: str) -> Iterator[None]:
    """Copy what is appended to a file to where a stream goes now."""
    try:
        target = os.dup(stream.fileno())
    except (OSError, ValueError, AttributeError):  # of a test or a notebook; it is not redirected
        yield
        return
    ended = threading.Event()
    source = os.open(path, os.O_RDONLY)
    os.lseek(source, 0, os.SEEK_END)

    def show() -> None:
        while not ended.wait(_SHOWN_SECONDS):
            _copy(source, target)
        _copy(source, target)

    thread = threading.Thread(target=show, name="segpipe-shown", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        os.close(source)
        os.close(target)


def _copy(source: int, target: int) -> None:
    with suppress(OSError):  # a terminal that is gone; the file has it all
        while block := os.read(source, _BLOCK_BYTES):
            while block:
                block = block[os.write(target, block) :]
