"""Removing masks from a store beside those who store and publish them.

A mask's file has the mask's own name: who stores it again writes the very file that a vacuum may be
about to remove. Vacuum removes only masks that are older than two days (by the time of their
writing) and that nothing refers to; who stores or publishes a mask renews its age
(``MaskStore.keep``, ``MaskStore.put``), and commits what refers to it within a day. What remains is
the moment between a vacuum's look at the age and the removal:

1. A vacuum writes the names of the masks it means to remove into a list in the store
   (``.removals/``). **Then** it looks at the age of each, removes those that are still old, and
   removes the list when all is done.
2. Who needs a mask looks at it and renews its age. **Then** it looks at the lists. If one names the
   mask, it waits until the list is gone, and looks at the mask again, which may have to be stored
   again.

Of the two "then", at least one sees what the other wrote. If the vacuum does not see the new age,
then it looked before the age was renewed, its list was there before that, and the other sees the
list, or that it is gone and all removals with it. No clock of one machine is compared with
another's here.

A list counts for ``_STANDING`` seconds after somebody first saw it: that of a killed vacuum stops
others once, for so long, and only if they need one of its masks. A vacuum begins no removal later
than ``_REMOVING`` seconds after it began to write the list, and a removal is tried once and not
repeated later by a library; if one fails, its list stands until it expires.

Assumed: clocks of machines and storage agree to within hours, as ages are counted in days; a
removal that was begun is carried out within ``_STANDING - _REMOVING`` seconds; who has looked at a
mask commits within a day.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from segpipe.errors import StorageError
from segpipe.storage.files import Folder, StoredFile

_LISTS = ".removals"
_AT_A_TIME = 2_000
_REMOVING = 60.0
_STANDING = 300.0
# A list this old, by its time of writing, is nobody's.
_DEAD = timedelta(days=1)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0


def elapsed_clock() -> float:
    """Seconds of a clock that is never set and goes on while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def remove_announced(
    folder: Folder, names: Sequence[str], remove: Callable[[str], bool]
) -> Iterator[str]:
    """Remove files of a mask store; those that went.

    Args:
        names: of the masks, as others look for them in :func:`wait_for_removals`.
        remove: looks at a mask once more and removes it; whether it did.

    Raises:
        StorageError: if one cannot be removed; its list then stands until it expires.
    """
    lists = folder.folder(_LISTS)
    for dead in _standing(lists):
        if _is_dead(dead):
            lists.remove(_name_in(lists, dead))
    left = list(names)
    while left:
        part, left = left[:_AT_A_TIME], left[_AT_A_TIME:]
        name = f"{uuid.uuid4().hex}.json"
        began = elapsed_clock()
        lists.write(name, json.dumps(part).encode())

        def removed(mask: str, began: float = began) -> bool | None:
            return remove(mask) if elapsed_clock() - began < _REMOVING else None

        outcomes = folder.each(removed, part)
        lists.remove(name)
        left += [mask for mask, went in zip(part, outcomes, strict=True) if went is None]
        yield from (mask for mask, went in zip(part, outcomes, strict=True) if went)


def wait_for_removals(folder: Folder, names: Collection[str]) -> bool:
    """Wait until nobody is removing one of these masks; whether it was so: then look again.

    Where nobody removes masks, this is one look at a folder.

    Raises:
        StorageError: if the lists cannot be read.
    """
    lists = folder.folder(_LISTS)
    wanted = set(names)
    concerns: dict[str, bool] = {}
    first_seen: dict[str, float] = {}
    pause, waited = _FIRST_PAUSE, False
    while wanted:
        standing = []
        for found in _standing(lists):
            if found.path not in concerns:
                concerns[found.path] = _concerns(lists, found, wanted)
            if not concerns[found.path]:
                continue
            waited = True
            seen = first_seen.setdefault(found.path, elapsed_clock())
            if _is_dead(found) or elapsed_clock() - seen > _STANDING:
                with suppress(StorageError):  # whoever may not write here
                    lists.remove(_name_in(lists, found))
            else:
                standing.append(found)
        if not standing:
            break
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)
    return waited


def _standing(lists: Folder) -> list[StoredFile]:
    return [file for file in lists.files() if file.path.endswith(".json")]


def _name_in(lists: Folder, file: StoredFile) -> str:
    return file.path.removeprefix(f"{lists.path}/")


def _is_dead(file: StoredFile) -> bool:
    return file.modified < datetime.now(UTC) - _DEAD


def _concerns(lists: Folder, file: StoredFile, wanted: set[str]) -> bool:
    name = _name_in(lists, file)
    try:
        return not wanted.isdisjoint(json.loads(lists.read(name)))
    except StorageError:
        if lists.stored(name) is not None:
            raise
        return True  # gone this moment, and what it named as well
    except ValueError:
        return True  # torn: nobody knows what it names
