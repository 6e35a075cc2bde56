"""The places of a root: whether they can be listed, read and written, and keep their promises."""

from __future__ import annotations

import os
import shlex
import stat
from collections import deque
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import suppress
from pathlib import Path

from segpipe.errors import NotInstalledError, SettingsError, StorageError
from segpipe.examination.check import (
    Check,
    Level,
    counted,
    note,
    ok,
    problem,
    segpipe_command,
    warning,
    worst,
)
from segpipe.examination.patience import LONGER, Patience
from segpipe.examination.probing import PREFIX, Probe, check_listed, check_reachable, probed
from segpipe.examination.room import file_system_of, room_of
from segpipe.extras import install_command
from segpipe.settings import SETTINGS_FILE, Settings
from segpipe.storage.files import Folder
from segpipe.storage.local_paths import is_file_url
from segpipe.storage.redaction import redacted
from segpipe.storage.store_options import extra_of, scheme_of

PLACES = ("manifests", "validated", "views", "masks", "catalog", "sent", "evaluations")
#: Clocks that differ by more are told; ages are counted in days, and requests signed by the minute.
_SKEW_SECONDS = 60
# A disk takes a hundredth of this.
_SLOW_SECONDS = 1.0
# Of a place, with its files: of each folder, a network's disk is asked by itself.
_ENTRIES_LOOKED_AT = 20_000
_FOLDERS_LOOKED_AT = 2_000
_ROOT = "root"


def root_place(root: str) -> Check | None:
    """What is wrong with a root before anything is read in it; None where it can be looked at."""
    if "://" in root:
        return None
    path = Path(root)
    again = segpipe_command("doctor", root)
    try:
        there, is_folder = path.exists(), path.is_dir()
    except OSError as error:
        step = "have it made readable for this user, or name another folder"
        return problem("root", f"{root}: {error.strerror}", step, again)
    if not there:
        step = "correct --root, or make the folder if it is to be a new root:"
        return problem(
            "root", f"there is no folder {root}", step, shlex.join(["mkdir", "-p", root])
        )
    if not is_folder:
        step = "name the folder that holds manifests/ and segpipe.toml:"
        above = segpipe_command("doctor", str(path.parent))
        return problem("root", f"{root} is a file, expected a folder", step, above)
    if not os.access(root, os.R_OK | os.X_OK):
        found = f"no permission to read {root}, which belongs to {_owner(root)}"
        step = "have the rights given, for example by its owner with:"
        return problem("root", found, step, shlex.join(["chmod", "-R", "a+rX", root]))
    return None


def places(settings: Settings, patience: Patience) -> Iterator[Check]:
    """Each place of a root that is there, tried out; places that are as the root are not named."""
    opened: dict[str, Folder] = {}
    sound: list[str] = []
    for name in (_ROOT, *PLACES):
        apart = _is_apart(name, settings)
        if not apart and _ROOT not in sound:
            continue  # what is below a root that does not answer is not waited for as well
        found = _tried(name, settings, opened, patience)
        if worst(found) is not Level.PROBLEM:
            sound.append(name)
        # Of a folder below the root, what is wrong with it alone is worth a line.
        yield from found if apart else [one for one in found if one.next_step]
    if _ROOT in sound:
        folders = {name: opened[name] for name in sound if name in opened}
        yield from patience.checks(
            "owners",
            lambda: _foreign(settings, folders),
            LONGER,
            silence="see that it is mounted and its server is up",
            command=segpipe_command("doctor", settings.root),
        )


def allowed_roots(settings: Settings) -> Iterator[Check]:
    """Whether the other folders that masks may be read from are there."""
    for url in settings.allowed_roots:
        if "://" not in url and not os.access(url, os.R_OK | os.X_OK):
            there = "cannot be read" if os.path.lexists(url) else "is not there"
            step = f"correct allowed_roots in {redacted(settings.root)}/segpipe.toml, or mount it"
            again = segpipe_command("doctor", settings.root)
            yield warning("allowed_roots", f"{url} {there}", step, again)


def _tried(
    name: str, settings: Settings, opened: MutableMapping[str, Folder], patience: Patience
) -> list[Check]:
    """What is found of a place.

    Args:
        opened: the places tried before; takes this one, unless it is one of them or is not there.
    """
    url = settings.root if name == _ROOT else getattr(settings, name, "") or settings.root
    silence = "see that it is mounted and its server is up"
    if "://" in url and not is_file_url(url):
        silence = "see that the endpoint is right and can be reached from here"
    if not _is_read_alone(name, settings):
        silence += f"; a file {PREFIX}... may have been left there"
    again = segpipe_command("doctor", settings.root)

    # Opened in there as well: some ask a network for credentials, and a dead mount for anything.
    def looked_at() -> Iterator[Check]:
        try:
            folder = _opened(name, settings)
        except SettingsError as error:
            yield _unopened(name, url, error, settings)
            return
        if any(folder.path == one.path for one in opened.values()):
            return
        if not _is_apart(name, settings) and not (folder.is_local and os.path.lexists(folder.path)):
            return  # it is, or will be made, in the root
        opened[name] = folder
        yield from _looked_at(name, folder, settings)

    return patience.checks(name, looked_at, silence=silence, command=again)


