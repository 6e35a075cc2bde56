"""Opening the Delta table of published predictions, and healing it; confirming its versions."""

from __future__ import annotations

import errno
import os
import random
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import pyarrow as pa
from deltalake import DeltaTable, PostCommitHookProperties
from deltalake.exceptions import DeltaError, TableNotFoundError

from segpipe.errors import CatalogError, OtherFormatError, SettingsError, StorageError, listed
from segpipe.publishing.advised_commands import AdvisedCommands
from segpipe.publishing.checkpoints import APART, write_checkpoint
from segpipe.publishing.healing import TableLog
from segpipe.publishing.log_damage import Look
from segpipe.publishing.log_entries import LOG, entry_name, sync_version
from segpipe.publishing.table_columns import wrong_column
from segpipe.publishing.table_format import TABLE, format_of
from segpipe.storage.failures import is_full, library_words, os_words, storage_errors
from segpipe.storage.files import Folder
from segpipe.storage.local_paths import is_plain, mirror_entry, plain_mirror
from segpipe.storage.object_store import object_store_options
from segpipe.storage.redaction import redacted
from segpipe.storage.store_options import table_url
from segpipe.tables.schemas import FORMAT, FORMAT_KEY

Result = TypeVar("Result")
# An object by which a store shows that it refuses to create what is there.
_PROBE = ".conditional-put"
_NOT_IN_KEYS = frozenset("%#?[]^|\\")


