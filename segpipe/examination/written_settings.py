"""``segpipe.toml``: whether it can be used, and whether what it names is there."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

from segpipe.errors import SegpipeError, nearest
from segpipe.examination.check import Check, ok, problem, segpipe_command, warning
from segpipe.examination.packages import version_of
from segpipe.extras import install_command
from segpipe.manifests.items import ItemList
from segpipe.root import Root
from segpipe.settings import SETTINGS_FILE, Settings
from segpipe.storage.redaction import redacted

_CONNECT_SECONDS = 5.0


def unusable(root: str, error: SegpipeError) -> Check:
    """That the settings file cannot be used; the error names the key and the nearest one."""
    again = segpipe_command("doctor", root)
    return problem(SETTINGS_FILE, str(error), "mend it, then look again", again)


def settings_file(settings: Settings, *, there: bool) -> Check:
    """What the settings file says that is not as by default."""
    if not there:
        return ok(SETTINGS_FILE, "there is none: every setting has its default")
    own = [name for name in vars(settings) if _differs(settings, name)]
    words = f"sets {', '.join(own)}" if own else "sets nothing that is not the default"
    return ok(SETTINGS_FILE, f"{redacted(settings.root)}/{SETTINGS_FILE} {words}")


def items_lists(settings: Settings) -> Iterator[Check]:
    """Whether the policies' lists of items can be read."""
    policies = settings.policies
    named = {policies.common.items, *(one.items for one in policies.by_model_run.values())}
    for url in sorted(filter(None, named)):
        place = settings.below_root(url)
        try:
            items = ItemList.read(place, settings.storage_options)
        except SegpipeError as error:
            step = f"correct items in {redacted(settings.root)}/{SETTINGS_FILE}, or put it there"
            again = segpipe_command("doctor", settings.root)
            yield problem("items", str(error), step, again)
            continue
        if len(items):
            yield ok("items", f"{len(items):,} in {redacted(place)}")
        else:
            again = segpipe_command("doctor", settings.root)
            found = f"{redacted(place)} is empty: every prediction would be rejected"
            yield problem("items", found, "write one reference id a line into it", again)


def model_runs(root: Root) -> Iterator[Check]:
    """Model runs that settings are for, and that have not landed."""
    settings = root.settings
    landed = list(root.landing.model_runs())
    policies = settings.policies.by_model_run
    where = f"{redacted(settings.root)}/{SETTINGS_FILE}"
    again = segpipe_command("doctor", settings.root)
    for name in policies:
        if name not in landed and not settings.policies.retired(name):
            found = f"[model_runs.{name!r}]: no such model run has landed{_hint(name, landed)}"
            step = f"correct its name in {where}, or let it land"
            yield warning("model runs", found, step, again)
    for name in settings.ground_truth:
        if name not in landed:
            found = f"ground_truth = {name!r}: no such model run has landed{_hint(name, landed)}"
            step = f"correct its name in {where}, or let it land and publish it"
            yield warning("ground truth", found, step, again)


def scheduler(settings: Settings) -> Iterator[Check]:
    """Whether the Dask scheduler answers."""
    if not settings.scheduler:
        return
    if version_of("distributed") is None:
        found = f"{settings.scheduler} needs packages that are not installed"
        yield problem("scheduler", found, "install them", install_command("dask"))
        return
    place = urlsplit(settings.scheduler)
    try:
        address = (place.hostname or "", place.port or 8786)
        socket.create_connection(address, timeout=_CONNECT_SECONDS).close()
    except OSError as error:
        found = f"{settings.scheduler} does not answer: {error.strerror or error}"
        command = f"dask scheduler --port {place.port}"
        yield problem("scheduler", found, "start it there, or correct scheduler", command)
        return
    yield ok("scheduler", f"{settings.scheduler} answers")


def _differs(settings: Settings, name: str) -> bool:
    if name in ("root", "policies"):
        return name == "policies" and _has_policies(settings)
    return bool(getattr(settings, name) != getattr(Settings(settings.root), name))


def _has_policies(settings: Settings) -> bool:
    default = Settings(settings.root).policies
    return settings.policies != default


def _hint(name: str, landed: list[str]) -> str:
    return nearest(name, landed) if landed else " (none has)"
