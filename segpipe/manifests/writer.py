"""Writing a manifest file row by row, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pyarrow as pa

from segpipe.errors import ManifestError, SegpipeError, StorageError
from segpipe.manifests.carried import carried_name
from segpipe.manifests.carried_values import CarriedColumn, Unfit, plain_value
from segpipe.manifests.columns import FINDINGS_COLUMN, FINDINGS_TYPE, TEXT_COLUMNS
from segpipe.manifests.delivery import SOURCE_KEY, Delivery
from segpipe.manifests.held_masks import MASK_COLUMN
from segpipe.manifests.spool import Spool

_ROWS_PER_GROUP, _MASK_BYTES_PER_GROUP = 2000, 16_000_000
_SEGMENTS = pa.list_(
    pa.struct(
        [
            pa.field("label", pa.string()),
            pa.field("index", pa.int32()),
            pa.field("metadata", pa.string()),
        ]
    )
)
_COLUMNS = {
    "reference_id": pa.string(),
    "mask_url": pa.string(),
    "segments": _SEGMENTS,
    "annotation_id": pa.string(),
    "height": pa.int32(),
    "width": pa.int32(),
    "image_url": pa.string(),
}
_LONGEST_SHOWN = 80


@dataclass(frozen=True, slots=True)
class CheckedRow:
    """A row that can be appended as it is.

    Attributes:
        columns: the carried columns whose types it widens.
    """

    cells: dict[str, Any]
    columns: Mapping[str, CarriedColumn]


class RowWriter:
    """Writes a manifest file row by row; it is delivered whole, by :meth:`deliver`.

    Args:
        delivery: where the file goes.
        carried: types of further columns, if known; otherwise each has the narrowest that holds
            its values.
        importing: whether there is a column of findings also where no row has one.
        inline: whether rows hold their masks, as PNG bytes.
    """

    def __init__(
        self,
        delivery: Delivery,
        carried: Mapping[str, pa.DataType],
        *,
        importing: bool,
        inline: bool = False,
    ) -> None:
        self.rows = 0
        self._delivery = delivery
        self._has_findings = importing
        self._inline, self._mask_bytes = inline, 0
        self._columns = {name: CarriedColumn(kind, declared=True) for name, kind in carried.items()}
        self._tables_names = {carried_name(name): name for name in carried}
        self._waiting: list[dict[str, Any]] = []
        self._spool = Spool()
        self._failed: StorageError | None = None

    def checked(self, cells: dict[str, Any], carried: Mapping[str, Any]) -> CheckedRow:
        """Check a row; nothing is written yet.

        Args:
            cells: reference_id, segments and the other columns of manifests.
            carried: values of further columns.

        Raises:
            ManifestError: naming the item, the column and the value, if a value cannot be held as
                it is, or a carried column has the name of another.
        """
        reference_id = _text(cells, "reference_id", cells.get("reference_id"))
        if reference_id is None:
            raise ManifestError("a prediction has no reference_id (found None), expected text")
        checked = {**cells, "reference_id": reference_id}
        for name in TEXT_COLUMNS[1:]:
            if cells.get(name) is not None:
                checked[name] = _text(cells, name, cells[name])
        for name in ("height", "width"):
            if cells.get(name) is not None:
                checked[name] = whole_number(cells[name], f"{name} of {reference_id!r}")
        widened: dict[str, CarriedColumn] = {}
        for name, value in carried.items():
            column = self._columns.get(name)
            if column is None:
                self._check_name(name, reference_id, widened)
                column = CarriedColumn(pa.null())
            try:
                checked[name], after = column.taking(value)
            except Unfit as reason:
                raise ManifestError(
                    f"{reference_id!r}: {name} is {_shown(value)}: {reason}"
                ) from None
            if after is not column or name not in self._columns:
                widened[name] = after
        return CheckedRow(checked, widened)

    def append(self, row: CheckedRow) -> None:
        """Append a row that was checked since the last one was appended.

        Raises:
            StorageError: if rows cannot be kept; nothing is delivered then.
        """
        if self._failed is not None:
            raise self._failed
        self._columns.update(row.columns)
        self._tables_names.update({carried_name(name): name for name in row.columns})
        self._has_findings = self._has_findings or bool(row.cells.get(FINDINGS_COLUMN))
        self._waiting.append(row.cells)
        self._mask_bytes += len(row.cells.get(MASK_COLUMN) or b"") if self._inline else 0
        self.rows += 1
        if len(self._waiting) >= _ROWS_PER_GROUP or self._mask_bytes >= _MASK_BYTES_PER_GROUP:
            try:
                self._spool.append(self._table())
            except StorageError as error:
                self._failed = error
                raise
            self._waiting, self._mask_bytes = [], 0

    def deliver(self, sync: Callable[[], None]) -> None:
        """Write the file under its name; no file if there are no rows.

        Args:
            sync: makes the masks that rows refer to survive a cut of the power.

        Raises:
            ManifestError: if another writer has taken the name; the rows are kept beside it.
            StorageError: if the file cannot be written.
        """
        if self._failed is not None:
            self.discard()
            raise self._failed
        if self.rows:
            try:
                last = [self._table()] if self._waiting else []
                path = self._spool.write_parquet(
                    self._delivery.file,
                    self._schema(),
                    last,
                    as_they_are=[MASK_COLUMN] if self._inline else [],
                )
            except SegpipeError:
                self.discard()
                raise
            try:
                self._delivery.deliver(path, self.rows, sync)
            except ManifestError:
                self.discard()
                raise  # but where the storage fails, what was written stays where it is
        self.discard()

    def discard(self) -> None:
        """Remove what was kept."""
        self._waiting = []
        self._spool.remove()

    def _check_name(self, name: str, reference_id: str, beside: Iterable[str]) -> None:
        if name in _COLUMNS or name == FINDINGS_COLUMN or (self._inline and name == MASK_COLUMN):
            raise ManifestError(f"{reference_id!r}: {name!r} is a column of its own")
        names = {**self._tables_names, **{carried_name(one): one for one in beside}}
        other = names.get(carried_name(name))
        if other is not None:
            raise ManifestError(
                f"{reference_id!r}: the column {name!r} would be carried as "
                f"{carried_name(name)!r}, as {other!r} is; rename one of them"
            )
        try:
            plain_value(name)
        except Unfit as reason:
            raise ManifestError(f"{reference_id!r}: a column is named {name!r}: {reason}") from None

    def _schema(self) -> pa.Schema:
        kinds = {**_COLUMNS, **{name: column.type for name, column in self._columns.items()}}
        if self._inline:
            kinds[MASK_COLUMN] = pa.binary()
        if self._has_findings:
            kinds[FINDINGS_COLUMN] = FINDINGS_TYPE
        schema = pa.schema([pa.field(name, kind) for name, kind in kinds.items()])
        source = self._delivery.source_digest
        return schema.with_metadata({SOURCE_KEY: source}) if source else schema

    def _table(self) -> pa.Table:
        schema = self._schema()
        return pa.Table.from_arrays(
            [
                pa.array([row.get(field.name) for row in self._waiting], field.type)
                for field in schema
            ],
            schema=schema,
        )


def whole_number(value: Any, what: str) -> int:
    """A whole number in whatever numeric type: int, NumPy's, ``1.0``, ``Decimal("3")``.

    Args:
        what: the value, for messages.

    Raises:
        ManifestError: if it is none, or beyond 32 bits.
    """
    if type(value) is not int:
        try:
            given = plain_value(value)
        except Unfit:
            given = None
        if isinstance(given, bool) or not isinstance(given, int | float | Decimal):
            raise ManifestError(
                f"the {what} is {_shown(value)} ({type(value).__name__}), expected a whole number"
            )
        if given % 1 != 0:  # also where it is NaN or infinite
            raise ManifestError(f"the {what} is {_shown(value)}, expected a whole number")
        value = int(given)
    if not -(2**31) <= value < 2**31:
        raise ManifestError(f"the {what} is {_shown(value)}, which is beyond 32 bits")
    return int(value)


def _text(cells: Mapping[str, Any], name: str, value: Any) -> str | None:
    if type(value) is str and value.isascii():
        return value
    try:
        given = plain_value(value)
    except Unfit as reason:
        raise ManifestError(f"{_item(cells)}: {name} is {_shown(value)}: {reason}") from None
    if given is None or isinstance(given, str):
        return given
    raise ManifestError(
        f"{_item(cells)}: {name} is {_shown(value)} ({type(value).__name__}), expected text: give "
        f"str({_shown(value)}) where that is its name"
    )


def _item(cells: Mapping[str, Any]) -> str:
    return repr(cells.get("reference_id"))


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:  # Arrow's scalars make a Python value of what they hold first
        text = f"<{type(value).__name__}>"
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 3]}..."
