"""The columns of an opened table of predictions: which it has, which it lacks, what is added.

The Segments nested in a table have the columns of MEASURED, in their order, and after them those
of declared metadata. A table of an older format lacks some, which are read as nulls.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
from deltalake import DeltaTable
from deltalake import Schema as DeltaSchema

from segpipe.errors import SettingsError
from segpipe.publishing.table_format import PREDICTIONS, SEGMENTS_COLUMN, format_of
from segpipe.tables.columns import COLUMNS, DECLARED, SEGMENT_COLUMNS, Column
from segpipe.tables.schemas import FORMAT, MEASURED
from segpipe.validation.validated import SEGMENT_LIST

_MEASURED = {field.name for field in MEASURED}


def schema_of(table: DeltaTable | None) -> pa.Schema:
    """The columns that reading a table gives: PREDICTIONS, its Segments with those that the table
    has besides; of no table, PREDICTIONS."""
    if table is None:
        return PREDICTIONS
    segments = pa.struct([*MEASURED, *_declared(table)])
    return with_segments(pa.list_(segments))


def with_segments(segments: pa.DataType) -> pa.Schema:
    """PREDICTIONS, with Segments of this type."""
    place = PREDICTIONS.get_field_index(SEGMENTS_COLUMN)
    return PREDICTIONS.set(place, pa.field(SEGMENTS_COLUMN, segments))


def wrong_column(table: DeltaTable) -> tuple[str, str] | None:
    """The first column that is missing or of another type, and words for that; None if all is
    right. Columns that others added are left alone, and so are those that only newer formats have.
    """
    there = _arrow(table)
    for field in PREDICTIONS:
        if field.name not in there.names:
            return field.name, "missing"
        found = there.field(field.name).type
        if field.name != SEGMENTS_COLUMN:
            if found != field.type:
                return field.name, f"of another type ({found})"
            continue
        if not (pa.types.is_list(found) and pa.types.is_struct(found.value_type)):
            return field.name, f"of another type ({found})"
        nested = {member.name: member.type for member in found.value_type}
        known = format_of(table) or FORMAT
        for member in MEASURED:
            own = nested.get(member.name)
            if own is None and SEGMENT_COLUMNS[member.name].since > known:
                continue
            if own != member.type:
                words = "missing" if own is None else f"of another type ({own})"
                return f"{field.name}.{member.name}", words
    return None


def missing_columns(table: DeltaTable, segments: pa.DataType) -> list[pa.Field]:
    """The columns of Segments that a table lacks.

    Args:
        segments: the type of the Segments that are going to be published, a list of structs.

    Raises:
        SettingsError: if the table has a column of another type under a declared name, or one
            whose name differs in letter case alone.
    """
    there = {member.name: member.type for member in _segments(table)}
    folded = {name.casefold(): name for name in there}
    missing = []
    for member in segments.value_type:
        name = folded.get(member.name.casefold())
        if name is None:
            missing.append(member)
        elif name != member.name:
            raise SettingsError(
                f"[metadata] declares {member.name!r}, and the catalog has the column {name!r}, "
                f"which tools take for the same: declare it as {name!r}"
            )
        elif there[name] != member.type and name not in _MEASURED:
            raise SettingsError(
                f"[metadata] declares {name!r} as {_word(member.type)}, and the catalog's column "
                f"{name!r} is {_word(there[name])}: declare it so, or name another key"
            )
    return missing


def described(segments: pa.DataType = SEGMENT_LIST) -> DeltaSchema:
    """All columns of the table, each with its meaning as its comment.

    Args:
        segments: the type of its Segments, SEGMENT_LIST with declared metadata.
    """
    members = [_with_comment(member, SEGMENT_COLUMNS) for member in segments.value_type]
    schema = with_segments(pa.list_(pa.struct(members)))
    return DeltaSchema.from_arrow(pa.schema([_with_comment(field, COLUMNS) for field in schema]))


def _with_comment(field: pa.Field, columns: Mapping[str, Column]) -> pa.Field:
    column = columns.get(field.name, DECLARED)
    return field.with_metadata({"comment": column.comment})


def nested_field(members: list[pa.Field]) -> DeltaSchema:
    """The column of Segments with these members alone, to be merged into that of a table."""
    commented = [_with_comment(member, SEGMENT_COLUMNS) for member in members]
    return DeltaSchema.from_arrow(
        pa.schema([pa.field(SEGMENTS_COLUMN, pa.list_(pa.struct(commented)))])
    )


def aligned(rows: pa.Table, table: DeltaTable) -> pa.Table:
    """Rows with nulls in the columns that the table has and they do not have."""
    for field in _arrow(table).remove_metadata():
        if field.name not in rows.column_names:
            rows = rows.append_column(field, pa.nulls(rows.num_rows, field.type))
        elif field.name == SEGMENTS_COLUMN:
            place = rows.schema.get_field_index(field.name)
            rows = rows.set_column(place, field, rows[field.name].cast(field.type))
    return rows


def _word(kind: pa.DataType) -> str:
    words = {pa.string(): "string", pa.float64(): "float", pa.bool_(): "bool", pa.int64(): "int"}
    return words.get(kind, str(kind))


def _declared(table: DeltaTable) -> list[pa.Field]:
    return [member.remove_metadata() for member in _segments(table) if member.name not in _MEASURED]


def _segments(table: DeltaTable) -> list[pa.Field]:
    return list(_arrow(table).field(SEGMENTS_COLUMN).type.value_type)


def _arrow(table: DeltaTable) -> pa.Schema:
    return pa.schema(table.schema().to_arrow())
