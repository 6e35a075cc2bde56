"""Commands on the catalog: history, diff, restore, unpublish, vacuum, optimize, upgrade, show."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path

from segpipe.cli.console import put, say
from segpipe.cli.options import read_ids
from segpipe.errors import CatalogError, listed
from segpipe.publishing.outcomes import new_run_id
from segpipe.root import Root
from segpipe.tables.schemas import FORMAT


def show_history(root: str, most: int | None) -> None:
    """Print a line per version, newest first.

    Args:
        most: number of versions; all where None.
    """
    versions = _root(root).catalog.history(most)
    if not versions:
        put("nothing was published yet")
    for version in versions:
        notes = ", ".join(f"{name} {value}" for name, value in version.notes.items() if value)
        time = f"{version.time:%Y-%m-%d %H:%M:%S}"
        put(f"{version.version:>6}  {time}  {version.operation:<10} {notes}")


def show_diff(root: str, before: int, after: int, dataset: str | None) -> None:
    """Print the items that differ between two versions, with their Segments.

    Args:
        dataset: only its items; all where None.

    Raises:
        CatalogError: if there is no such version, or neither holds anything of the dataset.
    """
    catalog = _root(root).catalog
    changes = catalog.diff(before, after).to_pylist()
    known = sorted({name for one in (before, after) for name in catalog.datasets(one)})
    if dataset is not None:
        if dataset not in known:
            raise CatalogError(f"neither version holds dataset {dataset!r}; {_there(known)}")
        changes = [row for row in changes if row["dataset"] == dataset]
    for row in changes:
        whose = f"{row['dataset']}  " if dataset is None and len(known) > 1 else ""
        put(f"{row['change']:<9} {whose}{row['model_run']}  {row['reference_id']}")
        for sign, name in (("+", "added"), ("-", "removed"), ("~", "changed")):
            for segment in row[f"segments_{name}"] or ():
                put(f"          {sign} {segment}")
    counts = {
        c: sum(row["change"] == c for row in changes) for c in ("added", "replaced", "removed")
    }
    put(", ".join(f"{count} {change}" for change, count in counts.items()))


def restore(root: str, version: int) -> None:
    """Restore a version of the catalog, as a new version."""
    with _remarks_said(_root(root)) as opened:
        new = opened.catalog.restore(version, run_id=new_run_id("cli"))
    put(f"version {new} holds what version {version} held")


def unpublish(
    root: str,
    model_run: str,
    reference_ids: Sequence[str],
    ids_file: str | None,
    date: str | None,
    dataset: str | None,
) -> None:
    """Remove predictions from the catalog, as a new version.

    Args:
        dataset: theirs; see :meth:`Root.of_dataset`.
        reference_ids: the items, with those of ``ids_file``; without any, the whole partition.
        ids_file: a UTF-8 text file with one reference id a line.
        date: only what this partition published.

    Raises:
        CatalogError: if the file cannot be read, nothing selects what to remove, or nothing that
            is published was selected.
    """
    ids: list[str] | None = list(reference_ids) or None
    if ids_file is not None:
        ids = [*reference_ids, *read_ids(ids_file)]
    with _remarks_said(_root(root).of_dataset(dataset)) as opened:
        before = opened.catalog.version()
        removed = opened.catalog.unpublish(
            model_run, date, reference_ids=ids, run_id=new_run_id("cli")
        )
        if not removed:
            raise CatalogError(_nothing_matched(opened, model_run, date, ids))
    put(f"{removed} predictions unpublished")
    if ids is not None and removed < len(set(ids)):
        say(f"{len(set(ids)) - removed} of the {len(set(ids))} items had no prediction there")
    put(f"undo it with: segpipe restore --root {shlex.quote(root)} {before}")


def _nothing_matched(
    root: Root, model_run: str, date: str | None, ids: Sequence[str] | None
) -> str:
    dataset = root.settings.dataset
    table = root.catalog.predictions(columns=["model_run", "partition"])
    runs = sorted(set(table["model_run"].to_pylist()))
    words = f"nothing was unpublished: dataset {dataset!r} has no prediction"
    if model_run not in runs:
        return f"{words} by model run {model_run!r}; {_there(runs)}"
    which = "" if ids is None else f" for {listed(ids, 3)}"
    which += "" if date is None else f" in partition {date}"
    return f"{words}{which} by model run {model_run!r}"


def _there(names: Sequence[str]) -> str:
    return f"there are: {listed(names)}" if names else "there is none"


def vacuum(root: str, retention_hours: int, dry_run: bool) -> None:
    """Delete files that no version within the retention needs, and say how many bytes that is."""
    with _remarks_said(_root(root)) as opened:
        done = opened.vacuum(retention_hours, dry_run=dry_run)
    verb = "would be removed (--no-dry-run does it)" if dry_run else "removed"
    if opened.settings.masks:
        put("masks are left alone: segpipe.toml names a place for them, and other roots may use it")
    put(
        f"{done.table_files} table files and {done.mask_files} masks, {done.temporary_files} "
        f"temporary files of killed runs ({done.bytes / 1e6:.1f} MB) {verb}"
    )


def upgrade(root: str, dry_run: bool) -> None:
    """Upgrade the catalog to the newest format, and say what that changes."""
    with _remarks_said(_root(root)) as opened:
        place = opened.catalog.table.shown
        found = opened.catalog.upgrade(dry_run=dry_run, run_id=new_run_id("cli"))
    if not found.needed:
        put(f"{place} is of format {FORMAT}, the newest: nothing to do")
        return
    would = "would be" if dry_run else "was"
    more = " (--no-dry-run does it)" if dry_run else ""
    put(f"{place} {would} upgraded from format {found.found} to {FORMAT}{more}")
    gained = ", ".join(found.columns) or "no columns"
    put(
        f"its Segments {'would get' if dry_run else 'got'} {gained}, null in the "
        f"{found.predictions} predictions published so far; no file is rewritten"
    )
    put("to fill them from the metadata of predictions, unpublish those and run their days again")
    put("once it is upgraded, older versions of segpipe cannot read it")
    if not dry_run:
        put(f"undo it with: segpipe restore --root {shlex.quote(root)} {found.before}")


def optimize(root: str) -> None:
    """Compact the catalog table's files."""
    with _remarks_said(_root(root)) as opened:
        figures = opened.catalog.optimize(run_id=new_run_id("cli"))
    put(f"{figures['removed']} files written as {figures['added']}")


def show(
    root: str,
    reference_id: str,
    model_run: str | None,
    date: str | None,
    against: str | None,
    size: int,
    out: str | None,
    dataset: str | None,
    *,
    force: bool,
) -> None:
    """Print an item's Segments and findings, and write its picture.

    Args:
        out: None for the first of overlay.png, overlay-2.png and so on that is not there.
    """
    item = (
        _root(root)
        .of_dataset(dataset)
        .show(reference_id, model_run, date, against=against, longest_side=size)
    )
    for line in item.lines():
        put(line)
    if out is None:
        names = chain(["overlay.png"], (f"overlay-{number}.png" for number in count(2)))
        out = "overlay.png" if force else next(one for one in names if not Path(one).exists())
    item.save(out, force=force)
    say(f"picture written to {out}")


@contextmanager
def _remarks_said(root: Root) -> Iterator[Root]:
    """Say what was set aside or mended, also where the command then fails."""
    try:
        yield root
    finally:
        for remark in root.catalog.take_remarks():
            say(remark)


def _root(url: str) -> Root:
    return Root.open(url, must_exist=True)