def _is_apart(name: str, settings: Settings) -> bool:
    """Whether it is the root, or a place that the settings name."""
    return name == _ROOT or bool(getattr(settings, name, ""))


def _is_read_alone(name: str, settings: Settings) -> bool:
    """Whether it is a landing of its own: somebody else's, who may take any file for a delivery."""
    return name == "manifests" and bool(settings.manifests)


def _opened(name: str, settings: Settings) -> Folder:
    if name != _ROOT:
        return settings.folder(name)
    return Folder(settings.root, settings.storage_options if "://" in settings.root else None)


def _unopened(name: str, url: str, error: SettingsError, settings: Settings) -> Check:
    if isinstance(error, NotInstalledError) and (scheme := scheme_of(url)):
        return problem(name, str(error), "install them:", install_command(extra_of(scheme)))
    step = f"correct {name} in {redacted(settings.root)}/{SETTINGS_FILE}, then look again"
    if name == _ROOT:
        step = "correct --root, then look again"
    return problem(name, str(error), step, segpipe_command("doctor", settings.root))


def _looked_at(name: str, folder: Folder, settings: Settings) -> Iterator[Check]:
    again = segpipe_command("doctor", settings.root)
    if folder.is_local and not os.path.isdir(folder.path):
        if os.path.lexists(folder.path):
            step = "move it away; segpipe makes the folder when it needs it"
            command = shlex.join(["mv", folder.path, f"{folder.path}.old"])
            yield problem(name, f"{folder.shown} is no folder, expected one", step, command)
        else:
            yield from _not_there(name, folder)
        return
    check_reachable(folder)
    step = "have the rights given to list and read it, then look again"
    if _is_read_alone(name, settings):
        try:
            check_listed(folder)
        except StorageError as error:
            yield problem(name, str(error), step, again)
        else:
            yield ok(name, f"{folder.shown}: listed; not written to")
        return
    probe = probed(folder)
    if not probe.listed:
        yield problem(name, probe.failure, step, again)
        return
    if probe.read_only and folder.is_local:
        yield _read_only(name, folder)
        return
    if probe.read_only:
        found = f"{folder.shown} can be read, and not written: {probe.failure}"
        step = "enough to look at it and query it; to run, have the right to write given"
        yield note(name, found, step, again)
        return
    yield from _writable(name, folder, probe, settings)


def _writable(name: str, folder: Folder, probe: Probe, settings: Settings) -> Iterator[Check]:
    again = segpipe_command("doctor", settings.root)
    if probe.full:
        step = "free some space there; to see what of it the root could give back:"
        found = f"{folder.shown}: {probe.failure}"
        yield problem(name, found, step, segpipe_command("vacuum", settings.root))
        return
    if not probe.removed:
        found = f"{folder.shown}: a file that was written cannot be removed: {probe.failure}"
        step = f"have the right to remove files given, and remove {probe.name}"
        yield problem(name, found, step, again)
        return
    if not probe.written:
        yield problem(name, f"{folder.shown}: {probe.failure}", "mend that, then look again", again)
        return
    yield from _promises(name, folder, probe, settings)
    yield from _clock(name, folder, probe, again)
    yield from _local_room(name, folder, settings)


def _promises(name: str, folder: Folder, probe: Probe, settings: Settings) -> Iterator[Check]:
    took = f"{1e3 * probe.seconds:.0f} ms"
    if not probe.kept_apart:
        found = f"{folder.shown} overwrites a file that should be new (no conditional put)"
        if settings.single_publisher:
            yield ok(name, f"{found}; single_publisher = true says that only one ever publishes")
        else:
            step = (
                "use a store with conditional puts; or, if never more than one process publishes, "
                f"write single_publisher = true into {redacted(settings.root)}/segpipe.toml"
            )
            yield problem(name, found, step)
        return
    if probe.seconds > _SLOW_SECONDS:
        found = f"{folder.shown}: a small file took {took} to be written"
        step = "put the root on a faster disk, or nearer; see what else writes there"
        yield warning(
            name, found, step, f"df -h {shlex.quote(folder.path)}" if folder.is_local else ""
        )
        return
    what = "listed, written, read, replaced, removed"
    yield ok(name, f"{folder.shown}: {what}; a file takes {took}")


