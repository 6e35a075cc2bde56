"""How many bytes of a table are taken at once."""

from __future__ import annotations

# Bytes of a row from which rows are large. Parquet's readers and writers hold rows by number, in
# several forms and pieces at a time: few large rows take as much memory as many small ones.
_LARGE = 16_384


def bytes_at_once(usual: int, rows: int, size: int) -> int:
    """Bytes to take at once of a table, of which so many rows have so many bytes."""
    return usual if size <= _LARGE * rows else usual // 4
