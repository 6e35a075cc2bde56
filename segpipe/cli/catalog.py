"""Commands on the catalog: history, diff, restore, unpublish, vacuum, optimize, show."""

from __future__ import annotations

import shlex
import uuid
from collections.abc import Sequence
from pathlib import Path

from segpipe.cli.console import say
from segpipe.errors import CatalogError, SettingsError
from segpipe.item_picture import item_picture, published_for
from segpipe.overlay import encoded
from segpipe.partition import Partition
from segpipe.publishing import maintenance
from segpipe.publishing.history import diff, history
from segpipe.root import Root
from segpipe.storage import Folder


def show_history(root: str, most: int | None) -> None:
    """A line per version, newest first."""
    versions = history(_root(root).catalog, most)
    if not versions:
        print("nothing was published yet")
    for version in versions:
        notes = ", ".join(f"{name} {value}" for name, value in version.notes.items() if value)
        time = f"{version.time:%Y-%m-%d %H:%M:%S}"
        print(f"{version.version:>6}  {time}  {version.operation:<10} {notes}")


def show_diff(root: str, before: int, after: int) -> None:
    """A line per item that differs."""
    changes = diff(_root(root).catalog, before, after).to_pylist()
    for row in changes:
        print(f"{row['change']:<9} {row['model_run']}  {row['reference_id']}")
        for sign, name in (("+", "added"), ("-", "removed"), ("~", "changed")):
            for segment in row[f"segments_{name}"] or ():
                print(f"          {sign} {segment}")
    counts = {
        c: sum(row["change"] == c for row in changes) for c in ("added", "replaced", "removed")
    }
    print(", ".join(f"{count} {change}" for change, count in counts.items()))


def restore(root: str, version: int) -> None:
    """Make the catalog hold what it held then."""
    new = maintenance.restore(_root(root).catalog, version, _run_id())
    print(f"version {new} holds what version {version} held")


def unpublish(
    root: str, model_run: str, reference_ids: Sequence[str], ids_file: str | None, date: str | None
) -> None:
    """Remove predictions, recorded and undoable."""
    opened = _root(root)
    ids: list[str] | None = list(reference_ids) or None
    if ids_file is not None:
        try:
            ids = [*reference_ids, *filter(None, Path(ids_file).read_text("utf-8").splitlines())]
        except (OSError, UnicodeDecodeError) as error:
            raise CatalogError(f"{ids_file} cannot be read: {error}") from None
    if date is not None:
        Partition(model_run, date)  # says what is wrong with it
    before = opened.catalog.version()
    removed = maintenance.unpublish(
        opened.catalog,
        opened.settings.dataset,
        model_run,
        _run_id(),
        reference_ids=ids,
        partition=date,
    )
    print(f"{removed} predictions unpublished")
    if removed:
        print(f"undo it with: segpipe restore --root {shlex.quote(root)} {before}")


def vacuum(root: str, retention_hours: int, dry_run: bool) -> None:
    """Clear away what no retained version needs."""
    opened = _root(root)
    done = maintenance.vacuum(
        opened.catalog,
        opened.settings.folder("validated"),
        views=opened.settings.folder("views"),
        masks_too=not opened.settings.masks,
        retention_hours=retention_hours,
        dry_run=dry_run,
    )
    verb = "would be removed (--no-dry-run does it)" if dry_run else "removed"
    size = done.mask_bytes / 1e6
    if opened.settings.masks:
        print("masks are left alone: the store was named apart, and others may use it")
    print(f"{done.table_files} table files and {done.mask_files} masks ({size:.1f} MB) {verb}")


def optimize(root: str) -> None:
    """Compact the table's files."""
    figures = maintenance.optimize(_root(root).catalog, _run_id())
    print(f"{figures['removed']} files written as {figures['added']}")


def show(root: str, reference_id: str, model_run: str | None, out: str) -> None:
    """Print an item's published Segments and write its picture."""
    opened = _root(root)
    rows = published_for(opened, reference_id, model_run)
    for row in rows:
        print(f"{row['reference_id']}  {row['model_run']}  {row['width']} x {row['height']}")
        for s in row["segments"]:
            sure = "" if s["confidence"] is None else f"{s['confidence']:.2f}"
            print(
                f"  {s['index']:>3}  {s['label']:<24} {sure:>5} {100 * s['area_fraction']:6.1f} %  "
                f"{s['metadata'] if s['metadata'] != '{}' else ''}"
            )
    place = Path(out).absolute()
    Folder(str(place.parent)).write(place.name, encoded(item_picture(opened, rows)))
    say(f"picture written to {out}")


def _root(url: str) -> Root:
    """The root, which has to be there.

    Raises:
        SettingsError: if it is a local path and no folder.
    """
    if "://" not in url and not Path(url).is_dir():
        raise SettingsError(f"there is no folder {url}")
    return Root.open(url)


def _run_id() -> str:
    return f"cli-{uuid.uuid4()}"
