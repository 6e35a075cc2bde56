"""``segpipe evaluate`` and ``segpipe compare``: predictions beside ground truth, or each other."""

from __future__ import annotations

from dataclasses import dataclass

from segpipe.cli.console import put_lines, say, step_progress
from segpipe.cli.exit_status import ALL_ACCEPTED, SOME_REJECTED
from segpipe.errors import SettingsError
from segpipe.evaluation.schemas import NO_PREDICTION
from segpipe.evaluation.summaries import SUMMARIES
from segpipe.root import Root


@dataclass(frozen=True)
class EvaluateOptions:
    """The command's options.

    Attributes:
        date: the day; None together with ``everything``.
        everything: every day that has landed.
        against: the model run that is true; None for that of the settings.
        output: what to print, ``text`` or ``json``.
        summary: print this instead, one of ``SUMMARIES``.
    """

    model_run: str
    date: str | None
    everything: bool
    against: str | None
    boundary: bool
    force: bool
    output: str
    summary: str | None


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
    if options.summary is not None:
        put_lines(SUMMARIES[options.summary](result))
    else:
        put_lines(result.to_json() if options.output == "json" else repr(result))
    return SOME_REJECTED if result.outcomes[NO_PREDICTION] else ALL_ACCEPTED


@dataclass(frozen=True)
class CompareOptions:
    """The command's options.

    Attributes:
        a, b: the model runs.
        date: the day; None for every day that has landed.
        everything: the same, said.
        against: the model run that is true; None for that of the settings.
        agreement: without ground truth.
        boundary: Boundary IoU as well.
        metric: whose largest changes are listed.
        pictures: a folder for pictures of them.
        output: what to print, ``text`` or ``json``.
    """

    a: str
    b: str
    date: str | None
    everything: bool
    against: str | None
    agreement: bool
    boundary: bool
    metric: str
    seed: int
    pictures: str | None
    output: str


def run_compare(root: str, options: CompareOptions) -> int:
    """Compare two model runs, and print what differs.

    Raises:
        SettingsError: if options exclude each other, or a model run is compared with itself.
        EvaluationError: if there is nothing to compare.
    """
    if options.date is not None and options.everything:
        raise SettingsError("which day? Give either --date YYYY-MM-DD or --all")
    if options.agreement and options.against is not None:
        raise SettingsError("--agreement is without ground truth: leave out --against")
    with step_progress() as progress:
        result = Root.open(root, must_exist=True).compare(
            options.a,
            options.b,
            options.date,
            against=options.against,
            agreement=options.agreement,
            boundary=options.boundary,
            metric=options.metric,
            seed=options.seed,
            pictures=options.pictures,
            progress=lambda done, total: progress("evaluating", done, total),
        )
    put_lines(result.to_json() if options.output == "json" else repr(result))
    if options.pictures is not None:
        drawn = result.changes.num_rows - len(result.without_picture)
        say(f"pictures of {drawn} items: {options.pictures}")
    return ALL_ACCEPTED
