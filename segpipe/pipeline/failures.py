"""The root cause of a failed run, as text."""

from __future__ import annotations

from collections.abc import Iterable

import dagster as dg
from dagster import DagsterEventType

#: Event types that can hold the cause.
CAUSE_EVENT_TYPES = frozenset(
    {
        DagsterEventType.ASSET_CHECK_EVALUATION,
        DagsterEventType.STEP_FAILURE,
        DagsterEventType.ENGINE_EVENT,
    }
)


def first_cause(events: Iterable[dg.DagsterEvent]) -> str | None:
    """The first failure among a run's events, in their order; None if the events contain none.

    A blocking check that failed is logged before the step it stopped, and is the cause. Engine
    errors, such as settings that could not be loaded, count only if no step reports a failure.
    """
    engine_error = None
    for event in events:
        words = _check_words(event) or _step_words(event)
        if words:
            return words
        engine_error = engine_error or _engine_words(event)
    return engine_error


def _engine_words(event: dg.DagsterEvent) -> str | None:
    if event.event_type is not DagsterEventType.ENGINE_EVENT:
        return None
    error = event.engine_event_data.error
    if error is None:
        return None
    while error.cause is not None:
        error = error.cause
    return f"{event.message} {error.message.strip()}"


def _check_words(event: dg.DagsterEvent) -> str | None:
    if event.event_type is not DagsterEventType.ASSET_CHECK_EVALUATION:
        return None
    check = event.asset_check_evaluation_data
    if check.passed or not check.blocking or check.severity is not dg.AssetCheckSeverity.ERROR:
        return None
    return f"check {check.check_name} failed: {check.description}"


def _step_words(event: dg.DagsterEvent) -> str | None:
    if event.event_type is not DagsterEventType.STEP_FAILURE:
        return None
    data = event.step_failure_data
    if data.user_failure_data is not None and data.user_failure_data.description:
        return str(data.user_failure_data.description)
    if data.error is None:
        return None
    return str((data.error.cause or data.error).message).strip()


def unforeseen_trace(events: Iterable[dg.DagsterEvent]) -> str | None:
    """The traceback of the first error that is no :class:`SegpipeError`; None where there is none.

    Segpipe's own errors are Dagster failures (``dagster_failures``), and have a description.
    """
    for event in events:
        if event.event_type is DagsterEventType.STEP_FAILURE:
            data = event.step_failure_data
            told = data.user_failure_data is not None and data.user_failure_data.description
            if data.error is not None and not told:
                return data.error.to_string()
    return None
