"""``segpipe browse`` and ``segpipe gallery``: pages to look at a root."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from segpipe.cli.console import put, say
from segpipe.cli.ports import check_free
from segpipe.errors import SettingsError
from segpipe.storage.files import Folder


def run_browse(root: str, host: str, port: int, token: str | None, *, open_page: bool) -> int:
    """Serve a root's page until the process is ended; returns the exit status.

    Raises:
        SettingsError: if there is no such root, the port is taken, or the token is too short.
    """
    from segpipe.viewer.serving import serve

    check_free(host, port)
    serve(root, host, port, token=token, open_page=open_page, tell=say)
    return 0


def run_gallery(
    root: str,
    dataset: str | None,
    model_run: str,
    labels: Sequence[str],
    out: Path,
    limit: int,
    *,
    rejected: bool,
    force: bool,
) -> int:
    """Write a model run's gallery as one HTML file; returns the exit status.

    Args:
        dataset: of which; None for that of ``segpipe.toml``, or the only one there is.

    Raises:
        SettingsError: if the file is there already, or there is nothing to show.
    """
    from segpipe.root import Root
    from segpipe.viewer.filters import Filters
    from segpipe.viewer.static_page import static_page

    if out.exists() and not force:
        raise SettingsError(f"{out} is there already: give another name, or --force to replace it")
    filters = Filters(
        dataset=dataset,
        runs=(model_run,),
        labels=tuple(labels),
        outcomes=("rejected",) if rejected else (),
    )
    page = static_page(Root.open(root, must_exist=True), filters, most_items=limit)
    target = out.absolute()
    Folder(str(target.parent)).write(target.name, page.html)
    put(f"{page.shown:,} of {page.total:,} predictions: {out} ({len(page.html) / 2**20:.1f} MiB)")
    for note in page.notes:
        say(f"note: {note}")
    return 0
