"""Files that a vacuum gave up: the one order of restore and vacuum, kept in the table's own log.

Publishers, unpublish and optimize refer to files that they have just written, under names that no
file had before, or that the version they change refers to; the Delta library refuses their commit
where another took such a file away. Only restore refers to *old* files again, and only vacuum
deletes files. Between the two:

1. A vacuum looks at the table at a version V and determines what to delete. It says so in a commit
   that holds the names, before it deletes the first file.
2. That commit and the commit of every restore carry a transaction of one Delta application,
   ``APPLICATION``. The log admits one of two that were based on the same state: a vacuum's commit
   is refused if a restore came after V, and it looks again. A restore commits at the very version
   after the one it looked at, or is refused, and looks again as well.
3. A restore refuses a version that needs a file which the log says is given up.

So a restore before the vacuum's commit is seen by the vacuum, which looks again and keeps what was
restored; one after it sees the names and keeps away from them. There is no third case, since the
log orders all commits, in a folder by creating a file that must not be there yet, in an object
store by a conditional put. What is given up remains so: there is no lease to expire and no clock to
trust. A vacuum that was killed leaves files behind, which the next one finds and deletes, and stops
nobody but who restores what it was told to remove.

The log forgets its entries after 30 days, oldest first, where vacuum and optimize tidy it, and with
a vacuum's commit all versions before it: what it gave up cannot be asked for any more.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from posixpath import basename
from urllib.parse import unquote

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Transaction

from segpipe.publishing.log_entries import TRANSACTIONS_KEY

#: The Delta application whose transactions order restores and vacuums.
APPLICATION = "segpipe/vacuum"
# In the commit's metadata; not one of the notes that the history shows.
_NAMES = "segpipe-given-up"


def next_turn(table: DeltaTable) -> Transaction:
    """The transaction of a restore or vacuum that looked at the table at its version."""
    return Transaction(APPLICATION, (table.transaction_version(APPLICATION) or 0) + 1)


def give_up(
    table: DeltaTable,
    files: Iterable[str],
    notes: Mapping[str, str],
    hooks: PostCommitHookProperties,
) -> None:
    """Commit that files are going to be deleted; then nobody refers to them any more.

    Args:
        table: at the version that was looked at.
        files: their paths or names; names are unique in a table.
        notes: further metadata of the commit.
        hooks: what the library does after it.

    Raises:
        CommitFailedError: if there was a restore or another vacuum since: look again.
    """
    table.create_write_transaction(
        [],
        "append",
        table.schema(),
        list(table.metadata().partition_columns),
        post_commithook_properties=hooks,
        commit_properties=CommitProperties(
            app_transactions=[next_turn(table)],
            custom_metadata={
                TRANSACTIONS_KEY: "1",
                **notes,
                _NAMES: json.dumps(sorted(map(basename, files))),
            },
        ),
    )


def given_up(table: DeltaTable, since: int) -> set[str]:
    """Names of the files that were given up after a version, up to the table's own."""
    versions = table.version() - since
    if table.transaction_version(APPLICATION) is None or versions <= 0:
        return set()
    commits = table.history(versions)
    return {name for commit in commits for name in json.loads(commit.get(_NAMES) or "[]")}


def files_of(table: DeltaTable) -> dict[str, str]:
    """Name -> path below the table's folder of the files that a version refers to."""
    paths = pa.table(table.get_add_actions()).column("path").to_pylist()
    return {basename(path): unquote(path) for path in paths}
