"""Checks of whether a partition's predictions are good enough."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg

from segpipe.evaluation.quality import NO_REGRESSION, QUALITY, Quality
from segpipe.evaluation.requirements import Requirements

_MEANINGS = {
    QUALITY: "At least min_items items are evaluated, with numbers of at least those of min.",
    NO_REGRESSION: "On the items that both have, the metric is at most the tolerance lower than "
    "that of the model run that no_regression names.",
}


def evaluation_checks(asset: str, required: Requirements) -> list[dg.AssetCheckSpec]:
    """Specs of the checks of a partition's evaluation.

    Args:
        asset: name of the asset.
    """
    gate = " What fails is not published." if required.gate else " It warns: there is no gate."
    return [
        dg.AssetCheckSpec(name, asset=asset, blocking=required.gate, description=meaning + gate)
        for name, meaning in _MEANINGS.items()
    ]


def nothing_to_judge(asset: str, words: str) -> Iterator[dg.AssetCheckResult]:
    """The results for a partition that is not judged."""
    for name in _MEANINGS:
        yield dg.AssetCheckResult(
            check_name=name,
            asset_key=asset,
            passed=True,
            description=f"nothing to check: {words}",
        )


def quality_checks(asset: str, quality: Quality, *, gate: bool) -> Iterator[dg.AssetCheckResult]:
    """The results of judging a partition: errors with a gate, warnings without."""
    severity = dg.AssetCheckSeverity.ERROR if gate else dg.AssetCheckSeverity.WARN
    for name, verdict in quality.verdicts.items():
        yield dg.AssetCheckResult(
            check_name=name,
            asset_key=asset,
            passed=verdict.passed,
            severity=severity,
            description=verdict.words,
            metadata=dict(verdict.numbers),
        )
