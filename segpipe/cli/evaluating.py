"""``segpipe evaluate``: validated predictions beside published ground truth."""

from __future__ import annotations

from dataclasses import dataclass

from segpipe.cli.console import put_lines, step_progress
from segpipe.cli.exit_status import ALL_ACCEPTED, SOME_REJECTED
from segpipe.errors import SettingsError
from segpipe.evaluation.schemas import NO_PREDICTION
from segpipe.root import Root


@dataclass(frozen=True)
class EvaluateOptions:
    """The command's options.

    Attributes:
        date: the day; None together with ``everything``.
        everything: every day that has landed.
        against: the model run that is true; None for that of the settings.
        output: what to print, ``text`` or ``json``.
    """

    model_run: str
    date: str | None
    everything: bool
    against: str | None
    boundary: bool
    force: bool
    output: str


def run_evaluate(root: str, options: EvaluateOptions) -> int:
    """Evaluate, and print the numbers; returns the exit status: that of rejected rows where a
    prediction of an item with ground truth is missing.

    Raises:
        SettingsError: unless a day or all of them are asked for.
        EvaluationError: if there is nothing to compare.
    """
    if (options.date is None) is not options.everything:
        raise SettingsError("which day? Give either --date YYYY-MM-DD or --all")
    with step_progress() as progress:
        result = Root.open(root, must_exist=True).evaluate(
            options.model_run,
            options.date,
            against=options.against,
            boundary=options.boundary,
            force=options.force,
            progress=lambda done, total: progress("evaluating", done, total),
        )
    put_lines(result.to_json() if options.output == "json" else repr(result))
    return SOME_REJECTED if result.outcomes[NO_PREDICTION] else ALL_ACCEPTED
