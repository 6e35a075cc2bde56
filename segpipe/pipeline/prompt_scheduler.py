"""Dagster's scheduler, with a daemon that looks at backfills every few seconds.

Dagster looks at them every 30 seconds, a constant without a setting: a backfill begins half a
minute after it was asked for, and ends as late in the UI. The daemon reads the constant when its
loop of backfills begins, after the instance was loaded and this class with it. It is changed in the
daemon's process alone, where it is also how often it looks at automation conditions that have no
sensor, of which segpipe has none. Where a Dagster no longer has it, backfills are looked at as
often as that Dagster does.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from dagster import DagsterInvariantViolationError, Field, IntSource
from dagster._core.scheduler import DagsterDaemonScheduler

_KEY = "backfill_interval_seconds"
_DEFAULT = 5
_CONTROLLER, _INTERVAL = "dagster._daemon.controller", "DEFAULT_DAEMON_INTERVAL_SECONDS"


class PromptScheduler(DagsterDaemonScheduler):
    """Dagster's own scheduler of schedules, unchanged; its setting says when backfills are seen.

    Args:
        backfill_interval_seconds: from one look at the backfills to the next.
        settings: of Dagster's scheduler.
    """

    def __init__(self, backfill_interval_seconds: int = _DEFAULT, **settings: Any) -> None:
        super().__init__(**settings)
        if backfill_interval_seconds < 1:  # the daemon would do nothing else
            raise DagsterInvariantViolationError(
                f"{_KEY} of the scheduler is {backfill_interval_seconds}, at least 1 is needed"
            )
        self.backfill_interval_seconds = backfill_interval_seconds
        # Loaded by the daemon, before its instance, and by processes that never start its loops.
        controller = sys.modules.get(_CONTROLLER)
        if hasattr(controller, _INTERVAL):
            setattr(controller, _INTERVAL, backfill_interval_seconds)

    @classmethod
    def config_type(cls) -> Mapping[str, Any]:
        """Settings that ``dagster.yaml`` may have."""
        interval = Field(IntSource, is_required=False, default_value=_DEFAULT)
        return {**super().config_type(), _KEY: interval}  # type: ignore[no-untyped-call]