class OpeningTable:
    """The Delta table in a catalog's folder, to be opened.

    Args:
        folder: the catalog's; holds the table as ``predictions``.
        commands: what messages advise.
    """

    def __init__(self, folder: Folder, commands: AdvisedCommands) -> None:
        self._catalog = folder
        self._folder = folder.folder(TABLE)
        self._log = self._folder.folder(LOG)
        self._options = object_store_options(folder.url, folder.storage_options)
        # In an object store an entry of the log is there whole or not at all.
        self.log = TableLog(self._folder.path, commands) if folder.is_local else None
        self.commands = commands
        #: Of every commit. In a folder the library would write a checkpoint, which a cut of the
        #: power may tear, and remove the log entries that it holds; see :meth:`confirm`.
        self.hooks = PostCommitHookProperties(
            create_checkpoint=self.log is None,
            cleanup_expired_logs=None if self.log is None else False,
        )
        #: Whether never more than one process writes, so that its store need not tell two apart.
        self.single_publisher = False
        #: What was set aside or mended by who wrote, a sentence each; see ``take_remarks``.
        self.remarks: list[str] = []
        # object_store does not retry a response that is cut off.
        self._tries = 1 if folder.is_local else 4
        self.uri = f"{folder.path if folder.is_local else folder.url}/{TABLE}"
        self.shown = redacted(self.uri)

    def _address(self) -> str:
        """What the Delta library is given: it decodes and refuses some names of folders, and
        resolves links to the table, but not those within it."""
        if not self._folder.is_local:
            self._check_key()
            return table_url(self.uri)
        real = os.path.realpath(self._folder.path)
        return self.uri if is_plain(real) else plain_mirror(real)

    def _check_key(self) -> None:
        """Refuse a place in a bucket that the Delta library would decode, cut or stumble over.

        Raises:
            SettingsError: naming the characters.
        """
        found = sorted(_NOT_IN_KEYS.intersection(self.uri))
        if found:
            raise SettingsError(
                f"no catalog can be kept at {self.shown}: the Delta library takes no key with "
                f"{' '.join(found)}; name another place as `catalog` in segpipe.toml"
            )

    def _make_folders(self, names: Iterable[str]) -> None:
        """Folders of the table that the library would otherwise make where it was led to."""
        if self._folder.is_local:
            real = os.path.realpath(self._folder.path)
            if not is_plain(real):
                for name in names:
                    mirror_entry(real, name)

    def version(self) -> int | None:
        """The newest version; None where there is no table yet."""
        table = self.open(any_columns=True)
        return None if table is None else int(table.version())

    def _check_conditions(self) -> None:
        """Refuse to write to a store in which two publishers would overwrite each other's commits.

        Raises:
            StorageError: if creating an object that is there succeeds.
        """
        objects = self._catalog.objects
        if objects is None or self.single_publisher:
            return
        with storage_errors(f"writing {self._catalog.shown}/{_PROBE}"):
            held = objects.holds_conditions(self._catalog.path_of(_PROBE))
        if not held:
            raise StorageError(
                f"{self.shown} is not written to: its store creates an object that is there "
                "already, instead of refusing to (a conditional put), so that of two publishers "
                "one would lose its rows. Use a store that holds conditional puts; or, if never "
                "more than one process publishes or maintains this catalog at a time, set "
                "single_publisher = true in segpipe.toml"
            )

    def check_writable(self) -> None:
        """Refuse a folder of this machine that takes nothing: the library finds out late, and
        its threads print a panic; and a store that does not keep two writers apart.

        Raises:
            StorageError: if it cannot be written, or its disk is full.
        """
        self._check_conditions()
        place = self._folder.path
        if not self._folder.is_local or not os.path.isdir(place):
            return
        if is_full(place):
            full = os_words(OSError(errno.ENOSPC, ""))
            raise StorageError(f"{self.shown} cannot be changed: {full}")
        if not os.access(place, os.W_OK):
            raise StorageError(
                f"no permission to write to {self.shown}: change its rights, or mount it writable"
            )

    def is_newer_than(self, version: int) -> bool:
        """Whether there is a version after this one; checks for a single file of the log.

        Raises:
            StorageError: if the storage does not answer.
        """
        return self._log.stored(entry_name(version + 1)) is not None

    def open(
        self,
        version: int | None = None,
        *,
        any_columns: bool = False,
        mending: bool = False,
        of: tuple[str, str] | None = None,
    ) -> DeltaTable | None:
        """The Delta table at a version, the newest where None; None where there is none yet.

        Versions that a cut of the power has damaged before they were confirmed do not count; see
        :mod:`segpipe.publishing.healing`.

        Args:
            any_columns: open it even if columns are missing or changed, as when restoring it.
            mending: set aside what does not count, for who is about to write.
            of: model run and partition that are going to be published.

        Raises:
            OtherFormatError: if it is of a format that this segpipe does not know.
            CatalogError: if it cannot be read, or is not a segpipe catalog.
            StorageError: if something cannot be set aside.
        """
        try:
            table = self._opened(version, of, mending=mending)
        except OtherFormatError:
            raise
        except CatalogError:
            if self.log is None:
                raise
            self._explain(version)
            if mending:
                self.remarks += self.log.mend_checkpoints()
            else:
                self._explain_checkpoints()
            table = self._opened(version, of, mending=mending, closely=True)
        if table is None:
            return None
        found = format_of(table)
        if found is None or found < 1:
            given = table.metadata().configuration.get(FORMAT_KEY)
            raise CatalogError(
                f"{self.shown} is a Delta table, but not one segpipe made ({FORMAT_KEY} is "
                f"{given!r}): choose another catalog"
            )
        if found > FORMAT:
            raise OtherFormatError(
                f"{self.shown} is of format {found}, which a newer segpipe wrote; this one knows "
                f"formats up to {FORMAT}: install a newer segpipe. Nothing was changed"
            )
        if not any_columns:
            self._check_columns(table)
        return table

    def check_publishable(self, table: DeltaTable) -> None:
        """Refuse to publish to a table of an older format: nobody's table is altered unasked.

        Raises:
            OtherFormatError: with the command that upgrades it.
        """
        found = format_of(table)
        if found != FORMAT:
            raise OtherFormatError(
                f"{self.shown} is of format {found}, and predictions are published in format "
                f"{FORMAT}. It can be read as it is; to publish to it, upgrade it with: "
                f"{self.commands.upgrade()} (it says what it would do; --no-dry-run does it)"
            )

    def _opened(
        self,
        version: int | None,
        of: tuple[str, str] | None,
        *,
        mending: bool,
        closely: bool = False,
    ) -> DeltaTable | None:
        look = self._looked(of, mending=mending, closely=closely)
        if version is None and look.newest is not None and self.log is not None:
            # Not the quick look: the newest confirmed entry may be empty, which the library takes.
            self._explain(version)
        if look.newest == -1 and version is None:
            return None
        if look.newest is not None and look.torn is not None:
            if version is not None and version > look.newest:
                raise CatalogError(
                    f"there is no version {version} of {self.shown}: {look.torn.file} "
                    f"{look.torn.words}, and the version was never confirmed"
                )
            version = look.newest if version is None else version

        def opened() -> DeltaTable:
            return DeltaTable(self._address(), version=version, storage_options=self._options)

        try:
            return self._retried(opened)
        except TableNotFoundError:
            return None
        except (DeltaError, OSError) as error:
            if version is not None:
                self._check_version(version)
            at = "" if version is None else f" at version {version}"
            raise CatalogError(
                f"{self.shown} cannot be opened{at}: {library_words(error)}"
            ) from None

    def _check_version(self, version: int) -> None:
        """Raises:
        CatalogError: if the table can be opened, and is not yet at the version.
        """
        try:
            newest = DeltaTable(self._address(), storage_options=self._options).version()
        except (DeltaError, OSError):
            return
        if version > newest:
            raise CatalogError(f"there is no version {version} of {self.shown}: it is at {newest}")

    def _explain(self, version: int | None) -> None:
        """Raises:
        CatalogError: if an entry is damaged that was confirmed, with what brings it back.
        """
        torn = self.log.damaged_confirmed() if self.log is not None else None
        if torn is None or self.log is None or (version is not None and version < torn.versions[0]):
            return
        first = torn.versions[0]
        owners = sorted(self.log.commits.owners(torn.versions))
        runs = [self.commands.run(model_run, day) for model_run, day in owners if model_run]
        words = f"{self.shown}/{torn.file} {torn.words}, though version {first} was confirmed"
        words += self.log.commits.whose(first)
        if len(owners) == len(runs) == 1:
            raise CatalogError(f"{words}. Set it aside and publish it again with: {runs[0]}")
        raise CatalogError(
            f"{words}. Set it and what came after it aside with: "
            f"{self.commands.restore(max(first - 1, 0))}; then publish again what they held: "
            + ("; ".join(runs) or "run the partitions of that time")
        )

    def _explain_checkpoints(self) -> None:
        """Raises:
        CatalogError: if checkpoints are damaged, with what sets them aside.
        """
        damaged = self.log.damaged_checkpoints() if self.log is not None else []
        if damaged:
            raise CatalogError(
                f"{self.shown} cannot be opened: {LOG}/{listed(damaged)} cannot be decoded, as a "
                "cut of the power leaves it. The log holds all that it holds: the next run sets it "
                f"aside, and so does: {self.commands.optimize()}"
            )

    def tidy(self) -> None:
        """Let the library forget log entries that are older than it keeps them, 30 days.

        Before, it writes a checkpoint, which is synced: what is removed is held by it.

        Raises:
            StorageError: if it cannot be done.
        """
        table = self.open(any_columns=True)
        if table is None or self.log is None:
            return  # of an object store, the library forgets entries as it commits
        confirmed = self.log.confirmed.newest()
        if confirmed is not None:
            self._checkpoint(confirmed, table.cleanup_metadata)

    def _checkpoint(self, version: int, then: Callable[[], None] = lambda: None) -> None:
        """Write a checkpoint of the log, and then do what needs it.

        Raises:
            StorageError: if one of them cannot be done.
        """
        if self.log is None:
            return
        with storage_errors(f"tidying the log of {self.shown}"):
            try:
                write_checkpoint(self.log.path, version)
                then()
            except DeltaError as error:
                raise StorageError(
                    f"the log of {self.shown} cannot be tidied: {library_words(error)}"
                ) from None

    def open_to_publish(self, of: tuple[str, str]) -> DeltaTable | None:
        """The newest version, mended, and without damaged versions that are published again.

        Args:
            of: model run and partition that are going to be published.

        Raises:
            CatalogError, StorageError: see :meth:`open`.
        """
        self._check_conditions()
        try:
            table = self.open(mending=True, of=of)
        except OtherFormatError:
            raise
        except CatalogError:
            self.give_up_damaged(of)
            table = self.open(mending=True, of=of)
        if table is not None:
            self.check_publishable(table)
        return table

    def give_up_damaged(
        self, of: tuple[str, str] | None = None, *, above: int | None = None
    ) -> None:
        """Set damaged confirmed versions aside, with what came after them.

        Args:
            of: only if all of them are this model run's and partition's, which publishes again.
            above: only if they come after this version, which is going to be restored.

        Raises:
            StorageError: if it cannot be done.
        """
        torn = self.log.damaged_confirmed() if self.log is not None and self._suspect() else None
        if torn is None or self.log is None:
            return
        if above is not None and torn.versions[0] <= above:
            return
        if of is not None and self.log.commits.owners(torn.versions) != {of}:
            return
        self.remarks += self.log.give_up(torn.versions[0], of)

    def _suspect(self) -> bool:
        """Whether the table cannot be opened."""
        try:
            self.open(any_columns=True)
        except CatalogError:
            return True
        return False

    def _looked(self, of: tuple[str, str] | None, *, mending: bool, closely: bool) -> Look:
        if self.log is None:
            return Look()
        with storage_errors(f"opening {self.shown}"):
            if mending:
                self._refuse_formats(of, closely=closely)
                self.remarks += self.log.mend(self._sync, of=of, closely=closely)
            return self.log.look(closely=closely)

    def _refuse_formats(self, of: tuple[str, str] | None, *, closely: bool) -> None:
        """Before anything is mended: a table of a newer format is for a newer segpipe to mend, and
        one of an older format is left alone by who cannot publish to it.

        Args:
            of: model run and partition that are going to be published.

        Raises:
            OtherFormatError: see :meth:`open` and :meth:`check_publishable`.
        """
        if self.log is None:
            return
        look = self.log.look(closely=closely)
        if look.torn is None and look.newest == self.log.confirmed.newest():
            return
        try:
            table = self.open(any_columns=True)
            if table is not None and of is not None:
                self.check_publishable(table)
        except OtherFormatError:
            raise
        except CatalogError:
            pass  # too damaged to be opened: who mends it looks again

    def confirm(self, version: int) -> None:
        """Make a version and all before it survive a cut of the power, and note that they do.

        Others may have committed some of them, and not synced them yet.

        Raises:
            StorageError: if that cannot be done.
        """
        if self.log is None:
            return  # an object store has said that it keeps them
        confirmed = self.log.confirmed.newest()
        self._sync(version if confirmed is None else confirmed + 1, version)
        self.log.confirmed.confirm(version)
        if version // APART > (confirmed or 0) // APART:
            try:
                self._checkpoint(version)
            except StorageError as error:  # the version is certain; opening reads more of the log
                self.remarks.append(str(error))

    def _sync(self, first: int, last: int) -> None:
        real = os.path.realpath(self._folder.path)
        with storage_errors(f"syncing {self.shown}"):
            for version in range(first, last + 1):
                sync_version(real, version)

    def commits(self, most: int | None = None) -> list[Mapping[str, Any]]:
        """What the log says of the versions, newest first: ``version``, ``timestamp`` (ms),
        ``operation``, and segpipe's notes. Torn ones have the operation ``TORN_OPERATION``.

        Args:
            most: how many, not counting torn ones; all if None.

        Raises:
            CatalogError: if the table cannot be read.
        """
        table = self.open(any_columns=True)
        if self.log is not None:
            return self.log.commits.newest(-1 if table is None else table.version(), most)
        return [] if table is None else list(table.history(most))

    def _check_columns(self, table: DeltaTable) -> None:
        """Refuse a missing or changed column; columns that others added are left alone."""
        if (wrong := wrong_column(table)) is not None:
            name, words = wrong
            raise CatalogError(
                f"{self.shown}: the column {name!r} is {words}: the table was changed by "
                "something other than segpipe; restore an earlier version of it"
            )

    def _retried(self, read: Callable[[], Result]) -> Result:
        for left in reversed(range(self._tries)):
            try:
                return read()
            except TableNotFoundError:
                raise
            except (DeltaError, OSError, pa.ArrowException):
                if not left:
                    raise
                time.sleep(random.uniform(0.1, 0.5))
        raise AssertionError("the last try either returns or raises")
