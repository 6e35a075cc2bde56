"""The machine: advice on memory that can be followed."""

from __future__ import annotations

import pytest

from segpipe.examination import machine
from segpipe.examination.check import Level


def memory(workers: int, monkeypatch: pytest.MonkeyPatch) -> str:
    """The next step where 100 MB are left."""
    monkeypatch.setattr(machine, "memory_left", lambda: (100_000_000, ""))
    monkeypatch.setattr(machine, "default_workers", lambda: workers)
    check = machine.memory()
    assert check.level is Level.WARNING
    return check.next_step


def test_fewer_workers_are_advised_where_there_are_several(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "--workers 1" in memory(4, monkeypatch)
    assert "workers" not in memory(1, monkeypatch)
