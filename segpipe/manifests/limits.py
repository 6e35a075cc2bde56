"""What a manifest may hold: limits that are known before anything is decoded.

A Parquet file of a few kilobytes can stand for terabytes: a dictionary with one long text, a run of
a hundred million nulls, pages that inflate a thousandfold. Within these limits a manifest takes
less than a gigabyte of memory, whatever is in it. A *file* beyond one is refused as a whole, with
the limit in the message; a *row* beyond one is rejected (``ROW-TOO-LARGE``), and the others go
through.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Rows of all files of a manifest together; ``max_rows`` in the policy.
MAX_ROWS = 10_000_000
#: Bytes of one row when it is decoded, every value taken for 8 at least; ``max_row_bytes`` in the
#: policy. Rows are worked on in chunks of no more than twice that.
MAX_ROW_BYTES = 4_000_000
#: Bytes of a cell that is an identity or a URL. Signed URLs have up to some thousand.
MAX_TEXT_BYTES = 16_384
#: Columns, those within structs and lists counted one by one.
MAX_COLUMNS = 2_000
#: Columns of all row groups: Arrow takes a kilobyte of memory for each.
MAX_COLUMN_CHUNKS = 200_000
#: Levels of structs, lists and maps within each other.
MAX_NESTING = 64
#: Bytes of a file's footer, and of the name of a column.
MAX_FOOTER_BYTES = 16_000_000
MAX_NAME_BYTES = 1_000
#: Bytes of memory that reading takes beside the rows it gives: pages, dictionaries, and the rows
#: that are decoded at once.
MAX_READING_BYTES = 400_000_000


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits that a policy may set, see :data:`MAX_ROWS` and :data:`MAX_ROW_BYTES`."""

    max_rows: int = MAX_ROWS
    max_row_bytes: int = MAX_ROW_BYTES

    @property
    def chunk_bytes(self) -> int:
        """Bytes of rows that are worked on at once."""
        return 2 * self.max_row_bytes
