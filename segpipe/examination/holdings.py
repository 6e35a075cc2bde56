"""What a root holds: what landed, what is not read, the catalog, and what may be tidied up."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from segpipe.errors import CatalogError, OtherFormatError
from segpipe.examination.check import Check, counted, note, ok, problem, segpipe_command, warning
from segpipe.examination.room import size_words
from segpipe.extras import install_command, missing_of
from segpipe.manifests.layout import UNFINISHED_FOLDER, Unread, listed
from segpipe.manifests.partition import Partition
from segpipe.publishing.table_format import format_of
from segpipe.publishing.table_health import MOST_ENTRIES, MOST_SMALL_FILES, table_health
from segpipe.root import Root
from segpipe.tables.schemas import FORMAT
from segpipe.validation.summary import SUMMARY_FILE

# What is expected in place of a name, where that is a name itself and no description of one.
_PLAIN_NAME = re.compile(r"[\w.=%-]+", re.ASCII)
_WRITERS_DIE_AFTER = timedelta(hours=1)


@dataclass
class _Landed:
    partitions: list[Partition] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    empty: list[Partition] = field(default_factory=list)


def manifests(root: Root) -> Iterator[Check]:
    """What has landed, what of it is not read and why, and how far it got."""
    landed = _landed(root)
    if landed.partitions:
        validated = _validated(root)
        done = sum("/".join(one.folders) in validated for one in landed.partitions)
        runs = len({one.model_run for one in landed.partitions})
        found = f"{counted(len(landed.partitions), 'partition')} of {counted(runs, 'model run')}"
        found += f" landed, {done:,} validated"
        left = [
            one
            for one in landed.partitions
            if "/".join(one.folders) not in validated
            and one not in landed.empty
            and not root.settings.policies.retired(one.model_run)
        ]
        if left and missing_of("dagster", ["dagster"]):
            step = "validate and publish what is left: Root.materialize and Root.publish in Python"
            step += ", or segpipe run, for which is needed:"
            yield note("manifests", found, step, install_command("dagster"))
        elif left:
            command = segpipe_command("run", root.settings.root, "--all")
            yield note("manifests", found, "validate and publish what is left", command)
        else:
            yield ok("manifests", found)
    elif not landed.unread:
        step = "write a manifest with segpipe.ManifestWriter, or import masks that you have"
        found = f"nothing has landed in {root.landing.folder.shown}"
        yield note("manifests", found, step, "segpipe import --help")
    if landed.unread:
        yield _not_read(root, sorted(landed.unread))
    for folder in landed.unfinished:
        yield _unfinished(root, folder)


def catalog(root: Root) -> Iterator[Check]:
    """Whether the catalog can be read and published to, and what is published."""
    again = segpipe_command("doctor", root.settings.root)
    try:
        table = root.catalog.table.open(any_columns=True)
        if table is None:
            yield ok("catalog", f"nothing was published to {root.catalog.table.shown} yet")
            return
        root.catalog.table.open()
    except OtherFormatError as error:
        yield problem("catalog", str(error), "upgrade segpipe", "pip install --upgrade segpipe")
        return
    except CatalogError as error:
        command = _advised(str(error)) or again
        yield problem("catalog", str(error), "do what it says:", command)
        return
    found = format_of(table)
    if found != FORMAT:
        words = f"format {found}: it can be read; predictions are published in format {FORMAT}"
        step = "upgrade it, which segpipe restore undoes:"
        command = segpipe_command("upgrade", root.settings.root, "--no-dry-run")
        yield problem("catalog", words, step, command)
    else:
        rows = root.catalog.predictions(columns=["model_run", "partition"])
        days = rows.group_by(["model_run", "partition"]).aggregate([]).num_rows
        words = f"{counted(rows.num_rows, 'prediction')} of {counted(days, 'partition')}"
        yield ok("catalog", f"version {table.version()}, format {FORMAT}: {words}")
    yield from _health(root)


def leftovers(root: Root) -> Iterator[Check]:
    """What a vacuum would delete: what no version needs, and what killed runs left."""
    done = root.vacuum(dry_run=True)
    if not done.bytes:
        yield ok("leftovers", "none of killed runs, and nothing that no version needs")
        return
    found = (
        f"{counted(done.temporary_files, 'temporary file')} of killed runs, "
        f"{counted(done.table_files, 'table file')} and {counted(done.mask_files, 'mask')} that no "
        f"version of the last week needs: {size_words(done.bytes)}"
    )
    command = segpipe_command("vacuum", root.settings.root, "--no-dry-run")
    yield note("leftovers", found, "delete them", command)


def _landed(root: Root) -> _Landed:
    found = _Landed()
    for partition, folders in root.landing.landed(unread=found.unread.append):
        delivered = root.landing.delivered(folders)
        found.partitions.append(partition)
        found.unread += delivered.unread
        found.unfinished += delivered.unfinished
        if not delivered.files:
            found.empty.append(partition)
    return found


def _validated(root: Root) -> set[str]:
    """Folders of the partitions that have been validated, below their place."""
    folder = root.settings.folder("validated")
    ends = f"/{SUMMARY_FILE}"
    return {
        file.path.removeprefix(f"{folder.path}/").removesuffix(ends)
        for file in folder.files()
        if file.path.endswith(ends)
    }


def _not_read(root: Root, unread: list[Unread]) -> Check:
    landing = root.landing.folder
    found = f"{len(unread)} in {landing.shown}: {listed(unread)}"
    first = unread[0]
    if landing.is_local and _PLAIN_NAME.fullmatch(first.expected):
        here = f"{landing.path}/{first.shown}"
        there = f"{here.rpartition('/')[0]}/{first.expected}"
        command = shlex.join(["mv", "-n", here, there])
        return warning("not read", found, "rename it; the first:", command)
    step = "rename or move it as expected, then look again"
    return warning("not read", found, step, segpipe_command("doctor", root.settings.root))


def _unfinished(root: Root, folder: str) -> Check:
    place = root.landing.folder.folder(folder, UNFINISHED_FOLDER)
    newest = max((file.modified for file in place.files()), default=None)
    age = None if newest is None else datetime.now(UTC) - newest
    if age is not None and age < _WRITERS_DIE_AFTER:
        return note("unfinished", f"{place.shown}: its writer is still at work", "wait for it")
    found = f"{place.shown}: its writer left it, and its day is not read"
    if not place.is_local:
        step = "write that manifest again, or remove what is below it"
        return warning("unfinished", found, step, segpipe_command("doctor", root.settings.root))
    step = "write that manifest again; or, if the others in its folder are whole, remove it"
    return warning("unfinished", found, step, shlex.join(["rm", "-r", place.path]))


def _health(root: Root) -> Iterator[Check]:
    health = table_health(root.catalog)
    if health is None or health.is_healthy:
        return
    many = health.small_files > MOST_SMALL_FILES
    what = f"more than {MOST_SMALL_FILES:,} small files slow down reading" if many else (
        f"more than {MOST_ENTRIES:,} versions in the log slow down opening"
    )  # fmt: skip
    command = segpipe_command("optimize", root.settings.root)
    yield warning("catalog, files", f"{health}: {what}", "write them as few", command)


_ADVISED = re.compile(
    r"(segpipe (?:restore|run|optimize|upgrade) --root .+?)(?:; then| and | \(|$)"
)


def _advised(words: str) -> str:
    """The command that a message about a catalog advises; empty where it advises none."""
    found = _ADVISED.search(words)
    return found[1] if found else ""
