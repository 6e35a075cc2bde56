"""``segpipe validate``: the rules and tables, without Dagster and without publishing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from segpipe.chunks import Workers
from segpipe.cli.console import say, step_progress
from segpipe.cli.main import ALL_ACCEPTED, SOME_REJECTED
from segpipe.errors import ManifestError
from segpipe.items import ItemList
from segpipe.manifest import Manifest
from segpipe.materialization import materialize
from segpipe.report import ValidationReport
from segpipe.report_page import write_page
from segpipe.rules import Policies, Policy
from segpipe.settings import read_toml
from segpipe.sources import AllowedRoots
from segpipe.storage import Folder, MaskStore
from segpipe.validation import Validation


@dataclass(frozen=True)
class ValidateOptions:
    """The command's options."""

    out: str
    output: str
    allow_root: Sequence[str]
    policy: str | None
    html: str | None
    workers: int


def run_validate(manifests: Sequence[str], options: ValidateOptions) -> int:
    """Validate manifests into a folder and print what was found; the exit status."""
    files = [file for given in manifests for file in _files(given)]
    manifest = Manifest.open(files)
    out = options.out
    folder = Folder(out)
    validation = _validation([folder.url for folder, _, _ in files], folder, options)
    with step_progress() as progress:
        materialize(
            manifest,
            validation,
            folder,
            workers=Workers(options.workers),
            progress=lambda done, total: progress("validating", done, total),
        )
    report = ValidationReport.read(folder)
    if options.html is not None:
        page = write_page(report, manifest, validation)
        Folder(str(Path(options.html).absolute().parent)).write(Path(options.html).name, page)
    if options.output == "json":
        print(report.to_json())
    else:
        for line in report.lines():
            print(line)
        say(f"\nvalidated.parquet, segments.parquet, rejected.parquet and masks/ are in {out}")
    return SOME_REJECTED if report.summary.rejected else ALL_ACCEPTED


def _validation(roots: Sequence[str], out: Folder, options: ValidateOptions) -> Validation:
    policy = Policy()
    items = None
    if options.policy is not None:
        policy = Policies.read(read_toml(Path(options.policy)), options.policy).common
        if policy.items is not None:
            items = ItemList.read(str(Path(options.policy).absolute().parent / policy.items))
    return Validation(
        dataset=None,
        model_run=None,
        sources=AllowedRoots(tuple(dict.fromkeys([*roots, *options.allow_root]))),
        masks=MaskStore(out.folder("masks")),
        policy=policy,
        items=items,
    )


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
