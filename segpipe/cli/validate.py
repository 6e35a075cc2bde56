"""``segpipe validate``: the rules and tables, without Dagster and without publishing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from segpipe.cli.console import say, step_progress
from segpipe.cli.main import ALL_ACCEPTED, SOME_REJECTED
from segpipe.errors import ManifestError
from segpipe.manifest import Manifest
from segpipe.materialization import materialize
from segpipe.report import ValidationReport
from segpipe.sources import AllowedRoots
from segpipe.storage import Folder, MaskStore
from segpipe.validation import Validation


def run_validate(
    manifests: Sequence[str], out: str, output: str, allow_root: Sequence[str], workers: int
) -> int:
    """Validate manifests into a folder and print what was found; the exit status."""
    files = [file for given in manifests for file in _files(given)]
    manifest = Manifest.open(files)
    roots = [folder.url for folder, _, _ in files]
    folder = Folder(str(Path(out).absolute()) if "://" not in out else out)
    validation = Validation(
        dataset=None,
        model_run=None,
        sources=AllowedRoots(tuple(dict.fromkeys([*roots, *allow_root]))),
        masks=MaskStore(folder.folder("masks")),
    )
    with step_progress() as progress:
        materialize(
            manifest,
            validation,
            folder,
            workers=workers,
            progress=lambda done, total: progress("validating", done, total),
        )
    report = ValidationReport.read(folder)
    if output == "json":
        print(report.to_json())
    else:
        for line in report.lines():
            print(line)
        say(f"\nvalidated.parquet, segments.parquet, rejected.parquet and masks/ are in {out}")
    return SOME_REJECTED if report.summary.rejected else ALL_ACCEPTED


def _files(given: str) -> Iterator[tuple[Folder, str, str]]:
    """The manifest files an argument names: itself, or all in a folder."""
    if "://" in given:
        parent, _, name = given.rpartition("/")
        folder = Folder(parent)
        if not folder.exists(name):
            raise ManifestError(f"there is no manifest {given}")
        yield folder, name, given
        return
    path = Path(given)
    if not path.exists():
        raise ManifestError(f"there is no manifest {given}")
    paths = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    if not paths:
        raise ManifestError(
            f"there are no .parquet files in the folder {given}; name the manifest files of one "
            "model run and day, or the folder they lie in"
        )
    for one in paths:
        yield Folder(str(one.parent.absolute())), one.name, str(one)