def _clock(name: str, folder: Folder, probe: Probe, again: str) -> Iterator[Check]:
    if probe.behind is None or abs(probe.behind) <= _SKEW_SECONDS:
        return
    way = "behind" if probe.behind > 0 else "ahead of"
    found = f"the clock of {folder.shown} is {abs(probe.behind):,.0f} s {way} this machine's"
    yield warning(f"{name}, clock", found, "set this machine's clock, or the store's", again)


def _local_room(name: str, folder: Folder, settings: Settings) -> Iterator[Check]:
    if not folder.is_local:
        return
    room, kind = room_of(folder.path), file_system_of(folder.path)
    words = f"{room}" + (f" ({kind.kind})" if kind.kind else "")
    if room.is_tight:
        step = "free some space there; to see what of it the root could give back:"
        found, command = f"{folder.shown}: {words}", segpipe_command("vacuum", settings.root)
        yield warning(f"{name}, disk", found, step, command)
    elif kind.is_in_memory:
        step = "keep a root that is to last on a disk"
        yield note(f"{name}, disk", f"{words}: gone when the machine restarts", step)
    elif kind.is_remote:
        step = "see docs/deploy.md for what several machines need of it"
        yield note(f"{name}, disk", f"{words}: another machine's disk", step)
    else:
        yield ok(f"{name}, disk", words)


def _not_there(name: str, folder: Folder) -> Iterator[Check]:
    above = folder.path
    while not os.path.lexists(above):
        above = os.path.dirname(above)
    if os.access(above, os.W_OK | os.X_OK):
        yield ok(name, f"{folder.shown} is made when it is needed")
    else:
        step = "make it, for this user to write to"
        command = f"sudo install -d -o {_user()} {shlex.quote(folder.path)}"
        yield problem(name, f"{folder.shown} is not there, and cannot be made", step, command)


def _read_only(name: str, folder: Folder) -> Check:
    found = f"{folder.shown} can be read, and not written"
    if _is_mounted_read_only(folder.path):
        found += ": its disk is mounted read-only"
        command = f"sudo mount -o remount,rw {shlex.quote(_mount_of(folder.path))}"
    else:
        found += f": it belongs to {_owner(folder.path)}"
        command = _giving_back(folder.path, folder.path)
    if name == "manifests":
        return note(name, found, "enough to read manifests; for segpipe import:", command)
    step = "enough for history, show, query, export and browse; to run and publish:"
    return note(name, found, step, command)


def _foreign(settings: Settings, folders: Mapping[str, Folder]) -> Iterator[Check]:
    """Folders in the places of a writable root that cannot be written, as after a run with sudo."""
    if "://" in settings.root or not os.access(settings.root, os.W_OK):
        return  # of a root that cannot be written, that has been said
    for name, folder in folders.items():
        if name in (_ROOT, "manifests") or not folder.is_local:
            continue
        if not os.access(folder.path, os.W_OK):
            continue  # and so of a place
        found = [one for one in _folders_below(folder.path) if not os.access(one, os.W_OK)]
        if found:
            words = f"{counted(len(found), 'folder')} cannot be written, such as {found[0]}, of "
            step = "give them to the user that runs segpipe"
            command = _giving_back(found[0], folder.path)
            yield problem(f"{name}, owners", words + _owner(found[0]), step, command)


def _folders_below(top: str) -> Iterator[str]:
    """The folders among the first entries below one, those nearest to it first."""
    waiting, folders, entries = deque([top]), 0, 0
    while waiting:
        with suppress(OSError), os.scandir(waiting.popleft()) as found:
            for entry in found:
                entries += 1
                if entries > _ENTRIES_LOOKED_AT or folders >= _FOLDERS_LOOKED_AT:
                    return
                if entry.is_dir(follow_symlinks=False):
                    folders += 1
                    waiting.append(entry.path)
                    yield entry.path


def _giving_back(found: str, place: str) -> str:
    """The command after which a place can be written.

    Args:
        found: a folder in it, or itself, that cannot be written.
    """
    chosen = shlex.quote(place)
    try:
        status = os.stat(found)
        own, closed = status.st_uid == os.getuid(), not status.st_mode & stat.S_IWUSR
    except (OSError, AttributeError):
        own, closed = False, False
    if own:
        return f"chmod -R u+w {chosen}"
    given = f"sudo chown -R {_user()} {chosen}"
    return f"{given} && chmod -R u+w {chosen}" if closed else given


def _owner(path: str) -> str:
    try:
        return f"user {Path(path).owner()}"
    except (OSError, KeyError, NotImplementedError):
        return "another user"


def _user() -> str:
    return '"$(id -un)"'


def _is_mounted_read_only(path: str) -> bool:
    try:
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except (OSError, AttributeError):
        return False


def _mount_of(path: str) -> str:
    place = os.path.realpath(path)
    while not os.path.ismount(place):
        place = os.path.dirname(place)
    return place
