"""``segpipe validate``: validate manifests, without Dagster and without publishing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from segpipe.cli.console import put, put_lines, say, step_progress
from segpipe.cli.exit_status import ALL_ACCEPTED, SOME_REJECTED
from segpipe.manifest_check import validate


@dataclass(frozen=True)
class ValidateOptions:
    """The command's options.

    Attributes:
        out: folder for the tables and masks.
        output: what to print, ``text`` or ``json``.
        workers: number of worker processes; 0 for one per processor.
    """

    out: str
    output: str
    allow_root: Sequence[str]
    policy: str | None
    html: str | None
    workers: int


def run_validate(manifests: Sequence[str], options: ValidateOptions) -> int:
    """Validate manifests into a folder and print the report; returns the exit status."""
    with step_progress() as progress:
        report = validate(
            manifests,
            options.out,
            allowed_roots=options.allow_root,
            policy=options.policy,
            html=options.html,
            workers=options.workers,
            progress=lambda done, total: progress("validating", done, total),
        )
    if options.output == "json":
        put_lines(report.to_json())
    else:
        for line in report.lines():
            put(line)
        say()
        say(
            f"validated.parquet, segments.parquet, rejected.parquet and masks/ are in {options.out}"
        )
    return SOME_REJECTED if report.summary.rejected else ALL_ACCEPTED
